use std::{collections::BTreeMap, net::IpAddr};

use hodei_worker_core::settings::Problems;
use serde::{Deserialize, Serialize};

use super::is_default;

/// With whom a worker may speak: a NetworkPolicy of its own, which is there before it starts. It holds where the cluster's
/// network plugin enforces such; some do not, and say nothing.
///
/// # Examples
/// ```
/// use hodei_worker_core::WorkerConfig;
/// use hodei_worker_k8s::{KubernetesOptions, TrafficOptions, TrafficPeer};
/// let traffic = TrafficOptions::none().from(TrafficPeer::Group("web".into()), [5432]);
/// let options = KubernetesOptions::default().user(1000).traffic(traffic);
/// let config = WorkerConfig::builder("db").image("postgres:17").options(&options).build()?;
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TrafficOptions {
    /// Who may open connections to it; an empty list is nobody. Default: everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Vec<TrafficRule>>,
    /// To whom it may open connections; an empty list is nobody. Default: everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<Vec<TrafficRule>>,
    /// Whether it may ask for names (port 53) wherever its egress is limited. Default: true.
    pub dns: bool,
}

impl Default for TrafficOptions {
    fn default() -> Self {
        Self { ingress: None, egress: None, dns: true }
    }
}

impl TrafficOptions {
    /// With nobody, but for names.
    pub fn none() -> Self {
        Self { ingress: Some(Vec::new()), egress: Some(Vec::new()), dns: true }
    }
    /// These may open connections to it, at these TCP ports; at all ports where none is named.
    #[must_use]
    pub fn from(mut self, peer: TrafficPeer, ports: impl IntoIterator<Item = u16>) -> Self {
        let rule = TrafficRule { peer, ports: ports.into_iter().collect() };
        self.ingress.get_or_insert_default().push(rule);
        self
    }
    /// It may open connections to these, at these TCP ports; at all ports where none is named.
    #[must_use]
    pub fn to(mut self, peer: TrafficPeer, ports: impl IntoIterator<Item = u16>) -> Self {
        let rule = TrafficRule { peer, ports: ports.into_iter().collect() };
        self.egress.get_or_insert_default().push(rule);
        self
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        for (direction, rules) in [("ingress", &self.ingress), ("egress", &self.egress)] {
            for (n, rule) in rules.iter().flatten().enumerate() {
                rule.peer.validate(&format!("traffic.{direction}[{n}].peer"), problems);
                let has_zero = rule.ports.contains(&0);
                problems.require(!has_zero, format!("traffic.{direction}[{n}].ports"), "0 is no port");
            }
        }
    }
}

/// Connections that are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TrafficRule {
    /// The other side.
    pub peer: TrafficPeer,
    /// TCP ports. Default: all ports of all protocols.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ports: Vec<u16>,
}

/// The other side of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrafficPeer {
    /// Workers of this type, of the same installation.
    Group(String),
    /// All workers of the same installation.
    Installation,
    /// Everything in namespaces with these labels; in all namespaces where there are none.
    Namespaces(BTreeMap<String, String>),
    /// Addresses, as in `10.0.0.0/8`.
    Addresses(String),
}

impl TrafficPeer {
    fn validate(&self, path: &str, problems: &mut Problems) {
        match self {
            Self::Group(group) => {
                let good = !group.is_empty() && crate::names::is_value(group);
                problems.require(good, path, format!("`{group}` is no type of workers"));
            }
            Self::Namespaces(labels) => {
                for (key, value) in labels {
                    let good = crate::names::key_problem(key).is_none() && crate::names::is_value(value);
                    problems.require(good, path, format!("`{key}={value}` cannot be a label"));
                }
            }
            Self::Addresses(block) => {
                let good = block.split_once('/').is_some_and(|(address, length)| {
                    let bits =
                        address.parse().map(|address: IpAddr| if address.is_ipv4() { 32 } else { 128 });
                    bits.is_ok_and(|bits: u8| length.parse().is_ok_and(|length: u8| length <= bits))
                });
                problems.require(
                    good,
                    path,
                    format!("`{block}` is no block of addresses, as in `10.0.0.0/8`"),
                );
            }
            Self::Installation => {}
        }
    }
}
