use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount as EngineMount,
    MountTmpfsOptions, MountType, MountVolumeOptions, PortBinding, PortMap, RestartPolicy,
    RestartPolicyNameEnum,
};
use hodei_worker_core::{
    Error, Result, WorkerConfig,
    model::{HealthCheckConfig, Labels, MountSource, Ownership, Probe, SecretTarget, labels},
};

use secrecy::{ExposeSecret as _, SecretString};

use crate::{DockerOptions, DockerSettings, NativeRestart, memory::Made, names, secret::SecretFile};

/// What goes into a container beside its configuration.
pub(super) struct Parts<'a> {
    pub(super) settings: &'a DockerSettings,
    pub(super) options: &'a DockerOptions,
    pub(super) ownership: &'a Ownership,
    pub(super) files: &'a [SecretFile],
    /// Secret variables, where the options allow them.
    pub(super) variables: Vec<(String, SecretString)>,
    /// What tells this attempt from all others.
    pub(super) attempt: &'a str,
}

/// The engine's description of a worker's container.
pub(super) fn body(config: &WorkerConfig, parts: Parts<'_>) -> Result<ContainerCreateBody> {
    let Parts { settings, options, ownership, files, variables, attempt } = parts;
    let image = config.image.as_ref().ok_or_else(|| {
        Error::config("image", "a container needs an image")
            .with_help("name one with its tag, as in `busybox:1`")
    })?;
    let env = config.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let secret = variables.iter().map(|(name, value)| {
        let value = value.expose_secret();
        // At its length from the beginning: a text that grows leaves its earlier places behind.
        let mut text = String::with_capacity(name.len() + 1 + value.len());
        [name, "=", value].iter().for_each(|part| text.push_str(part));
        text
    });
    let words = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let (exposed_ports, port_bindings) = ports(config, settings);
    Ok(ContainerCreateBody {
        image: Some(image.to_string()),
        entrypoint: words(&config.command),
        cmd: words(&config.args),
        env: Some(env.chain(secret).collect()),
        working_dir: config.working_dir.clone(),
        user: options.user.clone(),
        labels: Some(all_labels(config, ownership)?.into_iter().collect()),
        stop_signal: options.stop_signal.clone(),
        healthcheck: native_check(config).map(health),
        exposed_ports: Some(exposed_ports),
        host_config: Some(HostConfig {
            port_bindings: Some(port_bindings),
            mounts: Some(mounts(config, ownership, files, attempt)),
            network_mode: options.network.clone(),
            init: options.init,
            log_config: Some(log_config(settings, options)),
            restart_policy: Some(restart(options.native_restart)),
            ..limits(config)
        }),
        ..ContainerCreateBody::default()
    })
}

/// What is remembered of a container made by this configuration.
pub(super) fn made(config: &WorkerConfig, settings: &DockerSettings, options: &DockerOptions) -> Made {
    let volume = |source: &MountSource| match source {
        MountSource::Volume { name } => Some(name.clone()),
        _ => None,
    };
    Made {
        secrets: config.secrets.clone(),
        user: options.user.clone(),
        stop_grace: config.stop_grace.map(|grace| grace.get()),
        volumes: config.mounts.iter().filter_map(|mount| volume(&mount.source)).collect(),
        log_driver: options.log_driver.clone().unwrap_or_else(|| settings.log_driver.clone()),
        native_restart: options.native_restart != NativeRestart::Never,
    }
}

fn all_labels(config: &WorkerConfig, ownership: &Ownership) -> Result<Labels> {
    let mut all = config.metadata.labels.clone();
    all.extend(ownership.to_labels());
    if let Some(group) = &config.metadata.worker_type {
        all.insert(labels::WORKER_TYPE.to_owned(), group.to_string());
    }
    if let Some(grace) = config.stop_grace {
        all.insert(names::STOP_GRACE.to_owned(), grace.to_string());
    }
    let files = config.secrets.iter().filter(|secret| matches!(secret.target, SecretTarget::File { .. }));
    let files: Vec<_> = files.collect();
    if !files.is_empty() {
        let text = serde_json::to_string(&files).map_err(|error| {
            Error::config("secrets", "the references cannot be kept as data").with_source(error)
        })?;
        all.insert(names::SECRETS.to_owned(), text);
    }
    names::complete(&mut all, &config.metadata.labels);
    Ok(all)
}

