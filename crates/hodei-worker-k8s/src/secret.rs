//! A worker's secrets: an object of the cluster, made before the worker's start, that goes with its pod.

use std::collections::BTreeMap;

use hodei_worker_core::{Error, Result, credential::resolve, model::SecretReference};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Pod, Secret},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Resource,
    api::{ObjectMeta, Patch, PatchParams},
};
use secrecy::zeroize::Zeroize as _;

use crate::{names, pod::spec::secret_key, provider::Shared};

impl Shared {
    /// Writes the secrets that the pod's annotation names.
    pub(crate) async fn give_secrets(&self, pod: &Pod) -> Result<()> {
        let text = pod.metadata.annotations.as_ref().and_then(|all| all.get(names::SECRETS));
        let Some(text) = text else { return Ok(()) };
        let references: Vec<SecretReference> = serde_json::from_str(text).map_err(|error| {
            Error::config("secrets", "the pod's annotation with its secrets cannot be read")
                .with_source(error)
        })?;
        self.write_secrets(pod, &references).await
    }

    /// Writes secrets as they are now into an object that has its owner's name and goes with it.
    pub(crate) async fn write_secrets<K>(&self, whose: &K, references: &[SecretReference]) -> Result<()>
    where
        K: Resource<DynamicType = ()>,
    {
        let mut data = BTreeMap::new();
        for (n, reference) in references.iter().enumerate() {
            let found = resolve(&*self.context.credentials, reference).await?;
            data.insert(secret_key(n), ByteString(found.material.expose().to_vec()));
        }
        let mut object = Secret {
            metadata: ObjectMeta {
                name: whose.meta().name.clone(),
                labels: whose.meta().labels.clone(),
                owner_references: Some(vec![owner(whose)]),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..Secret::default()
        };
        let parameters = PatchParams::apply(names::MANAGER).force();
        let name = whose.meta().name.clone().unwrap_or_default();
        let secrets = self.cluster.api::<Secret>();
        let applied = self.cluster.call(secrets.patch(&name, &parameters, &Patch::Apply(&object))).await;
        object.data.iter_mut().flatten().for_each(|(_, value)| value.0.zeroize());
        match applied {
            Ok(written) => {
                written.data.into_iter().flatten().for_each(|(_, mut value)| value.0.zeroize());
                Ok(())
            }
            Err(failed) => Err(self.cluster.error(failed).with_context("secret", name)),
        }
    }
}

/// What it owns goes with it.
pub(crate) fn owner<K: Resource<DynamicType = ()>>(of: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: of.meta().name.clone().unwrap_or_default(),
        uid: of.meta().uid.clone().unwrap_or_default(),
        block_owner_deletion: None,
        controller: Some(false),
    }
}
