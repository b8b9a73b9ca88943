//! Whether a network that exists is what its definition says. What the definition does not name is not looked at: engines
//! add address ranges, gateways and options of their own.

use std::net::IpAddr;

use bollard::models::{IpamConfig, NetworkInspect};

use crate::{NetworkOptions, SubnetOptions};

/// How a network differs from its definition, in words for a person.
pub(super) fn differences(found: &NetworkInspect, definition: &NetworkOptions) -> Vec<String> {
    let mut all = Vec::new();
    let flags =
        [("internal", found.internal, definition.internal), ("ipv6", found.enable_ipv6, definition.ipv6)];
    for (name, there, wanted) in flags {
        let there = there.unwrap_or_default();
        if there != wanted {
            all.push(format!("its `{name}` is {there}, not {wanted}"));
        }
    }
    if let Some(wanted) = &definition.driver {
        let there = found.driver.as_deref().unwrap_or_default();
        if !is_same_driver(there, wanted) {
            all.push(format!("its driver is `{there}`, not `{wanted}`"));
        }
    }
    for (name, wanted) in &definition.driver_options {
        match found.options.as_ref().and_then(|options| options.get(name)) {
            Some(there) if there == wanted => {}
            // Some may hold passwords.
            Some(_) => all.push(format!("its driver option `{name}` has another value")),
            None => all.push(format!("it does not have the driver option `{name}`")),
        }
    }
    all.extend(ranges(found, &definition.subnets));
    all
}

/// Engines add the tag to a plugin's name.
pub(crate) fn is_same_driver(there: &str, wanted: &str) -> bool {
    let plain = |name: &str| name.trim_end_matches(":latest").to_owned();
    plain(there) == plain(wanted)
}

fn ranges(found: &NetworkInspect, wanted: &[SubnetOptions]) -> Vec<String> {
    let there = found.ipam.as_ref().and_then(|ipam| ipam.config.as_deref()).unwrap_or_default();
    let shown: Vec<_> = there.iter().filter_map(|one| one.subnet.as_deref()).collect();
    let mut all = Vec::new();
    for (n, subnet) in wanted.iter().enumerate() {
        if !there.iter().any(|one| is_same_range(one, subnet)) {
            all.push(format!("its address ranges ({}) do not hold `subnets[{n}]`", shown.join(", ")));
        }
    }
    // Of a version that is named, all are; of the other one the engine chooses.
    let named: Option<Vec<Range>> = wanted.iter().map(|subnet| range(subnet.subnet.as_deref()?)).collect();
    for one in named.iter().flatten() {
        let is_more = |other: &&str| {
            let other = range(other);
            other.is_some_and(|other| other.0.is_ipv4() == one.0.is_ipv4())
                && !named.iter().flatten().any(|named| Some(*named) == other)
        };
        if let Some(more) = shown.iter().copied().find(is_more) {
            let words = format!("it has the address range {more} as well");
            if !all.contains(&words) {
                all.push(words);
            }
        }
    }
    all
}

fn is_same_range(there: &IpamConfig, wanted: &SubnetOptions) -> bool {
    let same = |there: &Option<String>, wanted: &Option<String>| match wanted {
        Some(wanted) => there.as_deref().and_then(range) == range(wanted),
        None => true,
    };
    let gateway = there.gateway.as_deref().and_then(|text| text.split('/').next()?.parse::<IpAddr>().ok());
    same(&there.subnet, &wanted.subnet)
        && same(&there.ip_range, &wanted.ip_range)
        && (wanted.gateway.is_none() || wanted.gateway == gateway)
}

/// An address range by its first address and the length of its prefix.
type Range = (IpAddr, u32);

