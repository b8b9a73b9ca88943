//! What is wrong with a configuration here: all of it at once, and before anybody is asked for anything.

use std::{io, path::Path};

use hodei_worker_core::{
    Error, Result, WorkerConfig,
    model::{MountSource, Probe, SecretTarget},
    settings::Problems,
};

use crate::{DockerOptions, names};

/// Whether an engine can do what the configuration says.
pub(super) fn configuration(config: &WorkerConfig, options: &DockerOptions) -> Result<()> {
    let mut problems = Problems::new();
    let image = "a container needs an image: name one with its tag, as in `busybox:1`";
    problems.require(config.image.is_some(), "image", image);
    secrets(config, options, &mut problems);
    health_checks(config, &mut problems);
    for name in options.networking.port_ranges.keys() {
        let ports = config.ports.iter().filter(|port| port.host_port.is_none());
        problems.require(
            ports.map(|port| format!("{}/{}", port.port, port.protocol)).any(|port| port == *name),
            format!("options.docker.networking.port_ranges.{name}"),
            "is none of the configuration's `ports`, or one that has a port of the machine's there",
        );
    }
    for (n, network) in config.networks.iter().enumerate() {
        let mode = matches!(network.name.as_str(), "host" | "none" | "default") || network.name.contains(':');
        problems.require(
            !mode,
            format!("networks[{n}].name"),
            format!("`{}` is no network of its own: the option `network` is for that", network.name),
        );
    }
    for (n, mount) in config.mounts.iter().enumerate() {
        if let MountSource::Volume { name } = &mount.source {
            problems.require(
                is_volume_name(name),
                format!("mounts[{n}].source.volume.name"),
                format!(
                    "`{name}` is no name of a volume: two or more letters, digits, `_`, `.` and `-`, of which the \
                     first is a letter or a digit"
                ),
            );
            problems.require(
                !name.starts_with(names::RESERVED),
                format!("mounts[{n}].source.volume.name"),
                format!("`{name}` is a name of this library's own volumes: give it another"),
            );
        }
    }
    for name in options.storage.volumes.keys() {
        problems.require(
            !name.starts_with(names::RESERVED),
            format!("options.docker.storage.volumes.{name}"),
            "is a name of this library's own volumes: give it another",
        );
    }
    told(problems)
}

/// Folders of the engine's machine that are not there, when the engine has said that one is missing; `Ok` if it must be
/// something else. Not asked before: the engine may see more of the machine than we do.
pub(super) fn bind_sources(config: &WorkerConfig) -> Result<()> {
    let mut problems = Problems::new();
    for (n, mount) in config.mounts.iter().enumerate() {
        if let MountSource::Bind { path } = &mount.source
            && Path::new(path).symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            let message = format!("`{path}` does not exist on the engine's machine");
            problems.add(format!("mounts[{n}].source.bind.path"), message);
        }
    }
    told(problems)
}

/// One problem as the error of its field.
pub(crate) fn told(problems: Problems) -> Result<()> {
    match &*problems {
        [only] => Err(Error::config(only.path.clone(), only.message.clone())),
        _ => problems.into_result(),
    }
}

fn secrets(config: &WorkerConfig, options: &DockerOptions, problems: &mut Problems) {
    for (n, secret) in config.secrets.iter().enumerate() {
        let field = format!("secrets[{n}].target");
        match &secret.target {
            SecretTarget::Variable { name } => problems.require(
                options.allow_secret_variables,
                field,
                format!(
                    "the secret variable `{name}` could be read by whoever may inspect containers: make it a file, or \
                     set the option `allow_secret_variables` if the program reads nothing else"
                ),
            ),
            SecretTarget::File { path } => problems.require(
                path.starts_with('/'),
                field,
                format!("`{path}` is not an absolute path inside the container"),
            ),
            _ => problems.add(field, "a container takes secrets as files or variables"),
        }
    }
}

