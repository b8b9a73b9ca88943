use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Change, EventType, WorkerState};
use crate::{clock::Timestamp, model::WorkerId};

/// One step in the life of a worker, as it stands in the log and is told to subscribers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WorkerStateEvent {
    /// Its position in the log, which is unique there and orders all events; 0 while it is not stored.
    pub event_id: u64,
    /// Whose it is.
    pub worker_id: WorkerId,
    /// Its place among the worker's events, from 1 without gaps.
    pub version: u64,
    /// The state before; `None` for a worker's first event.
    pub old_state: Option<WorkerState>,
    /// The state after; `None` when the worker is no more.
    pub new_state: Option<WorkerState>,
    /// When it was decided, by the host's clock.
    pub timestamp: Timestamp,
    /// The state was passed through without being seen.
    pub inferred: bool,
    /// What else its cause said: details for people.
    pub metadata: BTreeMap<String, String>,
    /// What belongs together: all that a command brought about has the command's.
    pub correlation_id: Option<CorrelationId>,
    /// What happened.
    pub change: Change,
}

impl WorkerStateEvent {
    /// What kind of event it is.
    pub fn event_type(&self) -> EventType {
        match (&self.change, self.new_state) {
            (Change::Passed, Some(WorkerState::Starting)) => EventType::StartIntended,
            (Change::Passed, Some(WorkerState::Running)) => EventType::Started,
            (Change::Passed, Some(WorkerState::Degraded)) => EventType::Degraded,
            (Change::Passed, Some(WorkerState::Recovering)) => EventType::RecoveryPlanned,
            (Change::Passed, Some(WorkerState::Stopping)) => EventType::StopIntended,
            (Change::Passed, Some(WorkerState::Stopped)) => EventType::Stopped,
            (Change::Passed, Some(WorkerState::Failed)) => EventType::Failed,
            (change, _) => change.event_type(),
        }
    }
    /// Whether the worker is in another state after it.
    pub fn changes_state(&self) -> bool {
        self.old_state != self.new_state
    }
}

/// Ties together what one cause brought about. Any text of up to 100 characters; made at random where none is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CorrelationId(Arc<str>);

impl CorrelationId {
    /// This text, cut after 100 characters.
    pub fn new(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        let end = text.char_indices().nth(100).map_or(text.len(), |(end, _)| end);
        Self(text[..end].into())
    }
    /// One that is not in use.
    pub fn random() -> Self {
        Self(format!("{:016x}", fastrand::u64(..)).into())
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
