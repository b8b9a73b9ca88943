use hodei_worker_core::settings::Problems;
use serde::{Deserialize, Serialize};

/// How much a performance view keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PerformanceSettings {
    /// Workers that start or recover at one time, and are measured. Of more, the oldest are not, and counted. A record
    /// takes about 400 bytes. Default: 10000.
    pub starting: usize,
    /// Workers whose own report is kept after that. Default: 1000.
    pub recent: usize,
    /// Pairs of worker type and provider that are told apart; what is beyond is told as one. One takes up to 10 KiB.
    /// Default: 500.
    pub groups: usize,
}

impl Default for PerformanceSettings {
    fn default() -> Self {
        Self { starting: 10_000, recent: 1000, groups: 500 }
    }
}

impl PerformanceSettings {
    /// Tells what makes no sense.
    pub fn validate(&self, problems: &mut Problems) {
        problems.require(self.starting > 0, "starting", "it is 0: no start would be measured");
        problems.require(self.groups > 0, "groups", "it is 0: nothing could be told apart");
    }
}
