use serde::{Deserialize, Serialize};

use super::{Generation, InstallationId, Labels, LogId, WorkerId, WorkerRef};

/// The names of the labels that mark what is ours.
pub mod labels {
    /// What all of our labels begin with; users' labels must not.
    pub const PREFIX: &str = "hodei-worker/";
    /// The installation that made it.
    pub const INSTALLATION: &str = "hodei-worker/installation";
    /// The worker's id.
    pub const WORKER: &str = "hodei-worker/id";
    /// Which creation of the worker.
    pub const GENERATION: &str = "hodei-worker/generation";
    /// The worker's group.
    pub const WORKER_TYPE: &str = "hodei-worker/type";
    /// The event log that holds the intent.
    pub const LOG: &str = "hodei-worker/log";
    /// The intent's position in that log.
    pub const POSITION: &str = "hodei-worker/position";
    /// The configuration's fingerprint.
    pub const CONFIG: &str = "hodei-worker/config";
}

/// Where the intent to create a worker was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IntentMark {
    /// The event log.
    pub log: LogId,
    /// The intent's position in it.
    pub position: u64,
}

/// What marks an object as ours. It never changes; who owns the worker *now* stands in the store alone.
///
/// # Examples
/// ```
/// use hodei_worker_core::model::{Ownership, WorkerRef};
/// let ownership = Ownership::new("ci".parse()?, WorkerRef::first("build-1".parse()?));
/// let labels = ownership.to_labels();
/// assert_eq!(Ownership::from_labels(&labels), Some(ownership));
/// # Ok::<(), hodei_worker_core::model::IdError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ownership {
    /// The installation that made it.
    pub installation: InstallationId,
    /// The worker and its generation.
    pub worker: WorkerRef,
    /// Where the intent was recorded, if there was a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentMark>,
    /// The configuration's fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

impl Ownership {
    /// Marks a worker of an installation.
    pub fn new(installation: InstallationId, worker: WorkerRef) -> Self {
        Self { installation, worker, intent: None, fingerprint: None }
    }

    /// As labels to put on an object.
    pub fn to_labels(&self) -> Labels {
        let mut all = Labels::from([
            (labels::INSTALLATION.to_owned(), self.installation.to_string()),
            (labels::WORKER.to_owned(), self.worker.id.to_string()),
            (labels::GENERATION.to_owned(), self.worker.generation.to_string()),
        ]);
        if let Some(intent) = &self.intent {
            all.insert(labels::LOG.to_owned(), intent.log.to_string());
            all.insert(labels::POSITION.to_owned(), intent.position.to_string());
        }
        if let Some(fingerprint) = &self.fingerprint {
            all.insert(labels::CONFIG.to_owned(), fingerprint.clone());
        }
        all
    }

    /// From an object's labels. `None` means that it is not ours, or not in a way that we understand: leave it alone.
    pub fn from_labels(all: &Labels) -> Option<Self> {
        let id = WorkerId::new(all.get(labels::WORKER)?).ok()?;
        let generation = Generation::new(all.get(labels::GENERATION)?.parse().ok()?)?;
        let intent = match (all.get(labels::LOG), all.get(labels::POSITION)) {
            (Some(log), Some(position)) => {
                Some(IntentMark { log: LogId::new(log).ok()?, position: position.parse().ok()? })
            }
            _ => None,
        };
        Some(Self {
            installation: InstallationId::new(all.get(labels::INSTALLATION)?).ok()?,
            worker: WorkerRef { id, generation },
            intent,
            fingerprint: all.get(labels::CONFIG).cloned(),
        })
    }
}
