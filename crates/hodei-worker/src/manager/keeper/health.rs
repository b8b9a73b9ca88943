//! Whose health is looked after, and when.

use std::sync::Arc;

use hodei_worker_core::{WorkerId, WorkerStatus, lifecycle::Worker};

use super::Keeper;

impl Keeper {
    /// Has the worker's checks begin with its run, and end with it.
    pub(super) fn look_for_health(&mut self, _id: &WorkerId) {}

    pub(super) fn observe_health(&mut self, _status: &Arc<WorkerStatus>) {}

    pub(super) fn forget_health(&mut self, _worker: &Worker) {}
}
