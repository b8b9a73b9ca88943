//! Services before workers. One is owned by the pods of all workers that ask for it, so that the cluster removes it with the
//! last of them.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerConfig,
    model::{Ownership, labels},
};
use k8s_openapi::{
    api::core::v1::{Pod, Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    core::response::reason,
};

use crate::{
    KubernetesOptions, ServiceOptions, ServiceScope, names, pod::spec::protocol, provider::Shared,
    secret::owner,
};

/// Attempts against a Service that goes with its last worker while this one comes.
const ATTEMPTS: usize = 5;

fn service(wanted: &ServiceOptions, pod: &Pod, config: &WorkerConfig, ownership: &Ownership) -> Service {
    let mut selector =
        BTreeMap::from([(labels::INSTALLATION.to_owned(), ownership.installation.to_string())]);
    match (wanted.of, &config.metadata.worker_type) {
        (ServiceScope::Group, Some(worker_type)) => {
            selector.insert(labels::WORKER_TYPE.to_owned(), worker_type.to_string());
        }
        _ => {
            selector.insert(labels::WORKER.to_owned(), ownership.worker.id.to_string());
        }
    }
    let ports = config.ports.iter().map(|port| ServicePort {
        name: Some(format!("{}-{}", protocol(port.protocol).to_ascii_lowercase(), port.port)),
        port: i32::from(port.port),
        target_port: Some(IntOrString::Int(i32::from(port.port))),
        protocol: Some(protocol(port.protocol).to_owned()),
        ..ServicePort::default()
    });
    let ports: Vec<_> = ports.collect();
    Service {
        metadata: ObjectMeta {
            name: Some(wanted.name.clone()),
            labels: Some(BTreeMap::from([(
                labels::INSTALLATION.to_owned(),
                ownership.installation.to_string(),
            )])),
            owner_references: Some(vec![owner(pod)]),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: wanted.headless.then(|| "None".to_owned()),
            selector: Some(selector),
            ports: (!ports.is_empty()).then_some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

impl Shared {
    /// Makes the worker's Services, or joins those that other workers have.
    pub(crate) async fn give_services(
        &self,
        pod: &Pod,
        config: &WorkerConfig,
        options: &KubernetesOptions,
        ownership: &Ownership,
    ) -> Result<()> {
        for wanted in &options.services {
            let object = service(wanted, pod, config, ownership);
            let given = self.give_service(&wanted.name, &object).await;
            given.map_err(|error| error.with_context("service", &wanted.name))?;
        }
        Ok(())
    }

    async fn give_service(&self, name: &str, wanted: &Service) -> Result<()> {
        let services = self.cluster.api::<Service>();
        let parameters =
            PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
        for _ in 0..ATTEMPTS {
            match self.cluster.call(services.create(&parameters, wanted)).await {
                Ok(_) => return Ok(()),
                Err(failed)
                    if failed.status().is_some_and(|status| status.reason == reason::ALREADY_EXISTS) => {}
                Err(failed) => return Err(self.cluster.error(failed)),
            }
            let found = match self.cluster.call(services.get(name)).await {
                Ok(found) => found,
                Err(failed) if failed.is_not_found() => continue,
                Err(failed) => return Err(self.cluster.error(failed)),
            };
            let installation = found.metadata.labels.as_ref().and_then(|all| all.get(labels::INSTALLATION));
            if installation.map(String::as_str) != Some(self.view.installation.as_str()) {
                let message =
                    "a Service of that name exists that is not this installation's; it is left alone";
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            // Another owner is added to those that are there: the patch knows lists of owners by their uids.
            let joined = serde_json::json!({
                "metadata": {"uid": found.metadata.uid, "ownerReferences": wanted.metadata.owner_references},
                "spec": {"ports": wanted.spec.as_ref().and_then(|spec| spec.ports.as_ref())},
            });
            let patch =
                PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
            match self.cluster.call(services.patch(name, &patch, &Patch::Strategic(joined))).await {
                Ok(_) => return Ok(()),
                // It went with its last worker, or was made anew since.
                Err(failed) if failed.status().is_some_and(|status| matches!(status.code, 404 | 409)) => {}
                Err(failed) => return Err(self.cluster.error(failed)),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the Service comes and goes"))
    }
}
