use std::collections::BTreeMap;

use hodei_worker_core::settings::Problems;
use serde::{Deserialize, Serialize};

use super::is_default;

/// How a container's storage is made. What is mounted where, the configuration says
/// ([`mounts`](hodei_worker_core::model::WorkerSpec::mounts)).
///
/// # Examples
/// ```
/// use hodei_worker_core::{WorkerConfig, model::Mount};
/// use hodei_worker_docker::{DockerOptions, VolumeOptions};
/// let options = DockerOptions::default()
///     .user("1000:1000")
///     .define_volume("data", VolumeOptions::default().owned_by(1000, 1000));
/// let config = WorkerConfig::builder("app")
///     .image("app:1")
///     .mount(Mount::volume("data", "/data"))
///     .options(&options)
///     .build()?;
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct StorageOptions {
    /// How volumes are made that do not exist yet, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, VolumeOptions>,
    /// More about mounts, by their targets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<String, MountOptions>,
    /// Whether volumes that the image declares, and nothing is mounted over, get names: then they outlast a generation of
    /// the worker where its volumes are kept. Default: false, so they are anonymous and go with the container.
    #[serde(skip_serializing_if = "is_default")]
    pub name_image_volumes: bool,
    /// Devices of the engine's machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceOptions>,
    /// Rules of the control group for devices, `c 1:3 mr`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_rules: Vec<String>,
}

/// How a volume is made, where it does not exist. One that exists with another driver or other options of it is a conflict,
/// where any are named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct VolumeOptions {
    /// It must exist, and is never made or removed. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub external: bool,
    /// The engine's driver. Default: `local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Options of that driver.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_options: BTreeMap<String, String>,
    /// Labels beside ours.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whose its top folder is when it is new; what the image has there is not copied then. Default: the owner of what the
    /// image has there, or else root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// Whose a folder is: numbers inside the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// Who may do what, as `chmod` takes it. Default: 0o755.
    #[serde(default = "Owner::default_mode")]
    pub mode: u32,
}

impl Owner {
    const fn default_mode() -> u32 {
        0o755
    }
    /// As a label has it.
    pub(crate) fn to_label(self) -> String {
        format!("{}:{}:{:o}", self.user, self.group, self.mode)
    }
    /// What [`Self::to_label`] has written.
    pub(crate) fn from_label(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (user, group) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let mode = u32::from_str_radix(parts.next()?, 8).ok()?;
        parts.next().is_none().then_some(Self { user, group, mode })
    }
}

impl VolumeOptions {
    /// One that exists, and is somebody else's.
    pub fn external() -> Self {
        Self { external: true, ..Self::default() }
    }
    /// Of this user and group when it is new.
    #[must_use]
    pub fn owned_by(mut self, user: u32, group: u32) -> Self {
        self.owner = Some(Owner { user, group, mode: Owner::default_mode() });
        self
    }
}

/// More about one mount.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct MountOptions {
    /// Of a host path: `rprivate` (the engine's default), `private`, `rshared`, `shared`, `rslave` or `slave`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation: Option<String>,
    /// Of a host path: a folder that does not exist is made. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub create_host_path: bool,
    /// Of a volume: what the image has there is not copied into a new one. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub no_copy: bool,
    /// Of a volume: a path inside it that is shown in place of its top. Needs Docker 26.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// Of memory: who may do what, as `chmod` takes it. Default: the engine's, 0o1777.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// A device of the engine's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DeviceOptions {
    /// Where it is on the machine.
    pub source: String,
    /// Where it appears.
    pub target: String,
    /// What may be done: some of `r` (read), `w` (write) and `m` (make). Default: all.
    #[serde(default = "DeviceOptions::all")]
    pub permissions: String,
}

impl DeviceOptions {
    fn all() -> String {
        "rwm".to_owned()
    }
    /// A device under the same path, with all permissions.
    pub fn new(path: impl Into<String>) -> Self {
        let path = path.into();
        Self { source: path.clone(), target: path, permissions: Self::all() }
    }
}

impl StorageOptions {
    pub(super) fn validate(&self, problems: &mut Problems) {
        for (name, volume) in &self.volumes {
            let plain = VolumeOptions { external: true, ..VolumeOptions::default() };
            problems.require(
                !volume.external || *volume == plain,
                format!("storage.volumes.{name}.external"),
                "a volume that must exist is not made: leave out how",
            );
            problems.require(
                volume.owner.is_none_or(|owner| owner.mode <= 0o7777),
                format!("storage.volumes.{name}.owner.mode"),
                "must not exceed 0o7777",
            );
        }
        for (target, mount) in &self.mounts {
            let known = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
            let good = mount.propagation.as_ref().is_none_or(|mode| known.contains(&mode.as_str()));
            let path = format!("storage.mounts.{target}");
            problems.require(good, format!("{path}.propagation"), format!("is none of {}", known.join(", ")));
            let climbs = |path: &String| path.starts_with('/') || path.split('/').any(|part| part == "..");
            problems.require(
                !mount.subpath.as_ref().is_some_and(climbs),
                format!("{path}.subpath"),
                "must lie inside the volume",
            );
            problems.require(
                mount.mode.is_none_or(|mode| mode <= 0o7777),
                format!("{path}.mode"),
                "must not exceed 0o7777",
            );
        }
        for (n, device) in self.devices.iter().enumerate() {
            let good =
                !device.permissions.is_empty() && device.permissions.chars().all(|c| "rwm".contains(c));
            problems.require(good, format!("storage.devices[{n}].permissions"), "is none of `r`, `w`, `m`");
            for (name, path) in [("source", &device.source), ("target", &device.target)] {
                let message = format!("`{path}` is not an absolute path");
                problems.require(path.starts_with('/'), format!("storage.devices[{n}].{name}"), message);
            }
        }
    }
}
