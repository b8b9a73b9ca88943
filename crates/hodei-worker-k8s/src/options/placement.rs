use std::collections::BTreeMap;

use hodei_worker_core::settings::Problems;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::names;

/// The label of nodes by which each is a place of its own.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Where a worker may run and beside whom, beyond [`node_selector`](super::KubernetesOptions::node_selector).
///
/// # Examples
/// ```
/// use hodei_worker_core::WorkerConfig;
/// use hodei_worker_k8s::{KubernetesOptions, Neighbours, NodeRule, PlacementOptions, SpreadRule};
/// let others = Neighbours::Group("db".into());
/// let placement = PlacementOptions::default()
///     .node(NodeRule::has("disk", ["ssd", "nvme"]).preferred(50))
///     .apart(others.clone())
///     .spread(SpreadRule::of(others).by("topology.kubernetes.io/zone"));
/// let options = KubernetesOptions::default().user(1000).placement(placement);
/// let config = WorkerConfig::builder("db-1").worker_type("db").image("postgres:17").options(&options).build()?;
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PlacementOptions {
    /// What its node has to be like, all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeRule>,
    /// Beside whom it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<NeighbourRule>,
    /// Beside whom it does not run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<NeighbourRule>,
    /// Among what places workers are spread evenly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<SpreadRule>,
}

impl PlacementOptions {
    /// On such nodes.
    #[must_use]
    pub fn node(mut self, rule: NodeRule) -> Self {
        self.nodes.push(rule);
        self
    }
    /// In the places of these workers.
    #[must_use]
    pub fn together(mut self, with: impl Into<NeighbourRule>) -> Self {
        self.together.push(with.into());
        self
    }
    /// In other places than these workers.
    #[must_use]
    pub fn apart(mut self, from: impl Into<NeighbourRule>) -> Self {
        self.apart.push(from.into());
        self
    }
    /// Spread evenly with these workers.
    #[must_use]
    pub fn spread(mut self, with: impl Into<SpreadRule>) -> Self {
        self.spread.push(with.into());
        self
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        for (n, rule) in self.nodes.iter().enumerate() {
            rule.validate(&format!("placement.nodes[{n}]"), problems);
        }
        for (field, rules) in [("together", &self.together), ("apart", &self.apart)] {
            for (n, rule) in rules.iter().enumerate() {
                let path = format!("placement.{field}[{n}]");
                rule.of.validate(&path, problems);
                topology(&rule.topology, &path, problems);
                weight(rule.preference, &path, problems);
            }
        }
        for (n, rule) in self.spread.iter().enumerate() {
            let path = format!("placement.spread[{n}]");
            rule.of.validate(&path, problems);
            topology(&rule.topology, &path, problems);
            problems.require(rule.max_skew > 0, format!("{path}.max_skew"), "must be 1 or more");
        }
    }
}

/// What a node has to be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NodeRule {
    /// A label of nodes.
    pub label: String,
    /// What is asked of it.
    pub is: NodeCondition,
    /// How much it counts that a node is like that, 1 to 100, where others will do. Default: no other will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preference: Option<u8>,
}

impl NodeRule {
    /// The label has one of these values.
    pub fn has<V: Into<String>>(label: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        Self::of(label, NodeCondition::In(values.into_iter().map(Into::into).collect()))
    }
    /// That is so of the label.
    pub fn of(label: impl Into<String>, is: NodeCondition) -> Self {
        Self { label: label.into(), is, preference: None }
    }
    /// Others will do as well; this counts that much, 1 to 100.
    #[must_use]
    pub fn preferred(mut self, weight: u8) -> Self {
        self.preference = Some(weight);
        self
    }

    fn validate(&self, path: &str, problems: &mut Problems) {
        if let Some(why) = names::key_problem(&self.label) {
            problems.add(format!("{path}.label"), format!("cannot be a label: {why}"));
        }
        if let NodeCondition::In(values) | NodeCondition::NotIn(values) = &self.is {
            problems.require(!values.is_empty(), format!("{path}.is"), "names no value");
            for value in values {
                let message = format!("`{value}` cannot be a label's value");
                problems.require(names::is_value(value), format!("{path}.is"), message);
            }
        }
        weight(self.preference, path, problems);
    }
}

