use hodei_worker_core::quantity::ByteSize;
use serde::{Deserialize, Serialize};

use super::is_default;

/// The claim of a named volume, where there is none yet. One that exists is taken as it is.
///
/// # Examples
/// ```
/// use hodei_worker_core::{WorkerConfig, model::Mount};
/// use hodei_worker_k8s::{ClaimOptions, KubernetesOptions};
/// let options = KubernetesOptions::default().user(1000).claim("data", ClaimOptions::of("10Gi".parse()?));
/// let config = WorkerConfig::builder("db").image("postgres:17").mount(Mount::volume("data", "/var/lib/data"));
/// let config = config.options(&options).build()?;
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ClaimOptions {
    /// How much it has to hold. Default: 1 GiB.
    pub size: ByteSize,
    /// The name of its storage class. Default: the cluster's default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// Who may mount it at once. Default: the pods of one node.
    #[serde(skip_serializing_if = "is_default")]
    pub access: AccessMode,
}

impl Default for ClaimOptions {
    fn default() -> Self {
        Self::of(ByteSize::new(1 << 30))
    }
}

impl ClaimOptions {
    /// A claim of that size.
    pub fn of(size: ByteSize) -> Self {
        Self { size, storage_class: None, access: AccessMode::default() }
    }
    /// Of this storage class.
    #[must_use]
    pub fn storage_class(mut self, name: impl Into<String>) -> Self {
        self.storage_class = Some(name.into());
        self
    }
    /// For these pods.
    #[must_use]
    pub fn access(mut self, access: AccessMode) -> Self {
        self.access = access;
        self
    }
}

/// Which pods may mount a volume at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AccessMode {
    /// Those of one node, to read and write.
    #[default]
    OneNode,
    /// One pod alone.
    OnePod,
    /// Those of all nodes, to read and write.
    AllNodes,
    /// Those of all nodes, for reading only.
    AllNodesReading,
}

impl AccessMode {
    pub(crate) fn as_kubernetes(self) -> &'static str {
        match self {
            Self::OneNode => "ReadWriteOnce",
            Self::OnePod => "ReadWriteOncePod",
            Self::AllNodes => "ReadWriteMany",
            Self::AllNodesReading => "ReadOnlyMany",
        }
    }
}
