//! A service as the configuration of workers: what the common model has goes there, the rest into the typed options of
//! the Docker provider, which other providers do not have.

mod docker;
mod files;
mod health;
mod network;
mod resources;
mod storage;
mod unsupported;

use std::collections::BTreeMap;

use hodei_worker_core::{
    Capability, ProviderCapabilities, Result, WorkerConfig, WorkerProvider,
    model::{ContainerImage, Labels, Mount, MountSource, RestartPolicy, ValidationRules, WorkerSpec},
    quantity::{Cpu, HumanDuration},
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
    /// By which configurations are checked, those of providers' options among them.
    pub(super) rules: &'a ValidationRules,
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
    /// The narrowest range of ports that its workers take one of each.
    pub(super) range: Option<network::Range>,
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
            let name = own_volume(project, service, number, target);
            spec.mounts[*mount].source = MountSource::Volume { name };
        }
        let shares = Self::shares_text(shared);
        if !shares.is_empty() {
            spec.metadata.labels.insert(names::SHARES.to_owned(), shares);
        }
        for (other, path) in &self.shares {
            if let Some(id) = shared.get(other) {
                docker::set(&mut spec, path, Json::from(format!("container:{id}")));
            }
        }
        WorkerConfig::with_rules(spec, &least_rules())
    }

    /// What decides which image its workers are made of; `None` where that is always the same.
    pub(super) fn image(&self) -> Option<String> {
        let image = self.spec.image.as_ref().filter(|image| image.digest().is_none())?;
        let options = self.spec.options.get(DOCKER);
        let option = |name: &str| options.and_then(|options| options.get(name)).map(Json::to_string);
        Some(format!("{image} {:?} {:?}", option("pull"), option("platform")))
    }

    /// The containers whose namespaces are shared, as a label has them.
    pub(super) fn shares_text(shared: &BTreeMap<String, String>) -> String {
        shared.iter().map(|(service, id)| format!("{service}={id}")).collect::<Vec<_>>().join(",")
    }
}

/// What an engine itself asks of a worker's resources: less than hosts ask by default.
fn least_rules() -> ValidationRules {
    ValidationRules::default().with_min_cpu(Cpu::from_millis(10))
}

/// The name of a volume that is one worker's alone.
fn own_volume(project: &str, service: &str, number: usize, target: &str) -> String {
    format!("{project}_{service}-{number}_{}", names::digest(target, 6))
}

/// A worker that mounts all volumes that are the project's own, and those of its workers alone, as many as the file has
/// of these; `None` where there are none.
pub(super) fn volumes_alone(
    project: &Project,
    blueprints: &BTreeMap<String, Blueprint>,
) -> Result<Option<WorkerConfig>> {
    let own = project.volumes.values().filter(|volume| !volume.external).map(|volume| volume.name.clone());
    let mut own: Vec<String> = own.collect();
    for (service, blueprint) in blueprints {
        let numbers = 1..=blueprint.replicas;
        own.extend(numbers.flat_map(|number| {
            let names = blueprint.anonymous.iter();
            names.map(move |(_, target)| own_volume(&project.name, service, number, target))
        }));
    }
    let image = project.services.values().find(|service| !service.volumes.is_empty());
    let Some(image) = image.and_then(|service| service.image.as_deref()).filter(|_| !own.is_empty()) else {
        return Ok(None);
    };
    let mut spec = WorkerSpec::new(names::worker_id(&project.name, "", 0)?);
    spec.image = tagged(image).parse().ok();
    spec.command = vec!["true".to_owned()];
    for (n, volume) in own.iter().enumerate() {
        spec.mounts.push(Mount::volume(volume, format!("/volumes/{n}")));
    }
    docker::set(&mut spec, &["pull"], Json::from("never"));
    WorkerConfig::with_rules(spec, &least_rules()).map(Some)
}

/// A name as Docker reads it where it has no tag.
fn tagged(text: &str) -> String {
    let named = text.rsplit('/').next().is_some_and(|last| last.contains(':')) || text.contains('@');
    if named { text.to_owned() } else { format!("{text}:latest") }
}

/// Makes blueprints of all services for this provider, or refuses what cannot be run there.
pub(super) async fn all_for(
    project: &Project,
    provider: &dyn WorkerProvider,
    rules: &ValidationRules,
    managed: bool,
) -> Result<BTreeMap<String, Blueprint>> {
    let capabilities = provider.get_capabilities().await?;
    let docker = provider.info().provider_type.as_str() == DOCKER;
    all(project, &Target { docker, capabilities: &capabilities, rules, managed })
}

fn all(project: &Project, target: &Target<'_>) -> Result<BTreeMap<String, Blueprint>> {
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
    spec.resources = resources::translate(service, refusals);
    let (ports, range) = network::ports(service, &mut spec, refusals);
    spec.ports = ports;
    spec.networks = network::attachments(project, service, target, &mut spec, refusals);
    spec.stop_grace =
        Some(HumanDuration::from(service.stop_grace_period.unwrap_or(std::time::Duration::from_secs(10))));
    spec.restart_policy = resources::restart(service, refusals);
    if !target.docker && !target.managed && !matches!(spec.restart_policy, None | Some(RestartPolicy::Never))
    {
        let field = if service.restart.is_some() { "restart" } else { "deploy.restart_policy" };
        refusals.add(at(field), "on this provider nobody restarts workers but a manager");
    }
    let has_check = health::translate(service, &mut spec, refusals);
    files::translate(project, service, &mut spec, refusals);
    let anonymous = storage::translate(project, service, &mut spec, refusals);
    let shares = docker::translate(project, service, target, &mut spec, refusals);
    if target.managed {
        for (other, path) in &shares {
            let field = path.last().copied().filter(|name| *name != "network").unwrap_or("network_mode");
            let why =
                format!("the container of `{other}` is not known before it is made: bring the project up");
            refusals.add(at(field), why);
        }
    }
    if !target.docker && spec.options.contains_key(DOCKER) {
        docker::refuse(service, &spec, refusals);
    }
    // What tells two configurations apart is what containers are made of: not where files lie, nor the order of things.
    spec.metadata.labels.clone_from(&service.labels);
    let mut plain = spec.clone();
    if let Some(options) = plain.options.get_mut(DOCKER).and_then(Json::as_object_mut) {
        options.remove("pull");
    }
    let hash = WorkerConfig::with_rules(plain, &least_rules()).map(|config| config.fingerprint());
    spec.metadata.labels = names::labels(project, service);
    // What is wrong with it shows now, and not when half of the project is up.
    let rules = target.rules.clone().with_min_cpu(Cpu::from_millis(10));
    let config = match WorkerConfig::with_rules(spec.clone(), &rules) {
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
        hash: hash.unwrap_or_default(),
        replicas: replicas(service),
        shares,
        range,
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
    tagged(text).parse().map_err(|error| refusals.add(path, format!("{error}"))).ok()
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
