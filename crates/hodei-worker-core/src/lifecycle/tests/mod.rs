//! Proofs of the state machine: its table, every input in every state that can be reached, random lives with a
//! simulated provider, what is written, and how workers are brought back.

mod codec;
mod explore;
mod recovery;
mod simulated;
mod states;
mod stories;
mod table;

use std::{sync::Arc, time::Duration};

use super::{Command, Context, Goal, Input, RecoverySettings, Traits, Worker, transition};
use crate::{
    clock::Timestamp,
    model::{Generation, ProviderName, RestartPolicy, RunId, WorkerId, WorkerRef},
    status::{ExitStatus, WorkerPhase, WorkerStatus},
};

fn id() -> WorkerId {
    "w".parse().unwrap()
}

fn provider(name: &str) -> ProviderName {
    name.parse().unwrap()
}

/// That many seconds after the time at which all tests begin.
fn at(seconds: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH.checked_add(Duration::from_secs(1_000_000 + seconds)).unwrap()
}

fn traits(restart: RestartPolicy, checked: bool) -> Box<Traits> {
    Box::new(Traits { restart, checked, config: "abc".into(), ..Traits::default() })
}

fn status_of(generation: Generation, phase: WorkerPhase, run: Option<&str>) -> WorkerStatus {
    let mut status = WorkerStatus::new(WorkerRef { id: id(), generation }, phase, at(0));
    status.run = run.map(RunId::new);
    status
}

fn exited_of(generation: Generation, run: &str, code: i32) -> WorkerStatus {
    let mut status = status_of(generation, WorkerPhase::Exited, Some(run));
    status.exit = Some(ExitStatus::Code(code));
    status
}

fn observed(status: WorkerStatus) -> Input {
    Input::Observed(Arc::new(status))
}

fn create(traits: Box<Traits>) -> Input {
    let (provider, generation) = (provider("one"), Generation::FIRST);
    Input::Command(Command::Create { provider, generation, goal: Goal::Running, traits })
}
