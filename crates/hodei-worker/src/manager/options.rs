use std::{collections::BTreeMap, time::Duration};

use hodei_worker_core::{
    WorkerState,
    lifecycle::{CorrelationId, Worker},
    model::{GroupRef, ProviderName},
};

/// How a worker is created.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CreateWorker {
    /// On which provider. Default: the first, in the host's order, that can do what the worker needs.
    pub provider: Option<ProviderName>,
    /// Whether it is only created and not started. Default: false.
    pub stopped: bool,
    /// Ties together what comes of it. Default: a random one.
    pub correlation: Option<CorrelationId>,
    /// Details for people, kept in the events.
    pub metadata: BTreeMap<String, String>,
}

impl CreateWorker {
    /// On that provider.
    pub fn on(provider: ProviderName) -> Self {
        Self { provider: Some(provider), ..Self::default() }
    }
    /// Without starting it.
    #[must_use]
    pub fn stopped(mut self) -> Self {
        self.stopped = true;
        self
    }
    /// With that correlation id.
    #[must_use]
    pub fn correlated(mut self, id: CorrelationId) -> Self {
        self.correlation = Some(id);
        self
    }
    /// With a detail for people.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }
}

/// How a worker is stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopWorker {
    /// The time that its jobs and then the worker itself get. Default: its own `stop_grace`, else 25 s for jobs and the
    /// provider's default for the worker. Zero: killed at once.
    pub grace: Option<Duration>,
}

impl StopWorker {
    /// Within that time.
    pub fn within(grace: Duration) -> Self {
        Self { grace: Some(grace) }
    }
    /// At once.
    pub fn kill() -> Self {
        Self { grace: Some(Duration::ZERO) }
    }
}

/// How a worker is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoveWorker {
    /// The time that it gets to stop, as for [`StopWorker`]. Zero: killed at once.
    pub grace: Option<Duration>,
    /// Whether named volumes that were created for it stay. Default: false.
    pub keep_volumes: bool,
}

impl RemoveWorker {
    /// Stopped within that time first.
    pub fn within(grace: Duration) -> Self {
        Self { grace: Some(grace), ..Self::default() }
    }
    /// Killed at once.
    pub fn kill() -> Self {
        Self::within(Duration::ZERO)
    }
    /// With its named volumes kept.
    #[must_use]
    pub fn keeping_volumes(mut self) -> Self {
        self.keep_volumes = true;
        self
    }
}

/// Which workers are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerQuery {
    /// Only those in one of these states; empty: in any.
    pub states: Vec<WorkerState>,
    /// Only those of this provider.
    pub provider: Option<ProviderName>,
    /// Only those of this group.
    pub worker_type: Option<GroupRef>,
    /// Only those for which a person is called.
    pub escalated: bool,
    /// Only those that this host answers for, where several share the store.
    pub owned: bool,
}

impl WorkerQuery {
    /// All of them.
    pub fn all() -> Self {
        Self::default()
    }
    /// Those in that state.
    pub fn state(state: WorkerState) -> Self {
        Self { states: vec![state], ..Self::default() }
    }
    /// Those that this host answers for: all, where it has its store to itself.
    pub fn owned() -> Self {
        Self { owned: true, ..Self::default() }
    }
    /// Those for which a person is called.
    pub fn escalated() -> Self {
        Self { escalated: true, ..Self::default() }
    }
    /// Whether the worker is meant.
    pub fn matches(&self, worker: &Worker) -> bool {
        worker.state.is_some_and(|state| self.states.is_empty() || self.states.contains(&state))
            && self.provider.as_ref().is_none_or(|provider| *provider == worker.provider)
            && self.worker_type.as_ref().is_none_or(|group| Some(group) == worker.traits.worker_type.as_ref())
            && (!self.escalated || worker.escalated().is_some())
    }
}

/// What becomes of the workers when their manager ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Shutdown {
    /// They go on, and the next manager on the same store adopts them. The default.
    #[default]
    HandOver,
    /// They are stopped, within that time if one is given, after their jobs.
    Stop {
        /// The time that they get; `None`: each its own.
        grace: Option<Duration>,
    },
    /// They are stopped, and all that was created for them is removed.
    Remove {
        /// The time that they get; `None`: each its own.
        grace: Option<Duration>,
    },
}
