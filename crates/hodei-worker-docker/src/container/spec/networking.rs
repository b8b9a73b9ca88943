//! Networks and ports.

use std::collections::{BTreeSet, HashMap};

use bollard::models::{EndpointIpamConfig, EndpointSettings, NetworkingConfig, PortBinding, PortMap};
use hodei_worker_core::{WorkerConfig, model::NetworkAttachment};

use crate::{DockerOptions, DockerSettings};

/// How a container stands in one of its networks.
pub(crate) fn endpoint(
    network: &NetworkAttachment,
    options: &DockerOptions,
    first: bool,
) -> EndpointSettings {
    let address = |six: bool| {
        network.addresses.iter().find(|address| address.is_ipv6() == six).map(ToString::to_string)
    };
    let (ipv4_address, ipv6_address) = (address(false), address(true));
    let fixed = ipv4_address.is_some() || ipv6_address.is_some();
    EndpointSettings {
        aliases: (!network.aliases.is_empty()).then(|| network.aliases.clone()),
        mac_address: options.networking.mac_address.clone().filter(|_| first),
        ipam_config: fixed.then(|| EndpointIpamConfig {
            ipv4_address,
            ipv6_address,
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    }
}

/// How a container stands in the one network that it has without those of its configuration, if there is something to say.
pub(super) fn without_networks(config: &WorkerConfig, options: &DockerOptions) -> Option<NetworkingConfig> {
    let mac_address = options.networking.mac_address.clone().filter(|_| config.networks.is_empty())?;
    let endpoint = EndpointSettings { mac_address: Some(mac_address), ..EndpointSettings::default() };
    let network = options.network.clone().unwrap_or_else(|| "default".to_owned());
    Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(network, endpoint)])) })
}

pub(super) fn ports(
    config: &WorkerConfig,
    options: &DockerOptions,
    settings: &DockerSettings,
) -> (Vec<String>, PortMap) {
    let mut exposed = BTreeSet::new();
    let mut bindings: PortMap = HashMap::new();
    for port in &config.ports {
        let name = format!("{}/{}", port.port, port.protocol);
        let range = options.networking.port_ranges.get(&name);
        let host_port = match (port.host_port, range) {
            (Some(port), _) => port.to_string(),
            (None, Some(range)) => format!("{}-{}", range.first, range.last),
            // The engine chooses.
            (None, None) => String::new(),
        };
        let binding = PortBinding {
            host_ip: Some(port.host_address.unwrap_or(settings.published_address).to_string()),
            host_port: Some(host_port),
        };
        exposed.insert(name.clone());
        bindings.entry(name).or_default().get_or_insert_default().push(binding);
    }
    (exposed.into_iter().collect(), bindings)
}
