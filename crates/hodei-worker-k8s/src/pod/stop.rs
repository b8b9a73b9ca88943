use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerObservation, WorkerPhase, WorkerRef,
    provider::{StopOptions, WorkerFilter},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    api::{DeleteParams, Preconditions, PropagationPolicy},
    runtime::wait::{self, await_condition, conditions},
};

use super::spec::grace_seconds;
use crate::{
    provider::Shared,
    status::{is_gated, uid},
    watch::failed,
};

impl Shared {
    /// A cluster has no stop: a pod that is to end is deleted, with its grace. What has ended, or never ran, stays.
    pub(crate) async fn stop(self: &Arc<Self>, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        let Some(found) = self.find(worker).await? else { return Ok(()) };
        let phase = self.view.status(&found, self.context.clock.now()).map(|status| status.phase);
        if is_gated(&found) || phase == Some(WorkerPhase::Exited) {
            return Ok(());
        }
        self.ask_to_end(&found, options.grace).await?;
        self.until(worker, &found, true).await
    }

    /// Deletes exactly this pod. Within a shorter grace than before, the shorter one counts.
    pub(super) async fn ask_to_end(&self, pod: &Pod, grace: Option<Duration>) -> Result<()> {
        let seconds = grace.map(|grace| u32::try_from(grace_seconds(grace)).unwrap_or(u32::MAX));
        let parameters = DeleteParams {
            grace_period_seconds: seconds,
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: Some(uid(pod).to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        let reading = self.hub.reading();
        let (pods, name) = (self.cluster.pods(), pod.metadata.name.as_deref().unwrap_or_default());
        match self.cluster.call(pods.delete(name, &parameters)).await {
            Ok(either) => {
                if let Some(pod) = either.left() {
                    self.told(&reading, &pod);
                }
                Ok(())
            }
            // Gone, or another by now.
            Err(failed) if failed.is_not_found() => Ok(()),
            Err(failed) if failed.status().is_some_and(kube::core::Status::is_conflict) => Ok(()),
            Err(failed) => Err(self.cluster.error(failed)),
        }
    }

    /// Waits until the pod is gone.
    pub(crate) async fn until_gone(self: &Arc<Self>, worker: &WorkerRef, pod: &Pod) -> Result<()> {
        self.until(worker, pod, false).await
    }

    /// Waits until the pod is gone, or its program has ended. By the watch that is open, or else by one of its own. Whoever calls sets the deadline.
    async fn until(self: &Arc<Self>, worker: &WorkerRef, pod: &Pod, ended_is_enough: bool) -> Result<()> {
        let uid = uid(pod);
        if self.hub.watches() == 0 {
            let (pods, name) = (self.cluster.pods(), pod.metadata.name.as_deref().unwrap_or_default());
            let view = self.view.clone();
            let now = self.context.clock.now();
            let gone = conditions::is_deleted(uid);
            let met = |pod: Option<&Pod>| {
                kube::runtime::wait::Condition::matches_object(&gone, pod)
                    || ended_is_enough
                        && pod
                            .and_then(|pod| view.status(pod, now))
                            .is_none_or(|status| status.phase == WorkerPhase::Exited)
            };
            let waited = await_condition(pods, name, met).await;
            return waited
                .map(drop)
                .map_err(|wait::Error::ProbeFailed(error)| self.cluster.error(failed(error)));
        }
        let mut changes = self.watch(&WorkerFilter::id(worker.id.clone()));
        while let Some(change) = changes.next().await {
            match change? {
                WorkerObservation::Listed(status) | WorkerObservation::Applied(status)
                    if status.worker == *worker =>
                {
                    let over =
                        status.native_id != uid || ended_is_enough && status.phase == WorkerPhase::Exited;
                    if over {
                        return Ok(());
                    }
                }
                WorkerObservation::Gone(gone) if gone.worker == *worker => return Ok(()),
                // The picture is whole, and it is not in it.
                WorkerObservation::Synced if self.hub.current(worker).is_none() => return Ok(()),
                _ => {}
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the watch ended while the worker did"))
    }
}
