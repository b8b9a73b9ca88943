//! A group's members, as they come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerId, WorkerObservation, WorkerPhase, WorkerStatus,
    model::GroupRef,
    provider::{BoxStream, WorkerFilter},
};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use kube::runtime::{
    WatchStreamExt as _,
    watcher::{self, Event},
};

use super::size_of;
use crate::{names, provider::Shared, watch::failed};

/// How long the cluster may fail to make a member until that is believed: it tries again, and often it works then.
const PATIENCE: Duration = Duration::from_secs(10);

/// The members that are known, by what becomes of them.
#[derive(Default)]
struct Members {
    all: BTreeMap<WorkerId, WorkerPhase>,
    is_whole: bool,
}

impl Members {
    fn take(&mut self, group: &GroupRef, change: WorkerObservation) {
        match change {
            WorkerObservation::Listed(status) | WorkerObservation::Applied(status)
                if is_member(group, &status) =>
            {
                self.all.insert(status.worker.id.clone(), status.phase);
            }
            WorkerObservation::Gone(gone) => {
                self.all.remove(&gone.worker.id);
            }
            WorkerObservation::Synced => self.is_whole = true,
            // A new picture is drawn.
            WorkerObservation::Unsynced(_) => *self = Self::default(),
            _ => {}
        }
    }

    /// Those that the group counts: one that has failed, or is being removed, has its successor.
    fn counted(&self) -> BTreeSet<&WorkerId> {
        let counts = |phase: &WorkerPhase| !matches!(phase, WorkerPhase::Exited | WorkerPhase::Stopping);
        self.all.iter().filter(|(_, phase)| counts(phase)).map(|(id, _)| id).collect()
    }
}

/// Workers of that type that a host made may stand beside them.
fn is_member(group: &GroupRef, status: &WorkerStatus) -> bool {
    let fingerprint = status.ownership.as_ref().and_then(|ownership| ownership.fingerprint.as_ref());
    let rest = status.worker.id.as_str().strip_prefix(group.as_str());
    fingerprint.is_none()
        && names::can_be_member(&status.worker)
        && rest.is_some_and(|rest| rest.starts_with('-'))
}

impl Shared {
    fn members(self: &Arc<Self>, group: &GroupRef) -> BoxStream<'static, Result<WorkerObservation>> {
        self.watch(&WorkerFilter::worker_type(group.clone()))
    }

    /// Waits until no member is left.
    pub(super) async fn until_there_is_none(self: &Arc<Self>, group: &GroupRef) -> Result<Vec<WorkerId>> {
        let (mut changes, mut members) = (self.members(group), Members::default());
        while let Some(change) = changes.next().await {
            members.take(group, change?);
            if members.is_whole && members.all.is_empty() {
                return Ok(Vec::new());
            }
        }
        Err(watch_ended())
    }

    /// Waits until it has so many members, whether they run yet or not, and says which. Whoever calls sets the deadline.
    pub(super) async fn until_group_has(
        self: &Arc<Self>,
        group: &GroupRef,
        size: usize,
        made: &Deployment,
    ) -> Result<Vec<WorkerId>> {
        if size == 0 {
            return self.until_there_is_none(group).await;
        }
        let name = made.metadata.name.as_deref().unwrap_or_default();
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let objects = watcher::watcher(self.cluster.api::<Deployment>(), config).default_backoff();
        let (mut objects, mut changes) = (objects.boxed(), self.members(group));
        let (mut members, mut object) = (Members::default(), None::<Deployment>);
        let mut fails_since = None;
        loop {
            if let Some(object) = &object {
                if object.metadata.uid != made.metadata.uid || usize::try_from(size_of(object)) != Ok(size) {
                    return Err(changed(name));
                }
                let counted = members.counted();
                if members.is_whole && is_observed(object) && counted.len() == size {
                    return Ok(counted.into_iter().cloned().collect());
                }
                fails_since = failure(object)
                    .map(|_| fails_since.unwrap_or_else(|| tokio::time::Instant::now() + PATIENCE));
            }
            let is_believed = async {
                match fails_since {
                    Some(since) => tokio::time::sleep_until(since).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                change = changes.next() => members.take(group, change.ok_or_else(watch_ended)??),
                event = objects.next() => match event {
                    Some(Ok(Event::InitApply(now) | Event::Apply(now))) => object = Some(now),
                    Some(Ok(Event::Delete(_))) => return Err(changed(name)),
                    // The first picture, and it is not in it.
                    Some(Ok(Event::InitDone)) if object.is_none() => return Err(changed(name)),
                    Some(Ok(Event::Init)) => object = None,
                    Some(Ok(Event::InitDone)) => {}
                    Some(Err(error)) => {
                        let error = self.cluster.error(failed(error));
                        if !error.is_retryable() {
                            return Err(error);
                        }
                    }
                    None => return Err(watch_ended()),
                },
                () = is_believed => {
                    let words = object.as_ref().and_then(failure).and_then(|failure| failure.message.as_deref());
                    let error = self.not_admitted(words.unwrap_or_default().trim());
                    return Err(error.with_context("deployment", name));
                }
            }
        }
    }
}

fn watch_ended() -> Error {
    Error::new(ErrorKind::Unavailable, "the watch ended while the group was resized")
}

fn changed(name: &str) -> Error {
    Error::new(ErrorKind::Conflict, "somebody else has resized or removed the group meanwhile")
        .with_context("deployment", name)
}

/// Whether the controller has seen the size that was asked for last.
fn is_observed(group: &Deployment) -> bool {
    let observed = group.status.as_ref().and_then(|status| status.observed_generation);
    observed >= group.metadata.generation
}

/// Why the cluster makes no more of its members: a quota, or what it admits.
fn failure(group: &Deployment) -> Option<&DeploymentCondition> {
    let status = group.status.as_ref().filter(|_| is_observed(group))?;
    // It is said for a while after it has been mended.
    if status.replicas.unwrap_or_default() >= size_of(group) {
        return None;
    }
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
}
