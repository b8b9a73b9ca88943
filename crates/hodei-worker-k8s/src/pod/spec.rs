//! The pod that is a worker.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Error, Result, WorkerConfig,
    model::{
        HealthCheckConfig, MountSource, Ownership, Probe, Protocol, RestartPolicy, Scheme, SecretTarget,
    },
    quantity::HumanDuration,
};
use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use kube::api::ObjectMeta;

use super::placement;
use crate::{
    KubernetesOptions, KubernetesSettings,
    names::{self, CONTAINER, GATE},
};

/// The volume with the worker's secrets.
const SECRETS: &str = "secrets";

/// The key in the pod's Secret of the secret of that number.
pub(crate) fn secret_key(n: usize) -> String {
    format!("secret-{n}")
}

/// Seconds, as the cluster counts: never less than was asked for, and at least one, since none is no kill but an
/// object that is forgotten while its processes run.
pub(crate) fn grace_seconds(grace: std::time::Duration) -> i64 {
    let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    i64::try_from(seconds.max(1)).unwrap_or(i64::MAX)
}

pub(crate) fn pod(
    name: &str,
    config: &WorkerConfig,
    options: &KubernetesOptions,
    settings: &KubernetesSettings,
    ownership: &Ownership,
) -> Result<core::Pod> {
    let worker_type = config.metadata.worker_type.as_ref().map(AsRef::as_ref);
    let labels = names::all_labels(ownership, &config.metadata.labels, worker_type);
    let mut annotations = options.annotations.clone();
    let own: Vec<&String> = config.metadata.labels.keys().collect();
    if !own.is_empty() {
        annotations.insert(names::LABELS.to_owned(), text(&own)?);
    }
    if !config.secrets.is_empty() {
        annotations.insert(names::SECRETS.to_owned(), text(&config.secrets)?);
    }
    let is_alone = options.traffic.is_none() && options.config_maps.is_empty() && options.services.is_empty();
    if !is_alone || options.min_available.is_some() {
        annotations.insert(names::PENDING.to_owned(), String::new());
    }
    // One that nobody may start again is not ended for its node either: it may be at work.
    let ends_with_its_node = config.restart_policy() != RestartPolicy::Never;
    let node_loss = ends_with_its_node.then(|| node_loss(config, settings));
    let grace = config.stop_grace.unwrap_or(settings.default_stop_grace);
    let (volumes, mounts) = volumes(name, config, options);
    let spec = core::PodSpec {
        containers: vec![container(name, config, options, mounts)],
        volumes: (!volumes.is_empty()).then_some(volumes),
        // The manager restarts.
        restart_policy: Some("Never".to_owned()),
        scheduling_gates: Some(vec![core::PodSchedulingGate { name: GATE.to_owned() }]),
        termination_grace_period_seconds: Some(grace_seconds(grace.get())),
        // The pod's name is no host name: it has dots, and may be too long.
        hostname: Some(config.worker_id.to_string()),
        automount_service_account_token: Some(options.mount_service_account_token),
        service_account_name: options.service_account.clone(),
        enable_service_links: Some(false),
        security_context: Some(pod_security(options)),
        node_selector: (!options.node_selector.is_empty()).then(|| options.node_selector.clone()),
        affinity: placement::affinity(&options.placement, &ownership.installation),
        topology_spread_constraints: placement::spread(&options.placement.spread, &ownership.installation),
        tolerations: some(placement::tolerations(&options.tolerations, node_loss)),
        priority_class_name: options.priority_class.clone(),
        runtime_class_name: options.runtime_class.clone(),
        image_pull_secrets: some(
            options
                .pull_secrets
                .iter()
                .map(|name| core::LocalObjectReference { name: name.clone() })
                .collect(),
        ),
        active_deadline_seconds: options.deadline.map(|deadline| grace_seconds(deadline.get())),
        ..core::PodSpec::default()
    };
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    };
    Ok(core::Pod { metadata, spec: Some(spec), status: None })
}

pub(super) fn some<T>(all: Vec<T>) -> Option<Vec<T>> {
    (!all.is_empty()).then_some(all)
}

/// How long a lost node is borne.
pub(crate) fn node_loss(config: &WorkerConfig, settings: &KubernetesSettings) -> HumanDuration {
    config.recovery.as_ref().map_or(settings.node_loss, |recovery| recovery.node_loss)
}

fn text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::config("metadata", "the configuration cannot be kept as data").with_source(error)
    })
}

