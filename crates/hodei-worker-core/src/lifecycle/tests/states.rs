//! The tables and the diagram of the module's documentation. `HODEI_WRITE_STATES=1` writes them anew.

use std::fmt::Write as _;

use super::*;
use crate::{
    error::{Error, ErrorKind},
    lifecycle::{Call, Decision, DegradedBy, HealthChange, Outcome, WorkerState, decide, resume},
    provider::Operation,
    status::Gone,
};

const SHOWN: &str = include_str!("../states.md");

/// A worker that is restarted when it fails, on a provider that can do all.
fn settings() -> RecoverySettings {
    RecoverySettings { jitter_percent: 0, ..RecoverySettings::default() }
}

fn after(worker: Option<Worker>, input: &Input) -> Option<Worker> {
    let settings = settings();
    transition(&id(), worker, input, &Context::new(at(0), &settings)).unwrap().0
}

/// The worker in that state as it usually comes to be in it, with how.
fn usual(state: WorkerState) -> (Worker, &'static str) {
    use WorkerState as S;
    let first = Generation::FIRST;
    let restart = RestartPolicy::OnFailure { max_retries: None };
    let created = Input::Outcome(Outcome::done(first, Operation::Create, None));
    let begun = |run| observed(status_of(first, WorkerPhase::Running, Some(run)));
    let to_run = vec![create(traits(restart, false)), created.clone(), begun("r1")];
    let stop = Input::Command(Command::Stop { grace: None, jobs: 0 });
    let slow = HealthChange::Degraded { by: DegradedBy::Latency, reason: "slow".into() };
    let ended = |run, code| observed(exited_of(first, run, code));
    let refused = Error::new(ErrorKind::Config, "no").report();
    let (inputs, how) = match state {
        S::Creating => (to_run[..1].to_vec(), "it is being created"),
        S::Starting => (to_run[..2].to_vec(), "it has been created and is being started"),
        S::Running => (to_run, "its run was seen"),
        S::Degraded => ([to_run, vec![Input::Health(slow)]].concat(), "its checks take too long"),
        S::Recovering => {
            let twice = vec![ended("r1", 1), begun("r2"), ended("r2", 1)];
            ([to_run, twice].concat(), "it failed twice and waits to be brought back")
        }
        S::Stopping => ([to_run, vec![stop]].concat(), "it is being stopped"),
        S::Stopped => ([to_run, vec![stop, ended("r1", 0)]].concat(), "it was stopped"),
        S::Failed => {
            let hopeless = Input::Outcome(Outcome::failed(first, Operation::Create, refused));
            (vec![create(traits(restart, false)), hopeless], "it cannot be created, and a person was called")
        }
    };
    let worker = inputs.iter().fold(None, after).unwrap();
    assert_eq!(worker.state, Some(state), "{worker:?}");
    (worker, how)
}

fn inputs(worker: &Worker) -> Vec<(&'static str, Input, u64)> {
    let generation = worker.generation;
    let run = worker.run.as_ref().map_or("r1", RunId::as_str).to_owned();
    let (grace, keep_volumes) = (None, false);
    let ill = HealthChange::Unhealthy { reason: "no".into() };
    let slow = HealthChange::Degraded { by: DegradedBy::Flapping, reason: "no".into() };
    let ended = |code| observed(exited_of(generation, &run, code));
    let mut all = vec![
        ("start", Input::Command(Command::Start), 0),
        ("stop", Input::Command(Command::Stop { grace, jobs: 0 }), 0),
        ("stop, with jobs", Input::Command(Command::Stop { grace, jobs: 1 }), 0),
        ("remove", Input::Command(Command::Remove { grace, jobs: 0, keep_volumes }), 0),
        ("seen running, a new run", observed(status_of(generation, WorkerPhase::Running, Some("r9"))), 0),
        ("seen ended, well", ended(0), 0),
        ("seen ended, badly", ended(1), 0),
        ("not reached, with its node", observed(status_of(generation, WorkerPhase::Unknown, Some(&run))), 0),
        ("seen gone", Input::Gone(Gone::new(worker.reference(), "n", at(0))), 0),
        ("found ill", Input::Health(ill), 0),
        ("found flapping", Input::Health(slow), 0),
    ];
    if let Some(call) = resume(worker) {
        let operation = call.operation();
        let (status, done) = match &call {
            Call::Create => (status_of(generation, WorkerPhase::Created, None), "its call succeeds"),
            Call::Stop { .. } => (exited_of(generation, &run, 0), "its call succeeds"),
            _ => (status_of(generation, WorkerPhase::Running, Some("r1")), "its call succeeds"),
        };
        let failed = |kind| {
            let report = Error::new(kind, "no").report();
            Input::Outcome(Outcome::failed(generation, operation, report))
        };
        all.push((done, Input::Outcome(Outcome::done(generation, operation, Some(Arc::new(status)))), 0));
        all.push(("its call is not answered", failed(ErrorKind::Timeout), 0));
        all.push(("its call is refused", failed(ErrorKind::Config), 0));
    }
    all.push(("its time has come", Input::Due, 100_000));
    all.push(("another host takes over", Input::TakenOver { lease: 1, owner_epoch: 1 }, 0));
    all
}

