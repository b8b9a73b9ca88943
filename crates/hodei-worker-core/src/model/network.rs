use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A network of the provider's that the worker is on. Workers on one network find each other by name; how a network is
/// made, the provider's typed options may say.
///
/// # Examples
/// ```
/// use hodei_worker_core::{WorkerConfig, model::NetworkAttachment};
/// let config = WorkerConfig::builder("db")
///     .image("postgres:17")
///     .network(NetworkAttachment::new("back").alias("database"))
///     .build()?;
/// assert_eq!(config.networks[0].aliases, ["database"]);
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NetworkAttachment {
    /// The network's name. One that does not exist is made, and goes with its last user.
    pub name: String,
    /// Names under which the others on it find the worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Its addresses there, one of each version at most. Default: chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
}

impl NetworkAttachment {
    /// On this network.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), aliases: Vec::new(), addresses: Vec::new() }
    }
    /// Found by this name too.
    #[must_use]
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.aliases.push(alias.into());
        self
    }
    /// At this address.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.addresses.push(address);
        self
    }
}
