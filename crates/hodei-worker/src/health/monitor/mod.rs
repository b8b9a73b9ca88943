mod driver;
mod state;
mod timers;
mod watched;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hodei_worker_core::{
    Result, WorkerProvider, WorkerRef, WorkerStatus,
    lifecycle::HealthChange,
    model::{GroupRef, HealthCheckConfig, ProviderName, RunId},
    settings::Problems,
};
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::Instant,
};

use super::{HealthSettings, probe::Prober};
use state::State;

/// A run of a worker whose health is watched.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The worker.
    pub worker: WorkerRef,
    /// Its run: news of others do not count.
    pub run: RunId,
    /// Its checks, as [`HealthPlan::for_host`](super::HealthPlan::for_host) gives them.
    pub checks: Vec<HealthCheckConfig>,
    /// Where it runs.
    pub provider: Arc<dyn WorkerProvider>,
    /// Its group, for who hears of the tries.
    pub worker_type: Option<GroupRef>,
    /// What its provider told of it last.
    pub status: Arc<WorkerStatus>,
}

/// One try of a check that this host made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tried {
    /// The worker.
    pub worker: WorkerRef,
    /// Its provider.
    pub provider: ProviderName,
    /// Its group.
    pub worker_type: Option<GroupRef>,
    /// The kind of probe, as in a configuration.
    pub probe: &'static str,
    /// Whether the worker was found well; `None`: that could not be found out.
    pub is_well: Option<bool>,
    /// How long it took.
    pub took: Duration,
    /// Whether it went over the network.
    pub network: bool,
}

/// Hears of each try. It is called between the tries: nothing may wait in it.
pub type TryObserver = Arc<dyn Fn(&Tried) + Send + Sync>;

/// What was found of a worker's health.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthReport {
    /// The worker.
    pub worker: WorkerRef,
    /// The run that it is about.
    pub run: RunId,
    /// What was found.
    pub change: HealthChange,
}

/// Checks the health of any number of workers: one task, one queue of times, and so many tries at once as the settings
/// allow. A worker without checks costs nothing. Clones are the same monitor; with the last one all checks end.
#[derive(Clone)]
pub struct HealthMonitor(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    driver: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What the monitor's users and its task share.
struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HealthMonitor {
    /// Starts it. What it finds goes to `reports`; while nobody takes them, no more tries are made.
    ///
    /// Call it inside a Tokio runtime with a timer and I/O.
    ///
    /// # Errors
    /// [`Config`](hodei_worker_core::ErrorKind::Config) when a setting is wrong: the file of roots cannot be read, or
    /// holds none.
    pub fn start(settings: &HealthSettings, reports: mpsc::Sender<HealthReport>) -> Result<Self> {
        Self::start_observed(settings, reports, Arc::new(|_| {}))
    }

    /// As [`start`](Self::start), with somebody who hears of each try.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_observed(
        settings: &HealthSettings,
        reports: mpsc::Sender<HealthReport>,
        observer: TryObserver,
    ) -> Result<Self> {
        let mut problems = Problems::new();
        settings.validate(&mut problems);
        problems.into_result()?;
        let prober = Prober::new(settings)?;
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Notify::new() });
        let driver = driver::drive(Arc::clone(&shared), prober, settings.tries_at_once, reports, observer);
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Self(Arc::new(Handle { shared, driver })))
    }

    /// Watches a run from now on, and no other of that worker any more. Of one that is watched already, all that was
    /// found is told again. It is tried while the last status that was [observed](Self::observed) says that it runs.
    pub fn watch(&self, subject: Subject) {
        self.change(|state, now| state.watch(subject, now));
    }

    /// Takes in what a provider tells of a worker: where it is reachable, what its own check says, whether it runs.
    pub fn observed(&self, status: &Arc<WorkerStatus>) {
        self.change(|state, now| state.observed(status, now));
    }

    /// The worker has given a sign of life.
    pub fn heartbeat(&self, worker: &WorkerRef) {
        self.change(|state, now| state.heartbeat(worker, now));
    }

    /// Whether signs of life of that worker can reach this host. While they cannot, their absence says nothing.
    pub fn hears(&self, worker: &WorkerRef, hears: bool) {
        self.change(|state, now| state.hears(worker, hears, now));
    }

    /// Whether a provider can be reached. While it cannot, failures of its workers' checks say nothing: they may be its
    /// own.
    pub fn reaches(&self, provider: &ProviderName, reaches: bool) {
        self.change(|state, _| state.reaches(provider, reaches));
    }

    /// Checks that worker no more, and drops what was found of it and not told yet.
    pub fn forget(&self, worker: &WorkerRef) {
        self.change(|state, _| state.forget(worker));
    }

    /// How many workers are checked.
    pub fn len(&self) -> usize {
        self.0.shared.state().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn change(&self, change: impl FnOnce(&mut State, Instant)) {
        let mut state = self.0.shared.state();
        change(&mut state, Instant::now());
        if state.wants_driver() {
            self.0.shared.wake.notify_one();
        }
    }
}

impl fmt::Debug for HealthMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthMonitor").field("workers", &self.len()).finish_non_exhaustive()
    }
}
