use std::collections::{BTreeMap, BTreeSet};

use hodei_worker_core::{
    Result, WorkerConfig,
    model::{ContainerImage, MountSource},
    settings::Problems,
};
use serde::{Deserialize, Serialize};

use crate::{DockerOptions, options::capability};

/// What workers of a provider may ask for, and what they get where they leave it open. The default is restricted, as
/// [`SecurityPolicy::restricted`] says; without a policy, a container is what the engine makes of it.
///
/// What is refused names the setting and the rule that it breaks, before anything is made.
///
/// # Examples
/// ```
/// use hodei_worker_docker::{DockerSettings, SecurityPolicy};
/// let mut policy = SecurityPolicy::restricted();
/// policy.allowed_capabilities.insert("NET_BIND_SERVICE".to_owned());
/// policy.allowed_host_paths.push("/srv/data".to_owned());
/// let settings = DockerSettings::default().with_security(policy);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SecurityPolicy {
    /// Whether a container's user may be root. Default: false.
    pub allow_root: bool,
    /// The user of a container that would be root's, by its own options and its image. Default: `65534:65534`.
    pub default_user: String,
    /// Whether all capabilities are dropped that are not asked for. Default: true.
    pub drop_capabilities: bool,
    /// Capabilities that may be asked for. Default: none.
    pub allowed_capabilities: BTreeSet<String>,
    /// Whether programs may gain rights by being executed. Default: false.
    pub allow_new_privileges: bool,
    /// Whether the root file system may be written to. Default: false.
    pub allow_writable_root: bool,
    /// Folders in memory that a container with a root for reading only gets, unless it mounts something there. Default:
    /// `/tmp` and `/run`.
    pub writable_folders: Vec<String>,
    /// Whether a container may be privileged. Default: false.
    pub allow_privileged: bool,
    /// Whether it may share namespaces with the machine or with other containers: network, processes, memory, name,
    /// users. Default: false.
    pub allow_host_namespaces: bool,
    /// Whether it may have devices of the machine. Default: false.
    pub allow_devices: bool,
    /// Host paths that may be mounted, with what lies below them. Default: none.
    pub allowed_host_paths: Vec<String>,
    /// Whether the filter of system calls, AppArmor or SELinux may be switched off. Default: false.
    pub allow_unconfined: bool,
    /// The filter of system calls of a container that names none: a profile as JSON text. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
    /// The AppArmor profile of a container that names none. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// The SELinux labels of a container that names none. Default: the engine's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selinux: Vec<String>,
    /// So many processes and threads a container may have, and has if it names no limit. Default: 1024.
    pub pids_limit: Option<u64>,
    /// Whether images must be named by their digests. Default: false.
    pub require_digest: bool,
    /// Registries from which images may come, as they are written in an image's name; `docker.io` for names without one.
    /// Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_registries: Option<BTreeSet<String>>,
}

impl Default for SecurityPolicy {
    fn default() -> Self {
        Self::restricted()
    }
}

impl SecurityPolicy {
    /// A user who is not root, no capabilities, no new rights, a root for reading only with `/tmp` and `/run` in memory,
    /// the engine's filters, 1,024 processes, nothing of the machine.
    pub fn restricted() -> Self {
        Self {
            allow_root: false,
            default_user: "65534:65534".to_owned(),
            drop_capabilities: true,
            allowed_capabilities: BTreeSet::new(),
            allow_new_privileges: false,
            allow_writable_root: false,
            writable_folders: vec!["/tmp".to_owned(), "/run".to_owned()],
            allow_privileged: false,
            allow_host_namespaces: false,
            allow_devices: false,
            allowed_host_paths: Vec::new(),
            allow_unconfined: false,
            seccomp: None,
            apparmor: None,
            selinux: Vec::new(),
            pids_limit: Some(1024),
            require_digest: false,
            allowed_registries: None,
        }
    }

    /// As the engine makes containers, root and a writable root included, but nothing of the machine: not privileged,
    /// no host paths, devices or namespaces, the engine's capabilities and filters.
    pub fn baseline() -> Self {
        Self {
            allow_root: true,
            drop_capabilities: false,
            allow_new_privileges: true,
            allow_writable_root: true,
            pids_limit: None,
            ..Self::restricted()
        }
    }

