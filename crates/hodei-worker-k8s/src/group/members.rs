//! A group's members, as they come and go.

use std::{collections::BTreeSet, sync::Arc};

use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerId, WorkerObservation, WorkerStatus, model::GroupRef,
    provider::WorkerFilter,
};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use kube::runtime::wait::{self, await_condition};

use crate::{names, provider::Shared};

impl Shared {
    /// Waits until it has so many members, whether they run yet or not, and says which. Whoever calls sets the deadline.
    pub(super) async fn until_group_has(
        self: &Arc<Self>,
        group: &GroupRef,
        size: usize,
        made: &Deployment,
    ) -> Result<Vec<WorkerId>> {
        if size > 0 {
            self.until_all_are_made(made, size).await?;
        }
        self.until_there_are(group, size).await
    }

    async fn until_there_are(self: &Arc<Self>, group: &GroupRef, size: usize) -> Result<Vec<WorkerId>> {
        let mut changes = self.watch(&WorkerFilter::worker_type(group.clone()));
        let prefix = format!("{group}-");
        // Workers of that type that a host made may stand beside them.
        let is_member = |status: &WorkerStatus| {
            let fingerprint = status.ownership.as_ref().and_then(|ownership| ownership.fingerprint.as_ref());
            fingerprint.is_none()
                && names::can_be_member(&status.worker)
                && status.worker.id.as_str().starts_with(&prefix)
        };
        let (mut members, mut is_whole) = (BTreeSet::new(), false);
        while let Some(change) = changes.next().await {
            match change? {
                WorkerObservation::Listed(status) | WorkerObservation::Applied(status)
                    if is_member(&status) =>
                {
                    members.insert(status.worker.id.clone());
                }
                WorkerObservation::Gone(gone) => {
                    members.remove(&gone.worker.id);
                }
                WorkerObservation::Synced => is_whole = true,
                // A new picture is drawn.
                WorkerObservation::Unsynced(_) => (members, is_whole) = (BTreeSet::new(), false),
                _ => {}
            }
            if is_whole && members.len() == size {
                return Ok(members.into_iter().collect());
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the watch ended while the group was resized"))
    }

    /// Waits until the cluster says that it has made them, or why it makes no more: a quota, or what it admits.
    async fn until_all_are_made(&self, made: &Deployment, size: usize) -> Result<()> {
        let name = made.metadata.name.as_deref().unwrap_or_default();
        let uid = made.metadata.uid.clone();
        let is_over = |object: Option<&Deployment>| {
            object.is_none_or(|object| {
                object.metadata.uid != uid || failure(object).is_some() || has_made(object, size)
            })
        };
        match await_condition(self.cluster.api::<Deployment>(), name, is_over).await {
            Ok(object) => match object.as_ref().and_then(failure) {
                Some(failure) => {
                    let words = failure.message.as_deref().unwrap_or_default().trim();
                    let message = format!("the cluster makes no more members: {words}");
                    Err(Error::new(ErrorKind::Capacity, message).with_context("deployment", name))
                }
                None => Ok(()),
            },
            Err(wait::Error::ProbeFailed(error)) => Err(self.cluster.error(crate::watch::failed(error))),
        }
    }
}

/// Whether the controller has seen the size that was asked for last.
fn is_observed(group: &Deployment) -> bool {
    let observed = group.status.as_ref().and_then(|status| status.observed_generation);
    observed >= group.metadata.generation
}

fn has_made(group: &Deployment, size: usize) -> bool {
    let made = group.status.as_ref().and_then(|status| status.replicas).unwrap_or_default();
    is_observed(group) && usize::try_from(made) == Ok(size)
}

fn failure(group: &Deployment) -> Option<&DeploymentCondition> {
    let status = group.status.as_ref().filter(|_| is_observed(group))?;
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
}
