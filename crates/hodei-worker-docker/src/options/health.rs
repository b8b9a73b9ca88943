use hodei_worker_core::{quantity::HumanDuration, settings::Problems};
use serde::{Deserialize, Serialize};

use super::is_default;

/// How the engine runs a container's health check, beyond the configuration's
/// [`health_checks`](hodei_worker_core::model::WorkerSpec::health_checks).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HealthOptions {
    /// Whether the image's own check is not run. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub disabled: bool,
    /// Time between checks in the start period. Needs Docker 25. Default: 1 s on engines that know it, else the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<HumanDuration>,
    /// Time after which a check has failed, where that is longer than its interval: the engine begins the next one an
    /// interval after the last one's end. Default: the check's own timeout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
}

impl HealthOptions {
    pub(super) fn validate(&self, problems: &mut Problems) {
        for (path, time) in [("start_interval", self.start_interval), ("timeout", self.timeout)] {
            let good = time.is_none_or(|time| time.get() >= std::time::Duration::from_millis(1));
            problems.require(good, format!("health.{path}"), "must be at least 1 ms");
        }
    }
}
