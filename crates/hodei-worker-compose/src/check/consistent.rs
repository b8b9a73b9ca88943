use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use hodei_worker_core::{Error, Result};

use crate::{
    model::{FileObject, MountKind, Service, WatchAction},
    place::brief,
    schema::nearest,
    tree::{self, Node},
};

/// A project before what nobody uses is left out.
pub(crate) struct Parts<'a> {
    pub(crate) root: &'a Node,
    pub(crate) services: &'a BTreeMap<String, Service>,
    pub(crate) disabled: &'a BTreeMap<String, Service>,
    pub(crate) secrets: &'a BTreeMap<String, FileObject>,
}

/// Checks that everything that is named is there, and that nothing contradicts itself.
pub(crate) fn check(parts: &Parts<'_>) -> Result<()> {
    for service in parts.services.values() {
        let one = One { parts, service };
        one.image()?;
        one.build()?;
        one.references()?;
        one.dependencies()?;
        one.limits()?;
        one.instances()?;
        one.mounts()?;
        one.details()?;
    }
    for (name, secret) in parts.secrets {
        if !secret.external && secret.file.is_none() && secret.environment.is_none() {
            return Err(parts
                .refuse(format_args!("secrets.{name}"), "it has no source")
                .with_help("add `file`, `environment` or `external: true`"));
        }
    }
    cycles(parts)?;
    container_names(parts)
}

impl Parts<'_> {
    /// An error at the place of a field, or of what encloses it.
    fn refuse(&self, field: impl fmt::Display, message: impl Into<String>) -> Error {
        let field = field.to_string();
        tree::nearest(self.root, &field).0.place.refuse(field, message)
    }
    fn section(&self, name: &str) -> impl Iterator<Item = &str> {
        self.root.get(name).and_then(Node::as_map).into_iter().flatten().map(|(key, _)| &**key)
    }
    fn has(&self, section: &str, key: &str) -> bool {
        self.root.get(section).and_then(|node| node.get(key)).is_some()
    }
}

struct One<'a> {
    parts: &'a Parts<'a>,
    service: &'a Service,
}

