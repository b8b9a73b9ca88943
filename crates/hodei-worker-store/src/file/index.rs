use std::collections::HashMap;

use hodei_worker_core::model::WorkerId;

/// The end of a worker's stream: all that is held in memory of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) version: u64,
    /// The position of that version.
    pub(crate) last: u64,
    /// The position that its snapshot covers; 0 without.
    pub(crate) covered: u64,
}

/// What is known of the log without reading it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) heads: HashMap<WorkerId, Head>,
    /// Up to where the events of forgotten workers are over, as long as there are some.
    pub(crate) over: HashMap<WorkerId, u64>,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Index {
    /// The worker's id, shared with all who know it.
    pub(crate) fn share(&self, worker: &str) -> Option<WorkerId> {
        let known = self.heads.get_key_value(worker).map(|(known, _)| known);
        let known = known.or_else(|| self.over.get_key_value(worker).map(|(known, _)| known));
        known.cloned().or_else(|| WorkerId::new(worker).ok())
    }
}
