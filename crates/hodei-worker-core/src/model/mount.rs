use serde::{Deserialize, Serialize};

use crate::quantity::ByteSize;

/// A place inside the worker where other storage appears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Mount {
    /// Absolute path inside the worker.
    pub target: String,
    /// What appears there.
    pub source: MountSource,
    /// Whether the worker may only read it. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum MountSource {
    /// A folder or file of the host, which must exist.
    Bind {
        /// Absolute path on the host.
        path: String,
    },
    /// A volume that the provider keeps.
    Volume {
        /// Its name.
        name: String,
    },
    /// Memory, gone with the worker.
    Tmpfs {
        /// At most that much.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<ByteSize>,
    },
}

impl Mount {
    /// A folder or file of the host.
    pub fn bind(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { target: target.into(), source: MountSource::Bind { path: path.into() }, read_only: false }
    }
    /// A named volume of the provider.
    pub fn volume(name: impl Into<String>, target: impl Into<String>) -> Self {
        Self { target: target.into(), source: MountSource::Volume { name: name.into() }, read_only: false }
    }
    /// Memory of at most that size.
    pub fn tmpfs(target: impl Into<String>, size: Option<ByteSize>) -> Self {
        Self { target: target.into(), source: MountSource::Tmpfs { size }, read_only: false }
    }
    /// The same, for reading only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }
}
