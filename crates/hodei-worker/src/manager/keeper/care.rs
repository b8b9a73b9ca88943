//! What is done for workers besides their life: their health is checked, their jobs are known, their time is taken down.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hodei_worker_core::{
    Result, Timestamp, WorkerId, WorkerProvider, WorkerRef, WorkerState, WorkerStateEvent, WorkerStatus,
    lifecycle::{Command, Goal, Input, Pending, Worker},
    model::{ProviderName, RunId},
    store::Store,
};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::{Keeper, calls::read_config, decide::Cause};
use crate::{
    degradation::Degradation,
    health::{self, HealthMonitor, HealthReport, Subject, Tried},
    jobs::{Jobs, JobsChanged, JobsChanges, Reports},
    manager::ManagerSettings,
    performance::PerformanceView,
    telemetry::Telemetry,
};

/// The pause before what checks need is read again; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Findings that may wait for the keeper.
const FINDINGS: usize = 64;

/// What others may use of it too.
#[derive(Debug, Clone)]
pub(in crate::manager) struct Shared {
    pub(in crate::manager) health: HealthMonitor,
    pub(in crate::manager) jobs: Jobs,
    pub(in crate::manager) telemetry: Telemetry,
    pub(in crate::manager) performance: PerformanceView,
    pub(in crate::manager) degradation: Degradation,
}

pub(in crate::manager) struct Care {
    shared: Shared,
    reports: Reports,
    pub(super) findings: mpsc::Receiver<HealthReport>,
    pub(super) changes: JobsChanges,
    /// The runs whose health is checked or whose words are read.
    watched: HashMap<WorkerId, Watched>,
    /// When the last run of those that report ended: what was said before is not of the next one.
    ended: HashMap<WorkerId, Timestamp>,
    /// Reading what checks need, before they begin.
    pub(super) errands: JoinSet<Subject>,
}

struct Watched {
    worker: WorkerRef,
    run: RunId,
    errand: Option<AbortHandle>,
}

impl Care {
    pub(in crate::manager) fn begin(settings: &ManagerSettings, telemetry: Telemetry) -> Result<Self> {
        let (sender, findings) = mpsc::channel(FINDINGS);
        let measured = telemetry.clone();
        let observer = Arc::new(move |tried: &Tried| measured.probed(tried));
        let health = HealthMonitor::start_observed(&settings.health, sender, observer)?;
        let performance = PerformanceView::new(settings.performance.clone());
        let (jobs, changes) = Jobs::with_recorder(performance.clone());
        let reports = Reports::new(jobs.clone(), health.clone());
        let degradation = Degradation::new(settings.degradation.clone());
        let shared = Shared { health, jobs, telemetry, performance, degradation };
        Ok(Self {
            shared,
            reports,
            findings,
            changes,
            watched: HashMap::new(),
            ended: HashMap::new(),
            errands: JoinSet::new(),
        })
    }

    pub(in crate::manager) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    pub(super) fn telemetry(&self) -> Telemetry {
        self.shared.telemetry.clone()
    }

    pub(super) fn performance(&self) -> PerformanceView {
        self.shared.performance.clone()
    }

    /// A worker that was there before.
    pub(super) fn adopt(&self, worker: &Worker, owned: bool) {
        self.shared.performance.adopt(worker);
        if owned {
            self.shared.degradation.observe(worker);
        }
    }

    /// An event, with the worker as it is after it. It is counted by the host that answers for the worker alone.
    pub(super) fn event(&self, event: &WorkerStateEvent, worker: &Worker, owned: bool) {
        self.shared.performance.observe(event);
        if owned {
            self.shared.telemetry.observe(event, worker);
        }
    }

    /// How a worker is now. Only the host that answers for it gives it jobs: a drain on that host has to know of them.
    pub(super) fn changed(&self, worker: &Worker, owned: bool) {
        if owned {
            self.shared.degradation.observe(worker);
        } else {
            self.shared.degradation.forget(&worker.id);
        }
        match worker.state {
            None => self.shared.jobs.forget(&worker.id),
            Some(WorkerState::Running | WorkerState::Degraded) if worker.goal == Goal::Running => {
                self.shared.jobs.open(&worker.id);
            }
            _ => {}
        }
    }

    /// Whether a provider can be reached: while it cannot, failures of its workers' checks may be its own.
    pub(super) fn reaches(&self, provider: &ProviderName, reaches: bool) {
        self.shared.health.reaches(provider, reaches);
    }

