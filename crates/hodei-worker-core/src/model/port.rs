use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// A port of the worker that is reachable from outside it.
///
/// To publish it at another port of the host needs [`Networking`](crate::Capability::Networking). A local process, which
/// has none, can only listen on a port of the host's itself: `Port::tcp(8080).on_host_port(8080)`. No two workers can
/// have that at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Port {
    /// A name to ask for, `http` for instance: see [`WorkerSpec::port`](super::WorkerSpec::port).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The port on which the worker listens.
    pub port: u16,
    /// The host's port that leads there; without it one is chosen, and told in the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// The host's address to listen on. Default: the provider's, which is loopback unless its settings say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_address: Option<IpAddr>,
    /// Default: TCP.
    #[serde(default)]
    pub protocol: Protocol,
}

impl Port {
    /// A TCP port, published on a port that is chosen when the worker starts.
    pub fn tcp(port: u16) -> Self {
        Self { name: None, port, host_port: None, host_address: None, protocol: Protocol::Tcp }
    }
    /// The same, named.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
    /// Whether it is published at the same port of the host, as one is that the worker opens there itself.
    pub fn is_the_hosts(&self) -> bool {
        self.host_port == Some(self.port)
    }
    /// The same, published on this port of the host.
    #[must_use]
    pub fn on_host_port(mut self, port: u16) -> Self {
        self.host_port = Some(port);
        self
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Protocol {
    /// TCP, the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
