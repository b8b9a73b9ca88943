use std::sync::Arc;

use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerPhase, WorkerRef, WorkerStatus,
    provider::{Listing, WorkerFilter},
};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;

use super::PAGE;
use crate::{names, provider::Shared};

impl Shared {
    pub(crate) fn pod_name(&self, worker: &WorkerRef) -> String {
        names::pod(&self.view.installation, worker)
    }

    /// The names that its pod can have: the one that we give, and the one that a group does.
    fn pod_names(&self, worker: &WorkerRef) -> impl Iterator<Item = String> {
        let of_member =
            names::can_be_member(worker).then(|| names::member(&self.view.installation, &worker.id));
        std::iter::once(self.pod_name(worker)).chain(of_member)
    }

    /// The worker's pod, if there is one and it is ours. One request; two where it may be a group's member.
    pub(crate) async fn find(&self, worker: &WorkerRef) -> Result<Option<Pod>> {
        let pods = self.cluster.pods();
        for name in self.pod_names(worker) {
            match self.cluster.call(pods.get(&name)).await {
                Ok(pod) if self.is_of(&pod, worker) => return Ok(Some(pod)),
                Ok(_) => {}
                Err(failed) if failed.is_not_found() => {}
                Err(failed) => return Err(self.cluster.error(failed)),
            }
        }
        Ok(None)
    }

    pub(crate) async fn find_or_fail(&self, worker: &WorkerRef) -> Result<Pod> {
        self.find(worker).await?.ok_or_else(|| Error::worker_not_found(worker))
    }

    /// Its pod, which runs.
    pub(crate) async fn find_running(&self, worker: &WorkerRef) -> Result<Pod> {
        let pod = self.find_or_fail(worker).await?;
        let status = self.view.status(&pod, self.context.clock.now());
        let phase = status.map_or(WorkerPhase::Unknown, |status| status.phase);
        if matches!(phase, WorkerPhase::Running | WorkerPhase::Stopping) {
            return Ok(pod);
        }
        Err(Error::new(ErrorKind::Conflict, format!("the worker does not run: it is {phase}")))
    }

    /// Whether it is this worker's, by its labels.
    pub(crate) fn is_of(&self, pod: &Pod, worker: &WorkerRef) -> bool {
        names::ownership(&self.view.installation, &pod.metadata).is_some_and(|found| found.worker == *worker)
    }

    pub(crate) async fn read_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        let reading = self.hub.reading();
        let found = self.find(worker).await?;
        let as_of = self.context.clock.now();
        let status = match found.and_then(|pod| self.view.status(&pod, as_of)) {
            Some(status) => Arc::new(status),
            None => return Ok(WorkerStatus::absent(worker, as_of)),
        };
        debug_assert_ne!(status.phase, WorkerPhase::Absent, "a pod that is there");
        Ok(self.hub.saw(&reading, status))
    }

    /// All of them: one request for each [`PAGE`], since an API server that has to hold thousands at once is slow to all.
    pub(crate) async fn list(&self, filter: &WorkerFilter) -> Result<Listing> {
        let pods = self.cluster.pods();
        let mut parameters =
            ListParams::default().labels(&names::selector(&self.view.installation, filter)).limit(PAGE);
        let mut workers = Vec::new();
        loop {
            let reading = self.hub.reading();
            let page = self.cluster.call(pods.list(&parameters)).await;
            let page = page.map_err(|failed| self.cluster.error(failed))?;
            let as_of = self.context.clock.now();
            let statuses = page.items.iter().filter_map(|pod| self.view.status(pod, as_of));
            workers.extend(
                statuses
                    .filter(|status| filter.matches_status(status))
                    .map(|status| self.hub.saw(&reading, status)),
            );
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(Listing::new(workers, as_of)),
            }
        }
    }
}
