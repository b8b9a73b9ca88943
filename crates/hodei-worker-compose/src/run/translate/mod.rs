//! A service as the configuration of workers: what the common model has goes there, the rest into the typed options of
//! the Docker provider, which other providers do not have.

mod docker;
mod files;
mod health;
mod storage;
mod unsupported;

use std::collections::BTreeMap;

use hodei_worker_core::{
    Capability, ProviderCapabilities, Result, WorkerConfig,
    model::{
        ContainerImage, Labels, NetworkAttachment, Port, Protocol, ResourceRequirements, RestartPolicy,
        WorkerSpec,
    },
    quantity::{ByteSize, Cpu, HumanDuration},
};
use serde_json::Value as Json;

use super::{names, refuse::Refusals};
use crate::{Project, Service};

/// The typed options that Docker's own fields go into.
pub(super) const DOCKER: &str = "docker";

/// What runs the project, as far as the translation depends on it.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) docker: bool,
    pub(super) capabilities: &'a ProviderCapabilities,
    /// Whether a manager restarts workers, and not the engine itself.
    pub(super) managed: bool,
}

/// What a service's workers are made of.
#[derive(Debug, Clone)]
pub(super) struct Blueprint {
    spec: WorkerSpec,
    labels: Labels,
    /// Tells one configuration from another.
    pub(super) hash: String,
    /// How many there are.
    pub(super) replicas: usize,
    /// Services whose namespaces its workers share, with the field of Docker's options.
    pub(super) shares: Vec<(String, Vec<&'static str>)>,
    /// Whether its health is found out.
    pub(super) has_check: bool,
    /// Volumes of each worker alone, by their targets.
    anonymous: Vec<(usize, String)>,
}

impl Blueprint {
    /// The configuration of one of the workers, of which `shared` are the containers whose namespaces it shares.
    pub(super) fn config(
        &self,
        project: &str,
        service: &str,
        number: usize,
        shared: &BTreeMap<String, String>,
    ) -> Result<WorkerConfig> {
        let mut spec = self.spec.clone();
        spec.worker_id = names::worker_id(project, service, number)?;
        spec.metadata.labels = self.labels.clone();
        let own = [(names::NUMBER, number.to_string()), (names::HASH, self.hash.clone())];
        spec.metadata.labels.extend(own.map(|(name, value)| (name.to_owned(), value)));
        for (mount, target) in &self.anonymous {
            let name = format!("{project}_{service}-{number}_{}", names::digest(target, 6));
            spec.mounts[*mount] = hodei_worker_core::model::Mount::volume(name, target);
        }
        for (other, path) in &self.shares {
            if let Some(id) = shared.get(other) {
                docker::set(&mut spec, path, Json::from(format!("container:{id}")));
            }
        }
        WorkerConfig::new(spec)
    }
}

/// Makes blueprints of all services, or refuses what cannot be run.
pub(super) fn all(project: &Project, target: &Target<'_>) -> Result<BTreeMap<String, Blueprint>> {
    let mut refusals = Refusals::new(project);
    let mut blueprints = BTreeMap::new();
    for (name, service) in &project.services {
        if let Some(blueprint) = one(project, service, target, &mut refusals) {
            blueprints.insert(name.clone(), blueprint);
        }
    }
    refusals.into_result()?;
    Ok(blueprints)
}

fn one(
    project: &Project,
    service: &Service,
    target: &Target<'_>,
    refusals: &mut Refusals<'_>,
) -> Option<Blueprint> {
    let at = |field: &str| format!("services.{}.{field}", service.name);
    unsupported::check(service, target, refusals);
    let before = refusals.len();
    let id = names::worker_id(&project.name, &service.name, 1).ok()?;
    let mut spec = WorkerSpec::new(id);
    spec.image = image(service, target, refusals);
    spec.command = service.entrypoint.clone().unwrap_or_default();
    spec.args = service.command.clone().unwrap_or_default();
    if spec.image.is_none() && spec.command.is_empty() {
        // Without an image there is no entry point that arguments could be for.
        spec.command = std::mem::take(&mut spec.args);
    }
    if spec.image.is_none() && spec.command.is_empty() && refusals.len() > before {
        // Told already: nothing is missing beside the image.
        spec.command = vec!["-".to_owned()];
    }
    if service.entrypoint.as_ref().is_some_and(Vec::is_empty) {
        refusals.add(
            at("entrypoint"),
            "an empty entry point, which takes the image's away, cannot be expressed: name the program",
        );
    }
    spec.working_dir.clone_from(&service.working_dir);
    let set = |(name, value): (&String, &Option<String>)| Some((name.clone(), value.clone()?));
    spec.environment = service.environment.iter().filter_map(set).collect();
    spec.resources = resources(service, refusals);
    spec.ports = ports(service, refusals);
    spec.networks = networks(project, service, target, refusals);
    spec.stop_grace =
        Some(HumanDuration::from(service.stop_grace_period.unwrap_or(std::time::Duration::from_secs(10))));
    spec.restart_policy = restart(service, refusals);
    let has_check = health::translate(service, &mut spec, refusals);
    files::translate(project, service, &mut spec, refusals);
    let anonymous = storage::translate(project, service, &mut spec, refusals);
    let shares = docker::translate(project, service, target, &mut spec, refusals);
    if !target.docker && spec.options.contains_key(DOCKER) {
        docker::refuse(service, &spec, refusals);
    }
    spec.metadata.labels = names::labels(project, service);
    // What is wrong with it shows now, and not when half of the project is up.
    let config = match WorkerConfig::new(spec.clone()) {
        Ok(config) => config,
        Err(error) => {
            refusals.take(&service.name, &error);
            return None;
        }
    };
    needs(service, &config, target, refusals);
    let labels = std::mem::take(&mut spec.metadata.labels);
    Some(Blueprint {
        labels,
        hash: config.fingerprint(),
        replicas: replicas(service),
        shares,
        has_check,
        anonymous,
        spec,
    })
}

/// How many workers a service has.
fn replicas(service: &Service) -> usize {
    let deployed = service.deploy.as_ref().and_then(|deploy| deploy.replicas);
    usize::try_from(service.scale.or(deployed).unwrap_or(1)).unwrap_or(0)
}

fn image(service: &Service, target: &Target<'_>, refusals: &mut Refusals<'_>) -> Option<ContainerImage> {
    let path = format!("services.{}.image", service.name);
    if !target.capabilities.supports(Capability::Images) {
        match service.image.as_deref() {
            Some("scratch") if service.command.is_some() || service.entrypoint.is_some() => {}
            Some("scratch") => refusals.add(path, "the provider runs no images: the service needs a `command`"),
            _ => refusals.add(
                path,
                "the provider runs no images: a service that needs none says `image: scratch` and has a `command`",
            ),
        }
        return None;
    }
    let Some(text) = &service.image else {
        refusals.add(
            format!("services.{}.build", service.name),
            "images are not built: build it, and name it by `image`",
        );
        return None;
    };
    // As Docker reads a name without a tag.
    let named = text.rsplit('/').next().is_some_and(|last| last.contains(':')) || text.contains('@');
    let text = if named { text.clone() } else { format!("{text}:latest") };
    text.parse().map_err(|error| refusals.add(path, format!("{error}"))).ok()
}

/// Refuses what the provider cannot do, as it was detected.
fn needs(service: &Service, config: &WorkerConfig, target: &Target<'_>, refusals: &mut Refusals<'_>) {
    for needed in hodei_worker_core::capability::needed_by(config) {
        if target.capabilities.supports(needed) {
            continue;
        }
        let field = match needed {
            Capability::Networking if !service.networks.is_empty() => "networks",
            Capability::Networking => "ports",
            Capability::HealthChecks => "healthcheck",
            Capability::SecretFiles if service.secrets.is_empty() => "configs",
            Capability::SecretFiles => "secrets",
            Capability::Volumes | Capability::HostPaths | Capability::Tmpfs => "volumes",
            _ => "deploy.resources",
        };
        let why = target.capabilities.reason(needed).unwrap_or_default();
        refusals.add(
            format!("services.{}.{field}", service.name),
            format!("the provider lacks `{needed}`: {why}"),
        );
    }
}

fn bytes(value: i64) -> Option<ByteSize> {
    u64::try_from(value).ok().filter(|bytes| *bytes > 0).map(ByteSize::new)
}

fn cpu(cores: f64) -> Option<Cpu> {
    // The reader has refused what is no number; thousandths are what the model has.
    let millis = (cores * 1000.0).round();
    (millis >= 1.0).then(|| format!("{millis}m").parse().ok()).flatten()
}

fn resources(service: &Service, refusals: &mut Refusals<'_>) -> ResourceRequirements {
    let deploy = service.deploy.as_ref();
    let limits = deploy.and_then(|deploy| deploy.resources.limits.clone()).unwrap_or_default();
    let reserved = deploy.and_then(|deploy| deploy.resources.reservations.clone()).unwrap_or_default();
    let mut all = ResourceRequirements::default();
    all.cpu_limit = cpu(service.cpus).or_else(|| cpu(limits.cpus));
    all.memory_limit = bytes(service.mem_limit).or_else(|| bytes(limits.memory));
    all.cpu_request = cpu(reserved.cpus);
    all.memory_request = bytes(service.mem_reservation).or_else(|| bytes(reserved.memory));
    let pids = if service.pids_limit > 0 { service.pids_limit } else { limits.pids };
    all.pids_limit = u64::try_from(pids).ok().filter(|pids| *pids > 0);
    for (what, set) in [("limits", &limits), ("reservations", &reserved)] {
        let path = format!("services.{}.deploy.resources.{what}", service.name);
        refusals.unless(
            &set.devices,
            format!("{path}.devices"),
            "devices by what they can do are not supported",
        );
        refusals.unless(&set.generic_resources, format!("{path}.generic_resources"), "needs a swarm");
    }
    all
}

fn ports(service: &Service, refusals: &mut Refusals<'_>) -> Vec<Port> {
    let mut all = Vec::new();
    for (n, port) in service.ports.iter().enumerate() {
        let path = format!("services.{}.ports[{n}]", service.name);
        let Ok(inside) = u16::try_from(port.target) else { continue };
        let mut one = Port::tcp(inside);
        match port.protocol.as_deref() {
            None | Some("tcp") => {}
            Some("udp") => one.protocol = Protocol::Udp,
            Some(other) => {
                refusals.add(&path, format!("the protocol `{other}` is not supported: tcp or udp"))
            }
        }
        match port.published.as_deref() {
            None | Some("" | "0") => {}
            Some(text) => match text.parse() {
                Ok(number) => one.host_port = Some(number),
                Err(_) => refusals.add(
                    &path,
                    format!("`{text}`: one of several ports cannot be chosen; name one, or none"),
                ),
            },
        }
        match port.host_ip.as_deref().map(str::parse) {
            None => {}
            Some(Ok(address)) => one.host_address = Some(address),
            Some(Err(_)) => refusals.add(&path, "`host_ip` is no address"),
        }
        one.name.clone_from(&port.name);
        all.push(one);
    }
    all
}

fn networks(
    project: &Project,
    service: &Service,
    target: &Target<'_>,
    refusals: &mut Refusals<'_>,
) -> Vec<NetworkAttachment> {
    let explicit = service.networks.keys().any(|key| key != "default");
    // The network that every service is on unless it says otherwise is no wish of anybody's.
    if service.network_mode.is_some() || (!explicit && !target.capabilities.supports(Capability::Networking))
    {
        return Vec::new();
    }
    // The one with the highest priority is joined first.
    let mut wanted: Vec<_> = service.networks.iter().collect();
    wanted.sort_by_key(|(key, network)| (-network.priority, (*key).clone()));
    let mut all = Vec::new();
    for (key, options) in wanted {
        let path = format!("services.{}.networks.{key}", service.name);
        let Some(network) = project.networks.get(key) else { continue };
        let mut one = NetworkAttachment::new(&network.name).alias(&service.name);
        one.aliases.extend(service.container_name.clone());
        one.aliases.extend(options.aliases.iter().cloned());
        for address in [&options.ipv4_address, &options.ipv6_address].into_iter().flatten() {
            match address.parse() {
                Ok(address) => one.addresses.push(address),
                Err(_) => refusals.add(&path, format!("`{address}` is no address")),
            }
        }
        let not = "is not supported";
        refusals.unless(&options.driver_opts, format!("{path}.driver_opts"), not);
        refusals.unless(&options.gw_priority, format!("{path}.gw_priority"), not);
        refusals.unless(&options.interface_name, format!("{path}.interface_name"), not);
        refusals.unless(&options.link_local_ips, format!("{path}.link_local_ips"), not);
        all.push(one);
    }
    all
}

/// When a worker is restarted, by a manager where there is one.
fn restart(service: &Service, refusals: &mut Refusals<'_>) -> Option<RestartPolicy> {
    let path = format!("services.{}.restart", service.name);
    let policy = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.clone());
    if let Some(policy) = policy {
        let path = format!("services.{}.deploy.restart_policy", service.name);
        refusals.unless(
            &policy.delay,
            format!("{path}.delay"),
            "times between restarts are the manager's settings",
        );
        refusals.unless(
            &policy.window,
            format!("{path}.window"),
            "times between restarts are the manager's settings",
        );
        let retries = policy.max_attempts.and_then(|most| u32::try_from(most).ok());
        return Some(match policy.condition.as_deref() {
            Some("none") => RestartPolicy::Never,
            Some("on-failure") => RestartPolicy::OnFailure { max_retries: retries },
            _ => RestartPolicy::Always,
        });
    }
    let text = service.restart.as_deref()?;
    let (word, number) = text.split_once(':').map_or((text, None), |(word, number)| (word, Some(number)));
    Some(match word {
        "no" | "" => RestartPolicy::Never,
        "always" | "unless-stopped" => RestartPolicy::Always,
        "on-failure" => {
            RestartPolicy::OnFailure { max_retries: number.and_then(|number| number.parse().ok()) }
        }
        _ => {
            refusals.add(path, format!("`{text}` is no policy: no, always, unless-stopped or on-failure"));
            return None;
        }
    })
}
