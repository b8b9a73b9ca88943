//! The bridge of an engine.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::PoisonError;

use crate::failure::{Failure, Result};
use crate::tools::subnet::{self, Subnet};
use crate::{run, sweep};

/// A bridge with a network that nobody else uses here.
pub(super) fn make_bridge(name: &str) -> Result<()> {
    let _one = subnet::ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if sweep::links().iter().any(|link| link == name) {
        return Ok(());
    }
    let gateway = free_gateway(&subnet::taken()?)
        .ok_or_else(|| Failure::new("no free network for the engine's bridge"))?;
    run::output(Command::new("ip").args(["link", "add", name, "type", "bridge"]))?;
    run::output(Command::new("ip").args(["address", "add", &format!("{gateway}/24"), "dev", name]))?;
    run::output(Command::new("ip").args(["link", "set", name, "up"])).map(drop)
}

/// The first address of a network of 256 that overlaps with none in `taken`.
fn free_gateway(taken: &[Subnet]) -> Option<Ipv4Addr> {
    // A cloud's default network may be all of the first.
    let bases = [[172, 31], [10, 231]].into_iter();
    let mut gateways =
        bases.flat_map(|[one, two]| (200..=250).map(move |third| Ipv4Addr::new(one, two, third, 1)));
    gateways.find(|gateway| !taken.iter().any(|other| subnet::overlaps(&(*gateway, 24), other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_gets_a_network_that_no_address_and_no_route_has() {
        let free = |taken| free_gateway(&subnet::parse(taken)).unwrap().to_string();
        assert_eq!(free("default via 10.0.0.1 dev eth0"), "172.31.200.1");
        assert_eq!(free("inet 172.31.200.1/24\n172.31.201.0/24 dev x"), "172.31.202.1");
        assert_eq!(free("172.31.0.0/20 dev eth0"), "172.31.200.1");
        assert_eq!(free("172.31.0.0/16 dev eth0"), "10.231.200.1");
        assert_eq!(free("172.16.0.0/12 via 10.0.0.1"), "10.231.200.1");
        assert_eq!(free_gateway(&subnet::parse("172.16.0.0/12\n10.0.0.0/8")), None);
    }
}
