use hodei_worker_core::{quantity::HumanDuration, settings::Problems};
use serde::{Deserialize, Serialize};

/// How work is spread and shed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DegradationSettings {
    /// What a worker whose checks take too long gets of its share, in percent. Default: 50.
    pub latency_percent: u8,
    /// What a worker that goes back and forth between well and not well gets, in percent. Default: 25.
    pub flapping_percent: u8,
    /// What a worker that is degraded by something else gets, in percent. Default: 50.
    pub other_percent: u8,
    /// How many jobs a worker that is well takes at once. Default: not known; then nothing is refused for their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_per_worker: Option<u32>,
    /// Work of this priority and above is never refused while there is a worker that runs. Default: 100.
    pub critical: i32,
    /// Work of priorities below 0 is refused while a group has less than this of its full capacity, in percent.
    /// Default: 50.
    pub low_below_percent: u8,
    /// What was refused is let in again when there is that much of the capacity to spare, in percent. Default: 20.
    pub margin_percent: u8,
    /// When whoever was refused may ask again. Default: 1 s.
    pub retry_after: HumanDuration,
}

impl Default for DegradationSettings {
    fn default() -> Self {
        Self {
            latency_percent: 50,
            flapping_percent: 25,
            other_percent: 50,
            jobs_per_worker: None,
            critical: 100,
            low_below_percent: 50,
            margin_percent: 20,
            retry_after: HumanDuration::secs(1),
        }
    }
}

impl DegradationSettings {
    /// Tells what makes no sense.
    pub fn validate(&self, problems: &mut Problems) {
        for (name, percent) in [
            ("latency_percent", self.latency_percent),
            ("flapping_percent", self.flapping_percent),
            ("other_percent", self.other_percent),
            ("low_below_percent", self.low_below_percent),
        ] {
            problems.require(percent <= 100, name, "it is more than 100");
        }
        problems.require(
            self.margin_percent < 100,
            "margin_percent",
            "it is 100 or more: nothing would come back",
        );
        let back = u32::from(self.low_below_percent) + u32::from(self.margin_percent);
        let message = "with `low_below_percent` it is more than 100: low-priority work would never come back";
        problems.require(back <= 100, "margin_percent", message);
        problems.require(
            self.jobs_per_worker != Some(0),
            "jobs_per_worker",
            "it is 0: nothing would be done",
        );
    }
}
