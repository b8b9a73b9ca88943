use serde::{Deserialize, Serialize};

use crate::quantity::HumanDuration;

/// How the health of a worker is found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HealthCheckConfig {
    /// What is tried.
    pub probe: Probe,
    /// Time between two tries. Default: 10 s.
    #[serde(default = "HealthCheckConfig::default_interval")]
    pub interval: HumanDuration,
    /// Time after which a try has failed; at most the interval. Default: 1 s.
    #[serde(default = "HealthCheckConfig::default_timeout")]
    pub timeout: HumanDuration,
    /// Time after the start during which failures do not count. Default: none.
    #[serde(default)]
    pub start_period: HumanDuration,
    /// Successes in a row that make an unhealthy worker healthy. Default: 1.
    #[serde(default = "HealthCheckConfig::default_success")]
    pub success_threshold: u32,
    /// Failures in a row that make it unhealthy. Default: 3.
    #[serde(default = "HealthCheckConfig::default_failure")]
    pub failure_threshold: u32,
}

impl HealthCheckConfig {
    const fn default_interval() -> HumanDuration {
        HumanDuration::secs(10)
    }
    const fn default_timeout() -> HumanDuration {
        HumanDuration::secs(1)
    }
    const fn default_success() -> u32 {
        1
    }
    const fn default_failure() -> u32 {
        3
    }
    /// This probe with the default times and thresholds.
    pub const fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval: Self::default_interval(),
            timeout: Self::default_timeout(),
            start_period: HumanDuration(std::time::Duration::ZERO),
            success_threshold: Self::default_success(),
            failure_threshold: Self::default_failure(),
        }
    }
    /// The same, tried once per interval.
    #[must_use]
    pub const fn every(mut self, interval: HumanDuration) -> Self {
        self.interval = interval;
        self
    }
    /// The same, each try with this timeout.
    #[must_use]
    pub const fn within(mut self, timeout: HumanDuration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// What is tried to find out whether a worker is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Probe {
    /// A command inside the worker, which must exit with 0.
    Command(Vec<String>),
    /// An HTTP GET, which must answer with a status below 400.
    Http {
        /// The worker's port.
        port: u16,
        /// Path and query. Default: `/`.
        #[serde(default = "Probe::root")]
        path: String,
    },
    /// A TCP connection, which must be accepted.
    Tcp {
        /// The worker's port.
        port: u16,
    },
    /// What the provider itself knows, such as an image's own health check.
    Native,
}

impl Probe {
    fn root() -> String {
        "/".to_owned()
    }
}
