use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::model::ProviderName;

/// The kind of a provider, as settings name it: `process`, `docker`, `kubernetes`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProviderType(Arc<str>);

impl ProviderType {
    /// The type of that name.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(name.as_ref().into())
    }
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which provider it is: its type, and the name that the host gave to this instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProviderInfo {
    /// The kind of provider.
    #[serde(rename = "type")]
    pub provider_type: ProviderType,
    /// The host's name for it.
    pub name: ProviderName,
}

impl ProviderInfo {
    /// The provider of that type and name.
    pub fn new(provider_type: impl AsRef<str>, name: ProviderName) -> Self {
        Self { provider_type: ProviderType::new(provider_type), name }
    }
}

impl fmt::Display for ProviderInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.provider_type.as_str() == self.name.as_str() {
            write!(f, "provider `{}`", self.name)
        } else {
            write!(f, "provider `{}` ({})", self.name, self.provider_type)
        }
    }
}
