//! What is known of a project's workers while others wait for them.

use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerObservation, WorkerPhase, WorkerProvider, WorkerRef, WorkerStatus,
    model::RunId,
    provider::{WatchOptions, WorkerFilter},
    status::Health,
};
use tokio::sync::{OnceCell, watch};

use super::names;
use crate::model::DependencyCondition;

type Known = BTreeMap<WorkerRef, Arc<WorkerStatus>>;

/// One watch for all who wait, opened by the first of them.
#[derive(Debug)]
pub(super) struct Watching {
    provider: Arc<dyn WorkerProvider>,
    project: String,
    feed: OnceCell<watch::Receiver<Fed>>,
}

#[derive(Debug, Default, Clone)]
struct Fed {
    known: Known,
    /// In which run a worker was healthy last: that is not told of one that has ended.
    healthy: BTreeMap<WorkerRef, Option<RunId>>,
    failure: Option<Error>,
}

/// What a worker is waited for to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Need {
    /// As another service's worker needs it.
    Dependency(DependencyCondition),
    /// Healthy, or done: of a `job` it is enough that it ended well, any other has to have been healthy before.
    Ready { job: bool },
}

/// Whether what is waited for has come about.
enum Verdict {
    Met,
    NotYet,
}

impl Watching {
    pub(super) fn new(provider: Arc<dyn WorkerProvider>, project: &str) -> Self {
        Self { provider, project: project.to_owned(), feed: OnceCell::new() }
    }

    async fn feed(&self) -> Result<watch::Receiver<Fed>> {
        let feed = self.feed.get_or_try_init(|| async {
            let filter = WorkerFilter::all().label(names::PROJECT, &self.project);
            let mut changes = self.provider.watch_workers(&WatchOptions::filter(filter)).await?;
            let (sender, receiver) = watch::channel(Fed::default());
            tokio::spawn(async move {
                loop {
                    let change = tokio::select! {
                        change = changes.next() => change,
                        // Nobody waits any more.
                        () = sender.closed() => return,
                    };
                    sender.send_if_modified(|fed| match change {
                        Some(Ok(change)) => fed.take(change),
                        Some(Err(ref error)) => {
                            fed.failure = Some(error.clone());
                            true
                        }
                        None => {
                            fed.failure.get_or_insert_with(|| {
                                Error::new(ErrorKind::Unavailable, "the watch has ended")
                            });
                            true
                        }
                    });
                    if sender.borrow().failure.is_some() {
                        return;
                    }
                }
            });
            Ok::<_, Error>(receiver)
        });
        Ok(feed.await?.clone())
    }

    /// Waits until the worker is as it is needed.
    pub(super) async fn until(
        &self,
        service: &str,
        worker: &WorkerRef,
        seen: Option<&Arc<WorkerStatus>>,
        before: Option<&RunId>,
        need: Need,
    ) -> Result<()> {
        if matches!(need, Need::Dependency(DependencyCondition::ServiceStarted)) {
            return Ok(());
        }
        if let Some(status) = seen
            && let Verdict::Met = need.judge(service, status, false)?
        {
            return Ok(());
        }
        let mut feed = self.feed().await?;
        loop {
            let fed = feed.borrow_and_update().clone();
            // What is told of the run before is not about the one that was begun.
            let told =
                fed.known.get(worker).filter(|status| before.is_none() || status.run.as_ref() != before);
            if let Some(status) = told
                && let Verdict::Met = need.judge(service, status, fed.was_healthy(status))?
            {
                return Ok(());
            }
            if let Some(failure) = fed.failure {
                return Err(failure);
            }
            let ended = || Error::new(ErrorKind::Unavailable, "the watch has ended");
            feed.changed().await.map_err(|_| ended())?;
        }
    }
}

impl Fed {
    fn take(&mut self, change: WorkerObservation) -> bool {
        match change {
            WorkerObservation::Listed(status) | WorkerObservation::Applied(status) => {
                if status.phase == WorkerPhase::Running && status.health == Some(Health::Healthy) {
                    self.healthy.insert(status.worker.clone(), status.run.clone());
                }
                self.known.insert(status.worker.clone(), status);
                true
            }
            WorkerObservation::Gone(gone) => {
                let absent = WorkerStatus::absent(&gone.worker, gone.as_of);
                self.known.insert(gone.worker, absent);
                true
            }
            _ => false,
        }
    }

    fn was_healthy(&self, status: &WorkerStatus) -> bool {
        self.healthy.get(&status.worker) == Some(&status.run)
    }
}

