use serde::{Deserialize, Serialize};

use super::Probe;
use crate::quantity::HumanDuration;

/// How the health of a worker is found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HealthCheckConfig {
    /// What is tried.
    pub probe: Probe,
    /// Time between two tries. Default: 10 s. Until the first success a host tries once a second where that is less, and
    /// counts one failure per interval.
    #[serde(default = "HealthCheckConfig::default_interval")]
    pub interval: HumanDuration,
    /// Time after which a try has failed; at most the interval. Default: 1 s.
    #[serde(default = "HealthCheckConfig::default_timeout")]
    pub timeout: HumanDuration,
    /// Time after the start during which failures do not count, until the first success. Default: none.
    #[serde(default)]
    pub start_period: HumanDuration,
    /// Successes in a row that make an unhealthy worker healthy. Default: 1.
    #[serde(default = "HealthCheckConfig::default_success")]
    pub success_threshold: u32,
    /// Failures in a row that make it unhealthy. Default: 3.
    #[serde(default = "HealthCheckConfig::default_failure")]
    pub failure_threshold: u32,
    /// A success that takes longer than this is slow, and a worker whose successes are slow is degraded. Default: none
    /// is slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_after: Option<HumanDuration>,
    /// Slow successes in a row that make it degraded, and others in a row that restore it. Default: 3.
    #[serde(
        default = "HealthCheckConfig::default_slow",
        skip_serializing_if = "HealthCheckConfig::is_default_slow"
    )]
    pub slow_threshold: u32,
    /// When going back and forth degrades it. Default: 6 changes in 20 intervals, until 10 intervals were calm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flapping: Option<FlappingConfig>,
}

/// When a check goes back and forth between success and failure so often that the worker counts as degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FlappingConfig {
    /// Changes that are too many. 0: it never flaps.
    pub changes: u32,
    /// The time in which they are too many.
    pub within: HumanDuration,
    /// Time without a change after which it is over. Until then a recovery does not count.
    pub calm: HumanDuration,
}

impl FlappingConfig {
    /// Flapping at this many changes within that time, until it was calm for the last.
    pub const fn new(changes: u32, within: HumanDuration, calm: HumanDuration) -> Self {
        Self { changes, within, calm }
    }
    /// It never flaps.
    pub const fn never() -> Self {
        Self::new(0, HumanDuration::secs(1), HumanDuration::secs(1))
    }
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
    const fn default_slow() -> u32 {
        3
    }
    fn is_default_slow(threshold: &u32) -> bool {
        *threshold == Self::default_slow()
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
            slow_after: None,
            slow_threshold: Self::default_slow(),
            flapping: None,
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
    /// The same, with this time after the start during which failures do not count.
    #[must_use]
    pub const fn starting_for(mut self, start_period: HumanDuration) -> Self {
        self.start_period = start_period;
        self
    }
    /// The same, with these many successes and failures in a row.
    #[must_use]
    pub const fn thresholds(mut self, success: u32, failure: u32) -> Self {
        (self.success_threshold, self.failure_threshold) = (success, failure);
        self
    }
    /// The same, degraded when successes take longer than this.
    #[must_use]
    pub const fn slow_after(mut self, slow_after: HumanDuration) -> Self {
        self.slow_after = Some(slow_after);
        self
    }
    /// The same, with another idea of going back and forth.
    #[must_use]
    pub const fn flapping(mut self, flapping: FlappingConfig) -> Self {
        self.flapping = Some(flapping);
        self
    }
}
