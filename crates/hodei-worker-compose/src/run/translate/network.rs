//! Ports and networks.

use hodei_worker_core::{
    Capability,
    model::{NetworkAttachment, Port, Protocol, WorkerSpec},
};
use serde_json::Value as Json;

use super::{Target, docker};
use crate::{Project, Service, run::refuse::Refusals};

pub(super) fn ports(service: &Service, refusals: &mut Refusals<'_>) -> Vec<Port> {
    let mut all = Vec::new();
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
        match port.published.as_deref() {
            None | Some("" | "0") => {}
            Some(text) => match text.parse() {
                Ok(number) => one.host_port = Some(number),
                Err(_) => refusals.add(
                    &path,
                    format!("`{text}`: one of several ports cannot be chosen; name one, or none"),
                ),
            },
        }
        match port.host_ip.as_deref().map(str::parse) {
            None => {}
            Some(Ok(address)) => one.host_address = Some(address),
            Some(Err(_)) => refusals.add(&path, "`host_ip` is no address"),
        }
        one.name.clone_from(&port.name);
        all.push(one);
    }
    all
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
