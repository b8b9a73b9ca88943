//! ConfigMaps that workers mount.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Error, ErrorKind, Result,
    model::{Ownership, labels},
    settings::Problems,
};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::api::{ObjectMeta, Patch, PatchParams};

use crate::{
    KubernetesOptions, KubernetesProvider, names,
    options::{is_name, validate_files},
    provider::Shared,
};

impl KubernetesProvider {
    /// Gives a ConfigMap of this installation's workers other files. Those that run see them at their paths, without a
    /// restart, when their node's kubelet has looked: within a minute, unless it is told otherwise. Whether anything has
    /// changed.
    ///
    /// # Errors
    /// [`Config`](hodei_worker_core::ErrorKind::Config) for a name or files that cannot be, before anything is asked for;
    /// [`NotFound`](hodei_worker_core::ErrorKind::NotFound) when no worker has such a ConfigMap.
    ///
    /// # Cancel safety
    /// When dropped, the files may have been written or not: all or none of them.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(provider: hodei_worker_k8s::KubernetesProvider) -> Result<(), Box<dyn std::error::Error>> {
    /// let files = [("level".to_owned(), "info".to_owned())].into();
    /// provider.apply_config_map("app", &files).await?;
    /// # Ok(()) }
    /// ```
    pub async fn apply_config_map(&self, name: &str, files: &BTreeMap<String, String>) -> Result<bool> {
        let shared = self.shared();
        let applied = Box::pin(shared.change_config_map(name, files)).await;
        applied.map_err(|error| error.with_provider(&shared.info).with_context("configmap", name))
    }
}

impl Shared {
    /// Makes the worker's ConfigMaps what its options say.
    pub(crate) async fn give_config_maps(
        &self,
        owner: &OwnerReference,
        options: &KubernetesOptions,
        ownership: &Ownership,
    ) -> Result<()> {
        for wanted in &options.config_maps {
            let installation = (labels::INSTALLATION.to_owned(), ownership.installation.to_string());
            let object = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(wanted.name.clone()),
                    labels: Some(BTreeMap::from([installation])),
                    owner_references: Some(vec![owner.clone()]),
                    ..ObjectMeta::default()
                },
                ..ConfigMap::default()
            };
            let (shared, is_new) = self.share(&object, serde_json::json!({}), |_| Ok(())).await?;
            let digest = digest(&wanted.files);
            // What a host has changed since stays, until a worker's configuration says something else than before.
            let given = shared.metadata.annotations.as_ref().and_then(|all| all.get(names::FILES));
            if is_new || given != Some(&digest) {
                self.apply_files(&shared, &wanted.files, Some(digest)).await?;
            }
        }
        Ok(())
    }

    async fn change_config_map(&self, name: &str, files: &BTreeMap<String, String>) -> Result<bool> {
        let mut problems = Problems::new();
        problems.require(is_name(name), "name", format!("`{name}` cannot be an object's name"));
        validate_files(files, "files", &mut problems);
        problems.into_result()?;
        let found = self.cluster.call(self.cluster.api::<ConfigMap>().get(name)).await;
        let found = found.map_err(|failed| self.cluster.error(failed))?;
        let installation = found.metadata.labels.as_ref().and_then(|all| all.get(labels::INSTALLATION));
        if installation.map(String::as_str) != Some(self.view.installation.as_str()) {
            return Err(Error::new(ErrorKind::Conflict, "it is not this installation's, and is left alone"));
        }
        if found.data.as_ref().unwrap_or(&BTreeMap::new()) == files {
            return Ok(false);
        }
        let given = found.metadata.annotations.as_ref().and_then(|all| all.get(names::FILES)).cloned();
        self.apply_files(&found, files, given).await.map(|()| true)
    }

    /// Files that are not among them go. Nothing is done where the ConfigMap is another by now.
    async fn apply_files(
        &self,
        found: &ConfigMap,
        files: &BTreeMap<String, String>,
        given: Option<String>,
    ) -> Result<()> {
        let annotations = given.map(|digest| BTreeMap::from([(names::FILES.to_owned(), digest)]));
        let object = ConfigMap {
            metadata: ObjectMeta {
                name: found.metadata.name.clone(),
                uid: found.metadata.uid.clone(),
                annotations,
                ..ObjectMeta::default()
            },
            data: Some(files.clone()),
            ..ConfigMap::default()
        };
        let parameters = PatchParams::apply(names::MANAGER).force();
        let config_maps = self.cluster.api::<ConfigMap>();
        let name = found.metadata.name.as_deref().unwrap_or_default();
        let applied = self.cluster.call(config_maps.patch(name, &parameters, &Patch::Apply(&object))).await;
        applied.map(drop).map_err(|failed| self.cluster.error(failed).with_context("configmap", name))
    }
}

/// Tells files from others (FNV-1a): nobody gains by finding two that it takes for one.
fn digest(files: &BTreeMap<String, String>) -> String {
    let parts = files.iter().flat_map(|(name, text)| [name.len(), text.len()].into_iter().zip([name, text]));
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for (length, text) in parts {
        for byte in length.to_le_bytes().into_iter().chain(text.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}
