use std::{fmt, time::Duration};

use hodei_worker_core::WorkerId;

/// Takes down how long jobs took and how long workers were busy. Called while a job ends: it must not wait, nor
/// begin or end jobs itself.
pub trait JobRecorder: fmt::Debug + Send + Sync + 'static {
    /// A job has ended. What a worker reports itself, from `busy` to `idle`, is one job.
    fn job_ended(&self, worker: &WorkerId, took: Duration) {
        let _ = (worker, took);
    }

    /// A worker has no more jobs, and had some without a pause for that long: by the time between two calls, its
    /// utilisation.
    fn was_busy(&self, worker: &WorkerId, long: Duration) {
        let _ = (worker, long);
    }
}

/// Takes nothing down.
#[derive(Debug)]
pub(super) struct Nobody;

impl JobRecorder for Nobody {}
