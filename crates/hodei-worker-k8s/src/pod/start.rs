use hodei_worker_core::{Error, ErrorKind, Result, WorkerRef, provider::StartOptions};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{
    names,
    provider::Shared,
    status::{is_gated, run, uid},
};

impl Shared {
    /// Takes the gate away, as often as it is called: a pod runs once. One request where we made the pod and it has no
    /// secrets, another to find it, and one for its secrets.
    pub(crate) async fn start(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        if options.after.is_some() {
            return self.start_again(worker, options).await;
        }
        if let Some(known) = self.memory.plain(worker) {
            match self.open(worker, &known).await {
                // Another one may stand in its place.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                    self.memory.forget(worker);
                }
                other => return other,
            }
        }
        let found = self.find_or_fail(worker).await?;
        if !is_gated(&found) {
            return Ok(());
        }
        if found.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(names::PENDING)) {
            let message = "its creation was cut off before all was there that stands around it";
            return Err(Error::new(ErrorKind::Conflict, message)
                .with_help("repeat the creation with the same configuration, or delete the worker"));
        }
        self.give_secrets(&found).await?;
        self.open(worker, uid(&found)).await
    }

    /// A pod cannot run a second time.
    async fn start_again(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        let found = self.find_or_fail(worker).await?;
        let now = (!is_gated(&found)).then(|| run(&found));
        if now != options.after {
            return match now {
                Some(_) => Ok(()),
                None => {
                    Err(Error::new(ErrorKind::Conflict, "it has never run, so no run can follow that one"))
                }
            };
        }
        Err(Error::new(ErrorKind::Unsupported, "a pod runs once")
            .with_help("delete the worker and create its next generation"))
    }

    /// A merge that carries the uid is refused where the pod is another by now.
    async fn open(&self, worker: &WorkerRef, uid: &str) -> Result<()> {
        let reading = self.hub.reading();
        let patch = json!({"metadata": {"uid": uid}, "spec": {"schedulingGates": null}});
        let parameters =
            PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
        let (pods, name) = (self.cluster.pods(), self.pod_name(worker));
        let patched = self.cluster.call(pods.patch(&name, &parameters, &Patch::Merge(patch))).await;
        let pod: Pod = match patched {
            Ok(pod) => pod,
            Err(failed) if failed.is_not_found() => return Err(Error::worker_not_found(worker)),
            Err(failed) => return Err(self.cluster.error(failed)),
        };
        self.told(&reading, &pod);
        Ok(())
    }
}
