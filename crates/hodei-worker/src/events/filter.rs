use std::collections::BTreeSet;

use hodei_worker_core::{WorkerId, WorkerStateEvent, lifecycle::EventType};

/// Which events are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    workers: Option<BTreeSet<WorkerId>>,
    types: Option<Vec<EventType>>,
}

impl EventFilter {
    /// All events of all workers.
    pub fn all() -> Self {
        Self::default()
    }
    /// Those of one worker.
    pub fn worker(worker: WorkerId) -> Self {
        Self::workers([worker])
    }
    /// Those of these workers.
    pub fn workers(workers: impl IntoIterator<Item = WorkerId>) -> Self {
        Self { workers: Some(workers.into_iter().collect()), types: None }
    }
    /// Only those of these types.
    #[must_use]
    pub fn types(mut self, types: impl IntoIterator<Item = EventType>) -> Self {
        self.types = Some(types.into_iter().collect());
        self
    }
    /// Whether an event is wanted.
    pub fn matches(&self, event: &WorkerStateEvent) -> bool {
        self.workers.as_ref().is_none_or(|workers| workers.contains(&event.worker_id))
            && self.matches_type(event)
    }
    /// Whether its type is wanted.
    pub(super) fn matches_type(&self, event: &WorkerStateEvent) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&event.event_type()))
    }
    /// The workers that are meant, if not all.
    pub(super) fn chosen(&self) -> Option<&BTreeSet<WorkerId>> {
        self.workers.as_ref()
    }
    /// The worker that is meant, if it is one.
    pub(super) fn only(&self) -> Option<&WorkerId> {
        self.workers.as_ref().filter(|workers| workers.len() == 1)?.first()
    }
}
