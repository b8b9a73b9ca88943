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
    failure: Option<Error>,
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

    /// Waits until the worker is as another one needs it.
    pub(super) async fn until(
        &self,
        service: &str,
        worker: &WorkerRef,
        seen: Option<&Arc<WorkerStatus>>,
        before: Option<&RunId>,
        condition: DependencyCondition,
    ) -> Result<()> {
        if condition == DependencyCondition::ServiceStarted {
            return Ok(());
        }
        if let Some(status) = seen
            && let Verdict::Met = judge(service, status, condition)?
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
                && let Verdict::Met = judge(service, status, condition)?
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
