use hodei_worker_core::settings::Problems;
use serde::{Deserialize, Serialize};

/// How events are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EventSettings {
    /// Events that are kept for a subscriber that has not read them yet. Default: 1024.
    pub buffer: usize,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self { buffer: 1024 }
    }
}

impl EventSettings {
    /// Tells what makes no sense.
    pub fn validate(&self, problems: &mut Problems) {
        problems.require(self.buffer > 0, "buffer", "it is 0: nothing would ever be told");
        problems.require(
            self.buffer <= 1 << 20,
            "buffer",
            "it is more than 1048576: replay from the store instead",
        );
    }
}
