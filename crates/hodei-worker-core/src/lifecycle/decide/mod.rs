mod command;
mod health;
mod observed;
mod outcome;
mod recover;

use std::{collections::BTreeMap, time::Duration};

use super::{
    Call, Change, Command, CorrelationId, Goal, Input, Pending, RecoverySettings, Worker, WorkerState,
    WorkerStateEvent,
};
use crate::{
    clock::Timestamp,
    error::{Error, ErrorKind, Result},
    model::{ProviderName, WorkerId},
};

/// What a decision depends on besides the worker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The time.
    pub now: Timestamp,
    /// How workers are brought back that do not say so themselves.
    pub recovery: &'a RecoverySettings,
    /// Whether the worker's provider can start a worker again where it is.
    pub restarts_in_place: bool,
    /// Whether it keeps a worker that has ended.
    pub keeps_stopped: bool,
    /// Other providers that the worker fits on, the best first.
    pub alternatives: &'a [ProviderName],
    /// Anything: picks the jitter of pauses.
    pub chance: u64,
    /// What the events shall be tied together by.
    pub correlation: Option<CorrelationId>,
    /// What the events shall say besides.
    pub metadata: BTreeMap<String, String>,
}

impl<'a> Context<'a> {
    /// At that time, by these settings, on a provider that can do all.
    pub fn new(now: Timestamp, recovery: &'a RecoverySettings) -> Self {
        Self {
            now,
            recovery,
            restarts_in_place: true,
            keeps_stopped: true,
            alternatives: &[],
            chance: 0,
            correlation: None,
            metadata: BTreeMap::new(),
        }
    }
}

/// What follows from what happened: changes to be made durable first, and a call to be made after.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Decision {
    /// The changes, in order, not stored yet.
    pub events: Vec<WorkerStateEvent>,
    /// The call to make.
    pub call: Option<Call>,
    /// Whether a call that is under way for the worker is to be dropped first.
    pub abandons: bool,
}

impl Decision {
    /// Whether nothing follows.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.call.is_none() && !self.abandons
    }
}

/// Decides what follows from what happened to a worker. Pure, and total: whatever happens in whatever state, there is
/// an answer. What is old, was known or says nothing gives an empty decision.
///
/// # Errors
/// For commands only: [`ErrorKind::Conflict`] when the worker's state forbids it, naming the state;
/// [`ErrorKind::NotFound`] when there is no such worker.
pub fn decide(
    id: &WorkerId,
    worker: Option<&Worker>,
    input: &Input,
    context: &Context<'_>,
) -> Result<Decision> {
    let worker = worker.filter(|worker| worker.state.is_some());
    let Some(known) = worker else {
        return match input {
            Input::Command(Command::Create { provider, generation, goal, traits }) => {
                Ok(command::create(id, provider, *generation, *goal, traits, context))
            }
            Input::Command(_) => {
                Err(Error::new(ErrorKind::NotFound, "there is no such worker").with_context("worker", id))
            }
            _ => Ok(Decision::default()),
        };
    };
    let mut next = Next::of(known, context);
    match input {
        Input::Command(command) => command::apply(&mut next, command)?,
        Input::Observed(status) => observed::status(&mut next, status),
        Input::Gone(gone) => observed::gone(&mut next, gone),
        Input::Outcome(outcome) => outcome::apply(&mut next, outcome),
        Input::Health(change) => health::apply(&mut next, change),
        Input::Idle => recover::idle(&mut next),
        Input::Due => recover::due(&mut next),
        Input::TakenOver { lease, owner_epoch } => {
            next.stay(Change::TakenOver { lease: *lease, owner_epoch: *owner_epoch });
            next.resume();
        }
    }
    Ok(next.decision)
}

/// The worker after what happened, and what follows from it.
///
/// # Errors
/// As [`decide`].
pub fn transition(
    id: &WorkerId,
    worker: Option<Worker>,
    input: &Input,
    context: &Context<'_>,
) -> Result<(Option<Worker>, Decision)> {
    let decision = decide(id, worker.as_ref(), input, context)?;
    let mut worker = worker.filter(|worker| worker.state.is_some());
    for event in &decision.events {
        worker = Worker::apply(worker, event);
    }
    Ok((worker, decision))
}