    /// A command to stop takes away new jobs first, and has to know of those that there are.
    pub(super) fn before(&self, id: &WorkerId, command: &mut Command) {
        if let Command::Stop { jobs, .. } | Command::Remove { jobs, .. } = command {
            *jobs = self.shared.jobs.close(id);
        }
    }

    pub(super) fn status(&self, status: &Arc<WorkerStatus>) {
        self.shared.performance.status(status);
        if self.watched.contains_key(&status.worker.id) {
            self.shared.health.observed(status);
        }
    }

    fn leave(&mut self, id: &WorkerId) {
        let Some(watched) = self.watched.remove(id) else { return };
        if let Some(errand) = watched.errand {
            errand.abort();
        }
        self.shared.health.forget(&watched.worker);
        self.reports.forget(&watched.worker);
    }
}

impl Keeper {
    /// Has the worker's checks begin with its run, and end with it.
    pub(super) fn care_for(&mut self, id: &WorkerId) {
        let Some(worker) = self.slots.get(id).and_then(|slot| slot.worker()) else {
            self.care.leave(id);
            self.care.ended.remove(id);
            return;
        };
        let owned = self.slots.get(id).is_some_and(|slot| slot.owned);
        let is_wanted = worker.alive
            && worker.goal == Goal::Running
            && !matches!(worker.pending, Some(Pending::Stop { .. } | Pending::Delete { .. }));
        // A worker that is drained goes on telling what it does.
        let is_draining = matches!(worker.pending, Some(Pending::Drain { .. }));
        let run = worker.run.clone().filter(|_| worker.traits.checked || worker.traits.reports);
        if worker.traits.reports
            && let Some(at) = worker.end.as_ref().and_then(|end| end.at)
        {
            self.care.ended.insert(id.clone(), at);
        }
        let (Some(run), true) = (run, owned && (is_wanted || is_draining)) else {
            if self.care.watched.contains_key(id) {
                self.care.leave(id);
            }
            return;
        };
        let reference = worker.reference();
        if self.care.watched.get(id).is_some_and(|known| (&known.worker, &known.run) == (&reference, &run)) {
            return;
        }
        let Some(provider) = self.providers.get(&worker.provider) else { return };
        let provider = Arc::clone(&provider.provider);
        let (checked, reports) = (worker.traits.checked, worker.traits.reports);
        // A run may say something before its platform takes down that it began.
        let began = match (self.care.ended.get(id), &worker.earlier_run) {
            (Some(ended), _) => Some(*ended),
            (None, None) => None,
            (None, Some(_)) => worker.started,
        };
        self.care.leave(id);
        if reports {
            self.care.reports.follow(Arc::clone(&provider), &reference, &run, began);
        }
        let errand = checked.then(|| {
            let subject = subject(Arc::clone(&self.store), provider, reference.clone(), run.clone());
            self.care.errands.spawn(subject)
        });
        self.care.watched.insert(id.clone(), Watched { worker: reference, run, errand });
    }

    pub(super) fn found(&mut self, report: HealthReport) {
        let id = &report.worker.id;
        let known = self.care.watched.get(id);
        if known.is_some_and(|known| (&known.worker, &known.run) == (&report.worker, &report.run)) {
            self.handle(&id.clone(), Cause::of(Input::Health(report.change)));
        }
    }

    /// What the checks of a run need has been read.
    pub(super) fn check(&mut self, subject: Subject) {
        let known = self.care.watched.get(&subject.worker.id);
        if known.is_some_and(|known| (&known.worker, &known.run) == (&subject.worker, &subject.run)) {
            self.care.shared.health.watch(subject);
        }
    }

    pub(super) fn jobs_changed(&mut self, changed: JobsChanged) {
        if changed.jobs == 0 {
            self.handle(&changed.worker, Cause::of(Input::Idle));
        }
    }
}

/// Reads what the checks of a run need, again and again until it can be read: nobody else begins them.
async fn subject(
    store: Arc<dyn Store>,
    provider: Arc<dyn WorkerProvider>,
    worker: WorkerRef,
    run: RunId,
) -> Subject {
    let mut pause = FIRST_PAUSE;
    loop {
        let prepared = async {
            let config = read_config(&*store, &worker.id).await?;
            let capabilities = provider.get_capabilities().await?;
            let checks = health::plan(&config, &capabilities)?.for_host();
            let status = provider.get_worker_status(&worker).await?;
            Ok::<_, hodei_worker_core::Error>((checks, status, config.metadata.worker_type.clone()))
        };
        match prepared.await {
            Ok((checks, status, worker_type)) => {
                return Subject { worker, run, checks, provider, worker_type, status };
            }
            Err(error) => {
                tracing::warn!(%worker, %error, "the checks of the worker's health cannot begin yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
