use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::GroupRef;

/// Names and values that describe a worker, in the order of their names.
pub type Labels = BTreeMap<String, String>;

/// What is said about a worker besides how it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WorkerMetadata {
    /// The group that it belongs to, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_type: Option<GroupRef>,
    /// Labels to select by. Names beginning with `hodei-worker/` are the library's own and refused.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Who is shed first when there is not enough for all: the lowest. Default: 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i32,
}

fn is_zero(priority: &i32) -> bool {
    *priority == 0
}

/// Labels that a worker must have, all of them, each with that value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelSelector(pub Labels);

impl LabelSelector {
    /// Selects every worker.
    pub fn any() -> Self {
        Self::default()
    }
    /// Narrows the selection to workers with this label.
    #[must_use]
    pub fn and(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }
    /// Whether a worker with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}
