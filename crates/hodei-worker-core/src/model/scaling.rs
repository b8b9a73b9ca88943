use serde::{Deserialize, Serialize};

/// Between how many and how many workers of its group there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ScalingConfiguration {
    /// At least that many. Default: 0.
    #[serde(default)]
    pub min: u32,
    /// At most that many; at least `min`, and 1.
    pub max: u32,
    /// Percent of the CPU request that is aimed at, where the group scales by load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_cpu_percent: Option<u32>,
}

impl ScalingConfiguration {
    /// Between `min` and `max` workers.
    pub const fn between(min: u32, max: u32) -> Self {
        Self { min, max, target_cpu_percent: None }
    }
}
