use std::collections::BTreeSet;

use super::{HealthCheckConfig, MountSource, Probe, SecretTarget, WorkerSpec, labels};
use crate::{quantity::Cpu, settings::Problems};

/// What a configuration must obey beyond its form.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ValidationRules {
    /// The least CPU that may be asked for. Default: 0.1 cores.
    pub min_cpu: Cpu,
}

impl Default for ValidationRules {
    fn default() -> Self {
        Self { min_cpu: Cpu::from_millis(100) }
    }
}

impl ValidationRules {
    /// The default rules with another least CPU.
    #[must_use]
    pub fn with_min_cpu(mut self, min_cpu: Cpu) -> Self {
        self.min_cpu = min_cpu;
        self
    }

    /// All that is wrong with the fields.
    pub fn check(&self, spec: &WorkerSpec) -> Problems {
        let mut problems = Problems::new();
        command(spec, &mut problems);
        self.resources(spec, &mut problems);
        environment(spec, &mut problems);
        mounts(spec, &mut problems);
        ports(spec, &mut problems);
        for (n, check) in spec.health_checks.iter().enumerate() {
            health_check(check, &format!("health_checks[{n}]"), &mut problems);
        }
        if let Some(scaling) = &spec.scaling {
            problems.require(
                scaling.max >= scaling.min.max(1),
                "scaling.max",
                format!("must be at least 1 and at least `min` ({})", scaling.min),
            );
        }
        metadata(spec, &mut problems);
        problems
    }

    fn resources(&self, spec: &WorkerSpec, problems: &mut Problems) {
        let resources = &spec.resources;
        for (path, cpu) in [("cpu_request", resources.cpu_request), ("cpu_limit", resources.cpu_limit)] {
            if let Some(cpu) = cpu.filter(|cpu| *cpu < self.min_cpu) {
                problems.add(
                    format!("resources.{path}"),
                    format!("{cpu} is below the minimum of {}", self.min_cpu),
                );
            }
        }
        if let (Some(request), Some(limit)) = (resources.cpu_request, resources.cpu_limit) {
            problems.require(
                request <= limit,
                "resources.cpu_request",
                format!("{request} exceeds the limit of {limit}"),
            );
        }
        if let (Some(request), Some(limit)) = (resources.memory_request, resources.memory_limit) {
            problems.require(
                request <= limit,
                "resources.memory_request",
                format!("{request} exceeds the limit of {limit}"),
            );
        }
        let zero = [resources.memory_request, resources.memory_limit]
            .into_iter()
            .flatten()
            .any(|size| size.bytes() == 0);
        problems.require(!zero, "resources", "memory must not be 0; leave it out for no limit");
        problems.require(resources.pids_limit != Some(0), "resources.pids_limit", "must be at least 1");
    }
}

fn command(spec: &WorkerSpec, problems: &mut Problems) {
    if spec.image.is_none() {
        problems.require(!spec.command.is_empty(), "command", "either an image or a command is required");
    }
    if let Some(program) = spec.command.first() {
        problems.require(!program.is_empty(), "command[0]", "the program's name is empty");
    }
    for (path, words) in [("command", &spec.command), ("args", &spec.args)] {
        for (n, word) in words.iter().enumerate() {
            problems.require(!word.contains('\0'), format!("{path}[{n}]"), "holds a NUL character");
        }
    }
    if let Some(dir) = &spec.working_dir {
        absolute("working_dir", dir, problems);
    }
}

fn absolute(path: &str, value: &str, problems: &mut Problems) {
    problems.require(
        value.starts_with('/') && !value.contains('\0'),
        path,
        format!("`{value}` is not an absolute path"),
    );
}

