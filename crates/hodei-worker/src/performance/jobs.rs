use std::time::Duration;

use hodei_worker_core::WorkerId;

use super::PerformanceView;
use crate::jobs::JobRecorder;

/// For [`Jobs::with_recorder`](crate::jobs::Jobs::with_recorder): who counts jobs by this tells the view nothing of
/// their begin and end besides. Busy time counts when it is over.
impl JobRecorder for PerformanceView {
    fn job_ended(&self, worker: &WorkerId, took: Duration) {
        self.job_took(worker, took);
    }
    fn was_busy(&self, worker: &WorkerId, long: Duration) {
        self.busy_for(worker, long);
    }
}
