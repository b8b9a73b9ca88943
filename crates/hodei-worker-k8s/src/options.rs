mod autoscaler;
mod claim;
mod config_map;
mod placement;
mod service;
mod traffic;

use std::collections::BTreeMap;

use hodei_worker_core::{model::WorkerOptions, quantity::HumanDuration, settings::Problems};
use serde::{Deserialize, Serialize};

use crate::settings::is_label;
pub use autoscaler::{AutoscalerOptions, ScalingMetric, ScalingPace, ScalingStep};
pub use claim::{AccessMode, ClaimOptions};
pub use config_map::ConfigMapOptions;
pub(crate) use config_map::validate_files;
pub use placement::{NeighbourRule, Neighbours, NodeCondition, NodeRule, PlacementOptions, SpreadRule};
pub use service::{ServiceOptions, ServiceScope};
pub use traffic::{TrafficOptions, TrafficPeer, TrafficRule};

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a cluster can do for a worker beyond the common model.
///
/// # Examples
/// ```
/// use hodei_worker_core::WorkerConfig;
/// use hodei_worker_k8s::KubernetesOptions;
/// let options = KubernetesOptions::default().user(1000).node("disk", "ssd");
/// let config = WorkerConfig::builder("web").image("nginx:1.27").options(&options).build()?;
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct KubernetesOptions {
    /// The number of the user that it runs as. Default: the image's, which must not be root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// The number of its group. Default: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// What it may do. Default: the cluster's Pod Security Standard `restricted`.
    #[serde(skip_serializing_if = "is_default")]
    pub security: SecurityOptions,
    /// When its image is fetched. Default: when the node does not have it.
    #[serde(skip_serializing_if = "is_default")]
    pub pull: PullPolicy,
    /// Names of the namespace's secrets with the registries' log-ins. Default: those of the service account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pull_secrets: Vec<String>,
    /// The service account that it runs as. Default: the namespace's `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Whether the account's token is mounted, so that it can speak to the API server. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub mount_service_account_token: bool,
    /// Labels that its node has to have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// On which nodes and beside whom it may run besides.
    #[serde(skip_serializing_if = "is_default")]
    pub placement: PlacementOptions,
    /// Taints of nodes that it bears. Those of a lost node it bears for as long as its recovery waits (`node_loss`), and for
    /// ever where its restart policy is `never`, unless they are named here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// The name of its priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<String>,
    /// The name of its runtime class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class: Option<String>,
    /// Annotations of its pod.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether its standard input is kept open for [`attach`](crate::KubernetesProvider::attach). Default: false, and it
    /// reads an end of file.
    #[serde(skip_serializing_if = "is_default")]
    pub stdin: bool,
    /// The longest that a run may take, in whole seconds; then the cluster ends it. Default: no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<HumanDuration>,
    /// The claims of its named volumes, by their names, where there are none yet. Default: 1 GiB of the cluster's default
    /// class, for the pods of one node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, ClaimOptions>,
    /// Services that lead to it, with its ports. They go with the last worker that asks for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceOptions>,
    /// Files of its configuration. They go with the last worker that mounts them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub config_maps: Vec<ConfigMapOptions>,
    /// With whom it may speak. Default: what other policies of the namespace say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficOptions>,
    /// How many of the workers that this makes are left running when nodes are drained: 1 for a worker by itself, which is
    /// then not evicted while it is ready; of a group up to its size. A PodDisruptionBudget. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<u32>,
}

impl KubernetesOptions {
    /// Runs as the user of this number.
    #[must_use]
    pub fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }
    /// With a standard input to write to.
    #[must_use]
    pub fn with_stdin(mut self) -> Self {
        self.stdin = true;
        self
    }
    /// On nodes with this label.
    #[must_use]
    pub fn node(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.node_selector.insert(label.into(), value.into());
        self
    }
    /// Runs there and beside these.
    #[must_use]
    pub fn placement(mut self, placement: PlacementOptions) -> Self {
        self.placement = placement;
        self
    }
    /// Drains of nodes leave that many running.
    #[must_use]
    pub fn min_available(mut self, least: u32) -> Self {
        self.min_available = Some(least);
        self
    }
    /// Claims the volume of this name so.
    #[must_use]
    pub fn claim(mut self, volume: impl Into<String>, claim: ClaimOptions) -> Self {
        self.claims.insert(volume.into(), claim);
        self
    }
    /// Mounts these files.
    #[must_use]
    pub fn config_map(mut self, files: ConfigMapOptions) -> Self {
        self.config_maps.push(files);
        self
    }
    /// Speaks with these alone.
    #[must_use]
    pub fn traffic(mut self, traffic: TrafficOptions) -> Self {
        self.traffic = Some(traffic);
        self
    }
    /// Is reached by this Service.
    #[must_use]
    pub fn service(mut self, service: ServiceOptions) -> Self {
        self.services.push(service);
        self
    }
    /// Fetches the image by this policy.
    #[must_use]
    pub fn pull(mut self, policy: PullPolicy) -> Self {
        self.pull = policy;
        self
    }
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PullPolicy {
    /// When the node does not have it.
    #[default]
    IfMissing,
    /// Before each run.
    Always,
    /// Never: the node has to have it.
    Never,
}