impl One<'_> {
    fn refuse(&self, field: impl fmt::Display, message: impl Into<String>) -> Error {
        self.parts.refuse(format_args!("services.{}.{field}", self.service.name), message)
    }
    fn itself(&self, message: impl Into<String>) -> Error {
        self.parts.refuse(format_args!("services.{}", self.service.name), message)
    }
    /// What is named in a section must be there.
    fn defined(&self, section: &str, key: &str, field: impl fmt::Display) -> Result<()> {
        if self.parts.has(section, key) {
            return Ok(());
        }
        let what = section.trim_end_matches('s');
        let error = self.refuse(field, format!("there is no {what} `{key}`"));
        Err(match nearest(key, self.parts.section(section)) {
            Some(near) => error.with_help(format!("did you mean `{near}`?")),
            None => {
                error.with_help(format!("add `{}` to the section `{section}` of the file", brief(key, 80)))
            }
        })
    }
    fn undefined_service(&self, other: &str, field: impl fmt::Display) -> Error {
        let disabled = self.parts.disabled.get(other);
        if let Some(disabled) = disabled {
            return self
                .refuse(field, format!("the service `{other}` is needed and is not enabled"))
                .with_help(format!(
                    "enable one of its profiles: {}",
                    brief(&disabled.profiles.join(", "), 200)
                ));
        }
        let error = self.refuse(field, format!("there is no service `{other}`"));
        match nearest(other, self.parts.services.keys().map(String::as_str)) {
            Some(near) => error.with_help(format!("did you mean `{near}`?")),
            None => error.with_help("name a service that is there"),
        }
    }

    fn image(&self) -> Result<()> {
        let service = self.service;
        if service.build.is_none() && service.image.is_none() && service.provider.is_none() {
            return Err(self
                .itself("it has neither an image nor a way to build one")
                .with_help("add `image:` or `build:`"));
        }
        Ok(())
    }

    fn build(&self) -> Result<()> {
        let Some(build) = &self.service.build else { return Ok(()) };
        if build.dockerfile.is_some() && build.dockerfile_inline.is_some() {
            return Err(self
                .refuse("build.dockerfile_inline", "`dockerfile` and `dockerfile_inline` exclude each other")
                .with_help("keep one of them"));
        }
        for (name, context) in &build.additional_contexts {
            let Some(other) = context.strip_prefix("service:") else { continue };
            let field = format!("build.additional_contexts.{name}");
            match self.parts.services.get(other) {
                None => return Err(self.undefined_service(other, field)),
                Some(other) if other.build.is_none() => {
                    let message = format!("the service `{}` is not built, so it is no context", other.name);
                    return Err(self.refuse(field, message).with_help("name a service that has `build:`"));
                }
                Some(_) => {}
            }
        }
        match &self.service.platform {
            Some(platform) if !build.platforms.is_empty() && !build.platforms.contains(platform) => Err(self
                .refuse(
                    "platform",
                    format!("`{platform}` is not among the platforms that the image is built for"),
                )
                .with_help(format!(
                    "add it to `build.platforms`: {}",
                    brief(&build.platforms.join(", "), 200)
                ))),
            _ => Ok(()),
        }
    }

    fn references(&self) -> Result<()> {
        let service = self.service;
        if service.network_mode.is_some() && !service.networks.is_empty() {
            return Err(self
                .refuse("network_mode", "`network_mode` and `networks` exclude each other")
                .with_help("keep one of them"));
        }
        for network in service.networks.keys() {
            self.defined("networks", network, format_args!("networks.{network}"))?;
        }
        for (index, volume) in service.volumes.iter().enumerate() {
            if let (MountKind::Volume, Some(source)) = (volume.kind, &volume.source) {
                self.defined("volumes", source, format_args!("volumes[{index}]"))?;
            }
        }
        let build_secrets = service.build.as_ref().map(|build| build.secrets.as_slice()).unwrap_or_default();
        for (section, field, mounts) in [
            ("secrets", "build.secrets", build_secrets),
            ("secrets", "secrets", &service.secrets),
            ("configs", "configs", &service.configs),
        ] {
            for (index, mount) in mounts.iter().enumerate() {
                self.defined(section, &mount.source, format_args!("{field}[{index}]"))?;
            }
        }
        for model in service.models.keys() {
            self.defined("models", model, format_args!("models.{model}"))?;
        }
        Ok(())
    }

    fn dependencies(&self) -> Result<()> {
        for (other, dependency) in &self.service.depends_on {
            let field = format!("depends_on.{other}");
            if self.parts.services.contains_key(other) {
                continue;
            }
            if dependency.required || !self.parts.disabled.contains_key(other) {
                return Err(self.undefined_service(other, field));
            }
        }
        if let Some(other) =
            self.service.network_mode.as_deref().and_then(|mode| mode.strip_prefix("service:"))
            && !self.parts.services.contains_key(other)
        {
            return Err(self.undefined_service(other, "network_mode"));
        }
        Ok(())
    }

    fn limits(&self) -> Result<()> {
        let service = self.service;
        let Some(deploy) = &service.deploy else { return Ok(()) };
        let differ = |field: &str, other: &str| {
            self.refuse(field, format!("`{field}` and `deploy.resources.{other}` differ"))
                .with_help("keep one of them, or give both the same value")
        };
        if let Some(limits) = &deploy.resources.limits {
            if service.cpus != 0.0 && limits.cpus != service.cpus {
                return Err(differ("cpus", "limits.cpus"));
            }
            if service.mem_limit != 0 && limits.memory != service.mem_limit {
                return Err(differ("mem_limit", "limits.memory"));
            }
            if service.pids_limit != 0 && limits.pids != service.pids_limit {
                return Err(differ("pids_limit", "limits.pids"));
            }
        }
        match &deploy.resources.reservations {
            Some(set) if service.mem_reservation != 0 && set.memory != service.mem_reservation => {
                Err(differ("mem_reservation", "reservations.memory"))
            }
            _ => Ok(()),
        }
    }

    fn instances(&self) -> Result<()> {
        let service = self.service;
        let replicas = service.deploy.as_ref().and_then(|deploy| deploy.replicas);
        let field = if service.scale.is_some() { "scale" } else { "deploy.replicas" };
        if let (Some(scale), Some(replicas)) = (service.scale, replicas)
            && scale != replicas
        {
            return Err(self
                .refuse("scale", format!("`scale` is {scale} and `deploy.replicas` is {replicas}"))
                .with_help("keep one of them"));
        }
        if service.replicas() < 0 {
            return Err(self
                .refuse(field, format!("it must not be negative, and is {}", service.replicas()))
                .with_help("write 0 for none"));
        }
        if service.replicas() > 1 && service.container_name.is_some() {
            return Err(self
                .refuse("container_name", format!("{} containers cannot have one name", service.replicas()))
                .with_help(format!("remove `container_name` or `{field}`")));
        }
        Ok(())
    }

    fn mounts(&self) -> Result<()> {
        let tmpfs =
            self.service.tmpfs.iter().enumerate().map(|(index, entry)| {
                (entry.split(':').next().unwrap_or_default(), format!("tmpfs[{index}]"))
            });
        let volumes = self
            .service
            .volumes
            .iter()
            .enumerate()
            .map(|(index, volume)| (volume.target.as_str(), format!("volumes[{index}]")));
        let mut known: HashMap<&str, String> = HashMap::new();
        for (target, field) in tmpfs.chain(volumes) {
            if let Some(other) = known.insert(target, field.clone()) {
                return Err(self
                    .refuse(field, format!("`{target}` is mounted already, by `{other}`"))
                    .with_help("remove one of them"));
            }
        }
        Ok(())
    }

    fn details(&self) -> Result<()> {
        if let Some(first) = self.service.healthcheck.as_ref().and_then(|health| health.test.first())
            && !matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE")
        {
            return Err(self
                .refuse("healthcheck.test", format!("the list begins with `{first}`"))
                .with_help("begin it with `CMD`, `CMD-SHELL` or `NONE`"));
        }
        let watches =
            self.service.develop.as_ref().map(|develop| develop.watch.as_slice()).unwrap_or_default();
        for (index, watch) in watches.iter().enumerate() {
            if watch.target.is_none() && !matches!(watch.action, WatchAction::Rebuild | WatchAction::Restart)
            {
                return Err(self
                    .refuse(format_args!("develop.watch[{index}]"), "it has no `target`")
                    .with_help("write where in the container changes are copied to"));
            }
        }
        Ok(())
    }
}

