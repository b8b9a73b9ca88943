//! Services before workers.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerConfig,
    model::{Ownership, labels},
};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::{apis::meta::v1::OwnerReference, util::intstr::IntOrString},
};
use kube::api::ObjectMeta;
use serde_json::json;

use crate::{KubernetesOptions, ServiceOptions, ServiceScope, pod::spec::protocol, provider::Shared};

fn service(
    wanted: &ServiceOptions,
    owner: &OwnerReference,
    config: &WorkerConfig,
    ownership: &Ownership,
) -> Service {
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
            owner_references: Some(vec![owner.clone()]),
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
        owner: &OwnerReference,
        config: &WorkerConfig,
        options: &KubernetesOptions,
        ownership: &Ownership,
    ) -> Result<()> {
        for wanted in &options.services {
            let object = service(wanted, owner, config, ownership);
            let ports = object.spec.as_ref().and_then(|spec| spec.ports.clone()).unwrap_or_default();
            // As a whole: a merge knows ports by their numbers alone, and removes none.
            let changes = match ports.is_empty() {
                true => json!({}),
                false => {
                    let whole = std::iter::once(json!({"$patch": "replace"}));
                    json!({"spec": {"ports": whole.chain(ports.iter().map(|port| json!(port))).collect::<Vec<_>>()}})
                }
            };
            let leads = |one: &Service| {
                let spec = one.spec.clone().unwrap_or_default();
                (spec.selector.unwrap_or_default(), spec.cluster_ip.as_deref() == Some("None"))
            };
            let judge = |found: &Service| match leads(found) == leads(&object) {
                true => Ok(()),
                false => Err(Error::new(
                    ErrorKind::Conflict,
                    "the Service is there, and leads to other workers or is headless where this one is not",
                )
                .with_help("give it another name, or delete the workers that have it")),
            };
            self.share(&object, changes, judge).await?;
        }
        Ok(())
    }
}
