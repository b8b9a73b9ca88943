//! What is wrong with a configuration here: all of it at once, and before anybody is asked for anything.

use hodei_worker_core::{
    Error, Result, WorkerConfig,
    model::{MountSource, Probe, SecretTarget, labels},
    settings::Problems,
};

use crate::{KubernetesOptions, ServiceScope, names};

/// Whether a cluster can run a worker by itself of that configuration.
pub(crate) fn worker(config: &WorkerConfig, options: &KubernetesOptions) -> Result<()> {
    configuration(config, options)?;
    match options.min_available {
        None | Some(1) => Ok(()),
        Some(_) => Err(Error::config(
            "options.kubernetes.min_available",
            "a worker by itself is one: more than 1 could never be left running",
        )),
    }
}

/// Whether a cluster can do what the configuration says.
pub(crate) fn configuration(config: &WorkerConfig, options: &KubernetesOptions) -> Result<()> {
    let mut problems = Problems::new();
    let image = "a pod needs an image: name one with its tag, as in `busybox:1`";
    problems.require(config.image.is_some(), "image", image);
    for (key, value) in &config.metadata.labels {
        let field = format!("metadata.labels.{key}");
        if let Some(why) = names::key_problem(key) {
            problems.add(field.clone(), format!("cannot be a label in Kubernetes: {why}"));
        }
        problems.require(
            !key.starts_with(labels::PREFIX),
            field.clone(),
            "is one of this library's own labels: give it another name",
        );
        problems.require(
            names::is_value(value),
            field,
            format!(
                "`{value}` cannot be a label's value in Kubernetes: up to 63 letters, digits, `-`, `_` and `.`, with a \
                 letter or digit at both ends; an annotation may hold anything"
            ),
        );
    }
    for (n, mount) in config.mounts.iter().enumerate() {
        if let MountSource::Volume { name } = &mount.source {
            let message =
                format!("`{name}` cannot be a claim's name: lower-case letters, digits, `-` and `.`");
            problems.require(crate::options::is_name(name), format!("mounts[{n}].source.name"), message);
        }
    }
    for (n, secret) in config.secrets.iter().enumerate() {
        let field = format!("secrets[{n}].target");
        match &secret.target {
            SecretTarget::File { path } => problems.require(
                path.starts_with('/') && !path.ends_with('/'),
                field,
                format!("`{path}` is not an absolute path of a file inside the container"),
            ),
            SecretTarget::Variable { .. } => {}
            _ => problems.add(field, "a pod takes secrets as files or variables"),
        }
    }
    for (n, port) in config.ports.iter().enumerate() {
        problems.require(
            port.host_port.is_none() && port.host_address.is_none(),
            format!("ports[{n}].host_port"),
            "a pod has an address of its own; its ports are not published at its node's",
        );
    }
    health_checks(config, &mut problems);
    for name in options.claims.keys() {
        let is_mounted = crate::claim::wanted(config).contains(name.as_str());
        let path = format!("options.kubernetes.claims.{name}");
        problems.require(is_mounted, path, "is of a volume that the worker does not mount");
    }
    for (n, service) in options.services.iter().enumerate() {
        let path = format!("options.kubernetes.services[{n}]");
        let has_ports = service.headless || !config.ports.is_empty();
        problems.require(has_ports, path.clone(), "leads to the worker's ports, of which there is none");
        let has_group = service.of == ServiceScope::Worker || config.metadata.worker_type.is_some();
        problems.require(has_group, path, "leads to all workers of this one's type, which it does not have");
    }
    match &*problems {
        [only] => Err(Error::config(only.path.clone(), only.message.clone())),
        _ => problems.into_result(),
    }
}

/// What a kubelet cannot run is refused, since nobody else would run it.
fn health_checks(config: &WorkerConfig, problems: &mut Problems) {
    for (n, check) in config.health_checks.iter().enumerate() {
        let path = format!("health_checks[{n}]");
        problems.require(n == 0, path.clone(), "a kubelet runs one check of a container, no more");
        match &check.probe {
            Probe::Command(_) | Probe::Tcp { .. } | Probe::Native => {}
            Probe::Http(http) => {
                problems.require(
                    http.expect.is_empty(),
                    format!("{path}.probe.http.expect"),
                    "a kubelet takes 200 to 399 for well, and nothing else",
                );
            }
            other => problems.add(
                format!("{path}.probe"),
                format!("a kubelet has no check of the kind `{}`", other.kind()),
            ),
        }
        for (field, set) in
            [("slow_after", check.slow_after.is_some()), ("flapping", check.flapping.is_some())]
        {
            problems.require(!set, format!("{path}.{field}"), "a kubelet does not look at that");
        }
    }
}