/// Services must not wait for each other.
fn cycles(parts: &Parts<'_>) -> Result<()> {
    let needs = |name: &str| {
        let service = parts.services.get(name);
        service
            .into_iter()
            .flat_map(|s| s.depends_on.keys())
            .filter(|other| parts.services.contains_key(*other))
    };
    let mut done: HashMap<&str, ()> = HashMap::new();
    for start in parts.services.keys() {
        // One way through the project: each service with those that it still has to look at.
        let mut way: Vec<(&str, Vec<&String>)> = vec![(start, needs(start).collect())];
        let mut on_way: HashMap<&str, ()> = HashMap::from([(start.as_str(), ())]);
        while let Some((name, left)) = way.last_mut() {
            let name = *name;
            let Some(next) = left.pop() else {
                done.insert(name, ());
                on_way.remove(name);
                way.pop();
                continue;
            };
            if on_way.contains_key(next.as_str()) {
                let from = way.iter().position(|(name, _)| name == next).unwrap_or(0);
                let mut names: Vec<&str> = way[from..].iter().map(|(name, _)| *name).collect();
                names.push(next);
                return Err(parts
                    .refuse(
                        format_args!("services.{name}.depends_on.{next}"),
                        format!("services need each other: {}", names.join(" needs ")),
                    )
                    .with_help("remove one of these dependencies"));
            }
            if !done.contains_key(next.as_str()) {
                on_way.insert(next, ());
                way.push((next, needs(next).collect()));
            }
        }
    }
    Ok(())
}

fn container_names(parts: &Parts<'_>) -> Result<()> {
    let mut known: HashMap<&str, &str> = HashMap::new();
    for service in parts.services.values() {
        let Some(name) = &service.container_name else { continue };
        if let Some(other) = known.insert(name, &service.name) {
            return Err(parts
                .refuse(
                    format_args!("services.{}.container_name", service.name),
                    format!("the service `{other}` has a container of the name `{name}` already"),
                )
                .with_help("give each container a name of its own"));
        }
    }
    Ok(())
}
