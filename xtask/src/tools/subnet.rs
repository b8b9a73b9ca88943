//! Networks of this machine, as `ip` lists them, and whether one is free.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Mutex;

use crate::failure::Result;
use crate::run;

/// Parts come up in parallel, and each must see the network that another has taken: hold it while one is chosen and set.
pub(crate) static ONE: Mutex<()> = Mutex::new(());

/// An address and the number of its bits that name the network.
pub(crate) type Subnet = (Ipv4Addr, u32);

/// What this machine has addresses in or routes to.
pub(crate) fn taken() -> Result<Vec<Subnet>> {
    let addresses = run::output(Command::new("ip").args(["-4", "-o", "address", "show"]))?;
    let routes = run::output(Command::new("ip").args(["-4", "route", "show", "table", "all"]))?;
    Ok([parse(&addresses), parse(&routes)].concat())
}

/// Every network that a text names, and every address as a network of its own.
pub(crate) fn parse(text: &str) -> Vec<Subnet> {
    text.split_whitespace().filter_map(parse_one).collect()
}

/// The way to everywhere is no network.
fn parse_one(word: &str) -> Option<Subnet> {
    let (address, width) = word.split_once('/').unwrap_or((word, "32"));
    let width = width.parse().ok().filter(|width| (1..=32).contains(width))?;
    Some((address.parse().ok()?, width))
}

/// Whether they have an address in common.
pub(crate) fn overlaps(one: &Subnet, other: &Subnet) -> bool {
    let mask = u32::MAX << (32 - one.1.min(other.1));
    one.0.to_bits() & mask == other.0.to_bits() & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_overlap_when_the_wider_one_holds_the_other() {
        let both = |text| {
            let found = parse(text);
            assert_eq!(found.len(), 2, "{text}");
            overlaps(&found[0], &found[1])
        };
        assert!(both("10.99.1.0/24 10.99.1.2"));
        assert!(both("10.99.1.0/24 dev x\n10.0.0.0/8"));
        assert!(!both("10.99.1.0/24 10.99.2.0/24"));
    }

    #[test]
    fn the_way_to_everywhere_is_no_network() {
        assert_eq!(parse("default via 0.0.0.0/0 dev eth0 metric 100 fe80::1/64"), []);
    }
}
