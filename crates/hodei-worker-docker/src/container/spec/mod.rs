mod host;
mod mounts;
mod networking;

use std::time::Duration;

use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, NetworkingConfig};
use hodei_worker_core::{
    Error, Result, WorkerConfig,
    model::{HealthCheckConfig, Labels, MountSource, Ownership, Probe, SecretTarget, labels},
};
use secrecy::{ExposeSecret as _, SecretString};

pub(crate) use networking::endpoint;

use crate::{
    DockerOptions, DockerSettings, NativeRestart,
    memory::Made,
    names,
    secret::{Plan, Shown},
    security::Hardened,
};

/// What goes into a container beside its configuration.
pub(super) struct Parts<'a> {
    pub(super) settings: &'a DockerSettings,
    pub(super) options: &'a DockerOptions,
    pub(super) hardened: &'a Hardened,
    pub(super) ownership: &'a Ownership,
    /// Its secrets, where they appear.
    pub(super) files: &'a [Shown],
    /// Secret variables, where the options allow them.
    pub(super) variables: Vec<(String, SecretString)>,
    /// What tells this attempt from all others.
    pub(super) attempt: &'a str,
    /// How many of its networks the engine takes at the creation; the others are joined after it.
    pub(super) networks: usize,
    /// The image's contents, where exactly these are meant.
    pub(super) image: Option<&'a str>,
    /// Volumes for what the image declares: names and targets.
    pub(super) declared: &'a [(String, String)],
    /// Whether the engine makes host paths that do not exist, where a mount asks for that.
    pub(super) makes_paths: bool,
    /// Whether the engine knows a time between checks of a container that has just started.
    pub(super) start_interval: bool,
}

/// The engine's description of a worker's container.
pub(super) fn body(config: &WorkerConfig, parts: Parts<'_>) -> Result<ContainerCreateBody> {
    let image = config.image.as_ref().ok_or_else(|| {
        Error::config("image", "a container needs an image")
            .with_help("name one with its tag, as in `busybox:1`")
    })?;
    let env = config.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let secret = parts.variables.iter().map(|(name, value)| {
        let value = value.expose_secret();
        // At its length from the beginning: a text that grows leaves its earlier places behind.
        let mut text = String::with_capacity(name.len() + 1 + value.len());
        [name, "=", value].iter().for_each(|part| text.push_str(part));
        text
    });
    let words = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let options = parts.options;
    let networking = &options.networking;
    let (exposed_ports, port_bindings) = networking::ports(config, options, parts.settings);
    let joined = config.networks.iter().take(parts.networks).enumerate();
    let joined = joined.map(|(n, network)| (network.name.clone(), endpoint(network, options, n == 0)));
    let main = config.networks.first().map(|network| network.name.clone());
    Ok(ContainerCreateBody {
        image: Some(parts.image.map_or_else(|| image.to_string(), str::to_owned)),
        entrypoint: words(&config.command),
        cmd: words(&config.args),
        env: Some(env.chain(secret).collect()),
        working_dir: config.working_dir.clone(),
        user: options.user.clone().or_else(|| parts.hardened.user.clone()),
        hostname: networking.hostname.clone(),
        domainname: networking.domainname.clone(),
        tty: options.tty.then_some(true),
        open_stdin: options.open_stdin.then_some(true),
        labels: Some(all_labels(config, &parts)?.into_iter().collect()),
        stop_signal: options.stop_signal.clone(),
        healthcheck: healthcheck(config, &parts),
        exposed_ports: Some(exposed_ports),
        networking_config: (parts.networks > 0)
            .then(|| NetworkingConfig { endpoints_config: Some(joined.collect()) })
            .or_else(|| networking::without_networks(config, options)),
        host_config: Some(HostConfig {
            port_bindings: Some(port_bindings),
            mounts: Some(mounts::all(&config.mounts, &parts)),
            binds: mounts::binds(&config.mounts, &parts),
            network_mode: options.network.clone().or(main),
            dns: words(&networking.dns),
            dns_search: words(&networking.dns_search),
            dns_options: words(&networking.dns_options),
            extra_hosts: words(&networking.extra_hosts),
            log_config: Some(log_config(parts.settings, options)),
            ..host::config(config, &parts)
        }),
        ..ContainerCreateBody::default()
    })
}

