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
    /// Whether a call that is under way for the worker, if there is one, is to be dropped first. What was sent already may
    /// be carried out once; it is seen and healed.
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
    let Some(known) = worker.filter(|worker| worker.state.is_some()) else {
        return match input {
            Input::Command(Command::Create { provider, generation, goal, traits }) => {
                let first =
                    command::First { id, former: worker, provider, generation: *generation, goal: *goal };
                Ok(first.decide(traits, context))
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
        Input::Observed(status) => observed::status(&mut next, status, false),
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
    Ok(next.conclude(known, input))
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
    let mut worker = worker;
    for event in &decision.events {
        worker = Worker::apply(worker, event);
    }
    Ok((worker, decision))
}

/// The call that stands out for a worker after its host has come back: its outcome was not written down.
///
/// A drain has none. The jobs that a host held guards of are gone with it: if the worker does not report for itself
/// (`traits.reports`), give [`Input::Idle`], so that it is stopped with the time that is left and not killed at the end.
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
        let lost = self.lost_at(recovery);
        match (&self.pending, self.retry_at) {
            (Some(Pending::Drain { until }), _) => return Some(*until),
            (Some(_), retry_at) => return retry_at.into_iter().chain(lost).min(),
            (None, _) if lost.is_some() => return lost,
            (None, _) => {}
        }
        let known = self.recovery.as_ref()?;
        match (state, known.planned) {
            (WorkerState::Recovering, Some((_, due))) => Some(due),
            (WorkerState::Running | WorkerState::Degraded, _)
                if known.attempts > 0 && self.unreachable_since.is_none() =>
            {
                let settings = self.traits.recovery.as_deref().unwrap_or(recovery);
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
    /// The call of the pending intent is to be made.
    calls: bool,
}

impl<'a> Next<'a> {
    fn of(worker: &Worker, context: &'a Context<'a>) -> Self {
        Self { worker: worker.clone(), context, decision: Decision::default(), calls: false }
    }

    /// The decision, with the call that the last intent asks for: there is none without.
    fn conclude(mut self, before: &Worker, input: &Input) -> Decision {
        let under_way = resume(before);
        let outcome = under_way.as_ref().is_some_and(|call| outcome::is_of(input, call.operation()));
        let made = resume(&self.worker).filter(|_| self.calls);
        let changed = self.worker.pending != before.pending;
        let taken = matches!(input, Input::TakenOver { .. });
        // A start or a creation whose run was seen may end by itself; what leads nowhere any more is dropped.
        let void = under_way.is_some()
            && changed
            && (matches!(before.pending, Some(Pending::Stop { .. } | Pending::Delete { .. }))
                || self.worker.pending.is_some()
                || self.worker.state.is_none());
        self.decision.abandons = !outcome && !taken && (made.is_some() || void);
        if made.is_some() {
            self.decision.call = made;
        }
        self.decision
    }

    fn state(&self) -> WorkerState {
        // A worker without a state is never decided on.
        self.worker.state.unwrap_or(WorkerState::Stopping)
    }

    fn settings(&self) -> RecoverySettings {
        self.worker.traits.recovery.as_deref().unwrap_or(self.context.recovery).clone()
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
        self.worker.advance(&event);
        self.decision.events.push(event);
    }

    /// Has the pending intent's call made.
    fn call(&mut self) {
        self.calls = true;
    }

    /// Has the worker looked at.
    fn observe(&mut self) {
        self.decision.call = Some(Call::Observe);
    }

    /// Goes on with what stands out, or with what the goal wants.
    fn resume(&mut self) {
        match self.worker.pending {
            None => self.observe(),
            // The jobs of the host before are over with it.
            Some(Pending::Drain { .. }) if !self.worker.traits.reports => recover::idle(self),
            Some(_) if self.worker.retry_at.is_none() => self.call(),
            Some(_) => {}
        }
    }

    fn terminate(&mut self) {
        self.record(Change::Terminated, None, false);
    }

    fn after(&self, pause: Duration) -> Timestamp {
        self.context.now.checked_add(pause).unwrap_or(Timestamp::MAX)
    }

    fn wants(&self, goal: Goal) -> bool {
        self.worker.goal == goal
    }
}
