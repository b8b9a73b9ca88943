//! The addresses of a cluster, and the ways to them from this machine. They lead nowhere else.

use std::net::Ipv4Addr;
use std::process::Command;

use crate::failure::Result;
use crate::run;
use crate::tools::subnet::{Subnet, overlaps};

/// Who has set a route, as the kernel keeps it with the route. Nobody else uses this number.
const PROTOCOL: &str = "199";

/// One of fifteen sets of networks that do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network(u8);

impl Network {
    /// The first set of which this machine uses nothing.
    pub(super) fn free(taken: &[Subnet]) -> Option<Self> {
        (1..=15).map(Self).find(|network| {
            let ours = [network.nodes(), network.pods(), network.services()];
            !ours.iter().any(|one| taken.iter().any(|other| overlaps(one, other)))
        })
    }

    pub(super) fn parse(number: &str) -> Option<Self> {
        number.parse().ok().filter(|number| (1..=15).contains(number)).map(Self)
    }

    pub(super) fn number(self) -> u8 {
        self.0
    }

    /// This machine, as the cluster sees it.
    pub(super) fn outside(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.0, 1)
    }

    /// The cluster's only node.
    pub(super) fn node(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.0, 2)
    }

    /// The API server, as pods see it.
    pub(super) fn api_service(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 101, self.0 * 16, 1)
    }

    pub(super) fn nodes(self) -> Subnet {
        (Ipv4Addr::new(10, 99, self.0, 0), 24)
    }

    pub(super) fn pods(self) -> Subnet {
        (Ipv4Addr::new(10, 100, self.0, 0), 24)
    }

    pub(super) fn services(self) -> Subnet {
        (Ipv4Addr::new(10, 101, self.0 * 16, 0), 20)
    }
}

/// As `ip` reads it.
pub(super) fn text((address, width): Subnet) -> String {
    format!("{address}/{width}")
}

/// The rank of a checkout's routes: the last of all, and its own, so that they can be told from another's.
pub(super) fn metric(hash: &str) -> u32 {
    u32::from_str_radix(hash, 16).unwrap_or(u32::MAX)
}

/// Whatever is down or cut off is unreachable then: nothing for it is ever sent to the machine's gateway.
pub(super) fn fence(network: Network, hash: &str) -> Result<()> {
    for subnet in [network.nodes(), network.pods(), network.services()] {
        let route = Fence { subnet: text(subnet), metric: metric(hash) };
        route.change("add")?;
    }
    Ok(())
}

/// A route that answers for a network instead of the gateway.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fence {
    subnet: String,
    pub(super) metric: u32,
}

impl Fence {
    fn change(&self, verb: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-4", "route", verb, "unreachable", &self.subnet, "protocol", PROTOCOL]);
        run::output(command.args(["metric", &self.metric.to_string()])).map(drop)
    }

    pub(super) fn is_of(&self, network: Network) -> bool {
        [network.nodes(), network.pods(), network.services()].map(text).contains(&self.subnet)
    }

    pub(super) fn remove(&self) -> Result<()> {
        self.change("delete")
    }

    /// Those of every checkout.
    pub(super) fn all() -> Vec<Self> {
        let mut command = Command::new("ip");
        command.args(["-4", "route", "show", "type", "unreachable", "protocol", PROTOCOL]);
        run::output(&mut command).unwrap_or_default().lines().filter_map(Self::parse).collect()
    }

    /// A line like `unreachable 10.99.1.0/24 metric 7`.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let after = |word: &str| {
            let at = words.iter().position(|one| *one == word)?;
            words.get(at + 1).copied()
        };
        Some(Self { subnet: after("unreachable")?.to_owned(), metric: after("metric")?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::subnet;

    #[test]
    fn a_cluster_gets_networks_of_which_the_machine_uses_nothing() {
        let free = |taken| Network::free(&subnet::parse(taken)).map(Network::number);
        assert_eq!(free("default via 10.0.0.1 dev eth0"), Some(1));
        assert_eq!(free("unreachable 10.99.1.0/24"), Some(2));
        assert_eq!(free("inet 10.99.1.1/24\n10.100.2.0/24 via 10.9.9.9\n10.101.48.7"), Some(4));
        assert_eq!(free("10.0.0.0/8 dev vpn"), None);
    }

    #[test]
    fn no_two_sets_of_networks_overlap() {
        for (one, other) in (1..=15).flat_map(|one| (one + 1..=15).map(move |other| (one, other))) {
            let [one, other] = [one, other].map(|number: u8| Network::parse(&number.to_string()).unwrap());
            for mine in [one.nodes(), one.pods(), one.services()] {
                for theirs in [other.nodes(), other.pods(), other.services()] {
                    assert!(!overlaps(&mine, &theirs), "{mine:?} {theirs:?}");
                }
            }
            assert!(overlaps(&one.services(), &(one.api_service(), 32)));
            assert!(overlaps(&one.nodes(), &(one.node(), 32)));
        }
        assert_eq!(Network::parse("16"), None);
    }

    #[test]
    fn a_route_is_known_by_its_checkouts_rank() {
        let line = "unreachable 10.99.1.0/24 metric 168561933 ";
        let fence = Fence { subnet: "10.99.1.0/24".into(), metric: metric("0a0c0d0d") };
        assert_eq!(Fence::parse(line), Some(fence));
        assert_eq!(Fence::parse("10.99.1.0/24 dev x"), None);
    }
}