/// What an engine cannot run is refused, since nobody else would run it.
fn health_checks(config: &WorkerConfig, problems: &mut Problems) {
    for (n, check) in config.health_checks.iter().enumerate() {
        let path = format!("health_checks[{n}]");
        problems.require(n == 0, path.clone(), "an engine runs one check of a container, no more");
        problems.require(
            matches!(check.probe, Probe::Command(_) | Probe::Native),
            format!("{path}.probe"),
            "an engine runs commands only; make it one, or probe a published port from outside",
        );
        problems.require(
            check.success_threshold == 1,
            format!("{path}.success_threshold"),
            "an engine takes one success for healthy",
        );
        for (field, set) in
            [("slow_after", check.slow_after.is_some()), ("flapping", check.flapping.is_some())]
        {
            problems.require(!set, format!("{path}.{field}"), "an engine does not look at that");
        }
    }
}

/// As the engine has it.
fn is_volume_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.len() > 1
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::model::NetworkAttachment;
    use hodei_worker_core::model::{HealthCheckConfig, Mount, SecretReference};

    use super::*;

    #[test]
    fn d2_everything_wrong_is_told_at_once() {
        let mut check = HealthCheckConfig::new(Probe::Command(vec!["true".to_owned()]));
        check.success_threshold = 2;
        check.slow_after = Some("500ms".parse().unwrap());
        let config = WorkerConfig::builder("a")
            .command(["true"])
            .secret(SecretReference::variable("a/b", "PASSWORD"))
            .health_check(check)
            .mount(Mount::volume("my data", "/data"))
            .build()
            .unwrap();
        let error = configuration(&config, &DockerOptions::default()).unwrap_err();
        let paths: Vec<_> = error.problems().unwrap().iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "image",
                "secrets[0].target",
                "health_checks[0].success_threshold",
                "health_checks[0].slow_after",
                "mounts[0].source.volume.name"
            ]
        );
    }

    #[test]
    fn d11_a_network_of_the_machine_is_no_network_of_a_worker() {
        for name in ["host", "none", "default", "container:db", "ns:/proc/1/ns/net"] {
            let config = WorkerConfig::builder("a").image("a:1").network(NetworkAttachment::new(name));
            let error = configuration(&config.build().unwrap(), &DockerOptions::default()).unwrap_err();
            assert_eq!(error.context_value("field"), Some("networks[0].name"), "{error}");
        }
    }

    #[test]
    fn d3_a_name_of_a_volume_is_the_engines() {
        for (name, good) in [
            ("data", true),
            ("a.b-c_1", true),
            ("a", false),
            ("", false),
            ("my data", false),
            ("/etc", false),
            (".a", false),
        ] {
            assert_eq!(is_volume_name(name), good, "{name}");
        }
    }

    #[test]
    fn d7_a_volume_of_this_librarys_is_nobody_elses() {
        let name = "hodei.ci.db.1.secrets.0";
        let config =
            WorkerConfig::builder("a").image("a:1").mount(Mount::volume(name, "/a")).build().unwrap();
        let options = DockerOptions::default().define_volume(name, crate::VolumeOptions::external());
        let error = configuration(&config, &options).unwrap_err();
        let paths: Vec<_> = error.problems().unwrap().iter().map(|problem| problem.path.as_str()).collect();
        let defined = format!("options.docker.storage.volumes.{name}");
        assert_eq!(paths, ["mounts[0].source.volume.name", defined.as_str()]);
    }

    #[test]
    fn d3_all_missing_folders_are_told() {
        let config = WorkerConfig::builder("a")
            .image("a:1")
            .mount(Mount::bind("/no/such", "/a"))
            .mount(Mount::bind("/", "/b"))
            .mount(Mount::bind("/none", "/c"))
            .build()
            .unwrap();
        assert_eq!(bind_sources(&config).unwrap_err().problems().unwrap().len(), 2);
    }
}