/// What is remembered of a container made by this configuration.
pub(super) fn made(
    config: &WorkerConfig,
    settings: &DockerSettings,
    options: &DockerOptions,
    hardened: &Hardened,
    secrets: &Plan,
    declared: &[(String, String)],
) -> Made {
    let externals = externals(config, options);
    let volume = |source: &MountSource| match source {
        MountSource::Volume { name } => Some(name.clone()),
        _ => None,
    };
    Made {
        secrets: config.secrets.clone(),
        user: options.user.clone().or_else(|| hardened.user.clone()),
        stop_grace: config.stop_grace.map(|grace| grace.get()),
        volumes: config
            .mounts
            .iter()
            .filter_map(|mount| volume(&mount.source))
            .chain(secrets.volumes().iter().map(|volume| volume.name.clone()))
            .chain(declared.iter().map(|(name, _)| name.clone()))
            .filter(|name| !externals.contains(name))
            .collect(),
        networks: config
            .networks
            .iter()
            .map(|network| network.name.clone())
            .filter(|name| !externals.contains(name))
            .collect(),
        log_driver: options.log_driver.clone().unwrap_or_else(|| settings.log_driver.clone()),
        native_restart: options.native_restart != NativeRestart::Never,
    }
}

/// The networks and volumes that exist for others: they are never removed.
fn externals(config: &WorkerConfig, options: &DockerOptions) -> Vec<String> {
    let networks = config.networks.iter().map(|network| &network.name);
    let networks = networks
        .filter(|name| options.networking.networks.get(*name).is_some_and(|definition| definition.external));
    let volumes = config.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name } => Some(name),
        _ => None,
    });
    let volumes = volumes
        .filter(|name| options.storage.volumes.get(*name).is_some_and(|definition| definition.external));
    networks.chain(volumes).cloned().collect()
}

fn all_labels(config: &WorkerConfig, parts: &Parts<'_>) -> Result<Labels> {
    let mut all = config.metadata.labels.clone();
    all.extend(parts.ownership.to_labels());
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
    let external = externals(config, parts.options);
    if !external.is_empty() {
        all.insert(names::EXTERNAL.to_owned(), serde_json::json!(external).to_string());
    }
    if config.networks.len() > 1 {
        all.insert(names::NETWORKS.to_owned(), serde_json::json!(config.networks).to_string());
    }
    names::complete(&mut all, &config.metadata.labels);
    Ok(all)
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

/// Time between checks in the start period, as a host that checks for itself has it.
const START_INTERVAL: Duration = Duration::from_secs(1);

/// The check that the engine runs: a command, or the image's own (`None`).
fn native_check(config: &WorkerConfig) -> Option<&HealthCheckConfig> {
    config.health_checks.first().filter(|check| matches!(check.probe, Probe::Command(_)))
}

fn healthcheck(config: &WorkerConfig, parts: &Parts<'_>) -> Option<HealthConfig> {
    let options = &parts.options.health;
    if options.disabled {
        return Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() });
    }
    let mut described = health(native_check(config)?, parts.start_interval);
    if let Some(timeout) = options.timeout {
        described.timeout = Some(nanos(timeout.get()));
    }
    if let Some(interval) = options.start_interval.filter(|_| described.start_interval.is_some()) {
        described.start_interval = Some(nanos(interval.get()));
    }
    Some(described)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn health(check: &HealthCheckConfig, start_interval: bool) -> HealthConfig {
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
        start_interval: (start_interval && !check.start_period.is_zero())
            .then(|| nanos(START_INTERVAL.min(check.interval.get()))),
    }
}

#[cfg(test)]
mod tests;
