//! Named volumes: claims of the namespace. Those that were made for a worker are labelled, and go with their last user.

use std::collections::{BTreeMap, BTreeSet};

use hodei_worker_core::{
    Error, Result, WorkerConfig, WorkerRef,
    model::{MountSource, Ownership, labels},
};
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, Pod, VolumeResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
    core::response::reason,
    runtime::wait::{self, await_condition, conditions::is_deleted},
};

use crate::{KubernetesOptions, names, provider::Shared};

/// The names of a configuration's volumes.
pub(crate) fn wanted(config: &WorkerConfig) -> BTreeSet<&str> {
    let names = config.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name } => Some(name.as_str()),
        _ => None,
    });
    names.collect()
}

/// The claims that a pod mounts.
fn mounted(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

/// Claims by name and uid.
pub(crate) type Made = Vec<(String, String)>;

impl Shared {
    /// Makes the claims that are not there. Those that were made are for the case that the worker is not.
    pub(crate) async fn ensure_claims(
        &self,
        config: &WorkerConfig,
        options: &KubernetesOptions,
        ownership: &Ownership,
    ) -> std::result::Result<Made, (Made, Error)> {
        let mut made = Vec::new();
        for name in wanted(config) {
            match self.ensure_claim(name, options, ownership).await {
                Ok(uid) => made.extend(uid.map(|uid| (name.to_owned(), uid))),
                Err(error) => return Err((made, error)),
            }
        }
        Ok(made)
    }

    async fn ensure_claim(
        &self,
        name: &str,
        options: &KubernetesOptions,
        ownership: &Ownership,
    ) -> Result<Option<String>> {
        let wanted = options.claims.get(name).cloned().unwrap_or_default();
        let size = Quantity(wanted.size.bytes().to_string());
        let user = names::user(&ownership.worker.id);
        let mut labels: BTreeMap<_, _> = ownership.to_labels().into_iter().collect();
        labels.insert(user.clone(), String::new());
        let claim = PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec![wanted.access.as_kubernetes().to_owned()]),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                    ..VolumeResourceRequirements::default()
                }),
                storage_class_name: wanted.storage_class,
                ..PersistentVolumeClaimSpec::default()
            }),
            status: None,
        };
        let claims = self.cluster.api::<PersistentVolumeClaim>();
        let parameters =
            PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
        match self.cluster.call(claims.create(&parameters, &claim)).await {
            Ok(made) => Ok(made.metadata.uid),
            Err(failed) if failed.status().is_some_and(|status| status.reason == reason::ALREADY_EXISTS) => {
                let found = self.cluster.call(claims.get(name)).await;
                let found = found.map_err(|failed| self.cluster.error(failed).with_context("claim", name))?;
                match found.metadata.deletion_timestamp {
                    None if !self.made_for_ours(&found) => Ok(None),
                    None if found.metadata.labels.as_ref().is_some_and(|all| all.contains_key(&user)) => {
                        Ok(None)
                    }
                    None => {
                        let patch = Patch::Merge(serde_json::json!({
                            "metadata": {"uid": found.metadata.uid, "labels": {user: ""}},
                        }));
                        let parameters = PatchParams {
                            field_manager: Some(names::MANAGER.to_owned()),
                            ..PatchParams::default()
                        };
                        let noted = claims.patch(name, &parameters, &patch);
                        let noted = self.cluster.call(noted).await;
                        noted
                            .map(|_| None)
                            .map_err(|failed| self.cluster.error(failed).with_context("claim", name))
                    }
                    // It goes, and with it what it held.
                    Some(_) => {
                        self.until_claim_is_gone(name, found.metadata.uid.as_deref().unwrap_or_default())
                            .await?;
                        let made = self.cluster.call(claims.create(&parameters, &claim)).await;
                        let made =
                            made.map_err(|failed| self.cluster.error(failed).with_context("claim", name))?;
                        Ok(made.metadata.uid)
                    }
                }
            }
            Err(failed) => {
                Err(self.not_created(failed, "", "persistentvolumeclaims").await.with_context("claim", name))
            }
        }
    }

    /// Removes claims that were just made for a worker that was not, unless another one has them by now.
    pub(crate) async fn take_back_claims(&self, made: &[(String, String)]) {
        let claims = made.iter().map(|(name, uid)| PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                uid: Some(uid.clone()),
                ..ObjectMeta::default()
            },
            ..PersistentVolumeClaim::default()
        });
        if let Err(error) = self.drop_unused(claims.collect()).await {
            tracing::warn!(%error, "claims are left of a worker that could not be made");
        }
    }

    /// Removes what the pod mounted and no other worker mounts, as far as it was made for a worker of ours.
    pub(crate) async fn drop_claims(&self, pod: &Pod) -> Result<()> {
        let names: BTreeSet<&str> = mounted(pod).collect();
        if names.is_empty() {
            return Ok(());
        }
        let claims = self.cluster.api::<PersistentVolumeClaim>();
        let mut ours = Vec::new();
        for name in names {
            match self.cluster.call(claims.get(name)).await {
                Ok(claim) => ours.extend(Some(claim).filter(|claim| self.made_for_ours(claim))),
                Err(failed) if failed.is_not_found() => {}
                Err(failed) => return Err(self.cluster.error(failed).with_context("claim", name)),
            }
        }
        self.drop_unused(ours).await
    }

    /// The same for a worker whose pod is gone already: what it has mounted, in whatever generation.
    pub(crate) async fn drop_claims_of(&self, worker: &WorkerRef) -> Result<()> {
        let (installation, user) = (&self.view.installation, names::user(&worker.id));
        let selected = format!("{}={installation},{user}", labels::INSTALLATION);
        let claims = self.cluster.api::<PersistentVolumeClaim>();
        let listed = match self.cluster.call(claims.list(&ListParams::default().labels(&selected))).await {
            Ok(listed) => listed,
            // Whoever may not see claims has made none.
            Err(failed) if failed.status().is_some_and(|status| status.code == 403) => return Ok(()),
            Err(failed) => return Err(self.cluster.error(failed)),
        };
        self.drop_unused(listed.items).await
    }

    fn made_for_ours(&self, claim: &PersistentVolumeClaim) -> bool {
        names::ownership(&self.view.installation, &claim.metadata).is_some()
    }

    async fn drop_unused(&self, claims: Vec<PersistentVolumeClaim>) -> Result<()> {
        if claims.is_empty() {
            return Ok(());
        }
        let _alone = self.mounting.write().await;
        // Pods of anybody may mount it.
        let pods = self.cluster.call(self.cluster.pods().list(&ListParams::default())).await;
        let pods = pods.map_err(|failed| self.cluster.error(failed))?;
        let used: BTreeSet<&str> = pods.items.iter().flat_map(mounted).collect();
        for claim in &claims {
            if let (Some(name), Some(uid)) = (&claim.metadata.name, &claim.metadata.uid)
                && !used.contains(name.as_str())
            {
                self.delete_claim(name, uid).await?;
                self.until_claim_is_gone(name, uid).await?;
            }
        }
        Ok(())
    }

    /// The cluster keeps it for a moment, in case that a pod still has it.
    async fn until_claim_is_gone(&self, name: &str, uid: &str) -> Result<()> {
        let claims = self.cluster.api::<PersistentVolumeClaim>();
        let gone = async {
            match await_condition(claims, name, is_deleted(uid)).await {
                Ok(_) => Ok(Ok(())),
                Err(wait::Error::ProbeFailed(error)) => Ok(Err(crate::watch::failed(error))),
            }
        };
        let gone = self.cluster.call(gone).await.and_then(|gone| gone);
        gone.map_err(|failed| self.cluster.error(failed).with_context("claim", name))
    }

    async fn delete_claim(&self, name: &str, uid: &str) -> Result<()> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        let claims = self.cluster.api::<PersistentVolumeClaim>();
        match self.cluster.call(claims.delete(name, &parameters)).await {
            // 409: another one has its name by now.
            Err(failed) if !failed.status().is_some_and(|status| matches!(status.code, 404 | 409)) => {
                Err(self.cluster.error(failed).with_context("claim", name))
            }
            _ => Ok(()),
        }
    }
}
