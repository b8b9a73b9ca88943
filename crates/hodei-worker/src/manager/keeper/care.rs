//! What is done for workers besides their life: their health is checked, their jobs are known, their time is taken down.

use std::{collections::HashMap, sync::Arc};

use hodei_worker_core::{
    Result, WorkerId, WorkerProvider, WorkerRef, WorkerState, WorkerStateEvent, WorkerStatus,
    lifecycle::{Command, Goal, Input, Pending, Worker},
    model::RunId,
    store::Store,
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{Keeper, calls::read_config, decide::Cause};
use crate::{
    degradation::Degradation,
    health::{self, HealthMonitor, HealthReport, Subject},
    jobs::{Jobs, JobsChanged, JobsChanges, Reports},
    manager::ManagerSettings,
    performance::PerformanceView,
    telemetry::Telemetry,
};

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
    watched: HashMap<WorkerId, (WorkerRef, RunId)>,
    /// Reading what a check needs.
    errands: JoinSet<()>,
}

impl Care {
    pub(in crate::manager) fn begin(settings: &ManagerSettings, telemetry: Telemetry) -> Result<Self> {
        let (sender, findings) = mpsc::channel(FINDINGS);
        let health = HealthMonitor::start(&settings.health, sender)?;
        let performance = PerformanceView::new(settings.performance.clone());
        let (jobs, changes) = Jobs::with_recorder(performance.clone());
        let reports = Reports::new(jobs.clone(), health.clone());
        let degradation = Degradation::new(settings.degradation.clone());
        let shared = Shared { health, jobs, telemetry, performance, degradation };
        Ok(Self { shared, reports, findings, changes, watched: HashMap::new(), errands: JoinSet::new() })
    }

    pub(in crate::manager) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// A worker that was there before.
    pub(super) fn adopt(&self, worker: &Worker) {
        self.shared.performance.adopt(worker);
        self.shared.degradation.observe(worker);
    }

    /// An event, with the worker as it is after it.
    pub(super) fn event(&self, event: &WorkerStateEvent, worker: &Worker) {
        self.shared.performance.observe(event);
        self.shared.telemetry.observe(event, worker);
    }

    /// How a worker is now.
    pub(super) fn changed(&self, worker: &Worker) {
        self.shared.degradation.observe(worker);
        match worker.state {
            None => self.shared.jobs.forget(&worker.id),
            Some(WorkerState::Running | WorkerState::Degraded) if worker.goal == Goal::Running => {
                self.shared.jobs.open(&worker.id);
            }
            _ => {}
        }
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
        if let Some((worker, _)) = self.watched.remove(id) {
            self.shared.health.forget(&worker);
            self.reports.forget(&worker);
        }
    }
}

impl Keeper {
    /// Has the worker's checks begin with its run, and end with it.
    pub(super) fn care_for(&mut self, id: &WorkerId) {
        while self.care.errands.try_join_next().is_some() {}
        let Some(worker) = self.slots.get(id).and_then(|slot| slot.worker()) else {
            self.care.leave(id);
            return;
        };
        let is_wanted = worker.alive
            && worker.goal == Goal::Running
            && !matches!(worker.pending, Some(Pending::Stop { .. } | Pending::Delete { .. }));
        // A worker that is drained goes on telling what it does.
        let is_draining = matches!(worker.pending, Some(Pending::Drain { .. }));
        let run = worker.run.clone().filter(|_| worker.traits.checked || worker.traits.reports);
        let (Some(run), true) = (run, is_wanted || is_draining) else {
            if self.care.watched.contains_key(id) {
                self.care.leave(id);
            }
            return;
        };
        let reference = worker.reference();
        if self.care.watched.get(id).is_some_and(|known| *known == (reference.clone(), run.clone())) {
            return;
        }
        let Some(provider) = self.providers.get(&worker.provider) else { return };
        let provider = Arc::clone(&provider.provider);
        let (checked, reports, began) = (worker.traits.checked, worker.traits.reports, worker.started);
        self.care.leave(id);
        self.care.watched.insert(id.clone(), (reference.clone(), run.clone()));
        if reports {
            self.care.reports.follow(Arc::clone(&provider), &reference, &run, began);
        }
        if checked {
            let errand =
                watch(Arc::clone(&self.store), provider, self.care.shared.health.clone(), reference, run);
            self.care.errands.spawn(errand);
        }
    }

    pub(super) fn found(&mut self, report: HealthReport) {
        let id = &report.worker.id;
        let known = self.care.watched.get(id);
        if known.is_some_and(|(worker, run)| (worker, run) == (&report.worker, &report.run)) {
            self.handle(&id.clone(), Cause::of(Input::Health(report.change)));
        }
    }

    pub(super) fn jobs_changed(&mut self, changed: JobsChanged) {
        if changed.jobs == 0 {
            self.handle(&changed.worker, Cause::of(Input::Idle));
        }
    }
}

/// Reads what the checks of a run need, and begins them.
async fn watch(
    store: Arc<dyn Store>,
    provider: Arc<dyn WorkerProvider>,
    monitor: HealthMonitor,
    worker: WorkerRef,
    run: RunId,
) {
    let prepared = async {
        let config = read_config(&*store, &worker.id).await?;
        let capabilities = provider.get_capabilities().await?;
        let checks = health::plan(&config, &capabilities)?.for_host();
        let status = provider.get_worker_status(&worker).await?;
        Ok::<_, hodei_worker_core::Error>((checks, status))
    };
    match prepared.await {
        Ok((checks, status)) => {
            monitor.watch(Subject { worker, run, checks, provider: Arc::clone(&provider), status });
        }
        Err(error) => tracing::warn!(%worker, %error, "the checks of the worker's health could not begin"),
    }
}
