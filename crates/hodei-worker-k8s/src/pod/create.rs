use std::{collections::BTreeMap, sync::Arc};

use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerConfig, WorkerHandle, WorkerRef,
    capability::needed_by,
    credential::resolve,
    model::{Ownership, labels},
    provider::{CreateOptions, DeleteOptions},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    api::{Patch, PatchParams, PostParams},
    core::response::reason,
};

use super::{check, spec};
use crate::{
    KubernetesOptions,
    claim::{self, Made},
    client::Failed,
    names,
    provider::Shared,
    secret::owner,
    status::{is_terminating, uid},
};

/// Why a pod was not made.
enum Refused {
    /// One of its name is there.
    Exists,
    For(Error),
}

impl Shared {
    /// One request where nothing stands in the way: the creation itself. What exists already is found by the conflict of
    /// names.
    pub(crate) async fn create(
        self: &Arc<Self>,
        worker: &WorkerRef,
        config: &WorkerConfig,
        options: &CreateOptions,
    ) -> Result<WorkerHandle> {
        self.capabilities.require(needed_by(config))?;
        let typed = config.options::<KubernetesOptions>()?.unwrap_or_default();
        check::worker(config, &typed)?;
        for secret in &config.secrets {
            // Fails before anything exists; they are resolved again at the start.
            drop(resolve(&*self.context.credentials, secret).await?);
        }
        let mut ownership = Ownership::new(self.view.installation.clone(), worker.clone());
        ownership.intent.clone_from(&options.intent);
        ownership.fingerprint = Some(config.fingerprint());
        let name = self.pod_name(worker);
        let pod = spec::pod(&name, config, &typed, &self.settings, &ownership)?;
        let (made, claims) =
            Box::pin(self.create_or_adopt(worker, &name, &pod, config, &typed, &ownership)).await?;
        let is_new = claims.is_some();
        // The pod waits for its start: nothing runs yet that they could miss.
        if let Err(error) = self.give_objects(&made, config, &typed, &ownership, is_new).await {
            // What was made is found again by the next attempt, unless that would fail as well. One that was there before
            // may run, and volumes that were there before hold something.
            if let Some(claims) = claims.filter(|_| !error.is_retryable()) {
                Box::pin(self.delete(worker, &DeleteOptions::keeping_volumes())).await.ok();
                self.take_back_claims(&claims).await;
            }
            return Err(error);
        }
        if config.secrets.is_empty() {
            self.memory.know(worker, uid(&made));
        }
        Ok(WorkerHandle::new(self.info.name.clone(), worker.clone(), uid(&made)))
    }

