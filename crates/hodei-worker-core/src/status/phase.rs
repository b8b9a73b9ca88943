use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a worker is in its life, as its provider sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkerPhase {
    /// The provider does not show it, but cannot be sure: what it lists lags behind.
    NotVisibleYet,
    /// It does not exist, and the provider is sure.
    Absent,
    /// It exists and has never run.
    Created,
    /// It is being started: scheduled, pulled, unpacked.
    Starting,
    /// Its command runs.
    Running,
    /// Its command is frozen.
    Paused,
    /// It was asked to stop and still runs.
    Stopping,
    /// Its last run has ended, or could not begin: see `exit` and `failure`.
    Exited,
    /// The provider cannot say at present, a lost node for instance; or a phase that a newer version knows.
    #[serde(other)]
    Unknown,
}

impl WorkerPhase {
    /// Its name in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotVisibleYet => "not_visible_yet",
            Self::Absent => "absent",
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Exited => "exited",
            Self::Unknown => "unknown",
        }
    }
    /// Whether nothing of it runs, for sure: it has ended or is absent.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Exited | Self::Absent)
    }
    /// Whether its command exists as a process.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Stopping)
    }
}

impl fmt::Display for WorkerPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a provider's own health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// It has not been decided yet.
    Starting,
    /// It is well.
    Healthy,
    /// It is not.
    Unhealthy,
}