/// The call that stands out for a worker after its host has come back: its outcome was not written down.
pub fn resume(worker: &Worker) -> Option<Call> {
    worker.state?;
    match worker.pending.as_ref()? {
        Pending::Create => Some(Call::Create),
        Pending::Start { after } => Some(Call::Start { after: after.clone() }),
        Pending::Drain { .. } => None,
        Pending::Stop { grace } => Some(Call::Stop { grace: *grace }),
        Pending::Delete { keep_volumes, .. } => Some(Call::Delete { keep_volumes: *keep_volumes }),
    }
}

impl Worker {
    /// When something is due for it that no call and no observation brings about. While a call is under way for it, only
    /// a drain's end counts.
    pub fn due(&self, recovery: &RecoverySettings) -> Option<Timestamp> {
        let state = self.state?;
        match (&self.pending, self.retry_at) {
            (Some(Pending::Drain { until }), _) => return Some(*until),
            (Some(_), retry_at) => return retry_at,
            (None, _) => {}
        }
        let known = self.recovery.as_ref()?;
        match (state, known.planned) {
            (WorkerState::Recovering, Some((_, due))) => Some(due),
            (WorkerState::Running | WorkerState::Degraded, _) if known.attempts > 0 => {
                let settings = self.traits.recovery.as_ref().unwrap_or(recovery);
                self.started?.checked_add(settings.reset_after.get()).ok()
            }
            _ => None,
        }
    }
}

/// A decision that is being made.
struct Next<'a> {
    worker: Worker,
    context: &'a Context<'a>,
    decision: Decision,
}

impl<'a> Next<'a> {
    fn of(worker: &Worker, context: &'a Context<'a>) -> Self {
        Self { worker: worker.clone(), context, decision: Decision::default() }
    }

    fn state(&self) -> WorkerState {
        // A worker without a state is never decided on.
        self.worker.state.unwrap_or(WorkerState::Stopping)
    }

    fn settings(&self) -> RecoverySettings {
        self.worker.traits.recovery.clone().unwrap_or_else(|| self.context.recovery.clone())
    }

    /// A change that leaves the state as it is.
    fn stay(&mut self, change: Change) {
        let state = self.worker.state;
        self.record(change, state, false);
    }

    /// A change that leads to that state, through those in between where it does not follow.
    fn go(&mut self, change: Change, state: WorkerState) {
        let path = self.state().path_to(state).unwrap_or_default();
        if let Some((_, between)) = path.split_last() {
            for passed in between {
                self.record(Change::Passed, Some(*passed), true);
            }
        }
        self.record(change, Some(state), false);
    }

    fn record(&mut self, change: Change, state: Option<WorkerState>, inferred: bool) {
        let event = WorkerStateEvent {
            event_id: 0,
            worker_id: self.worker.id.clone(),
            version: self.worker.version + 1,
            old_state: self.worker.state,
            new_state: state,
            timestamp: self.context.now,
            inferred,
            metadata: self.context.metadata.clone(),
            correlation_id: self.context.correlation.clone(),
            change,
        };
        if let Some(worker) = Worker::apply(Some(self.worker.clone()), &event) {
            self.worker = worker;
        }
        self.decision.events.push(event);
    }

    /// Has the pending intent's call made.
    fn call(&mut self) {
        self.decision.call = resume(&self.worker);
    }

    /// Has it made instead of what is under way.
    fn call_instead(&mut self) {
        self.decision.abandons = true;
        self.call();
    }

    /// Goes on with what stands out, or with what the goal wants.
    fn resume(&mut self) {
        if self.worker.pending.is_some() {
            if self.worker.retry_at.is_none() {
                self.call();
            }
        } else {
            self.decision.call = Some(Call::Observe);
        }
    }

    fn terminate(&mut self) {
        self.record(Change::Terminated, None, false);
        self.decision.call = None;
    }

    fn after(&self, pause: Duration) -> Timestamp {
        self.context.now.checked_add(pause).unwrap_or(Timestamp::MAX)
    }

    fn wants(&self, goal: Goal) -> bool {
        self.worker.goal == goal
    }
}
