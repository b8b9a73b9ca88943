//! ConfigMaps that workers mount.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Error, ErrorKind, Result,
    model::{Ownership, labels},
    settings::Problems,
};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ObjectMeta, Patch, PatchParams};

use crate::{
    KubernetesOptions, KubernetesProvider, names,
    options::{is_name, validate_files},
    provider::Shared,
    secret::owner,
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
        pod: &Pod,
        options: &KubernetesOptions,
        ownership: &Ownership,
    ) -> Result<()> {
        for wanted in &options.config_maps {
            let installation = (labels::INSTALLATION.to_owned(), ownership.installation.to_string());
            let object = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(wanted.name.clone()),
                    labels: Some(BTreeMap::from([installation])),
                    owner_references: Some(vec![owner(pod)]),
                    ..ObjectMeta::default()
                },
                ..ConfigMap::default()
            };
            self.share(&object, serde_json::json!({})).await?;
            self.apply_files(&wanted.name, &wanted.files).await?;
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
        self.apply_files(name, files).await.map(|()| true)
    }

    /// Files that are not among them go.
    async fn apply_files(&self, name: &str, files: &BTreeMap<String, String>) -> Result<()> {
        let object = ConfigMap {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            data: Some(files.clone()),
            ..ConfigMap::default()
        };
        let parameters = PatchParams::apply(names::MANAGER).force();
        let config_maps = self.cluster.api::<ConfigMap>();
        let applied = self.cluster.call(config_maps.patch(name, &parameters, &Patch::Apply(&object))).await;
        applied.map(drop).map_err(|failed| self.cluster.error(failed))
    }
}