fn limits(config: &WorkerConfig) -> HostConfig {
    let resources = &config.resources;
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let memory = resources.memory_limit.map(|size| number(size.bytes()));
    HostConfig {
        nano_cpus: resources.cpu_limit.map(|cpu| number(cpu.nanos())),
        // 1024 shares stand for one core; the kernel knows no less than 2.
        cpu_shares: resources
            .cpu_request
            .map(|cpu| number((cpu.millis().saturating_mul(1024) / 1000).max(2))),
        memory,
        // As much swap in all as memory: none. Otherwise a limit on memory only makes a worker slow.
        memory_swap: memory,
        memory_reservation: resources.memory_request.map(|size| number(size.bytes())),
        pids_limit: resources.pids_limit.map(number),
        ..HostConfig::default()
    }
}

fn mounts(
    config: &WorkerConfig,
    ownership: &Ownership,
    files: &[SecretFile],
    attempt: &str,
) -> Vec<EngineMount> {
    let mut of_volumes = ownership.to_labels();
    of_volumes.insert(names::ATTEMPT.to_owned(), attempt.to_owned());
    let configured = config.mounts.iter().map(|mount| {
        let base = EngineMount {
            target: Some(mount.target.clone()),
            read_only: Some(mount.read_only),
            ..EngineMount::default()
        };
        match &mount.source {
            MountSource::Bind { path } => {
                EngineMount { typ: Some(MountType::BIND), source: Some(path.clone()), ..base }
            }
            MountSource::Volume { name } => EngineMount {
                typ: Some(MountType::VOLUME),
                source: Some(name.clone()),
                // Used only if the volume does not exist yet: it is ours then, and goes when nobody uses it any more.
                volume_options: Some(MountVolumeOptions {
                    labels: Some(of_volumes.clone().into_iter().collect()),
                    ..MountVolumeOptions::default()
                }),
                ..base
            },
            MountSource::Tmpfs { size } => EngineMount {
                typ: Some(MountType::TMPFS),
                tmpfs_options: Some(MountTmpfsOptions {
                    size_bytes: size.map(|size| i64::try_from(size.bytes()).unwrap_or(i64::MAX)),
                    ..MountTmpfsOptions::default()
                }),
                ..base
            },
            // A source that this version does not know yet is refused by the engine for want of a type.
            _ => base,
        }
    });
    let secrets = files.iter().map(|file| EngineMount {
        typ: Some(MountType::BIND),
        source: Some(file.host.display().to_string()),
        target: Some(file.target.clone()),
        read_only: Some(true),
        ..EngineMount::default()
    });
    configured.chain(secrets).collect()
}

fn ports(config: &WorkerConfig, settings: &DockerSettings) -> (Vec<String>, PortMap) {
    let mut exposed = Vec::new();
    let mut bindings: PortMap = HashMap::new();
    for port in &config.ports {
        let name = format!("{}/{}", port.port, port.protocol);
        let binding = PortBinding {
            host_ip: Some(port.host_address.unwrap_or(settings.published_address).to_string()),
            // Empty: the engine chooses.
            host_port: Some(port.host_port.map(|port| port.to_string()).unwrap_or_default()),
        };
        exposed.push(name.clone());
        bindings.insert(name, Some(vec![binding]));
    }
    (exposed, bindings)
}

fn log_config(settings: &DockerSettings, options: &DockerOptions) -> HostConfigLogConfig {
    let driver = options.log_driver.as_ref().unwrap_or(&settings.log_driver);
    // Options mean something to their own driver only.
    let inherited = settings.log_options.iter().filter(|_| *driver == settings.log_driver);
    let own = inherited.chain(&options.log_options);
    HostConfigLogConfig {
        typ: Some(driver.clone()),
        config: Some(own.map(|(name, value)| (name.clone(), value.clone())).collect()),
    }
}

fn restart(policy: NativeRestart) -> RestartPolicy {
    let (name, retries) = match policy {
        NativeRestart::Never => (RestartPolicyNameEnum::NO, None),
        NativeRestart::OnFailure { max_retries } => (RestartPolicyNameEnum::ON_FAILURE, max_retries),
        NativeRestart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
    };
    RestartPolicy { name: Some(name), maximum_retry_count: retries.map(i64::from) }
}

/// The check that the engine runs: a command, or the image's own (`None`).
fn native_check(config: &WorkerConfig) -> Option<&HealthCheckConfig> {
    config.health_checks.first().filter(|check| matches!(check.probe, Probe::Command(_)))
}

fn health(check: &HealthCheckConfig) -> HealthConfig {
    let nanos = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    let test = match &check.probe {
        Probe::Command(words) => {
            Some(std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect())
        }
        _ => None,
    };
    HealthConfig {
        test,
        interval: Some(nanos(check.interval.get())),
        timeout: Some(nanos(check.timeout.get())),
        retries: Some(i64::from(check.failure_threshold)),
        start_period: (!check.start_period.is_zero()).then(|| nanos(check.start_period.get())),
        start_interval: None,
    }
}

#[cfg(test)]
mod tests;