fn environment(spec: &WorkerSpec, problems: &mut Problems) {
    let name_is_good = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    for (name, value) in &spec.environment {
        problems.require(name_is_good(name), "environment", format!("`{name}` cannot be a variable's name"));
        problems.require(!value.contains('\0'), format!("environment.{name}"), "holds a NUL character");
    }
    let mut targets = BTreeSet::new();
    for (n, secret) in spec.secrets.iter().enumerate() {
        let path = format!("secrets[{n}]");
        problems.require(!secret.name.is_empty(), format!("{path}.name"), "a secret needs a name");
        let target = match &secret.target {
            SecretTarget::Variable { name } => {
                problems.require(
                    name_is_good(name),
                    format!("{path}.target"),
                    format!("`{name}` cannot be a variable's name"),
                );
                problems.require(
                    !spec.environment.contains_key(name),
                    format!("{path}.target"),
                    format!("the variable `{name}` stands in `environment` too"),
                );
                name
            }
            SecretTarget::File { path: file } => {
                let climbs = file.split('/').any(|part| part == "..");
                problems.require(
                    !file.is_empty() && !climbs && !file.contains('\0'),
                    format!("{path}.target"),
                    format!("`{file}` is not a usable path"),
                );
                file
            }
        };
        problems.require(
            targets.insert(target),
            format!("{path}.target"),
            format!("`{target}` is the target of two secrets"),
        );
    }
}

fn mounts(spec: &WorkerSpec, problems: &mut Problems) {
    let mut targets = BTreeSet::new();
    for (n, mount) in spec.mounts.iter().enumerate() {
        let path = format!("mounts[{n}]");
        absolute(&format!("{path}.target"), &mount.target, problems);
        problems.require(
            targets.insert(&mount.target),
            format!("{path}.target"),
            format!("`{}` is mounted on twice", mount.target),
        );
        match &mount.source {
            MountSource::Bind { path: source } => {
                absolute(&format!("{path}.source.bind.path"), source, problems)
            }
            MountSource::Volume { name } => {
                problems.require(
                    !name.is_empty(),
                    format!("{path}.source.volume.name"),
                    "a volume needs a name",
                );
            }
            MountSource::Tmpfs { .. } => {}
        }
    }
}

fn ports(spec: &WorkerSpec, problems: &mut Problems) {
    let (mut inside, mut outside, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (n, port) in spec.ports.iter().enumerate() {
        let path = format!("ports[{n}]");
        problems.require(port.port != 0, format!("{path}.port"), "must lie between 1 and 65535");
        problems.require(
            port.host_port != Some(0),
            format!("{path}.host_port"),
            "leave it out to have one chosen",
        );
        problems.require(
            inside.insert((port.port, port.protocol)),
            format!("{path}.port"),
            format!("{}/{} is used twice", port.port, port.protocol),
        );
        if let Some(host_port) = port.host_port {
            problems.require(
                outside.insert((host_port, port.protocol, port.host_address)),
                format!("{path}.host_port"),
                format!("{host_port}/{} is used twice", port.protocol),
            );
        }
        if let Some(name) = &port.name {
            problems.require(
                names.insert(name),
                format!("{path}.name"),
                format!("`{name}` is the name of two ports"),
            );
        }
    }
}

fn health_check(check: &HealthCheckConfig, path: &str, problems: &mut Problems) {
    problems.require(!check.interval.is_zero(), format!("{path}.interval"), "must be longer than 0");
    problems.require(!check.timeout.is_zero(), format!("{path}.timeout"), "must be longer than 0");
    problems.require(
        check.timeout <= check.interval,
        format!("{path}.timeout"),
        format!("{} is longer than the interval of {}", check.timeout, check.interval),
    );
    problems.require(check.success_threshold > 0, format!("{path}.success_threshold"), "must be at least 1");
    problems.require(check.failure_threshold > 0, format!("{path}.failure_threshold"), "must be at least 1");
    match &check.probe {
        Probe::Command(words) => {
            let good = words.first().is_some_and(|program| !program.is_empty());
            problems.require(good, format!("{path}.probe.command"), "a program is required");
        }
        Probe::Http { port, path: page } => {
            problems.require(*port != 0, format!("{path}.probe.http.port"), "must lie between 1 and 65535");
            problems.require(page.starts_with('/'), format!("{path}.probe.http.path"), "must begin with `/`");
        }
        Probe::Tcp { port } => {
            problems.require(*port != 0, format!("{path}.probe.tcp.port"), "must lie between 1 and 65535")
        }
        Probe::Native => {}
    }
}

fn metadata(spec: &WorkerSpec, problems: &mut Problems) {
    for name in spec.metadata.labels.keys() {
        problems.require(!name.is_empty(), "metadata.labels", "a label needs a name");
        problems.require(
            !name.starts_with(labels::PREFIX),
            format!("metadata.labels.{name}"),
            format!("names that begin with `{}` are the library's own", labels::PREFIX),
        );
    }
}