impl Need {
    fn judge(self, service: &str, status: &WorkerStatus, was_healthy: bool) -> Result<Verdict> {
        match self {
            Self::Dependency(condition) => judge(service, status, condition),
            Self::Ready { job } if (job || was_healthy) && status.succeeded() => Ok(Verdict::Met),
            Self::Ready { .. } => judge(service, status, DependencyCondition::ServiceHealthy),
        }
    }
}

fn judge(service: &str, status: &WorkerStatus, condition: DependencyCondition) -> Result<Verdict> {
    let failed = |what: String| {
        let error = Error::new(ErrorKind::Dependency, what).with_context("service", service);
        let error = error.with_context("worker", &status.worker);
        match &status.reason {
            Some(reason) => error.with_context("reason", reason),
            None => error,
        }
    };
    match (condition, status.phase) {
        (_, WorkerPhase::Absent) => {
            Err(failed(format!("the service `{service}` was removed while others waited for it")))
        }
        (DependencyCondition::ServiceCompletedSuccessfully, WorkerPhase::Exited) if status.succeeded() => {
            Ok(Verdict::Met)
        }
        (DependencyCondition::ServiceCompletedSuccessfully, WorkerPhase::Exited) => {
            let exit = status.exit.map_or("nobody knows how".to_owned(), |exit| exit.to_string());
            Err(failed(format!("the service `{service}` did not end well: {exit}")))
        }
        (DependencyCondition::ServiceHealthy, WorkerPhase::Exited) if status.run.is_some() => {
            Err(failed(format!("the service `{service}` ended before it was healthy")))
        }
        (DependencyCondition::ServiceHealthy, WorkerPhase::Running) => match status.health {
            Some(Health::Healthy) => Ok(Verdict::Met),
            Some(Health::Unhealthy) => Err(failed(format!("the service `{service}` is unhealthy"))),
            Some(_) => Ok(Verdict::NotYet),
            None => Err(failed(format!(
                "the service `{service}` has no health check, so nobody can wait for it to be healthy"
            ))),
        },
        _ => Ok(Verdict::NotYet),
    }
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::{clock::Timestamp, status::ExitStatus};

    use super::*;

    fn runs(run: &str, health: Health) -> WorkerStatus {
        let worker = WorkerRef::first("a".parse().unwrap());
        let mut status = WorkerStatus::new(worker, WorkerPhase::Running, Timestamp::UNIX_EPOCH);
        status.run = Some(RunId::new(run));
        status.health = Some(health);
        status
    }

    fn ended(run: &str, code: i32) -> WorkerStatus {
        let mut status = runs(run, Health::Unhealthy);
        status.phase = WorkerPhase::Exited;
        status.exit = Some(ExitStatus::Code(code));
        status
    }

    /// What is said of the last of them, when all have been told.
    fn judged(need: Need, all: &[WorkerStatus]) -> Result<Verdict> {
        let mut fed = Fed::default();
        for status in all {
            fed.take(WorkerObservation::Applied(Arc::new(status.clone())));
        }
        let last = all.last().unwrap();
        need.judge("a", last, fed.was_healthy(last))
    }

    #[test]
    fn d10_who_has_done_its_work_is_ready() {
        let (job, other) = (Need::Ready { job: true }, Need::Ready { job: false });
        let met = |need, all: &[WorkerStatus]| matches!(judged(need, all), Ok(Verdict::Met));
        let refused = |need, all: &[WorkerStatus]| judged(need, all).is_err();
        let (starting, healthy) = (runs("1", Health::Starting), runs("1", Health::Healthy));
        for need in [job, other] {
            assert!(matches!(judged(need, std::slice::from_ref(&starting)), Ok(Verdict::NotYet)));
            assert!(met(need, std::slice::from_ref(&healthy)));
            assert!(met(need, &[starting.clone(), healthy.clone(), ended("1", 0)]));
            assert!(refused(need, &[healthy.clone(), ended("1", 1)]));
            assert!(refused(need, &[runs("1", Health::Unhealthy)]));
        }
        assert!(met(job, &[starting.clone(), ended("1", 0)]));
        assert!(refused(other, &[starting, ended("1", 0)]));
        assert!(refused(other, &[healthy.clone(), ended("2", 0)]), "it was another run that was healthy");
        // Another worker needs one that is healthy still.
        let dependency = Need::Dependency(DependencyCondition::ServiceHealthy);
        assert!(refused(dependency, &[healthy, ended("1", 0)]));
    }
}
