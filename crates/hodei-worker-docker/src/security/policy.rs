mod machine;

use std::collections::BTreeSet;

use hodei_worker_core::{Result, WorkerConfig, model::ContainerImage, settings::Problems};
use serde::{Deserialize, Serialize};

use crate::{DockerOptions, SecurityOptions, options::capability};

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
    /// Whether a container's user may be root. If not, users and groups are taken by their numbers only, since names mean
    /// what the image says. A user without a group has the one that the image gives it, or else root's. Default: false.
    pub allow_root: bool,
    /// The user of a container that names none and whose image names root, nobody, or a user by name. Default:
    /// `65534:65534`.
    pub default_user: String,
    /// Further groups that a container's user may have where `allow_root` is false. Default: none.
    pub allowed_groups: BTreeSet<String>,
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
    /// Host paths that may be mounted, with what lies below them. A symbolic link in one leads out of it, so that only
    /// folders are safe that no worker can write to. Default: none.
    pub allowed_host_paths: Vec<String>,
    /// Whether volumes may have other drivers than the engine's own, and any options: such a volume can show any folder
    /// and any device of the machine. If not, a volume is plain, in memory, or one of `allowed_host_paths`. Default: false.
    pub allow_volume_drivers: bool,
    /// Whether workers may choose the runtime, annotations, the parent of the control group, drivers and options of
    /// networks, log drivers that send elsewhere, options of the storage driver, settings of the kernel other than `net.*`,
    /// and be spared when memory runs out. Default: false.
    pub allow_engine_options: bool,
    /// Whether the filter of system calls, AppArmor or SELinux may be switched off, or set to what is not listed here.
    /// Default: false.
    pub allow_unconfined: bool,
    /// Filters of system calls that a container may name: profiles as JSON text, letter for letter. Default: none.
    pub allowed_seccomp: BTreeSet<String>,
    /// AppArmor profiles that a container may name. Default: none.
    pub allowed_apparmor: BTreeSet<String>,
    /// SELinux labels that a container may name, `type:svirt_t`. Default: none.
    pub allowed_selinux: BTreeSet<String>,
    /// The filter of system calls of a container that names none: a profile as JSON text. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
    /// The AppArmor profile of a container that names none. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// The SELinux labels of a container that names none of their kind. Default: the engine's.
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
            allowed_groups: BTreeSet::new(),
            drop_capabilities: true,
            allowed_capabilities: BTreeSet::new(),
            allow_new_privileges: false,
            allow_writable_root: false,
            writable_folders: vec!["/tmp".to_owned(), "/run".to_owned()],
            allow_privileged: false,
            allow_host_namespaces: false,
            allow_devices: false,
            allowed_host_paths: Vec::new(),
            allow_volume_drivers: false,
            allow_engine_options: false,
            allow_unconfined: false,
            allowed_seccomp: BTreeSet::new(),
            allowed_apparmor: BTreeSet::new(),
            allowed_selinux: BTreeSet::new(),
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
            self.allow_root || is_plain(&self.default_user),
            "security.default_user",
            "may be root, whom `allow_root` does not allow: name user and group by numbers other than 0",
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

/// Whether it is nobody's root, whatever the image says: names, the number that stands for none, and signs before a
/// number mean what the image or the engine makes of them.
fn is_plain(user: &str) -> bool {
    user.split(':').count() <= 2 && user.split(':').all(is_plain_number)
}

/// Numbers that the engine does not take are names to it.
fn is_plain_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i32>().is_ok_and(|number| number != 0)
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
                self.allow_root || is_plain(user),
                "options.docker.user",
                format!(
                    "{}; name user and group by numbers other than 0",
                    broken("may be root", "allow_root")
                ),
            ),
            None if self.allow_root || is_plain(image_user) => {}
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
            // An image's id, of whatever registry: the engine takes `sha256:…` for that.
            let registry =
                if image.repository() == "sha256" { "an unknown place" } else { registry_of(image) };
            let known = allowed.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            problems.require(
                allowed.contains(registry),
                "image",
                broken(&format!("comes from {registry}, which is none of {known}"), "allowed_registries"),
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
        for group in &security.groups {
            problems.require(
                self.allow_root || self.allowed_groups.contains(group),
                field("groups"),
                broken(&format!("asks for `{group}`"), "allowed_groups"),
            );
        }
        self.filters(security, problems);
    }

    /// A profile of the worker's own is as good as none, so that those are listed which it may name.
    fn filters(&self, security: &mut SecurityOptions, problems: &mut Problems) {
        let mut listed = |good: bool, name: &str| {
            problems.require(
                good || self.allow_unconfined,
                format!("options.docker.security.{name}"),
                broken("is off, or not one that is listed", &format!("allowed_{name}")),
            );
        };
        for (name, asked, own, allowed) in [
            ("seccomp", &mut security.seccomp, &self.seccomp, &self.allowed_seccomp),
            ("apparmor", &mut security.apparmor, &self.apparmor, &self.allowed_apparmor),
        ] {
            match asked {
                Some(profile) => listed(own.as_ref() == Some(profile) || allowed.contains(profile), name),
                None => asked.clone_from(own),
            }
        }
        for label in &security.selinux {
            listed(self.selinux.contains(label) || self.allowed_selinux.contains(label), "selinux");
        }
        let kind = |label: &str| label.split(':').next().unwrap_or_default().to_owned();
        let named: BTreeSet<String> = security.selinux.iter().map(|label| kind(label)).collect();
        if !named.contains("disable") {
            let missing = self.selinux.iter().filter(|label| !named.contains(&kind(label)));
            security.selinux.extend(missing.cloned());
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

/// The registry that an image comes from, as engines tell it from the name.
fn registry_of(image: &ContainerImage) -> &str {
    match image.repository().split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests;