/// What is asked of a label of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeCondition {
    /// It has one of these values.
    In(Vec<String>),
    /// It has none of these values, or is not there.
    NotIn(Vec<String>),
    /// It is there.
    Exists,
    /// It is not there.
    Absent,
    /// It is a number that is greater.
    Above(i64),
    /// It is a number that is less.
    Below(i64),
}

/// Workers of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Neighbours {
    /// Those of this type, of the same installation.
    Group(String),
    /// All of the same installation.
    Installation,
    /// All pods with these labels, whoever made them.
    Labels(BTreeMap<String, String>),
}

impl Neighbours {
    fn validate(&self, path: &str, problems: &mut Problems) {
        let path = format!("{path}.of");
        match self {
            Self::Group(group) => {
                problems.require(
                    !group.is_empty() && names::is_value(group),
                    path,
                    format!("`{group}` cannot be a worker's type"),
                );
            }
            Self::Installation => {}
            Self::Labels(labels) => {
                problems.require(!labels.is_empty(), path.clone(), "names no label, which is all pods");
                for (key, value) in labels {
                    let good = names::key_problem(key).is_none() && names::is_value(value);
                    problems.require(good, path.clone(), format!("`{key}: {value}` cannot be a label"));
                }
            }
        }
    }
}

/// Beside whom a worker runs, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NeighbourRule {
    /// The others.
    pub of: Neighbours,
    /// The label of nodes that says what one place is. Default: `kubernetes.io/hostname`, each node a place of its own.
    #[serde(default = "hostname")]
    pub topology: String,
    /// How much it counts, 1 to 100, where another place will do. Default: no other will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preference: Option<u8>,
}

impl NeighbourRule {
    /// Of these, node by node, and no other place will do.
    pub fn of(others: Neighbours) -> Self {
        Self { of: others, topology: hostname(), preference: None }
    }
    /// By this label of nodes.
    #[must_use]
    pub fn by(mut self, topology: impl Into<String>) -> Self {
        self.topology = topology.into();
        self
    }
    /// Another place will do as well; this counts that much, 1 to 100.
    #[must_use]
    pub fn preferred(mut self, weight: u8) -> Self {
        self.preference = Some(weight);
        self
    }
}

impl From<Neighbours> for NeighbourRule {
    fn from(others: Neighbours) -> Self {
        Self::of(others)
    }
}

/// Workers that are spread evenly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SpreadRule {
    /// Which workers are counted.
    pub of: Neighbours,
    /// The label of nodes that says what one place is. Default: `kubernetes.io/hostname`.
    #[serde(default = "hostname")]
    pub topology: String,
    /// By how many one place may have more than another. Default: 1.
    #[serde(default = "one")]
    pub max_skew: u32,
    /// Whether an uneven place will do where there is no other. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub best_effort: bool,
}

impl SpreadRule {
    /// Of these, over all nodes, by one at most.
    pub fn of(workers: Neighbours) -> Self {
        Self { of: workers, topology: hostname(), max_skew: one(), best_effort: false }
    }
    /// By this label of nodes.
    #[must_use]
    pub fn by(mut self, topology: impl Into<String>) -> Self {
        self.topology = topology.into();
        self
    }
    /// An uneven place will do where there is no other.
    #[must_use]
    pub fn best_effort(mut self) -> Self {
        self.best_effort = true;
        self
    }
}

impl From<Neighbours> for SpreadRule {
    fn from(workers: Neighbours) -> Self {
        Self::of(workers)
    }
}

fn hostname() -> String {
    HOSTNAME.to_owned()
}

fn one() -> u32 {
    1
}

fn topology(label: &str, path: &str, problems: &mut Problems) {
    if let Some(why) = names::key_problem(label) {
        problems.add(format!("{path}.topology"), format!("cannot be a label: {why}"));
    }
}

fn weight(preference: Option<u8>, path: &str, problems: &mut Problems) {
    let good = preference.is_none_or(|weight| (1..=100).contains(&weight));
    problems.require(good, format!("{path}.preference"), "is a number from 1 to 100");
}
