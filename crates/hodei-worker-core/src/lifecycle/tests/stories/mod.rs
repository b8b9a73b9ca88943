//! What a user expects of particular lives, each told as a story.

mod care;
mod lives;

use super::*;
use crate::{
    error::{Error, ErrorKind, Retry},
    lifecycle::{Call, Decision, EventType, HealthChange, Outcome, WorkerState},
    provider::Operation,
    status::Gone,
};

/// A worker whose story is told.
struct Story {
    settings: RecoverySettings,
    in_place: bool,
    keeps: bool,
    alternatives: Vec<ProviderName>,
    now: u64,
    worker: Option<Worker>,
    last: Decision,
}

impl Story {
    fn of(traits: Box<Traits>) -> Self {
        let settings = RecoverySettings { jitter_percent: 0, ..RecoverySettings::default() };
        let (alternatives, last) = (Vec::new(), Decision::default());
        let mut story =
            Self { settings, in_place: true, keeps: true, alternatives, now: 0, worker: None, last };
        story.then(&create(traits));
        story
    }
    /// It was created, started and seen running as `r1`.
    fn running(restart: RestartPolicy) -> Self {
        let mut story = Self::of(traits(restart, false));
        story.created();
        story.runs("r1");
        assert_eq!(story.state(), WorkerState::Running);
        story
    }
    fn then(&mut self, input: &Input) -> Option<Call> {
        let mut context = Context::new(at(self.now), &self.settings);
        (context.restarts_in_place, context.keeps_stopped) = (self.in_place, self.keeps);
        context.alternatives = &self.alternatives;
        let (worker, decision) = transition(&id(), self.worker.take(), input, &context).unwrap();
        (self.worker, self.last) = (worker, decision);
        self.last.call.clone()
    }
    fn worker(&self) -> &Worker {
        self.worker.as_ref().unwrap()
    }
    fn state(&self) -> WorkerState {
        self.worker().state.unwrap()
    }
    fn generation(&self) -> Generation {
        self.worker().generation
    }
    fn done(&mut self, operation: Operation) -> Option<Call> {
        let generation = self.generation();
        self.then(&Input::Outcome(Outcome::done(generation, operation, None)))
    }
    fn failed(&mut self, operation: Operation, kind: ErrorKind) -> Option<Call> {
        let (generation, report) = (self.generation(), Error::new(kind, "no").report());
        self.then(&Input::Outcome(Outcome::failed(generation, operation, report)))
    }
    fn created(&mut self) -> Option<Call> {
        self.done(Operation::Create)
    }
    fn runs(&mut self, run: &str) -> Option<Call> {
        self.then(&observed(status_of(self.generation(), WorkerPhase::Running, Some(run))))
    }
    /// It was looked at, and is like that.
    fn looked(&mut self, phase: WorkerPhase) -> Option<Call> {
        let status = Arc::new(status_of(self.generation(), phase, Some("r1")));
        let outcome = Outcome::done(self.generation(), Operation::Status, Some(status));
        self.then(&Input::Outcome(outcome))
    }
    fn ends(&mut self, run: &str, code: i32) -> Option<Call> {
        self.then(&observed(exited_of(self.generation(), run, code)))
    }
    fn gone(&mut self) -> Option<Call> {
        let worker = self.worker().reference();
        self.then(&Input::Gone(Gone::new(worker, "n", at(0))))
    }
    fn due(&mut self) -> Option<Call> {
        self.now += 3600;
        self.then(&Input::Due)
    }
    fn start(&mut self) -> Option<Call> {
        self.then(&Input::Command(Command::Start))
    }
    fn stop(&mut self, jobs: usize) -> Option<Call> {
        self.then(&Input::Command(Command::Stop { grace: None, jobs }))
    }
    fn remove(&mut self) -> Option<Call> {
        self.then(&Input::Command(Command::Remove { grace: None, jobs: 0, keep_volumes: true }))
    }
    fn ill(&mut self) -> Option<Call> {
        self.then(&Input::Health(HealthChange::Unhealthy { reason: "no".into() }))
    }
    fn well(&mut self) -> Option<Call> {
        self.then(&Input::Health(HealthChange::Healthy))
    }
    fn told(&self, event: EventType) -> bool {
        self.last.events.iter().any(|one| one.event_type() == event)
    }
}

const ON_FAILURE: RestartPolicy = RestartPolicy::OnFailure { max_retries: None };

fn start_after(run: &str) -> Option<Call> {
    Some(Call::Start { after: Some(RunId::new(run)) })
}

const DELETE: Option<Call> = Some(Call::Delete { keep_volumes: true });
