use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{error::Result, model::ProviderName, settings::read_validated};

/// One provider in a host's settings.
///
/// # Examples
/// ```
/// use hodei_worker_core::ProviderConfig;
/// let config = ProviderConfig::from_value(&serde_json::json!({
///     "name": "docker-eu",
///     "type": "docker",
///     "settings": {"endpoint": "unix:///var/run/docker.sock"},
/// }))?;
/// assert_eq!(config.provider_type.as_deref(), Some("docker"));
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProviderConfig {
    /// The host's name for it.
    pub name: ProviderName,
    /// Its type. Without one, the factory takes what it detects.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub provider_type: Option<String>,
    /// The type's own settings. Default: that type's defaults, or what was detected.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub settings: Value,
}

impl ProviderConfig {
    /// A provider of that type with its default settings.
    pub fn new(name: ProviderName, provider_type: impl Into<String>) -> Self {
        Self { name, provider_type: Some(provider_type.into()), settings: Value::Null }
    }
    /// A provider of whatever type is detected.
    pub fn detected(name: ProviderName) -> Self {
        Self { name, provider_type: None, settings: Value::Null }
    }
    /// With these settings.
    #[must_use]
    pub fn with_settings(mut self, settings: Value) -> Self {
        self.settings = settings;
        self
    }
    /// Reads a configuration and reports all that is wrong with it.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) with every problem. The type's own settings are checked by the factory.
    pub fn from_value(value: &Value) -> Result<Self> {
        read_validated(value, |_: &Self, _| {})
    }
}
