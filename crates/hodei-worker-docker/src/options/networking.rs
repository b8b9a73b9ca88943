use std::{collections::BTreeMap, net::IpAddr};

use hodei_worker_core::settings::Problems;
use serde::{Deserialize, Serialize};

use super::is_default;

/// How a container stands in its networks. Which networks these are, the configuration says
/// ([`networks`](hodei_worker_core::model::WorkerSpec::networks)).
///
/// # Examples
/// ```
/// use hodei_worker_core::{WorkerConfig, model::NetworkAttachment};
/// use hodei_worker_docker::{DockerOptions, NetworkOptions};
/// let options = DockerOptions::default().define_network("back", NetworkOptions::default().internal());
/// let config = WorkerConfig::builder("db")
///     .image("postgres:17")
///     .network(NetworkAttachment::new("back").alias("database"))
///     .options(&options)
///     .build()?;
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NetworkingOptions {
    /// Its name to itself. Default: the first digits of the container's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The domain of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Name servers. Default: the engine's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Domains in which names without a dot are looked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// Options of the resolver, `timeout:3`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_options: Vec<String>,
    /// Further lines of `/etc/hosts`, `name:address` each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    /// The address of its interface in its first network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// From which of the machine's ports the engine takes a free one at each start, by the worker's port, `80/tcp`. Such a
    /// port is among the configuration's, without a port of the machine's there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub port_ranges: BTreeMap<String, PortRange>,
    /// How networks are made that do not exist yet, by name. Default: a bridge.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, NetworkOptions>,
}

/// Ports of the machine, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PortRange {
    /// The first, from 1.
    pub first: u16,
    /// The last; it is one of them.
    pub last: u16,
}

impl PortRange {
    /// From the first to the last.
    pub fn new(first: u16, last: u16) -> Self {
        Self { first, last }
    }
}

/// How a network is made, where it does not exist. One that exists and differs is a conflict; what is left out may be as it
/// likes, save `internal` and `ipv6`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NetworkOptions {
    /// It must exist, and is never made or removed. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub external: bool,
    /// The engine's driver. Default: `bridge`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Options of that driver.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_options: BTreeMap<String, String>,
    /// Whether there is no way out of it. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub internal: bool,
    /// Whether containers that no service made may join it, where the driver spans machines. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub attachable: bool,
    /// Whether it has IPv6 addresses. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv6: bool,
    /// Its address ranges. Default: the engine's choice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<SubnetOptions>,
    /// Labels beside ours.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl NetworkOptions {
    /// One that exists, and is somebody else's.
    pub fn external() -> Self {
        Self { external: true, ..Self::default() }
    }
    /// Without a way out.
    #[must_use]
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }
}

/// An address range of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SubnetOptions {
    /// The whole range, `172.30.0.0/24`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// The part of it from which containers get addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
    /// The engine's own address in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

impl NetworkingOptions {
    pub(super) fn validate(&self, problems: &mut Problems) {
        for (n, entry) in self.extra_hosts.iter().enumerate() {
            // An address of the sixth version holds colons itself.
            let good = entry.split_once(':').is_some_and(|(name, address)| {
                !name.is_empty()
                    && (address == "host-gateway"
                        || address.trim_matches(['[', ']']).parse::<IpAddr>().is_ok())
            });
            problems.require(
                good,
                format!("networking.extra_hosts[{n}]"),
                format!("`{entry}` is no `name:address`"),
            );
        }
        for (n, server) in self.dns.iter().enumerate() {
            let good = server.parse::<IpAddr>().is_ok();
            problems.require(good, format!("networking.dns[{n}]"), format!("`{server}` is no address"));
        }
        for (port, range) in &self.port_ranges {
            problems.require(
                (1..=range.last).contains(&range.first),
                format!("networking.port_ranges.{port}"),
                format!("`{}-{}` is no range of ports", range.first, range.last),
            );
        }
        for (name, network) in &self.networks {
            let plain = NetworkOptions { external: true, ..NetworkOptions::default() };
            problems.require(
                !network.external || *network == plain,
                format!("networking.networks.{name}.external"),
                "a network that must exist is not made: leave out how",
            );
        }
    }
}
