use serde::{Deserialize, Serialize};

use super::{
    Change, DegradedBy, Escalation, Goal, Pending, RecoverySettings, RunEnd, Strategy, Traits, WorkerState,
    WorkerStateEvent, recovery::History,
};
use crate::{
    clock::Timestamp,
    error::ErrorKind,
    model::{Generation, ProviderName, RunId, WorkerId, WorkerRef},
    status::FailureClass,
};

/// What is known of a worker: the fold of its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Worker {
    /// Its name.
    pub id: WorkerId,
    /// Its provider.
    pub provider: ProviderName,
    /// Its present creation.
    pub generation: Generation,
    /// Where it is in its life; `None` when it is no more.
    pub state: Option<WorkerState>,
    /// Since when.
    pub since: Timestamp,
    /// What its user wants.
    pub goal: Goal,
    /// How many events it has had.
    pub version: u64,
    /// The position of the last of them.
    pub position: u64,
    /// The position of its first event: two workers of one name, one after the other, differ in it.
    #[serde(default)]
    pub born: u64,
    /// The position of the intent to create its present generation.
    pub intent: u64,
    /// The intent whose outcome is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// When the pending call is made again, after it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// How often in a row the pending call has failed.
    #[serde(default)]
    pub calls_failed: u32,
    /// How many of these failures no outage explains.
    #[serde(default)]
    pub refused: u32,
    /// Whether the provider has created its present generation, and not lost it.
    #[serde(default)]
    pub created: bool,
    /// Whether its last run has not ended.
    #[serde(default)]
    pub alive: bool,
    /// Whether its named volumes stay when it is removed.
    #[serde(default)]
    pub keep_volumes: bool,
    /// Its last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The run before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_run: Option<RunId>,
    /// When its last run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// How its last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Box<RunEnd>>,
    /// What degrades it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<DegradedBy>,
    /// Since when its node does not answer, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_since: Option<Timestamp>,
    /// How it is being brought back, since it last ran well for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Box<Recovery>>,
    /// What decisions depend on.
    pub traits: Box<Traits>,
    /// How often it has changed its owner.
    #[serde(default)]
    pub owner_epoch: u64,
}

/// How a worker is being brought back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Recovery {
    /// Tries in a row that did not help.
    pub attempts: u32,
    /// What is tried next or is being tried, and when it is due.
    pub planned: Option<(Strategy, Timestamp)>,
    /// What it failed by last.
    pub failure: Option<FailureClass>,
    /// Why a person is called, if one is.
    pub escalated: Option<Escalation>,
    /// What was tried.
    pub history: History,
}

impl Worker {
    /// The worker and its present generation, as calls of the port name it.
    pub fn reference(&self) -> WorkerRef {
        WorkerRef { id: self.id.clone(), generation: self.generation }
    }

    /// Whether a person is called.
    pub fn escalated(&self) -> Option<Escalation> {
        self.recovery.as_ref().and_then(|recovery| recovery.escalated)
    }

    /// The fold of one event over what was known. `None` where the first event of a worker is none of a creation, or one
    /// is missing: the log does not add up. A worker that is no more may be created anew; its versions go on.
    pub fn apply(known: Option<Self>, event: &WorkerStateEvent) -> Option<Self> {
        let over = known.as_ref().is_none_or(|worker| worker.state.is_none());
        // Where the events of a worker that is no more were forgotten, the next of its name begins with the first.
        let next = match &known {
            Some(worker) if !over || event.version > 1 => worker.version + 1,
            _ => event.version,
        };
        let mut worker = match (known, &event.change) {
            _ if next != event.version || over != event.old_state.is_none() => return None,
            (_, Change::CreateIntended { provider, generation, goal, traits }) if over => {
                Self::begin(event, provider, *generation, *goal, traits.clone().unwrap_or_default())
            }
            (Some(worker), _) if !over => worker,
            _ => return None,
        };
        worker.advance(event);
        Some(worker)
    }

