//! The typed model: what a runner of workers needs, read from the canonical form.

mod build;
mod deploy;
mod parts;
mod resources;

use std::{collections::BTreeMap, time::Duration};

pub use build::{Build, Develop, Hook, WatchAction, WatchTrigger};
pub use deploy::{
    Deploy, DeviceRequest, DiscreteResource, GenericResource, Placement, PlacementPreference, ResourceSet,
    Resources, RestartPolicy, UpdateConfig,
};
pub use parts::{
    BindOptions, BlockIo, BlockRate, BlockWeight, CredentialSpec, Dependency, DependencyCondition, Device,
    EnvFile, FileMount, HealthCheck, ImageOptions, Logging, Mount, MountKind, Port, Provider, ServiceModel,
    ServiceNetwork, TmpfsOptions, Ulimit, VolumeOptions,
};
pub use resources::{FileObject, Ipam, IpamPool, Model, Network, Volume};
use serde::Deserialize;
use serde_json::Value as Json;

/// A service: what its containers are made from and how they run.
///
/// Fields have the names of the specification. What was not written is `None`, empty or false; sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// The name of the service, its key in the file.
    #[serde(skip)]
    pub name: String,
    /// The keys of this service that begin with `x-`.
    #[serde(skip)]
    pub extensions: BTreeMap<String, Json>,
    /// The profiles that it is in; in none, it is always enabled.
    pub profiles: Vec<String>,
    /// Annotations of the container.
    pub annotations: BTreeMap<String, String>,
    /// Whether its output is shown when the project runs in the foreground. Default: yes.
    pub attach: Option<bool>,
    /// How its image is built.
    pub build: Option<Build>,
    /// What is done when sources change.
    pub develop: Option<Develop>,
    /// Limits of block devices.
    pub blkio_config: Option<BlockIo>,
    /// Capabilities of Linux to add.
    pub cap_add: Vec<String>,
    /// Capabilities of Linux to take away.
    pub cap_drop: Vec<String>,
    /// The control group above that of the container.
    pub cgroup_parent: Option<String>,
    /// The namespace of control groups: `host` or `private`.
    pub cgroup: Option<String>,
    /// How many processors may be used (Windows).
    pub cpu_count: i64,
    /// How much of the processors may be used, in percent (Windows).
    pub cpu_percent: f64,
    /// The period of the scheduler, in microseconds.
    pub cpu_period: i64,
    /// The time in each period, in microseconds.
    pub cpu_quota: i64,
    /// The period of the realtime scheduler, in microseconds.
    pub cpu_rt_period: i64,
    /// The time in each realtime period, in microseconds.
    pub cpu_rt_runtime: i64,
    /// How many cores may be used.
    pub cpus: f64,
    /// Which cores may be used, as `0-3` or `0,1`.
    pub cpuset: Option<String>,
    /// The weight against other containers.
    pub cpu_shares: i64,
    /// The arguments, in place of the image's. An empty list takes the image's away.
    pub command: Option<Vec<String>>,
    /// Configs that it is given.
    pub configs: Vec<FileMount>,
    /// The name of its container, in place of one made from project, service and number.
    pub container_name: Option<String>,
    /// A managed service account (Windows).
    pub credential_spec: Option<CredentialSpec>,
    /// Services that have to be there first, those that are implied by links and shared namespaces among them.
    pub depends_on: BTreeMap<String, Dependency>,
    /// How many there are, with which limits and restarts.
    pub deploy: Option<Deploy>,
    /// Rules for devices of the control group.
    pub device_cgroup_rules: Vec<String>,
    /// Devices of the machine.
    pub devices: Vec<Device>,
    /// Servers of names.
    pub dns: Vec<String>,
    /// Options of the resolver.
    pub dns_opt: Vec<String>,
    /// Domains to search.
    pub dns_search: Vec<String>,
    /// The domain of the container.
    pub domainname: Option<String>,
    /// The program, in place of the image's. An empty list takes the image's away.
    pub entrypoint: Option<Vec<String>>,
    /// A program that provides the service, in place of containers.
    pub provider: Option<Provider>,
    /// Variables, those of files among them. What has no value is not set.
    pub environment: BTreeMap<String, Option<String>>,
    /// Files of variables. They are read already, into `environment`.
    pub env_file: Vec<EnvFile>,
    /// Ports that are open to other services.
    pub expose: Vec<String>,
    /// What could not be laid under this service, as it has no fields.
    pub extends: Option<Extends>,
    /// Links to containers of others.
    pub external_links: Vec<String>,
    /// Names of hosts with addresses, as `host=address`.
    pub extra_hosts: Vec<String>,
    /// Groups of the user.
    pub group_add: Vec<String>,
    /// Graphics processors.
    pub gpus: Vec<DeviceRequest>,
    /// The host name of the container.
    pub hostname: Option<String>,
    /// How health is tested, in place of the image's way.
    pub healthcheck: Option<HealthCheck>,
    /// The image.
    pub image: Option<String>,
    /// Whether a small init process runs first.
    pub init: Option<bool>,
    /// The namespace of inter-process communication: `shareable`, `service:name`, …
    pub ipc: Option<String>,
    /// The isolation of the container (Windows).
    pub isolation: Option<String>,
    /// Labels of the container, those of files among them.
    pub labels: BTreeMap<String, String>,
    /// Files of labels. They are read already, into `labels`.
    pub label_file: Vec<String>,
    /// Services that are linked, as `service` or `service:alias`.
    pub links: Vec<String>,
    /// Where output goes.
    pub logging: Option<Logging>,
    /// The most memory, in bytes.
    #[serde(deserialize_with = "read::bytes")]
    pub mem_limit: i64,
    /// The memory that is kept free for it, in bytes.
    #[serde(deserialize_with = "read::bytes")]
    pub mem_reservation: i64,
    /// The most memory and swap together, in bytes; -1 for no limit.
    #[serde(deserialize_with = "read::bytes")]
    pub memswap_limit: i64,
    /// How readily the kernel swaps, 0 to 100.
    #[serde(deserialize_with = "read::bytes")]
    pub mem_swappiness: i64,
    /// The address of the network card.
    pub mac_address: Option<String>,
    /// Models of artificial intelligence that it uses.
    #[serde(deserialize_with = "read::nulls")]
    pub models: BTreeMap<String, ServiceModel>,
    /// The network in place of `networks`: `host`, `none`, `service:name`, …
    pub network_mode: Option<String>,
    /// The networks that it is in.
    #[serde(deserialize_with = "read::nulls")]
    pub networks: BTreeMap<String, ServiceNetwork>,
    /// Whether it is spared when memory runs out.
    pub oom_kill_disable: bool,
    /// How readily it is killed when memory runs out, -1000 to 1000.
    pub oom_score_adj: i64,
    /// The namespace of processes: `host`, `service:name`, …
    pub pid: Option<String>,
    /// The most processes; -1 for no limit.
    pub pids_limit: i64,
    /// The platform of the image, as `linux/amd64`.
    pub platform: Option<String>,
    /// Ports that are published.
    pub ports: Vec<Port>,
    /// Whether it may do everything on its machine.
    pub privileged: bool,
    /// When the image is pulled: `always`, `never`, `missing`, `build`, `daily`, `weekly`, `every_12h`, …
    pub pull_policy: Option<String>,
    /// Whether its root file system cannot be written.
    pub read_only: bool,
    /// When it is restarted: `no`, `always`, `on-failure[:retries]`, `unless-stopped`.
    pub restart: Option<String>,
    /// The runtime of the engine.
    pub runtime: Option<String>,
    /// How many there are.
    pub scale: Option<i64>,
    /// Secrets that it is given.
    pub secrets: Vec<FileMount>,
    /// Options of security modules.
    pub security_opt: Vec<String>,
    /// The size of `/dev/shm`, in bytes.
    #[serde(deserialize_with = "read::bytes")]
    pub shm_size: i64,
    /// Whether its input stays open.
    pub stdin_open: bool,
    /// The time between the signal to stop and the end. Default: 10 s.
    #[serde(deserialize_with = "read::duration")]
    pub stop_grace_period: Option<Duration>,
    /// The signal to stop. Default: the image's, or SIGTERM.
    pub stop_signal: Option<String>,
    /// Options of the storage driver.
    pub storage_opt: BTreeMap<String, String>,
    /// Settings of the kernel.
    pub sysctls: BTreeMap<String, String>,
    /// File systems in memory, as `path` or `path:options`.
    pub tmpfs: Vec<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Limits of its processes.
    #[serde(deserialize_with = "read::nulls")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Whether it is given the engine's socket.
    pub use_api_socket: bool,
    /// The user, as `name`, `uid` or `uid:gid`.
    pub user: Option<String>,
    /// The namespace of users.
    pub userns_mode: Option<String>,
    /// The namespace of host names.
    pub uts: Option<String>,
    /// Mounts.
    pub volumes: Vec<Mount>,
    /// Services and containers whose mounts it shares.
    pub volumes_from: Vec<String>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// Containers that run before it.
    pub pre_start: Vec<Hook>,
    /// Commands that run in it after its start.
    pub post_start: Vec<Hook>,
    /// Commands that run in it before its stop.
    pub pre_stop: Vec<Hook>,
}

