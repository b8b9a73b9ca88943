//! A worker's secrets: an object of the cluster, made before the worker's start, that goes with its pod.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Error, ErrorKind, Result,
    credential::resolve,
    model::{SecretReference, labels},
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Pod, Secret},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Resource,
    api::{ObjectMeta, PostParams},
    core::response::reason,
};
use secrecy::zeroize::Zeroize as _;
use serde_json::json;

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
        let written = self.write_secret(&object).await;
        object.data.iter_mut().flatten().for_each(|(_, value)| value.0.zeroize());
        written.map_err(|error| error.with_context("secret", object.metadata.name.unwrap_or_default()))
    }

    /// Makes it, or writes over the one that an attempt which was cut off has left.
    async fn write_secret(&self, object: &Secret) -> Result<()> {
        let secrets = self.cluster.api::<Secret>();
        let parameters =
            PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
        match self.cluster.call(secrets.create(&parameters, object)).await {
            Ok(made) => {
                forget(made);
                return Ok(());
            }
            Err(failed) if failed.status().is_some_and(|status| status.reason == reason::ALREADY_EXISTS) => {}
            Err(failed) => return Err(self.cluster.error(failed)),
        }
        let request = self.rewriting(object)?;
        match self.cluster.call(self.cluster.client.request::<Secret>(request)).await {
            Ok(written) => {
                forget(written);
                Ok(())
            }
            // What it was to be like, it is not.
            Err(failed) if failed.status().is_some_and(|status| status.code == 422) => {
                let message = "a Secret of that name exists that is not this worker's; it is left alone";
                Err(Error::new(ErrorKind::Conflict, message)
                    .with_help("delete it, or give the worker another id"))
            }
            Err(failed) => Err(self.cluster.error(failed)),
        }
    }

    /// Writes over one that has the labels of this one, without reading it: nobody has to be allowed that.
    fn rewriting(&self, object: &Secret) -> Result<http::Request<Vec<u8>>> {
        let labels = object.metadata.labels.iter().flatten();
        let ours = labels.filter(|(name, _)| {
            [labels::INSTALLATION, labels::WORKER, labels::WORKER_TYPE].contains(&name.as_str())
        });
        let tests = ours.map(|(name, value)| {
            let path = format!("/metadata/labels/{}", name.replace('~', "~0").replace('/', "~1"));
            json!({"op": "test", "path": path, "value": value})
        });
        let changes = [
            json!({"op": "add", "path": "/data", "value": object.data}),
            json!({"op": "add", "path": "/metadata/ownerReferences", "value": object.metadata.owner_references}),
        ];
        let patch: Vec<_> = tests.chain(changes).collect();
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let path = format!(
            "/api/v1/namespaces/{}/secrets/{name}?fieldManager={}",
            self.cluster.namespace,
            names::MANAGER
        );
        let request =
            http::Request::patch(path).header(http::header::CONTENT_TYPE, "application/json-patch+json");
        let body = serde_json::to_vec(&patch).map_err(|error| unsendable().with_source(error))?;
        request.body(body).map_err(|error| unsendable().with_source(error))
    }
}

fn unsendable() -> Error {
    Error::new(ErrorKind::Unexpected, "the secrets cannot be sent to the API server")
}

fn forget(secret: Secret) {
    secret.data.into_iter().flatten().for_each(|(_, mut value)| value.0.zeroize());
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