    /// Takes in an event that is known to follow.
    pub(super) fn advance(&mut self, event: &WorkerStateEvent) {
        self.version = event.version;
        self.position = event.event_id;
        if event.changes_state() {
            self.since = event.timestamp;
        }
        self.state = event.new_state;
        self.take(&event.change, event);
    }

    fn begin(
        event: &WorkerStateEvent,
        provider: &ProviderName,
        generation: Generation,
        goal: Goal,
        traits: Box<Traits>,
    ) -> Self {
        Self {
            id: event.worker_id.clone(),
            provider: provider.clone(),
            generation,
            state: None,
            since: event.timestamp,
            goal,
            version: 0,
            position: 0,
            born: event.event_id,
            intent: 0,
            pending: None,
            retry_at: None,
            calls_failed: 0,
            refused: 0,
            created: false,
            alive: false,
            keep_volumes: false,
            run: None,
            earlier_run: None,
            started: None,
            end: None,
            degraded: Vec::new(),
            unreachable_since: None,
            recovery: None,
            traits,
            owner_epoch: 0,
        }
    }

    fn take(&mut self, change: &Change, event: &WorkerStateEvent) {
        match change {
            Change::CreateIntended { provider, generation, goal, traits } => {
                self.provider = provider.clone();
                self.generation = *generation;
                self.goal = *goal;
                if let Some(traits) = traits {
                    self.traits.clone_from(traits);
                }
                self.intent = event.event_id;
                self.undegrade();
                (self.created, self.alive) = (false, false);
                (self.run, self.earlier_run, self.started, self.end) = (None, None, None, None);
                self.intend(Some(Pending::Create));
            }
            Change::Created => {
                self.created = true;
                self.intend(None);
            }
            Change::StartIntended { after } => {
                self.intend(Some(Pending::Start { after: after.clone() }));
            }
            Change::Started { run, at } => {
                if self.run.as_ref() != Some(run) {
                    self.earlier_run = self.run.replace(run.clone());
                    self.undegrade();
                }
                self.answered();
                (self.created, self.alive, self.end) = (true, true, None);
                self.started = Some(at.unwrap_or(event.timestamp));
                if matches!(self.pending, Some(Pending::Create | Pending::Start { .. })) {
                    self.intend(None);
                }
            }
            Change::Ended(end) => self.ended(end),
            Change::RecoveryPlanned { strategy, attempt, due, failure } => {
                let recovery = self.recovery.get_or_insert_default();
                recovery.history.end(false);
                recovery.history.begin(*failure, *strategy);
                (recovery.attempts, recovery.planned) = (*attempt, Some((*strategy, *due)));
                (recovery.failure, recovery.escalated) = (*failure, None);
                if !matches!(self.pending, Some(Pending::Stop { .. })) {
                    self.intend(None);
                }
            }
            // What is to be stopped or removed stays so, and what was planned for after that.
            Change::Escalated { why, .. } if why.goes_on() => {
                self.recovery.get_or_insert_default().escalated = Some(*why);
            }
            Change::Escalated { why, failure, .. } => {
                let recovery = self.recovery.get_or_insert_default();
                recovery.history.end(false);
                (recovery.escalated, recovery.failure, recovery.planned) = (Some(*why), *failure, None);
                self.intend(None);
            }
            Change::GoalChanged { goal, keep_volumes } => {
                (self.goal, self.keep_volumes) = (*goal, *keep_volumes);
                if let Some(recovery) = &mut self.recovery {
                    (recovery.attempts, recovery.planned, recovery.escalated) = (0, None, None);
                }
            }
            Change::Draining { until } => self.intend(Some(Pending::Drain { until: *until })),
            Change::StopIntended { grace } => self.intend(Some(Pending::Stop { grace: *grace })),
            Change::DeleteIntended { replace, keep_volumes } => {
                self.intend(Some(Pending::Delete { replace: *replace, keep_volumes: *keep_volumes }));
            }
            Change::Terminated => {
                (self.created, self.alive) = (false, false);
                self.intend(None);
            }
            Change::Degraded { by, .. } => {
                if let Err(place) = self.degraded.binary_search(by) {
                    self.degraded.insert(place, *by);
                }
                if *by == DegradedBy::Unreachable {
                    self.unreachable_since = Some(event.timestamp);
                }
            }
            Change::Restored { by } => {
                self.degraded.retain(|cause| cause != by);
                if *by == DegradedBy::Unreachable {
                    self.reached();
                }
            }
            Change::Recovered => {
                if let Some(recovery) = &mut self.recovery {
                    recovery.history.end(true);
                    (recovery.attempts, recovery.planned, recovery.failure) = (0, None, None);
                }
            }
            Change::CallFailed { retry_at, error, .. } => {
                self.retry_at = Some(*retry_at);
                self.calls_failed = self.calls_failed.saturating_add(1);
                self.refused = self.refused.saturating_add(u32::from(!is_outage(error.kind)));
            }
            Change::TakenOver { owner_epoch, .. } => self.owner_epoch = *owner_epoch,
            Change::Healthy | Change::Unhealthy { .. } | Change::Passed | Change::Unknown => {}
        }
    }

