use std::collections::BTreeMap;

use serde::Deserialize;

/// A network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Its name at the engine.
    pub name: String,
    /// Its driver.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// How addresses are given.
    pub ipam: Ipam,
    /// Whether it is there already and belongs to somebody else.
    pub external: bool,
    /// Whether nothing outside can be reached from it.
    pub internal: bool,
    /// Whether containers of others may join.
    pub attachable: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it has addresses of version 4.
    pub enable_ipv4: Option<bool>,
    /// Whether it has addresses of version 6.
    pub enable_ipv6: Option<bool>,
}

/// How addresses are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ipam {
    /// The driver.
    pub driver: Option<String>,
    /// Pools of addresses.
    pub config: Vec<IpamPool>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

/// A pool of addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IpamPool {
    /// The subnet.
    pub subnet: Option<String>,
    /// The gateway.
    pub gateway: Option<String>,
    /// The part of the subnet that containers get.
    pub ip_range: Option<String>,
    /// Addresses of others by name.
    pub aux_addresses: BTreeMap<String, String>,
}

/// A volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Volume {
    /// Its name at the engine.
    pub name: String,
    /// Its driver.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Whether it is there already and belongs to somebody else.
    pub external: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A secret or a config.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileObject {
    /// Its name at the engine.
    pub name: String,
    /// The file that holds it.
    pub file: Option<String>,
    /// The variable that holds it.
    pub environment: Option<String>,
    /// What it holds, where it stands in the compose file or in a variable. For a secret it is shown nowhere.
    pub content: Option<String>,
    /// Whether it is there already and belongs to somebody else.
    pub external: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its driver.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// The driver of templates.
    pub template_driver: Option<String>,
}

impl std::fmt::Debug for FileObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The content may be a secret.
        f.debug_struct("FileObject")
            .field("name", &self.name)
            .field("file", &self.file)
            .field("environment", &self.environment)
            .field("content", &self.content.as_ref().map(|_| "…"))
            .field("external", &self.external)
            .field("labels", &self.labels)
            .field("driver", &self.driver)
            .field("driver_opts", &self.driver_opts)
            .field("template_driver", &self.template_driver)
            .finish()
    }
}

/// A model of artificial intelligence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// Its name.
    pub name: Option<String>,
    /// The artifact that holds it.
    pub model: String,
    /// The size of its context, in tokens; 0 for its own.
    pub context_size: i64,
    /// Flags of its runtime.
    pub runtime_flags: Vec<String>,
}