/// A kubelet replaces `$(NAME)` by a variable's value, and `$$` by `$`: what is meant as it stands is written so.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn container(
    pod: &str,
    config: &WorkerConfig,
    options: &KubernetesOptions,
    mounts: Vec<core::VolumeMount>,
) -> core::Container {
    let words = |words: &[String]| some(words.iter().map(|word| literal(word)).collect());
    let mut env: Vec<_> = config
        .environment
        .iter()
        .map(|(name, value)| core::EnvVar {
            name: name.clone(),
            value: Some(literal(value)),
            ..core::EnvVar::default()
        })
        .collect();
    for (n, secret) in config.secrets.iter().enumerate() {
        if let SecretTarget::Variable { name } = &secret.target {
            let key = core::SecretKeySelector { name: pod.to_owned(), key: secret_key(n), optional: None };
            let source = core::EnvVarSource { secret_key_ref: Some(key), ..core::EnvVarSource::default() };
            env.push(core::EnvVar { name: name.clone(), value: None, value_from: Some(source) });
        }
    }
    let ports = config.ports.iter().map(|port| core::ContainerPort {
        container_port: port.port.into(),
        protocol: Some(protocol(port.protocol).to_owned()),
        ..core::ContainerPort::default()
    });
    let probe = config.health_checks.first().and_then(probe);
    core::Container {
        name: CONTAINER.to_owned(),
        image: config.image.as_ref().map(ToString::to_string),
        image_pull_policy: Some(options.pull.as_kubernetes().to_owned()),
        command: words(&config.command),
        args: words(&config.args),
        working_dir: config.working_dir.clone(),
        env: some(env),
        ports: some(ports.collect()),
        resources: Some(resources(config)),
        readiness_probe: probe,
        stdin: options.stdin.then_some(true),
        security_context: Some(container_security(options)),
        volume_mounts: some(mounts),
        // What a program says when it fails is in its log.
        termination_message_policy: Some("File".to_owned()),
        ..core::Container::default()
    }
}

pub(crate) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "UDP",
        _ => "TCP",
    }
}

fn resources(config: &WorkerConfig) -> core::ResourceRequirements {
    let limits = &config.resources;
    let map = |cpu: Option<hodei_worker_core::quantity::Cpu>,
               memory: Option<hodei_worker_core::quantity::ByteSize>| {
        let cpu = cpu.map(|cpu| ("cpu".to_owned(), Quantity(format!("{}m", cpu.millis()))));
        let memory = memory.map(|size| ("memory".to_owned(), Quantity(size.bytes().to_string())));
        let all: BTreeMap<_, _> = cpu.into_iter().chain(memory).collect();
        (!all.is_empty()).then_some(all)
    };
    core::ResourceRequirements {
        requests: map(limits.cpu_request, limits.memory_request),
        limits: map(limits.cpu_limit, limits.memory_limit),
        ..core::ResourceRequirements::default()
    }
}

fn pod_security(options: &KubernetesOptions) -> core::PodSecurityContext {
    core::PodSecurityContext {
        run_as_non_root: Some(!options.security.allow_root),
        run_as_user: options.user.map(i64::from),
        run_as_group: options.group.or(options.user).map(i64::from),
        // Volumes and secrets are the worker's to read.
        fs_group: options.group.or(options.user).map(i64::from),
        seccomp_profile: Some(core::SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..core::SeccompProfile::default()
        }),
        ..core::PodSecurityContext::default()
    }
}

fn container_security(options: &KubernetesOptions) -> core::SecurityContext {
    let security = &options.security;
    core::SecurityContext {
        allow_privilege_escalation: Some(security.allow_privilege_escalation),
        capabilities: Some(core::Capabilities {
            add: some(security.capabilities.clone()),
            drop: Some(vec!["ALL".to_owned()]),
        }),
        read_only_root_filesystem: security.read_only_root.then_some(true),
        ..core::SecurityContext::default()
    }
}

