use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::WorkerStatus;
use crate::{
    clock::Timestamp,
    error::ErrorReport,
    model::{RunId, WorkerRef},
};

/// What a watch says. A consumer always knows when its picture is whole: what it knew and is not `Listed` between
/// `Resync` and `Synced` is gone. Whole is what it has from `Synced` on, with what it is told since, until `Unsynced` or
/// the next `Resync`: decisions to create or to delete are made then only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkerObservation {
    /// A listing begins: at the start, and after every gap.
    Resync,
    /// A worker that exists.
    Listed(Arc<WorkerStatus>),
    /// The listing is whole.
    Synced,
    /// A worker has appeared or changed.
    Applied(Arc<WorkerStatus>),
    /// A worker has been removed.
    Gone(Gone),
    /// The source of changes is lost, for this reason: nothing is told until the next `Resync`, and what is known may be
    /// old by then. The watch itself goes on.
    Unsynced(Arc<ErrorReport>),
}

impl WorkerObservation {
    /// The status, if one is told.
    pub fn status(&self) -> Option<&Arc<WorkerStatus>> {
        match self {
            Self::Listed(status) | Self::Applied(status) => Some(status),
            _ => None,
        }
    }
    /// The worker that it is about, if any.
    pub fn worker(&self) -> Option<&WorkerRef> {
        match self {
            Self::Listed(status) | Self::Applied(status) => Some(&status.worker),
            Self::Gone(gone) => Some(&gone.worker),
            _ => None,
        }
    }
}

/// A worker that has been removed, in exactly this generation: a later one may exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gone {
    /// The worker and its generation.
    pub worker: WorkerRef,
    /// The provider's own unique name of it.
    pub native_id: String,
    /// Its last run, as far as that is known; `None` too where it never ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The time at which this was the case.
    pub as_of: Timestamp,
}

impl Gone {
    /// A worker that is gone.
    pub fn new(worker: WorkerRef, native_id: impl Into<String>, as_of: Timestamp) -> Self {
        Self { worker, native_id: native_id.into(), run: None, as_of }
    }
}
