use serde::{Deserialize, Serialize};

/// What the manager does when a worker's command ends. Providers restart nothing by themselves, unless their
/// typed options ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum RestartPolicy {
    /// Nothing. The default.
    #[default]
    Never,
    /// Start it again if it failed.
    OnFailure {
        /// How often in a row, before a person is called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_retries: Option<u32>,
    },
    /// Start it again however it ended.
    Always,
}