fn volumes(
    pod: &str,
    config: &WorkerConfig,
    options: &KubernetesOptions,
) -> (Vec<core::Volume>, Vec<core::VolumeMount>) {
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for (n, mount) in config.mounts.iter().enumerate() {
        let name = format!("mount-{n}");
        let mut volume = core::Volume { name: name.clone(), ..core::Volume::default() };
        match &mount.source {
            MountSource::Tmpfs { size } => {
                volume.empty_dir = Some(core::EmptyDirVolumeSource {
                    medium: Some("Memory".to_owned()),
                    size_limit: size.map(|size| Quantity(size.bytes().to_string())),
                });
            }
            MountSource::Volume { name } => {
                volume.persistent_volume_claim = Some(core::PersistentVolumeClaimVolumeSource {
                    claim_name: name.clone(),
                    read_only: None,
                });
            }
            _ => continue,
        }
        volumes.push(volume);
        mounts.push(core::VolumeMount {
            name,
            mount_path: mount.target.clone(),
            read_only: mount.read_only.then_some(true),
            ..core::VolumeMount::default()
        });
    }
    for (n, files) in options.config_maps.iter().enumerate() {
        let name = format!("config-map-{n}");
        let source = core::ConfigMapVolumeSource {
            name: files.name.clone(),
            ..core::ConfigMapVolumeSource::default()
        };
        volumes.push(core::Volume {
            name: name.clone(),
            config_map: Some(source),
            ..core::Volume::default()
        });
        // The whole folder: a kubelet does not change single files in place.
        mounts.push(core::VolumeMount {
            name,
            mount_path: files.path.clone(),
            read_only: Some(true),
            ..core::VolumeMount::default()
        });
    }
    for (n, secret) in config.secrets.iter().enumerate() {
        let SecretTarget::File { path } = &secret.target else { continue };
        mounts.push(core::VolumeMount {
            name: SECRETS.to_owned(),
            mount_path: path.clone(),
            // The file alone: what else lies in its folder stays.
            sub_path: Some(secret_key(n)),
            read_only: Some(true),
            ..core::VolumeMount::default()
        });
    }
    if mounts.iter().any(|mount| mount.name == SECRETS) {
        let mode = if options.user.or(options.group).is_some() { 0o440 } else { 0o400 };
        let source = core::SecretVolumeSource {
            secret_name: Some(pod.to_owned()),
            default_mode: Some(mode),
            ..core::SecretVolumeSource::default()
        };
        volumes.push(core::Volume {
            name: SECRETS.to_owned(),
            secret: Some(source),
            ..core::Volume::default()
        });
    }
    (volumes, mounts)
}

fn probe(check: &HealthCheckConfig) -> Option<core::Probe> {
    let seconds = |time: HumanDuration| {
        i32::try_from(time.as_secs() + u64::from(time.subsec_nanos() > 0)).unwrap_or(i32::MAX).max(1)
    };
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let mut probe = core::Probe {
        period_seconds: Some(seconds(check.interval)),
        timeout_seconds: Some(seconds(check.timeout)),
        success_threshold: Some(count(check.success_threshold)),
        failure_threshold: Some(count(check.failure_threshold)),
        ..core::Probe::default()
    };
    match &check.probe {
        Probe::Command(words) => {
            probe.exec = Some(core::ExecAction { command: Some(words.clone()) });
        }
        Probe::Tcp { port } => {
            let port = IntOrString::Int(i32::from(*port));
            probe.tcp_socket = Some(core::TCPSocketAction { host: None, port });
        }
        Probe::Http(http) => {
            let header = |(name, value): (&String, &String)| core::HTTPHeader {
                name: name.clone(),
                value: value.clone(),
            };
            let mut headers: Vec<_> = http.headers.iter().map(header).collect();
            if let Some(host) = &http.host {
                headers.push(core::HTTPHeader { name: "Host".to_owned(), value: host.clone() });
            }
            probe.http_get = Some(core::HTTPGetAction {
                path: Some(http.path.clone()),
                port: IntOrString::Int(i32::from(http.port)),
                scheme: Some(if http.scheme == Scheme::Https { "HTTPS" } else { "HTTP" }.to_owned()),
                http_headers: some(headers),
                host: None,
            });
        }
        _ => return None,
    }
    Some(probe)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hodei_worker_core::WorkerRef;

    use super::*;

    fn made(config: &WorkerConfig, options: &KubernetesOptions) -> core::PodSpec {
        let ownership = Ownership::new("me".parse().unwrap(), WorkerRef::first(config.worker_id.clone()));
        pod("hodei.me.a.1", config, options, &KubernetesSettings::default(), &ownership)
            .unwrap()
            .spec
            .unwrap()
    }

    #[test]
    fn k2_what_looks_like_a_kubelets_variable_is_taken_as_it_stands() {
        let config = WorkerConfig::builder("a").image("x:1").command(["sh", "-c", "echo $(date) $$"]);
        let config = config.env("A", "$(HOME)").build().unwrap();
        let container = &made(&config, &KubernetesOptions::default()).containers[0];
        assert_eq!(container.command.as_ref().unwrap()[2], "echo $$(date) $$$$");
        assert_eq!(container.env.as_ref().unwrap()[0].value.as_deref(), Some("$$(HOME)"));
    }

    #[test]
    fn k12_a_pod_is_restricted_unless_it_asks() {
        let config = WorkerConfig::builder("a").image("x:1").build().unwrap();
        let spec = made(&config, &KubernetesOptions::default());
        let security = spec.security_context.unwrap();
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
        let own = spec.containers[0].security_context.as_ref().unwrap();
        assert_eq!(own.allow_privilege_escalation, Some(false));
        assert_eq!(own.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(spec.automount_service_account_token, Some(false));
    }

    #[test]
    fn k9_a_grace_is_never_shorter_than_asked_for_and_never_none() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (25_000, 25)] {
            assert_eq!(grace_seconds(Duration::from_millis(millis)), seconds, "{millis}");
        }
    }
}
