//! The Deployment of a group.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Error, Result, WorkerConfig, WorkerRef,
    model::{GroupRef, InstallationId, MountSource, Ownership, labels},
    settings::Problems,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::api::ObjectMeta;

use crate::{KubernetesOptions, KubernetesSettings, ServiceScope, names, pod};

/// A pod's name has 63 characters, and a Deployment's pods add a template's hash and a number of their own.
const LONGEST_NAME: usize = 46;

/// A worker's id has 40 characters, and a member's has a hash of ten and a number of five behind the group's name.
const LONGEST_GROUP: usize = 40 - 11 - 6;

/// The labels by which the cluster knows its pods.
pub(super) fn selected(installation: &InstallationId, group: &GroupRef) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::INSTALLATION.to_owned(), installation.to_string()),
        (labels::WORKER_TYPE.to_owned(), group.to_string()),
        (names::MEMBER.to_owned(), String::new()),
    ])
}

/// Whether what stands around it is not all there yet.
pub(super) fn is_pending(group: &Deployment) -> bool {
    group.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(names::PENDING))
}

/// Whether it is made of this template.
pub(super) fn is_of(group: &Deployment, template: &WorkerConfig) -> bool {
    let of = group.metadata.annotations.as_ref().and_then(|all| all.get(names::TEMPLATE));
    of == Some(&template.fingerprint().to_string())
}

/// What is wrong with a template here.
pub(super) fn check(
    installation: &InstallationId,
    group: &GroupRef,
    template: &WorkerConfig,
    options: &KubernetesOptions,
) -> Result<()> {
    pod::check::configuration(template, options)?;
    let mut problems = Problems::new();
    problems.require(
        group.as_str().len() <= LONGEST_GROUP,
        "group",
        format!(
            "`{group}` is too long: its members' ids begin with it, which leaves {LONGEST_GROUP} characters"
        ),
    );
    let length = names::group(installation, group).len();
    problems.require(
        length <= LONGEST_NAME,
        "group",
        format!(
            "`{group}` is too long: with the installation's name it has to leave room in the names of its pods \
             ({length} of {LONGEST_NAME} characters)"
        ),
    );
    let of_type = template.metadata.worker_type.as_ref();
    problems.require(
        of_type.is_none_or(|of_type| of_type == group),
        "metadata.worker_type",
        format!("is not `{group}`, of which it is the template"),
    );
    for (n, mount) in template.mounts.iter().enumerate() {
        let is_volume = matches!(mount.source, MountSource::Volume { .. });
        let path = format!("mounts[{n}].source");
        problems.require(!is_volume, path, "members of a group cannot have a named volume each");
    }
    let typed = "options.kubernetes";
    for (n, service) in options.services.iter().enumerate() {
        let path = format!("{typed}.services[{n}].of");
        problems.require(service.of == ServiceScope::Group, path, "leads to one worker, and this is a group");
    }
    let endless = options.deadline.is_none();
    problems.require(endless, format!("{typed}.deadline"), "ends a run, and a group's members run on");
    match &*problems {
        [only] => Err(Error::config(only.path.clone(), only.message.clone())),
        _ => problems.into_result(),
    }
}

/// Without members as yet.
pub(super) fn deployment(
    installation: &InstallationId,
    group: &GroupRef,
    template: &WorkerConfig,
    options: &KubernetesOptions,
    settings: &KubernetesSettings,
) -> Result<Deployment> {
    let name = names::group(installation, group);
    let as_worker = Ownership::new(installation.clone(), WorkerRef::first(template.worker_id.clone()));
    let pod = pod::spec::pod(&name, template, options, settings, &as_worker)?;
    let mut spec = pod.spec.unwrap_or_default();
    // Its members are the cluster's: it starts them, and again where they end.
    spec.restart_policy = Some("Always".to_owned());
    (spec.scheduling_gates, spec.hostname) = (None, None);
    let node_loss = pod::spec::node_loss(template, settings);
    spec.tolerations = Some(pod::placement::tolerations(&options.tolerations, Some(node_loss)));
    let selected = selected(installation, group);
    let mut all: BTreeMap<String, String> = template.metadata.labels.clone().into_iter().collect();
    all.extend(selected.clone());
    let mut annotations = pod.metadata.annotations.unwrap_or_default();
    annotations.retain(|name, _| name != names::PENDING && name != names::SECRETS);
    let metadata =
        ObjectMeta { labels: Some(all.clone()), annotations: Some(annotations), ..ObjectMeta::default() };
    all.remove(names::MEMBER);
    Ok(Deployment {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(all),
            annotations: Some(BTreeMap::from([
                (names::PENDING.to_owned(), String::new()),
                (names::TEMPLATE.to_owned(), template.fingerprint().to_string()),
            ])),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(0),
            selector: LabelSelector { match_labels: Some(selected), ..LabelSelector::default() },
            template: PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) },
            // What was is of no use: a template does not change.
            revision_history_limit: Some(0),
            ..DeploymentSpec::default()
        }),
        status: None,
    })
}
