//! The addresses that a container has in its networks, as far as they can be reached from here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use bollard::models::{ContainerInspectResponse, EndpointSettings};

/// Those of a container on an engine of this machine: one that no interface of ours leads to is left out, that of a
/// network of other machines for instance, or of one that keeps its containers from its own host.
pub(crate) fn own_addresses(inspected: &ContainerInspectResponse) -> Vec<IpAddr> {
    own_addresses_by(inspected, leads_there_from)
}

/// The same, by what says from which address of ours a packet would go there.
fn own_addresses_by(
    inspected: &ContainerInspectResponse,
    leads_there_from: impl Fn(IpAddr) -> Option<IpAddr>,
) -> Vec<IpAddr> {
    let networks = inspected.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let mut networks: Vec<_> = networks.into_iter().flatten().collect();
    networks.sort_by_key(|(name, _)| *name);
    let mut all = Vec::new();
    for (name, endpoint) in networks {
        if name == "host" {
            // Its ports are this machine's.
            all.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let each = [Place::four(endpoint), Place::six(endpoint)].into_iter().flatten();
        let reached = each.filter(|place| {
            leads_there_from(place.address).is_some_and(|from| match place.gateway {
                // The network's own end is ours.
                Some(gateway) => from == gateway,
                None => place.is_beside(from),
            })
        });
        all.extend(reached.map(|place| place.address));
    }
    all.dedup();
    all
}

/// Where a container stands in a network.
struct Place {
    address: IpAddr,
    prefix: u32,
    /// None where there is no way out.
    gateway: Option<IpAddr>,
}

impl Place {
    fn four(endpoint: &EndpointSettings) -> Option<Self> {
        Self::read(&endpoint.ip_address, endpoint.ip_prefix_len, &endpoint.gateway)
    }
    fn six(endpoint: &EndpointSettings) -> Option<Self> {
        Self::read(&endpoint.global_ipv6_address, endpoint.global_ipv6_prefix_len, &endpoint.ipv6_gateway)
    }
    fn read(address: &Option<String>, prefix: Option<i64>, gateway: &Option<String>) -> Option<Self> {
        let read = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        let prefix = prefix.and_then(|prefix| u32::try_from(prefix).ok())?;
        Some(Self { address: read(address)?, prefix, gateway: read(gateway) })
    }
    /// Whether it is of the same network.
    fn is_beside(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix)).unwrap_or(0);
                one.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(self.prefix)).unwrap_or(0);
                one.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// The address of ours from which a packet would go there. None is sent.
fn leads_there_from(address: IpAddr) -> Option<IpAddr> {
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    // Of a datagram socket this only looks for the way.
    socket.connect(SocketAddr::new(address, 9)).ok()?;
    socket.local_addr().ok().map(|from| from.ip())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn d9_only_networks_whose_end_is_here_are_reached() {
        let inspected: ContainerInspectResponse =
            serde_json::from_value(json!({"NetworkSettings": {"Networks": {
                "bridge": {"IPAddress": "172.17.0.2", "IPPrefixLen": 16, "Gateway": "172.17.0.1",
                    "GlobalIPv6Address": "fd01::2", "GlobalIPv6PrefixLen": 64, "IPv6Gateway": "fd01::1"},
                "inside": {"IPAddress": "172.18.0.2", "IPPrefixLen": 16, "Gateway": ""},
                "lan": {"IPAddress": "192.0.2.77", "IPPrefixLen": 24, "Gateway": "192.0.2.1"},
                "far": {"IPAddress": "10.0.0.3", "IPPrefixLen": 24, "Gateway": ""},
                "none": {"IPAddress": "", "IPPrefixLen": 0, "Gateway": ""},
            }}}))
            .unwrap();
        let from = |to: IpAddr| {
            let from = match to.to_string().as_str() {
                "172.17.0.2" => "172.17.0.1",
                "172.18.0.2" => "172.18.0.1",
                "fd01::2" => "fd01::1",
                "192.0.2.77" => "192.0.2.2",
                _ => "198.51.100.1",
            };
            from.parse().ok()
        };
        let shown: Vec<_> = own_addresses_by(&inspected, from).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["172.17.0.2", "fd01::2", "172.18.0.2"]);
        assert!(own_addresses_by(&inspected, |_| None).is_empty());
        let host: ContainerInspectResponse =
            serde_json::from_value(json!({"NetworkSettings": {"Networks": {"host": {"IPAddress": ""}}}}))
                .unwrap();
        assert_eq!(own_addresses(&host), [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }

    #[test]
    fn d9_the_way_to_an_address_of_ours_begins_there() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(leads_there_from(loopback), Some(loopback));
    }
}
