use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::read;

/// How many containers a service has, with which limits and restarts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deploy {
    /// `replicated`, `global`, or the same as jobs.
    pub mode: Option<String>,
    /// How many there are.
    pub replicas: Option<i64>,
    /// Labels of the service.
    pub labels: BTreeMap<String, String>,
    /// How it is updated.
    pub update_config: Option<UpdateConfig>,
    /// How an update is taken back.
    pub rollback_config: Option<UpdateConfig>,
    /// Limits and reservations.
    pub resources: Resources,
    /// When it is restarted.
    pub restart_policy: Option<RestartPolicy>,
    /// Where it may run.
    pub placement: Placement,
    /// `vip` or `dnsrr`.
    pub endpoint_mode: Option<String>,
}

/// How a service is updated.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateConfig {
    /// How many at a time.
    pub parallelism: Option<u64>,
    /// The time between.
    #[serde(deserialize_with = "read::duration")]
    pub delay: Option<Duration>,
    /// What happens when one fails.
    pub failure_action: Option<String>,
    /// How long one is watched.
    #[serde(deserialize_with = "read::duration")]
    pub monitor: Option<Duration>,
    /// The share of failures that is borne.
    pub max_failure_ratio: f64,
    /// `start-first` or `stop-first`.
    pub order: Option<String>,
}

/// Limits and reservations.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// The most that it may use.
    pub limits: Option<ResourceSet>,
    /// What has to be free for it.
    pub reservations: Option<ResourceSet>,
}

/// An amount of resources.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceSet {
    /// Cores; 0 for none named.
    pub cpus: f64,
    /// Memory in bytes; 0 for none named.
    #[serde(deserialize_with = "read::bytes")]
    pub memory: i64,
    /// Processes; 0 for none named.
    pub pids: i64,
    /// Devices.
    pub devices: Vec<DeviceRequest>,
    /// Resources that somebody counts.
    pub generic_resources: Vec<GenericResource>,
}

/// Devices that are asked for by what they can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceRequest {
    /// What they have to be able to do, as `gpu`.
    pub capabilities: Vec<String>,
    /// Their driver.
    pub driver: Option<String>,
    /// How many; -1 for all.
    pub count: i64,
    /// Which ones, in place of a number.
    pub device_ids: Vec<String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

/// A resource that somebody counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenericResource {
    /// Its kind and number.
    pub discrete_resource_spec: Option<DiscreteResource>,
}

/// A number of things of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscreteResource {
    /// The kind.
    pub kind: String,
    /// The number.
    pub value: i64,
}

/// When a container is restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartPolicy {
    /// `none`, `on-failure` or `any`.
    pub condition: Option<String>,
    /// The time before.
    #[serde(deserialize_with = "read::duration")]
    pub delay: Option<Duration>,
    /// How often at most.
    pub max_attempts: Option<u64>,
    /// How long it has to run for a restart to count as good.
    #[serde(deserialize_with = "read::duration")]
    pub window: Option<Duration>,
}

/// Where containers may run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Placement {
    /// Conditions for nodes.
    pub constraints: Vec<String>,
    /// How they are spread.
    pub preferences: Vec<PlacementPreference>,
    /// How many at most on a node; 0 for no limit.
    pub max_replicas_per_node: u64,
}

/// How containers are spread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlacementPreference {
    /// The label of nodes over whose values they are spread.
    pub spread: Option<String>,
}
