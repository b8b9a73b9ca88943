use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::read;

/// What a service waits for in another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DependencyCondition {
    /// It was started.
    #[default]
    ServiceStarted,
    /// It is healthy.
    ServiceHealthy,
    /// It ended, with success.
    ServiceCompletedSuccessfully,
}

/// A service that has to be there first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dependency {
    /// What is waited for.
    pub condition: DependencyCondition,
    /// Whether a restart of the other one restarts this one.
    pub restart: bool,
    /// Whether this one cannot do without.
    pub required: bool,
}

/// A port that is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Port {
    /// A name for people.
    pub name: Option<String>,
    /// `ingress` or `host`.
    pub mode: Option<String>,
    /// The address of the machine; none for all.
    pub host_ip: Option<String>,
    /// The port of the container.
    pub target: u32,
    /// The port of the machine, or a range of which one is chosen; none for any.
    pub published: Option<String>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: Option<String>,
    /// The protocol above it, as `http`.
    pub app_protocol: Option<String>,
}

/// What kind of mount it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MountKind {
    /// A folder or file of the machine.
    Bind,
    /// A volume, without a source one of its own.
    #[default]
    Volume,
    /// A file system in memory.
    Tmpfs,
    /// A named pipe (Windows).
    Npipe,
    /// A volume of a cluster.
    Cluster,
    /// The content of an image.
    Image,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mount {
    /// What kind it is.
    #[serde(rename = "type")]
    pub kind: MountKind,
    /// The absolute path on the machine, the key of the volume, or the image.
    pub source: Option<String>,
    /// The path in the container.
    pub target: String,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// How consistent views have to be.
    pub consistency: Option<String>,
    /// Options of a bind mount.
    pub bind: Option<BindOptions>,
    /// Options of a volume.
    pub volume: Option<VolumeOptions>,
    /// Options of a file system in memory.
    pub tmpfs: Option<TmpfsOptions>,
    /// Options of an image.
    pub image: Option<ImageOptions>,
}

/// Options of a bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BindOptions {
    /// The label of SELinux: `z` shared, `Z` private.
    pub selinux: Option<String>,
    /// How mounts spread: `rprivate`, `shared`, …
    pub propagation: Option<String>,
    /// Whether a folder that is not there is created.
    pub create_host_path: bool,
    /// Whether mounts below are mounted too: `enabled`, `disabled`, `writable`, `readonly`.
    pub recursive: Option<String>,
}

impl Default for BindOptions {
    fn default() -> Self {
        Self { selinux: None, propagation: None, create_host_path: true, recursive: None }
    }
}

/// Options of a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VolumeOptions {
    /// Labels of the volume.
    pub labels: BTreeMap<String, String>,
    /// Whether what the image has there is not copied.
    pub nocopy: bool,
    /// The path within the volume.
    pub subpath: Option<String>,
}

/// Options of a file system in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TmpfsOptions {
    /// Its size, in bytes; 0 for no limit.
    #[serde(deserialize_with = "read::bytes")]
    pub size: i64,
    /// Its mode.
    pub mode: u64,
}

/// Options of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageOptions {
    /// The path within the image.
    pub subpath: Option<String>,
}

/// A network that a service is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceNetwork {
    /// Other names of the service there.
    pub aliases: Vec<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// The network with the highest one has the gateway.
    pub gw_priority: i64,
    /// The name of the interface.
    pub interface_name: Option<String>,
    /// The address.
    pub ipv4_address: Option<String>,
    /// The address of version 6.
    pub ipv6_address: Option<String>,
    /// Addresses of the link.
    pub link_local_ips: Vec<String>,
    /// The address of the network card.
    pub mac_address: Option<String>,
    /// Networks with a higher one come first.
    pub priority: i64,
}

/// How health is tested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheck {
    /// `CMD` and words, `CMD-SHELL` and a line, or `NONE`; empty for the image's.
    pub test: Vec<String>,
    /// How long a test may take.
    #[serde(deserialize_with = "read::duration")]
    pub timeout: Option<Duration>,
    /// The time between tests.
    #[serde(deserialize_with = "read::duration")]
    pub interval: Option<Duration>,
    /// After how many failures it is unhealthy.
    pub retries: Option<u64>,
    /// The time from the start in which failures do not count.
    #[serde(deserialize_with = "read::duration")]
    pub start_period: Option<Duration>,
    /// The time between tests meanwhile.
    #[serde(deserialize_with = "read::duration")]
    pub start_interval: Option<Duration>,
    /// Whether nothing is tested.
    pub disable: bool,
}

/// Where output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// The driver.
    pub driver: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// A secret or a config that a service is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileMount {
    /// The key of the secret or config.
    pub source: String,
    /// The path in the container.
    pub target: Option<String>,
    /// The user that it belongs to.
    pub uid: Option<String>,
    /// The group that it belongs to.
    pub gid: Option<String>,
    /// Its mode, in octal digits.
    pub mode: Option<String>,
}

/// A limit of processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Limit")]
pub struct Ulimit {
    /// The limit that holds.
    pub soft: i64,
    /// What the limit can be raised to.
    pub hard: i64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Limit {
    One(i64),
    Two {
        #[serde(default)]
        soft: i64,
        #[serde(default)]
        hard: i64,
    },
}

impl From<Limit> for Ulimit {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::One(value) => Self { soft: value, hard: value },
            Limit::Two { soft, hard } => Self { soft, hard },
        }
    }
}

/// A device of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// The device, or its name by CDI.
    pub source: String,
    /// Its path in the container.
    pub target: Option<String>,
    /// What may be done: `r`, `w`, `m`.
    pub permissions: Option<String>,
}

/// A file of variables.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnvFile {
    /// Its absolute path.
    pub path: String,
    /// Whether it has to be there.
    pub required: bool,
    /// `raw` for lines as they stand; none for those of `.env`.
    pub format: Option<String>,
}

impl Default for EnvFile {
    fn default() -> Self {
        Self { path: String::new(), required: true, format: None }
    }
}

/// A program that provides a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    /// The program.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its options; each may be given several times.
    pub options: BTreeMap<String, Vec<String>>,
}

/// A model that a service uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceModel {
    /// The variable for its address.
    pub endpoint_var: Option<String>,
    /// The variable for its name.
    pub model_var: Option<String>,
}

/// A managed service account (Windows).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialSpec {
    /// The config that holds it.
    pub config: Option<String>,
    /// The file that holds it.
    pub file: Option<String>,
    /// The value of the registry that holds it.
    pub registry: Option<String>,
}

/// Limits of block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlockIo {
    /// The weight against other containers, 10 to 1000.
    pub weight: u64,
    /// Weights for single devices.
    pub weight_device: Vec<BlockWeight>,
    /// The most bytes a second that are read.
    pub device_read_bps: Vec<BlockRate>,
    /// The most reads a second.
    pub device_read_iops: Vec<BlockRate>,
    /// The most bytes a second that are written.
    pub device_write_bps: Vec<BlockRate>,
    /// The most writes a second.
    pub device_write_iops: Vec<BlockRate>,
}

/// The weight for a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub struct BlockWeight {
    /// The device.
    pub path: String,
    /// The weight.
    pub weight: u16,
}

/// The rate of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
pub struct BlockRate {
    /// The device.
    pub path: String,
    /// Bytes or operations a second.
    #[serde(deserialize_with = "read::bytes")]
    pub rate: i64,
}
