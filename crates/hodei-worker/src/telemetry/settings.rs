use hodei_worker_core::{quantity::HumanDuration, settings::Problems};
use serde::{Deserialize, Serialize};

/// How much is measured of single workers. Nothing is, until somebody asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SamplingSettings {
    /// The shortest time between two rounds; who asks sooner gets what the last one found. Default: 15 s.
    pub every: HumanDuration,
    /// Workers that are measured in one round; the next goes on with the others. Each costs one call of its provider.
    /// Default: 200.
    pub per_round: usize,
    /// How many calls run at once. Default: 8.
    pub concurrency: usize,
    /// How long one may take. Default: 5 s.
    pub timeout: HumanDuration,
    /// Workers whose last measurement is kept; the oldest goes first. Default: 2000.
    pub keep: usize,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        Self {
            every: HumanDuration::secs(15),
            per_round: 200,
            concurrency: 8,
            timeout: HumanDuration::secs(5),
            keep: 2000,
        }
    }
}

impl SamplingSettings {
    /// Tells what makes no sense.
    pub fn validate(&self, problems: &mut Problems) {
        problems.require(self.per_round > 0, "per_round", "it is 0: nothing would be measured");
        problems.require(self.concurrency > 0, "concurrency", "it is 0: nothing would be measured");
        problems.require(!self.timeout.is_zero(), "timeout", "it is 0: nothing would be measured in time");
        problems.require(self.keep >= self.per_round, "keep", "it is less than `per_round`");
    }
}
