//! A worker's secrets: an object of the cluster, made before the worker's start, that goes with its pod.

use std::collections::BTreeMap;

use hodei_worker_core::{Error, Result, WorkerRef, credential::resolve, model::SecretReference};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Pod, Secret},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::api::{ObjectMeta, Patch, PatchParams};
use secrecy::zeroize::Zeroize as _;

use crate::{names, pod::spec::secret_key, provider::Shared, status::uid};

impl Shared {
    /// Writes the secrets as they are now.
    pub(crate) async fn give_secrets(&self, worker: &WorkerRef, pod: &Pod) -> Result<()> {
        let text = pod.metadata.annotations.as_ref().and_then(|all| all.get(names::SECRETS));
        let Some(text) = text else { return Ok(()) };
        let references: Vec<SecretReference> = serde_json::from_str(text).map_err(|error| {
            Error::config("secrets", "the pod's annotation with its secrets cannot be read")
                .with_source(error)
        })?;
        let mut data = BTreeMap::new();
        for (n, reference) in references.iter().enumerate() {
            let found = resolve(&*self.context.credentials, reference).await?;
            data.insert(secret_key(n), ByteString(found.material.expose().to_vec()));
        }
        let mut object = Secret {
            metadata: ObjectMeta {
                name: Some(self.pod_name(worker)),
                labels: pod.metadata.labels.clone(),
                owner_references: Some(vec![owner(pod)]),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..Secret::default()
        };
        let parameters = PatchParams::apply(names::MANAGER).force();
        let (name, secrets) = (self.pod_name(worker), self.cluster.api::<Secret>());
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

/// It goes when the pod does.
pub(crate) fn owner(pod: &Pod) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: uid(pod).to_owned(),
        block_owner_deletion: None,
        controller: Some(false),
    }
}
