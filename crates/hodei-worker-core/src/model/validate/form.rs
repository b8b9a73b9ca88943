use std::{collections::BTreeSet, net::IpAddr};

use super::health;
use crate::{
    model::{MountSource, SecretTarget, WorkerSpec, labels},
    settings::Problems,
};

/// What is wrong whatever the rules: values that contradict each other or cannot be meant.
pub(in crate::model) fn check_form(spec: &WorkerSpec) -> Problems {
    let mut problems = Problems::new();
    command(spec, &mut problems);
    resources(spec, &mut problems);
    environment(spec, &mut problems);
    mounts(spec, &mut problems);
    networks(spec, &mut problems);
    ports(spec, &mut problems);
    for (n, check) in spec.health_checks.iter().enumerate() {
        health::check(check, &format!("health_checks[{n}]"), &mut problems);
    }
    if let Some(recovery) = &spec.recovery {
        let mut wrong = Problems::new();
        recovery.validate(&mut wrong);
        problems.nest("recovery", wrong);
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

fn resources(spec: &WorkerSpec, problems: &mut Problems) {
    let resources = &spec.resources;
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
    for (path, cpu) in [("cpu_request", resources.cpu_request), ("cpu_limit", resources.cpu_limit)] {
        problems.require(
            cpu.is_none_or(|cpu| cpu.millis() > 0),
            format!("resources.{path}"),
            "must not be 0; leave it out for none",
        );
    }
    for (path, size) in
        [("memory_request", resources.memory_request), ("memory_limit", resources.memory_limit)]
    {
        problems.require(
            size.is_none_or(|size| size.bytes() > 0),
            format!("resources.{path}"),
            "must not be 0; leave it out for none",
        );
    }
    problems.require(resources.pids_limit != Some(0), "resources.pids_limit", "must be at least 1");
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
                    // Not `NAME=…` as a whole: what follows may be the secret itself.
                    format!("`{}` cannot be a variable's name", named(name)),
                );
                problems.require(
                    !spec.environment.contains_key(name),
                    format!("{path}.target"),
                    format!("the variable `{name}` stands in `environment` too"),
                );
                name.clone()
            }
            SecretTarget::File { path: file } => {
                let climbs = file.split('/').any(|part| part == "..");
                problems.require(
                    !file.is_empty() && !climbs && !file.contains('\0'),
                    format!("{path}.target"),
                    format!("`{file}` is not a usable path"),
                );
                plain(file)
            }
        };
        let message = format!("`{}` is the target of two secrets", named(&target));
        problems.require(
            targets.insert((matches!(secret.target, SecretTarget::File { .. }), target)),
            format!("{path}.target"),
            message,
        );
    }
}

/// The part of a variable's name that may be repeated in a message.
fn named(name: &str) -> String {
    name.split_once('=').map_or_else(|| name.to_owned(), |(name, _)| format!("{name}=…"))
}

/// A path without the slashes and dots that make no difference.
fn plain(path: &str) -> String {
    let root = if path.starts_with('/') { "/" } else { "" };
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("{root}{}", parts.join("/"))
}

fn mounts(spec: &WorkerSpec, problems: &mut Problems) {
    let mut targets = BTreeSet::new();
    for (n, mount) in spec.mounts.iter().enumerate() {
        let path = format!("mounts[{n}]");
        absolute(&format!("{path}.target"), &mount.target, problems);
        problems.require(
            targets.insert(plain(&mount.target)),
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

fn networks(spec: &WorkerSpec, problems: &mut Problems) {
    let mut names = BTreeSet::new();
    for (n, network) in spec.networks.iter().enumerate() {
        let path = format!("networks[{n}]");
        let good =
            !network.name.is_empty() && !network.name.contains(|c: char| c.is_whitespace() || c == '\0');
        problems.require(
            good,
            format!("{path}.name"),
            format!("`{}` cannot be a network's name", network.name),
        );
        let message = format!("`{}` is named twice", network.name);
        problems.require(names.insert(&network.name), format!("{path}.name"), message);
        let alias_is_good = |alias: &String| !alias.is_empty() && !alias.contains(char::is_whitespace);
        let good = network.aliases.iter().all(alias_is_good);
        problems.require(good, format!("{path}.aliases"), "one is empty or holds spaces");
        let of_version = |six: bool| network.addresses.iter().filter(|one| one.is_ipv6() == six).count();
        let good = of_version(false) <= 1 && of_version(true) <= 1;
        problems.require(good, format!("{path}.addresses"), "there may be one of each version");
    }
}

fn ports(spec: &WorkerSpec, problems: &mut Problems) {
    let (mut inside, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (n, port) in spec.ports.iter().enumerate() {
        let path = format!("ports[{n}]");
        problems.require(port.port != 0, format!("{path}.port"), "must lie between 1 and 65535");
        problems.require(
            port.host_port != Some(0),
            format!("{path}.host_port"),
            "leave it out to have one chosen",
        );
        problems.require(
            inside.insert((port.port, port.protocol, port.host_port, port.host_address)),
            format!("{path}.port"),
            format!("{}/{} is published twice in the same way", port.port, port.protocol),
        );
        let other = spec.ports[..n].iter().position(|other| {
            other.host_port.is_some()
                && (other.host_port, other.protocol) == (port.host_port, port.protocol)
                && overlap(other.host_address, port.host_address)
        });
        if let (Some(host_port), Some(other)) = (port.host_port, other) {
            problems.add(
                format!("{path}.host_port"),
                format!(
                    "{host_port}/{} is used twice: by `ports[{other}]` on the same address",
                    port.protocol
                ),
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

/// Whether two ports of the same number cannot both be listened on. The provider's default may be any address.
fn overlap(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return true };
    let (one, other) = (one.to_canonical(), other.to_canonical());
    one == other || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}

fn metadata(spec: &WorkerSpec, problems: &mut Problems) {
    for (name, value) in &spec.metadata.labels {
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let message = format!(
                "{name:?} cannot be a label's name: it is empty or holds spaces or control characters"
            );
            problems.add("metadata.labels", message);
            continue;
        }
        let path = format!("metadata.labels.{name}");
        problems.require(!value.contains(char::is_control), &path, "holds a control character");
        problems.require(
            !name.starts_with(labels::PREFIX),
            path,
            format!("names that begin with `{}` are the library's own", labels::PREFIX),
        );
    }
}
