use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a worker failed, as far as a decision can depend on it. Why a *call* failed is an
/// [`ErrorKind`](crate::ErrorKind).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureClass {
    /// Its command ended with a code other than 0.
    Application,
    /// It was killed for want of memory; certain.
    OutOfMemory,
    /// It was killed by a signal, cause unknown.
    Killed,
    /// Its command does not exist or cannot be executed.
    CommandNotFound,
    /// Its image does not exist.
    ImageNotFound,
    /// Its image cannot be fetched: denied, unreachable, damaged.
    ImagePull,
    /// The platform refuses its configuration when it starts.
    Configuration,
    /// A secret that it needs cannot be had.
    Secret,
    /// There is no room for it at present.
    Capacity,
    /// The platform took its place away: eviction, preemption, an interrupted spot instance.
    Evicted,
    /// What it ran on is lost.
    NodeLost,
    /// It ran longer than it was allowed to.
    DeadlineExceeded,
    /// Its health check failed for too long.
    Unhealthy,
    /// It is gone, and nobody knows how it ended.
    Vanished,
    /// Something else, or a class that a newer version knows.
    #[serde(other)]
    Unknown,
}

impl FailureClass {
    /// Its name in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::OutOfMemory => "out_of_memory",
            Self::Killed => "killed",
            Self::CommandNotFound => "command_not_found",
            Self::ImageNotFound => "image_not_found",
            Self::ImagePull => "image_pull",
            Self::Configuration => "configuration",
            Self::Secret => "secret",
            Self::Capacity => "capacity",
            Self::Evicted => "evicted",
            Self::NodeLost => "node_lost",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Unhealthy => "unhealthy",
            Self::Vanished => "vanished",
            Self::Unknown => "unknown",
        }
    }
    /// Whether the worker itself is at fault, rather than what it ran on.
    pub const fn is_own_fault(self) -> bool {
        !matches!(self, Self::Capacity | Self::Evicted | Self::NodeLost | Self::Vanished)
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