    pub(crate) fn validate(&self, problems: &mut Problems) {
        let user = self.default_user.split(':').next().unwrap_or_default();
        problems.require(
            !user.is_empty() && !self.default_user.contains([' ', '\0']),
            "security.default_user",
            "is empty or holds spaces",
        );
        problems.require(
            self.allow_root || !is_root(&self.default_user),
            "security.default_user",
            "is root, whom `allow_root` does not allow",
        );
        for (path, all) in
            [("writable_folders", &self.writable_folders), ("allowed_host_paths", &self.allowed_host_paths)]
        {
            for folder in all {
                let message = format!("`{folder}` is not an absolute path");
                problems.require(folder.starts_with('/'), format!("security.{path}"), message);
            }
        }
        problems.require(self.pids_limit != Some(0), "security.pids_limit", "must be at least 1");
    }
}

/// Who a container runs as.
fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    matches!(name, "" | "root") || name.parse() == Ok(0_u32)
}

/// What the policy adds to a worker that leaves it open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hardened {
    pub(crate) user: Option<String>,
    pub(crate) pids_limit: Option<u64>,
    /// Folders in memory beside the worker's own mounts.
    pub(crate) writable: Vec<String>,
}

impl SecurityPolicy {
    /// Refuses what breaks the policy, sets in `options` what the worker leaves open, and says what is set beside them.
    /// `image_user` is whom the image names.
    ///
    /// # Errors
    /// `Config` with each setting that breaks a rule.
    pub(crate) fn apply(
        &self,
        config: &WorkerConfig,
        options: &mut DockerOptions,
        image_user: &str,
    ) -> Result<Hardened> {
        let mut problems = Problems::new();
        self.image(config.image.as_ref(), &mut problems);
        self.rights(options, &mut problems);
        self.machine(config, options, &mut problems);
        let mut hardened = Hardened::default();
        match &options.user {
            Some(user) => problems.require(
                self.allow_root || !is_root(user),
                "options.docker.user",
                broken("is root", "allow_root"),
            ),
            None if self.allow_root || !is_root(image_user) => {}
            None => hardened.user = Some(self.default_user.clone()),
        }
        if let Some(most) = self.pids_limit {
            match config.resources.pids_limit {
                Some(limit) => problems.require(
                    limit <= most,
                    "resources.pids_limit",
                    broken(&format!("exceeds {most}"), "pids_limit"),
                ),
                None => hardened.pids_limit = Some(most),
            }
        }
        if options.security.read_only_root == Some(true) {
            let mounted = |folder: &String| {
                config.mounts.iter().any(|mount| mount.target.trim_end_matches('/') == folder)
            };
            hardened.writable = self.writable_folders.iter().filter(|one| !mounted(one)).cloned().collect();
        }
        crate::container::told(problems)?;
        Ok(hardened)
    }

    fn image(&self, image: Option<&ContainerImage>, problems: &mut Problems) {
        let Some(image) = image else { return };
        problems.require(
            !self.require_digest || image.digest().is_some(),
            "image",
            broken(&format!("`{image}` names no digest"), "require_digest"),
        );
        if let Some(allowed) = &self.allowed_registries {
            let registry = registry_of(image);
            let known = allowed.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            problems.require(
                allowed.contains(registry),
                "image",
                broken(&format!("comes from `{registry}`, which is none of {known}"), "allowed_registries"),
            );
        }
    }

