//! Ports and networks.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Capability,
    model::{NetworkAttachment, Port, Protocol, WorkerSpec},
};
use serde_json::{Value as Json, json};

use super::{Target, docker};
use crate::{Project, Service, run::refuse::Refusals};

/// Ports of the machine of which each of a service's workers takes one.
#[derive(Debug, Clone)]
pub(in crate::run) struct Range {
    /// Where the file has it.
    path: String,
    text: String,
    ports: usize,
}

impl Range {
    /// Refuses more workers than it has ports.
    pub(in crate::run) fn check(&self, service: &str, workers: usize, refusals: &mut Refusals<'_>) {
        let Self { path, text, ports } = self;
        if *ports < workers {
            let message = format!(
                "the {workers} workers of `{service}` need a port each, of which `{text}` has {ports}"
            );
            refusals.add(path, message);
        }
    }
}

/// The service's ports, and the narrowest of the ranges that they are published from.
pub(super) fn ports(
    service: &Service,
    spec: &mut WorkerSpec,
    refusals: &mut Refusals<'_>,
) -> (Vec<Port>, Option<Range>) {
    let mut all = Vec::new();
    let mut wide = Vec::new();
    // By the port inside: from which of the machine's one is taken, and where nothing was said of that.
    let mut ranges: BTreeMap<String, Option<(u16, u16)>> = BTreeMap::new();
    for (n, port) in service.ports.iter().enumerate() {
        let path = format!("services.{}.ports[{n}]", service.name);
        let Ok(inside) = u16::try_from(port.target) else {
            refusals.add(&path, format!("`{}` is no port: 1 to 65535", port.target));
            continue;
        };
        let mut one = Port::tcp(inside);
        match port.protocol.as_deref() {
            None | Some("tcp") => {}
            Some("udp") => one.protocol = Protocol::Udp,
            Some(other) => {
                refusals.add(&path, format!("the protocol `{other}` is not supported: tcp or udp"))
            }
        }
        let mut range = None;
        let text = port.published.as_deref().unwrap_or_default();
        match published(text) {
            None => refusals.add(&path, format!("`{text}` is no port of the machine, and no range")),
            Some((0, 0)) => {}
            Some((first, last)) if first == last => one.host_port = Some(first),
            Some((first, last)) => {
                let ports = usize::from(last - first) + 1;
                let one = Range { path: path.clone(), text: text.to_owned(), ports };
                one.check(&service.name, super::replicas(service), refusals);
                wide.push(one);
                range = Some((first, last));
            }
        }
        if one.host_port.is_none() {
            let name = format!("{}/{}", one.port, one.protocol);
            if ranges.get(&name).is_some_and(|known| *known != range) {
                refusals.add(&path, format!("port {name} is published from another range already"));
            }
            ranges.insert(name, range);
        }
        match port.host_ip.as_deref().map(str::parse) {
            None => {}
            Some(Ok(address)) => one.host_address = Some(address),
            Some(Err(_)) => refusals.add(&path, "`host_ip` is no address"),
        }
        one.name.clone_from(&port.name);
        all.push(one);
    }
    for (name, range) in ranges {
        let Some((first, last)) = range else { continue };
        docker::set(spec, &["networking", "port_ranges", &name], json!({"first": first, "last": last}));
    }
    (all, wide.into_iter().min_by_key(|range| range.ports))
}

/// The machine's ports of which one is meant: 0 and 0 for any, the same twice for one.
fn published(text: &str) -> Option<(u16, u16)> {
    if text.is_empty() {
        return Some((0, 0));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && (first > 0 || last == 0)).then_some((first, last))
}

pub(super) fn attachments(
    project: &Project,
    service: &Service,
    target: &Target<'_>,
    spec: &mut WorkerSpec,
    refusals: &mut Refusals<'_>,
) -> Vec<NetworkAttachment> {
    let explicit = service.networks.keys().any(|key| key != "default");
    // The network that every service is on unless it says otherwise is no wish of anybody's.
    if service.network_mode.is_some() || (!explicit && !target.capabilities.supports(Capability::Networking))
    {
        return Vec::new();
    }
    // The one with the highest priority is joined first.
    let mut wanted: Vec<_> = service.networks.iter().collect();
    wanted.sort_by_key(|(key, network)| (-network.priority, (*key).clone()));
    let mut all = Vec::new();
    for (key, options) in wanted {
        let path = format!("services.{}.networks.{key}", service.name);
        let Some(network) = project.networks.get(key) else { continue };
        let mut one = NetworkAttachment::new(&network.name).alias(&service.name);
        one.aliases.extend(service.container_name.clone());
        one.aliases.extend(options.aliases.iter().cloned());
        for address in [&options.ipv4_address, &options.ipv6_address].into_iter().flatten() {
            match address.parse() {
                Ok(address) => one.addresses.push(address),
                Err(_) => refusals.add(&path, format!("`{address}` is no address")),
            }
        }
        let not = "is not supported";
        if all.is_empty() {
            // An engine takes it at the creation, of one network.
            if let Some(address) = &options.mac_address {
                docker::set(spec, &["networking", "mac_address"], Json::from(address.as_str()));
            }
        } else {
            refusals.unless(
                &options.mac_address,
                format!("{path}.mac_address"),
                "can be set on the first network only",
            );
        }
        refusals.unless(&options.driver_opts, format!("{path}.driver_opts"), not);
        refusals.unless(&options.gw_priority, format!("{path}.gw_priority"), not);
        refusals.unless(&options.interface_name, format!("{path}.interface_name"), not);
        refusals.unless(&options.link_local_ips, format!("{path}.link_local_ips"), not);
        all.push(one);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d10_a_published_port_is_one_any_or_one_of_a_range() {
        for (text, meant) in [
            ("", Some((0, 0))),
            ("0", Some((0, 0))),
            ("80", Some((80, 80))),
            ("80-80", Some((80, 80))),
            ("8000-8004", Some((8000, 8004))),
            ("8004-8000", None),
            ("0-10", None),
            ("8000-", None),
            ("65536", None),
            ("http", None),
        ] {
            assert_eq!(published(text), meant, "{text}");
        }
    }
}