impl Service {
    /// How many containers there are: `scale`, else `deploy.replicas`, else 1.
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_compose::{Project, ProjectOptions};
    /// let file = "services:\n  web: {image: nginx, deploy: {replicas: 3}}\n";
    /// let project = Project::parse(file, &ProjectOptions::new().project_name("shop"))?;
    /// assert_eq!(project.services["web"].replicas(), 3);
    /// # Ok::<(), hodei_worker_core::Error>(())
    /// ```
    pub fn replicas(&self) -> i64 {
        self.scale.or(self.deploy.as_ref().and_then(|deploy| deploy.replicas)).unwrap_or(1)
    }
}

/// A service that another one extends and that has no fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extends {
    /// The file of the service; none for the same one.
    pub file: Option<String>,
    /// The service.
    pub service: Option<String>,
}

/// How values of the canonical form are read.
pub(crate) mod read {
    use std::{collections::BTreeMap, time::Duration};

    use serde::{Deserialize, Deserializer, de::Error};

    /// A size that is shown as text.
    pub(crate) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }

    /// A duration as it is shown. Negative ones are none: no time passes.
    pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let nanos = crate::units::duration(&text).ok_or_else(|| D::Error::custom("not a duration"))?;
        Ok(Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))))
    }

    /// A mapping in which nothing stands for what is left at its defaults.
    pub(crate) fn nulls<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de> + Default,
    {
        let map: BTreeMap<String, Option<T>> = BTreeMap::deserialize(deserializer)?;
        Ok(map.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
    }
}
