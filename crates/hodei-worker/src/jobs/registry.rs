use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hodei_worker_core::{Error, ErrorKind, Result, Retry, WorkerId};
use tokio::{sync::Notify, time::Instant};

use super::{
    changes::{Changed, JobsChanged, JobsChanges},
    recorder::{JobRecorder, Nobody},
};

/// Who has how many jobs. Clones are the same registry. It remembers workers that have jobs, or get none, and no others.
///
/// # Examples
/// ```
/// use hodei_worker::{ErrorKind, jobs::Jobs};
/// let (jobs, _changes) = Jobs::new();
/// let worker = "build-42".parse()?;
/// let job = jobs.begin(&worker, 0)?;
/// assert_eq!(jobs.count(&worker), 1);
/// assert_eq!(jobs.close(&worker), 1); // it drains
/// assert_eq!(jobs.begin(&worker, 0).unwrap_err().kind(), ErrorKind::Conflict);
/// drop(job);
/// assert_eq!(jobs.count(&worker), 0);
/// # Ok::<(), hodei_worker::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Jobs(Arc<Inner>);

/// A job that a worker has. Dropping it ends the job.
#[derive(Debug)]
#[must_use = "the job ends when this is dropped"]
pub struct JobGuard {
    jobs: Jobs,
    worker: WorkerId,
    began: Instant,
}

#[derive(Debug)]
pub(super) struct Inner {
    state: Mutex<State>,
    wake: Arc<Notify>,
    recorder: Box<dyn JobRecorder>,
}

#[derive(Debug, Default)]
struct State {
    loads: HashMap<WorkerId, Load>,
    changed: Changed,
    /// Jobs of a lower priority are refused.
    least: Option<i32>,
}

/// What there is to remember of one worker.
#[derive(Debug, Default)]
struct Load {
    guards: usize,
    /// Since when it says itself that it is busy.
    reported: Option<Instant>,
    closed: bool,
    /// Since when it has had jobs.
    busy: Option<Instant>,
}

impl Load {
    fn jobs(&self) -> usize {
        self.guards + usize::from(self.reported.is_some())
    }
}

impl Jobs {
    /// A registry without jobs, and what tells of its changes.
    pub fn new() -> (Self, JobsChanges) {
        Self::with_recorder(Nobody)
    }

    /// The same, with somebody who takes down how long jobs took.
    pub fn with_recorder(recorder: impl JobRecorder) -> (Self, JobsChanges) {
        let wake = Arc::new(Notify::new());
        let inner = Arc::new(Inner {
            state: Mutex::default(),
            wake: Arc::clone(&wake),
            recorder: Box::new(recorder),
        });
        let changes = JobsChanges::new(&inner, wake);
        (Self(inner), changes)
    }

    /// A worker gets a job, which lasts until the guard is dropped.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) while it gets none, since it drains or stops;
    /// [`Overloaded`](ErrorKind::Overloaded) while jobs of this priority are shed.
    pub fn begin(&self, worker: &WorkerId, priority: i32) -> Result<JobGuard> {
        let (refused, began) = self.0.change(worker, |load, least, _| {
            if load.closed {
                let message = "the worker gets no more jobs: it drains";
                return Some(
                    Error::new(ErrorKind::Conflict, message).with_help("give the job to another worker"),
                );
            }
            if let Some(least) = least.filter(|least| priority < *least) {
                let message = format!("jobs of a priority below {least} are shed at present");
                let error = Error::new(ErrorKind::Overloaded, message).with_context("priority", priority);
                return Some(error.with_retry(Retry::Safe { after: None }));
            }
            load.guards += 1;
            None
        });
        match refused {
            Some(error) => Err(error.with_context("worker", worker)),
            None => Ok(JobGuard { jobs: self.clone(), worker: worker.clone(), began }),
        }
    }

    /// How many jobs a worker has, what it reports itself included.
    pub fn count(&self, worker: &WorkerId) -> usize {
        self.0.state().loads.get(worker).map_or(0, Load::jobs)
    }

    /// How long a worker has had jobs without a pause; `None` if it has none.
    pub fn busy_for(&self, worker: &WorkerId) -> Option<Duration> {
        self.0.state().loads.get(worker)?.busy.map(|since| since.elapsed())
    }

    /// The workers that have jobs, with how many, in no order.
    pub fn all(&self) -> Vec<(WorkerId, usize)> {
        let state = self.0.state();
        let busy = state.loads.iter().filter(|(_, load)| load.jobs() > 0);
        busy.map(|(worker, load)| (worker.clone(), load.jobs())).collect()
    }

    /// The worker gets no more jobs. Says how many it has: no other can come.
    pub fn close(&self, worker: &WorkerId) -> usize {
        let (jobs, _) = self.0.change(worker, |load, _, _| {
            load.closed = true;
            load.jobs()
        });
        jobs
    }

    /// The worker gets jobs again.
    pub fn open(&self, worker: &WorkerId) {
        self.0.change(worker, |load, _, _| load.closed = false);
    }

    /// The worker says itself whether it is busy.
    pub fn reported(&self, worker: &WorkerId, busy: bool) {
        let (began, now) = self.0.change(worker, |load, _, now| {
            if busy {
                load.reported.get_or_insert(now);
                return None;
            }
            load.reported.take()
        });
        if let Some(began) = began {
            self.0.recorder.job_ended(worker, now - began);
        }
    }

    /// The worker is no more, or has ended: it is not busy, and there is nothing to drain. Guards count until they are
    /// dropped.
    pub fn forget(&self, worker: &WorkerId) {
        self.reported(worker, false);
        self.open(worker);
    }

    /// Refuses jobs below this priority from now on; `None`: none. Those that have begun go on.
    pub fn shed_below(&self, least: Option<i32>) {
        self.0.state().least = least;
    }

    /// How many workers are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.0.state().loads.len()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is remembered of a worker, and tells if it has come to have jobs, or to have none.
    fn change<T>(
        &self,
        worker: &WorkerId,
        change: impl FnOnce(&mut Load, Option<i32>, Instant) -> T,
    ) -> (T, Instant) {
        let now = Instant::now();
        let mut state = self.state();
        let least = state.least;
        let load = state.loads.entry(worker.clone()).or_default();
        let changed = change(load, least, now);
        let is_busy = load.jobs() > 0;
        let was_busy = load.busy;
        load.busy = is_busy.then(|| was_busy.unwrap_or(now));
        if !is_busy && !load.closed {
            state.loads.remove(worker);
        }
        if was_busy.is_some() != is_busy {
            state.changed.add(worker);
            self.wake.notify_one();
        }
        drop(state);
        if let Some(since) = was_busy.filter(|_| !is_busy) {
            self.recorder.was_busy(worker, now - since);
        }
        (changed, now)
    }

    pub(super) fn take_changed(&self) -> Option<JobsChanged> {
        let mut state = self.state();
        let worker = state.changed.take()?;
        let jobs = state.loads.get(&worker).map_or(0, Load::jobs);
        Some(JobsChanged { worker, jobs })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

impl JobGuard {
    /// Whose job it is.
    pub fn worker(&self) -> &WorkerId {
        &self.worker
    }
    /// How long it has lasted.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Drop for JobGuard {
    fn drop(&mut self) {
        let inner = &self.jobs.0;
        let (_, now) = inner.change(&self.worker, |load, _, _| load.guards = load.guards.saturating_sub(1));
        inner.recorder.job_ended(&self.worker, now - self.began);
    }
}