    /// What stands around a worker, which the cluster removes with its pod.
    async fn give_objects(
        &self,
        pod: &Pod,
        config: &WorkerConfig,
        options: &KubernetesOptions,
        ownership: &Ownership,
        is_new: bool,
    ) -> Result<()> {
        let is_pending =
            pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(names::PENDING));
        if !is_new && !is_pending {
            return Ok(());
        }
        let owner = owner(pod);
        let of_worker = [labels::INSTALLATION, labels::WORKER, labels::GENERATION];
        let selected =
            ownership.to_labels().into_iter().filter(|(name, _)| of_worker.contains(&name.as_str()));
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let selected: BTreeMap<_, _> = selected.collect();
        self.give_traffic_rules(name, selected.clone(), &owner, options, ownership).await?;
        self.give_disruption_budget(name, selected, &owner, options, ownership).await?;
        self.give_config_maps(&owner, options, ownership).await?;
        self.give_services(&owner, config, options, ownership).await?;
        if !is_pending {
            return Ok(());
        }
        let done = serde_json::json!({"metadata": {"uid": uid(pod), "annotations": {names::PENDING: null}}});
        let parameters =
            PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
        let pods = self.cluster.pods();
        let noted = self.cluster.call(pods.patch(name, &parameters, &Patch::Merge(done))).await;
        noted.map(drop).map_err(|failed| self.cluster.error(failed))
    }

    /// The worker's pod; with the claims that were made for it, if it was made now.
    async fn create_or_adopt(
        self: &Arc<Self>,
        worker: &WorkerRef,
        name: &str,
        pod: &Pod,
        config: &WorkerConfig,
        options: &KubernetesOptions,
        ownership: &Ownership,
    ) -> Result<(Pod, Option<Made>)> {
        // Of all attempts: what one has made, the next finds there.
        let mut all_claims = Made::new();
        // What is just being deleted goes, and its name becomes free: once, unless somebody makes it again and again.
        for _ in 0..3 {
            let failed = match Box::pin(self.attempt(pod, config, options, ownership)).await {
                Ok((made, claims)) => {
                    all_claims.extend(claims);
                    return Ok((made, Some(all_claims)));
                }
                Err((claims, failed)) => {
                    all_claims.extend(claims);
                    failed
                }
            };
            let error = match failed {
                Refused::Exists => match self.adopt(worker, name, ownership).await {
                    Ok(Some(found)) => return Ok((found, None)),
                    Ok(None) => continue,
                    Err(error) => error,
                },
                Refused::For(error) => error,
            };
            // Whether it was made is not known otherwise, and then it has them.
            if !error.is_retryable() {
                self.take_back_claims(&all_claims).await;
            }
            return Err(error);
        }
        self.take_back_claims(&all_claims).await;
        Err(Error::new(ErrorKind::Conflict, "a pod of that name comes and goes").with_context("pod", name))
    }

    /// Claims and pod. Between the two nobody of ours removes a claim that no pod has.
    async fn attempt(
        &self,
        pod: &Pod,
        config: &WorkerConfig,
        options: &KubernetesOptions,
        ownership: &Ownership,
    ) -> std::result::Result<(Pod, Made), (Made, Refused)> {
        let _mounting = match claim::wanted(config).is_empty() {
            true => None,
            false => Some(self.mounting.read().await),
        };
        let claims = Box::pin(self.ensure_claims(config, options, ownership)).await;
        let claims = claims.map_err(|(made, error)| (made, Refused::For(error)))?;
        let parameters =
            PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
        let reading = self.hub.reading();
        match self.cluster.call(self.cluster.pods().create(&parameters, pod)).await {
            Ok(made) => {
                self.told(&reading, &made);
                Ok((made, claims))
            }
            Err(failed) => match failed.status().map(|status| status.reason.as_str()) {
                Some(reason::ALREADY_EXISTS) => Err((claims, Refused::Exists)),
                _ => Err((claims, Refused::For(self.not_created(failed, "", "pods").await))),
            },
        }
    }

    /// The pod of that name, if it is as it was asked for. `None`: it was just being deleted, and is gone.
    async fn adopt(
        self: &Arc<Self>,
        worker: &WorkerRef,
        name: &str,
        ownership: &Ownership,
    ) -> Result<Option<Pod>> {
        let found = self.cluster.call(self.cluster.pods().get(name)).await;
        let found = match found {
            Ok(found) => found,
            Err(failed) if failed.is_not_found() => return Ok(None),
            Err(failed) => return Err(self.cluster.error(failed)),
        };
        let Some(theirs) = names::ownership(&self.view.installation, &found.metadata)
            .filter(|theirs| theirs.worker == *worker)
        else {
            return Err(Error::new(
                ErrorKind::Conflict,
                "a pod of the worker's name exists that is not this installation's; it is left alone",
            )
            .with_context("pod", name));
        };
        if is_terminating(&found) {
            self.until_gone(worker, &found).await?;
            return Ok(None);
        }
        if theirs.fingerprint != ownership.fingerprint {
            return Err(Error::new(ErrorKind::Conflict, "this generation exists with another configuration")
                .with_context("pod", name)
                .with_help("delete it, or create the next generation"));
        }
        Ok(Some(found))
    }

    /// Why the API server did not make it. A refusal may come from its rules for whoever asks, or from admission.
    pub(crate) async fn not_created(&self, failed: Failed, group: &str, resource: &str) -> Error {
        let namespace = &self.cluster.namespace;
        let causes =
            failed.status().and_then(|status| status.details.as_ref()).map(|details| &details.causes);
        if causes.is_some_and(|all| all.iter().any(|cause| cause.reason == "NamespaceTerminating")) {
            return Error::new(ErrorKind::Conflict, format!("the namespace `{namespace}` is being deleted"))
                .with_help("name another by the setting `namespace`, or make it anew when it is gone");
        }
        if failed.is_not_found() {
            let message = format!("there is no namespace `{namespace}` in the cluster");
            return Error::config("namespace", message)
                .with_help("make it, or name another by the setting `namespace`");
        }
        if failed.status().is_none_or(|status| status.code != 403) {
            return self.cluster.error(failed);
        }
        match self.may(group, resource, "create").await {
            Ok(true) => {
                let words = failed.status().map(|status| status.message.clone()).unwrap_or_default();
                self.not_admitted(&words)
            }
            _ => self.cluster.error(failed).with_help("`Permissions` says what this host has to be allowed"),
        }
    }

    /// This host may make such objects, and the cluster takes none like this one.
    pub(crate) fn not_admitted(&self, words: &str) -> Error {
        let namespace = &self.cluster.namespace;
        // By its words: quotas have no code or reason of their own.
        let error = if words.contains("exceeded quota") {
            let message = format!("a quota of the namespace `{namespace}` is used up: {words}");
            Error::new(ErrorKind::QuotaExceeded, message)
                .with_help("have it raised, ask for less, or delete workers")
        } else {
            let message = format!("the cluster's admission refuses it: {words}");
            Error::new(ErrorKind::Config, message).with_help(
                "a Pod Security Standard or a policy of the cluster is broken; see the option `security`",
            )
        };
        error.with_context("server", &self.cluster.server)
    }
}
