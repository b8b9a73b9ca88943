use std::collections::BTreeSet;

use hodei_worker_core::settings::Problems;
use serde::{Deserialize, Serialize};

use super::is_default;

/// What a container may do, beyond or below what the engine gives by itself. A provider's
/// [`SecurityPolicy`](crate::SecurityPolicy) may forbid some of it, and set what is left open here.
///
/// # Examples
/// ```
/// use hodei_worker_docker::{DockerOptions, SecurityOptions};
/// let security = SecurityOptions::default().drop_all_capabilities().add_capability("NET_BIND_SERVICE");
/// let options = DockerOptions::default().user("1000:1000").security(security.read_only_root());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SecurityOptions {
    /// Everything that the machine's root may do. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// Capabilities that it gets beside the engine's own, `NET_ADMIN`; `ALL` for all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub added_capabilities: BTreeSet<String>,
    /// Capabilities that it does not get; `ALL` for all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub dropped_capabilities: BTreeSet<String>,
    /// Whether its programs can gain no rights by being executed. Default: the policy's, or else false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_new_privileges: Option<bool>,
    /// Whether its root file system is for reading only. Default: the policy's, or else false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_root: Option<bool>,
    /// The filter of system calls: a profile as JSON text, or `unconfined`. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
    /// The name of an AppArmor profile that the machine has loaded, or `unconfined`. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// SELinux labels: `user:U`, `role:R`, `type:T`, `level:L`, or `disable`. Default: the engine's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selinux: Vec<String>,
    /// Further groups of its user, by name or number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Whose processes it sees: `host`, or `container:<id>`. Default: its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    /// With whom it shares memory and semaphores: `host`, `shareable`, `none`, or `container:<id>`. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc: Option<String>,
    /// `host` for the machine's own name. Default: its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uts: Option<String>,
    /// `host` for users that have the same numbers outside. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userns: Option<String>,
    /// `host` or `private` view of control groups. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroupns: Option<String>,
    /// The runtime by which the engine runs it, `runsc`. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
}

impl SecurityOptions {
    /// With a capability beside the engine's own.
    #[must_use]
    pub fn add_capability(mut self, name: impl Into<String>) -> Self {
        self.added_capabilities.insert(name.into());
        self
    }
    /// Without any capability but those that are added.
    #[must_use]
    pub fn drop_all_capabilities(mut self) -> Self {
        self.dropped_capabilities.insert("ALL".to_owned());
        self
    }
    /// Without new rights by execution.
    #[must_use]
    pub fn no_new_privileges(mut self) -> Self {
        self.no_new_privileges = Some(true);
        self
    }
    /// With a root file system for reading only.
    #[must_use]
    pub fn read_only_root(mut self) -> Self {
        self.read_only_root = Some(true);
        self
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        for (path, all) in [
            ("added_capabilities", &self.added_capabilities),
            ("dropped_capabilities", &self.dropped_capabilities),
        ] {
            for name in all {
                let good =
                    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                problems.require(good, format!("security.{path}"), format!("`{name}` is no capability"));
            }
        }
        if let Some(profile) = &self.seccomp {
            let good = profile == "unconfined" || serde_json::from_str::<serde_json::Value>(profile).is_ok();
            problems.require(good, "security.seccomp", "is neither JSON nor `unconfined`");
        }
        for (n, label) in self.selinux.iter().enumerate() {
            let good = label == "disable"
                || label.split_once(':').is_some_and(|(kind, value)| {
                    ["user", "role", "type", "level"].contains(&kind) && !value.is_empty()
                });
            problems.require(good, format!("security.selinux[{n}]"), format!("`{label}` is no `kind:value`"));
        }
    }
}

/// A capability's name as the engine lists it, `NET_ADMIN`, from any of the ways to write it.
pub(crate) fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("CAP_").map_or(name.clone(), str::to_owned)
}
