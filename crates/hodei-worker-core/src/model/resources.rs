use serde::{Deserialize, Serialize};

use crate::quantity::{ByteSize, Cpu};

/// What a worker needs and what it may use at most. What is not given is not limited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ResourceRequirements {
    /// CPU that is set aside for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<Cpu>,
    /// CPU that it may use at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<Cpu>,
    /// Memory that is set aside for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_request: Option<ByteSize>,
    /// Memory at which it is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<ByteSize>,
    /// Processes and threads that it may have at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<u64>,
}

impl ResourceRequirements {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These, with what they leave open taken from `defaults`.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        Self {
            cpu_request: self.cpu_request.or(defaults.cpu_request),
            cpu_limit: self.cpu_limit.or(defaults.cpu_limit),
            memory_request: self.memory_request.or(defaults.memory_request),
            memory_limit: self.memory_limit.or(defaults.memory_limit),
            pids_limit: self.pids_limit.or(defaults.pids_limit),
        }
    }
}
