use hodei_worker_core::{Result, WorkerId};

use super::Degradation;
use crate::jobs::{JobGuard, Jobs};

/// A job that was admitted. Dropping it ends the job.
#[derive(Debug)]
#[must_use = "the job ends when this is dropped"]
pub struct AdmittedJob {
    _counted: Counted,
    guard: JobGuard,
}

/// A job that counts against the capacity.
#[derive(Debug)]
struct Counted {
    degradation: Degradation,
    worker: WorkerId,
    priority: i32,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.degradation.job_ended(&self.worker, self.priority);
    }
}

impl AdmittedJob {
    /// The job in the registry.
    pub fn guard(&self) -> &JobGuard {
        &self.guard
    }
}

impl Degradation {
    /// Begins a job on a worker if it is [admitted](Self::admit), and counts it: no other can take its place between.
    ///
    /// # Errors
    /// Those of [`admit`](Self::admit) and of [`Jobs::begin`].
    ///
    /// # Examples
    /// ```
    /// use hodei_worker::{degradation::Degradation, jobs::Jobs};
    /// let (jobs, _changes) = Jobs::new();
    /// let degradation = Degradation::default();
    /// let worker = "build-42".parse()?;
    /// let job = degradation.begin(&jobs, &worker, 0)?;
    /// assert_eq!(jobs.count(&worker), 1);
    /// drop(job);
    /// assert_eq!(jobs.count(&worker), 0);
    /// # Ok::<(), hodei_worker::Error>(())
    /// ```
    pub fn begin(&self, jobs: &Jobs, worker: &WorkerId, priority: i32) -> Result<AdmittedJob> {
        self.reserve(worker, priority)?;
        let counted = Counted { degradation: self.clone(), worker: worker.clone(), priority };
        Ok(AdmittedJob { guard: jobs.begin(worker, priority)?, _counted: counted })
    }
}