    /// What its programs may do.
    fn rights(&self, options: &mut DockerOptions, problems: &mut Problems) {
        let security = &mut options.security;
        let field = |name: &str| format!("options.docker.security.{name}");
        problems.require(
            self.allow_privileged || !security.privileged,
            field("privileged"),
            broken("is set", "allow_privileged"),
        );
        let allowed: BTreeSet<String> =
            self.allowed_capabilities.iter().map(|name| capability(name)).collect();
        if self.drop_capabilities {
            for name in &security.added_capabilities {
                problems.require(
                    allowed.contains(&capability(name)),
                    field("added_capabilities"),
                    broken(&format!("asks for `{name}`"), "allowed_capabilities"),
                );
            }
            security.dropped_capabilities.insert("ALL".to_owned());
        } else {
            for name in &security.added_capabilities {
                problems.require(
                    allowed.contains(&capability(name)) || ENGINES_OWN.contains(&capability(name).as_str()),
                    field("added_capabilities"),
                    broken(&format!("asks for `{name}`"), "allowed_capabilities"),
                );
            }
        }
        if !self.allow_new_privileges {
            problems.require(
                security.no_new_privileges != Some(false),
                field("no_new_privileges"),
                broken("is false", "allow_new_privileges"),
            );
            security.no_new_privileges = Some(true);
        }
        if !self.allow_writable_root {
            problems.require(
                security.read_only_root != Some(false),
                field("read_only_root"),
                broken("is false", "allow_writable_root"),
            );
            security.read_only_root = Some(true);
        }
        let unconfined = |text: &Option<String>| text.as_deref() == Some("unconfined");
        for (name, off) in [
            ("seccomp", unconfined(&security.seccomp)),
            ("apparmor", unconfined(&security.apparmor)),
            ("selinux", security.selinux.iter().any(|label| label == "disable")),
        ] {
            problems.require(
                self.allow_unconfined || !off,
                field(name),
                broken("is off", "allow_unconfined"),
            );
        }
        security.seccomp = security.seccomp.take().or_else(|| self.seccomp.clone());
        security.apparmor = security.apparmor.take().or_else(|| self.apparmor.clone());
        if security.selinux.is_empty() {
            security.selinux.clone_from(&self.selinux);
        }
    }

    /// What of the machine, and of others on it, it may see.
    fn machine(&self, config: &WorkerConfig, options: &DockerOptions, problems: &mut Problems) {
        let security = &options.security;
        let shared = |mode: &Option<String>| {
            mode.as_ref().is_some_and(|mode| mode == "host" || mode.starts_with("container:"))
        };
        for (field, mode) in [
            ("network", &options.network),
            ("security.pid", &security.pid),
            ("security.ipc", &security.ipc),
            ("security.uts", &security.uts),
            ("security.userns", &security.userns),
            ("security.cgroupns", &security.cgroupns),
        ] {
            problems.require(
                self.allow_host_namespaces || !shared(mode),
                format!("options.docker.{field}"),
                broken("is shared", "allow_host_namespaces"),
            );
        }
        problems.require(
            self.allow_devices
                || (options.storage.devices.is_empty() && options.storage.device_rules.is_empty()),
            "options.docker.storage.devices",
            broken("there are some", "allow_devices"),
        );
        for (n, mount) in config.mounts.iter().enumerate() {
            let MountSource::Bind { path } = &mount.source else { continue };
            problems.require(
                self.allowed_host_paths.iter().any(|allowed| is_below(path, allowed)),
                format!("mounts[{n}].source.bind.path"),
                broken(&format!("`{path}` is the machine's"), "allowed_host_paths"),
            );
        }
        for (name, volume) in &options.storage.volumes {
            // A volume of the engine's own driver can show any folder or device of the machine.
            let shows =
                volume.driver_options.get("device").filter(|_| shows_the_machine(&volume.driver_options));
            if let Some(device) = shows {
                problems.require(
                    self.allowed_host_paths.iter().any(|allowed| is_below(device, allowed)),
                    format!("options.docker.storage.volumes.{name}.driver_options"),
                    broken(&format!("`{device}` is the machine's"), "allowed_host_paths"),
                );
            }
        }
    }
}

/// What the engine gives by itself.
const ENGINES_OWN: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn broken(what: &str, rule: &str) -> String {
    format!("{what}, which the provider's security policy forbids (`security.{rule}`)")
}

fn shows_the_machine(options: &BTreeMap<String, String>) -> bool {
    !matches!(options.get("type").map(String::as_str), Some("tmpfs" | "nfs" | "nfs4" | "cifs"))
}

/// Whether a path is another or lies below it, by their parts; one that climbs lies nowhere.
fn is_below(path: &str, folder: &str) -> bool {
    let parts = |path: &str| -> Option<Vec<String>> {
        let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.map(|part| (part != "..").then(|| part.to_owned())).collect()
    };
    match (parts(path), parts(folder)) {
        (Some(path), Some(folder)) => path.starts_with(&folder),
        _ => false,
    }
}

/// The registry that an image comes from, as engines tell it from the name.
fn registry_of(image: &ContainerImage) -> &str {
    match image.repository().split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests;