/// A range in the one way to write it; `None` for what is none.
fn range(text: &str) -> Option<Range> {
    let (address, length) = text.split_once('/')?;
    let (address, length) = (address.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?);
    let first = match address {
        IpAddr::V4(address) => {
            let kept = u32::MAX.checked_shl(32_u32.checked_sub(length)?).unwrap_or(0);
            IpAddr::V4((u32::from(address) & kept).into())
        }
        IpAddr::V6(address) => {
            let kept = u128::MAX.checked_shl(128_u32.checked_sub(length)?).unwrap_or(0);
            IpAddr::V6((u128::from(address) & kept).into())
        }
    };
    Some((first, length))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found() -> NetworkInspect {
        let value = json!({
            "Name": "net", "Driver": "bridge", "Internal": false, "EnableIPv6": true,
            "IPAM": {"Config": [
                {"Subnet": "172.30.0.0/24", "IPRange": "172.30.0.128/25", "Gateway": "172.30.0.1"},
                {"Subnet": "fd00:1::/64", "Gateway": "fd00:1::1/64"},
            ]},
            "Options": {"com.docker.network.driver.mtu": "1400", "com.docker.network.enable_ipv4": "true"},
        });
        serde_json::from_value(value).unwrap()
    }

    fn told(change: impl FnOnce(&mut NetworkOptions)) -> Vec<String> {
        let mut definition = NetworkOptions { ipv6: true, ..NetworkOptions::default() };
        change(&mut definition);
        differences(&found(), &definition)
    }

    fn subnet(subnet: &str, range: Option<&str>, gateway: Option<&str>) -> SubnetOptions {
        SubnetOptions {
            subnet: Some(subnet.to_owned()),
            ip_range: range.map(str::to_owned),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        }
    }

    #[test]
    fn d4_what_a_definition_leaves_open_is_the_engines_choice() {
        assert_eq!(told(|_| {}), [""; 0]);
        for ranges in [
            vec![subnet("172.30.0.0/24", None, None)],
            vec![subnet("172.30.0.9/24", Some("172.30.0.128/25"), Some("172.30.0.1"))],
            vec![subnet("fd00:1:0::/64", None, Some("fd00:1::1")), subnet("172.30.0.0/24", None, None)],
        ] {
            assert_eq!(told(|definition| definition.subnets = ranges), [""; 0]);
        }
        let mtu = ("com.docker.network.driver.mtu".to_owned(), "1400".to_owned());
        assert_eq!(told(|definition| definition.driver_options.extend([mtu])), [""; 0]);
        assert!(is_same_driver("me/net:latest", "me/net"));
    }

    #[test]
    fn d4_what_a_definition_names_and_the_network_is_not_is_told() {
        for (ranges, words) in [
            (
                vec![subnet("172.31.0.0/24", None, None)],
                "(172.30.0.0/24, fd00:1::/64) do not hold `subnets[0]`",
            ),
            (vec![subnet("172.30.0.0/25", None, None)], "do not hold `subnets[0]`"),
            (vec![subnet("172.30.0.0/24", Some("172.30.0.0/25"), None)], "do not hold `subnets[0]`"),
            (vec![subnet("172.30.0.0/24", None, Some("172.30.0.2"))], "do not hold `subnets[0]`"),
            (vec![subnet("fd00:2::/64", None, None)], "it has the address range fd00:1::/64 as well"),
        ] {
            let told = told(|definition| definition.subnets = ranges).join("; ");
            assert!(told.contains(words), "{words} is missing in {told}");
        }
        let other = ("com.docker.network.driver.mtu".to_owned(), "9000".to_owned());
        let told_of = told(|definition| definition.driver_options.extend([other]));
        assert_eq!(told_of, ["its driver option `com.docker.network.driver.mtu` has another value"]);
        let icc = ("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned());
        let told_of = told(|definition| definition.driver_options.extend([icc]));
        assert_eq!(told_of, ["it does not have the driver option `com.docker.network.bridge.enable_icc`"]);
        assert_eq!(told(|definition| definition.internal = true), ["its `internal` is false, not true"]);
    }

    #[test]
    fn d4_a_range_has_one_way_to_be_written() {
        assert_eq!(range("10.1.2.3/8"), range("10.0.0.0/8"));
        assert_eq!(range("0.0.0.0/0"), range("1.2.3.4/0"));
        assert_ne!(range("10.0.0.0/8"), range("10.0.0.0/9"));
        for bad in ["10.0.0.0", "10.0.0.0/33", "x/8", "::/129"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