    fn ended(&mut self, end: &RunEnd) {
        if end.run.is_some() && end.run != self.run {
            self.earlier_run = self.run.take();
            self.run.clone_from(&end.run);
        }
        (self.alive, self.created) = (false, !end.gone);
        self.undegrade();
        self.withdraw(Escalation::Refused);
        self.end = Some(Box::new(end.clone()));
        if end.gone || !matches!(self.pending, Some(Pending::Delete { .. })) {
            self.intend(None);
        }
    }

    fn undegrade(&mut self) {
        self.degraded.clear();
        self.reached();
    }

    /// Its node answers, or it is no more.
    fn reached(&mut self) {
        if self.unreachable_since.take().is_some() && self.pending.is_none() {
            (self.retry_at, self.calls_failed, self.refused) = (None, 0, 0);
        }
        self.withdraw(Escalation::NodeLost);
    }

    /// What a person was called for is over by itself.
    fn withdraw(&mut self, over: Escalation) {
        if let Some(recovery) = &mut self.recovery {
            recovery.escalated.take_if(|why| *why == over);
        }
    }

    /// When its node has not answered for as long as is waited, unless a person was called for it already.
    pub(super) fn lost_at(&self, recovery: &RecoverySettings) -> Option<Timestamp> {
        let settings = self.traits.recovery.as_deref().unwrap_or(recovery);
        let lost = self.unreachable_since?.checked_add(settings.node_loss.get()).ok();
        // It could not be looked at: not before it is tried again.
        let lost = lost.map(|lost| self.retry_at.map_or(lost, |retry_at| lost.max(retry_at)));
        lost.filter(|_| self.escalated().is_none())
    }

    /// A person who was called has done something: the tries begin anew.
    fn answered(&mut self) {
        if let Some(recovery) = &mut self.recovery
            && let Some(why) = recovery.escalated.take()
            // What was refused has been done after all, by nobody's help.
            && !why.goes_on()
        {
            (recovery.attempts, recovery.planned) = (0, None);
        }
    }

    fn intend(&mut self, pending: Option<Pending>) {
        if pending.is_some() {
            self.answered();
        }
        (self.pending, self.retry_at) = (pending, None);
        (self.calls_failed, self.refused) = (0, 0);
    }
}

/// Whether it says something about the provider or this host, and nothing about the worker.
pub(super) fn is_outage(kind: ErrorKind) -> bool {
    use ErrorKind::{Cancelled, Fenced, Overloaded, RateLimited, Timeout, Unavailable};
    matches!(kind, Unavailable | Timeout | Overloaded | RateLimited | Cancelled | Fenced)
}