fn cell(decision: &Decision) -> (String, String) {
    let mut events = Vec::new();
    let mut state = None;
    for event in &decision.events {
        let passed = if event.inferred { " (inferred)" } else { "" };
        events.push(format!("{}{passed}", event.event_type()));
        state = Some(event.new_state.map_or("none", WorkerState::as_str));
    }
    let mut text = events.join(", ");
    if let Some(call) = &decision.call {
        let _ = write!(text, "{}**{}**", if text.is_empty() { "" } else { "; " }, call.operation());
    }
    if text.is_empty() {
        text.push_str("nothing");
    }
    (text, state.unwrap_or("").to_owned())
}

fn table() -> String {
    let mut text = String::from("| from \\ to |");
    for state in WorkerState::ALL {
        let _ = write!(text, " {state} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(8));
    for from in WorkerState::ALL {
        let _ = write!(text, "\n| **{from}** |");
        for to in WorkerState::ALL {
            let _ = write!(text, " {} |", if from.may_become(to) { "yes" } else { "" });
        }
    }
    text + "\n"
}

fn diagram() -> String {
    let mut text = String::from("```mermaid\nstateDiagram-v2\n    [*] --> creating\n");
    for from in WorkerState::ALL {
        for to in WorkerState::ALL {
            if from.may_become(to) {
                let _ = writeln!(text, "    {from} --> {to}");
            }
        }
    }
    text + "    stopping --> [*]\n```\n"
}

fn reactions() -> String {
    let settings = settings();
    let mut text = String::new();
    for state in WorkerState::ALL {
        let (worker, how) = usual(state);
        let _ = write!(
            text,
            "\n## {state}\n\nHere {how}.\n\n| what happens | events; **call** | state |\n|---|---|---|\n"
        );
        for (name, input, now) in inputs(&worker) {
            let context = Context::new(at(now), &settings);
            let (events, state) = match decide(&id(), Some(&worker), &input, &context) {
                Ok(decision) => cell(&decision),
                Err(error) => (format!("refused: {}", error.message()), String::new()),
            };
            let _ = writeln!(text, "| {name} | {events} | {state} |");
        }
    }
    text
}

#[test]
fn l1_the_documented_tables_are_what_happens() {
    let text = format!(
        "<!-- Written and checked by `tests/states.rs`: HODEI_WRITE_STATES=1 cargo test -p hodei-worker-core --lib states -->\n\n\
         None of the states is terminal; a worker ends by being removed. A state is followed by those that say yes:\n\n\
         {}\n{}\n\
         What happens to a worker that is restarted when it fails, on a provider that keeps what has ended and starts it \
         again where it is:\n{}",
        table(),
        diagram(),
        reactions()
    );
    if std::env::var_os("HODEI_WRITE_STATES").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lifecycle/states.md"), &text).unwrap();
        return;
    }
    assert!(SHOWN == text, "states.md is not what happens: write it anew, see this file's head");
}