impl PullPolicy {
    pub(crate) fn as_kubernetes(self) -> &'static str {
        match self {
            Self::IfMissing => "IfNotPresent",
            Self::Always => "Always",
            Self::Never => "Never",
        }
    }
}

/// What a worker may do beyond the Pod Security Standard `restricted`. Namespaces that enforce a standard refuse what goes
/// beyond it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SecurityOptions {
    /// Whether it may run as root. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_root: bool,
    /// Whether its programs may get rights that it does not have, by `sudo` for instance. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_privilege_escalation: bool,
    /// Capabilities of the kernel that it has; all others are dropped. `restricted` allows `NET_BIND_SERVICE` alone.
    /// Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Whether its root file system is for reading only. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only_root: bool,
}

/// A taint that a worker bears.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Toleration {
    /// The taint's key. Default: every taint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The taint's value. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// How long it stays on a node that got such a taint, in whole seconds; for `NoExecute` alone. Default: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stays: Option<HumanDuration>,
}

impl Toleration {
    /// Bears taints of this key.
    pub fn of(key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }
}

impl WorkerOptions for KubernetesOptions {
    const PROVIDER: &'static str = "kubernetes";

    fn validate(&self, problems: &mut Problems) {
        for (field, name) in [
            ("service_account", &self.service_account),
            ("priority_class", &self.priority_class),
            ("runtime_class", &self.runtime_class),
        ] {
            if let Some(name) = name {
                problems.require(is_name(name), field, format!("`{name}` cannot be an object's name"));
            }
        }
        for (n, name) in self.pull_secrets.iter().enumerate() {
            let field = format!("pull_secrets[{n}]");
            problems.require(is_name(name), field, format!("`{name}` cannot be an object's name"));
        }
        for (field, all) in [("node_selector", &self.node_selector), ("annotations", &self.annotations)] {
            for (key, value) in all {
                if let Some(why) = crate::names::key_problem(key) {
                    problems.add(format!("{field}.{key}"), format!("cannot be a key: {why}"));
                }
                let good = field != "node_selector" || crate::names::is_value(value);
                problems.require(
                    good,
                    format!("{field}.{key}"),
                    format!("`{value}` cannot be a label's value"),
                );
            }
        }
        for key in self.annotations.keys() {
            problems.require(
                !key.starts_with(hodei_worker_core::model::labels::PREFIX),
                format!("annotations.{key}"),
                "is one of this library's own",
            );
        }
        for (n, toleration) in self.tolerations.iter().enumerate() {
            let Toleration { key, value, effect, stays } = toleration;
            let path = |field: &str| format!("tolerations[{n}].{field}");
            let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            problems.require(
                effect.as_deref().is_none_or(|effect| known.contains(&effect)),
                path("effect"),
                format!("is one of {}", known.join(", ")),
            );
            problems.require(value.is_none() || key.is_some(), path("value"), "has no key that it is of");
            let executes = effect.as_deref() == Some("NoExecute");
            problems.require(
                stays.is_none() || executes,
                path("stays"),
                "is for the effect `NoExecute` alone",
            );
            whole_seconds(*stays, &path("stays"), problems);
        }
        for (name, claim) in &self.claims {
            let path = |field: &str| format!("claims.{name}{field}");
            problems.require(is_name(name), path(""), "cannot be an object's name");
            problems.require(claim.size.bytes() > 0, path(".size"), "must be more than 0");
            let class = claim.storage_class.as_deref();
            problems.require(class.is_none_or(is_name), path(".storage_class"), "cannot be an object's name");
        }
        for (n, service) in self.services.iter().enumerate() {
            let name = &service.name;
            // RFC 1035: a Service's name is one part of a host's name.
            let good = is_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase());
            let message = format!(
                "`{name}` cannot be a Service's name: up to 63 lower-case letters, digits and `-`, with a letter first"
            );
            problems.require(good, format!("services[{n}].name"), message);
            let twice = self.services[..n].iter().any(|other| other.name == *name);
            problems.require(!twice, format!("services[{n}].name"), "is there twice");
        }
        for (n, files) in self.config_maps.iter().enumerate() {
            let path = format!("config_maps[{n}]");
            files.validate(&path, problems);
            let others = &self.config_maps[..n];
            let twice = others.iter().any(|other| other.name == files.name || other.path == files.path);
            problems.require(!twice, path, "has the name or the path of another one");
        }
        self.placement.validate(problems);
        let least = "must be 1 or more: drains of nodes leave that many running";
        problems.require(self.min_available != Some(0), "min_available", least);
        if let Some(traffic) = &self.traffic {
            traffic.validate(problems);
        }
        if let Some(deadline) = self.deadline {
            problems.require(!deadline.is_zero(), "deadline", "must be longer than 0");
        }
        whole_seconds(self.deadline, "deadline", problems);
    }
}

fn whole_seconds(time: Option<HumanDuration>, field: &str, problems: &mut Problems) {
    let whole = time.is_none_or(|time| time.subsec_nanos() == 0);
    problems.require(whole, field, "must be a number of whole seconds");
}

/// Whether it is a DNS name (RFC 1123), as names of most objects are.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}
