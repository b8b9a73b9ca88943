//! Whose an object is that a provider shows: decided from its mark and what the log knows.

use hodei_worker_core::{
    Timestamp, WorkerRef, WorkerStatus,
    lifecycle::Worker,
    model::{Generation, LogId, ProviderName},
};
use serde::{Deserialize, Serialize};

/// An object of our installation that no worker of this log stands behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Found {
    /// Where it is.
    pub provider: ProviderName,
    /// What it says that it is.
    pub worker: WorkerRef,
    /// The provider's own name of it.
    pub native_id: String,
    /// Why it is not adopted.
    pub reason: Stray,
    /// When it was first seen.
    pub since: Timestamp,
}

impl Found {
    /// Whether it is left alone for ever, since this log cannot know whose it is: a person decides.
    pub fn is_quarantined(&self) -> bool {
        !matches!(self.reason, Stray::Replaced | Stray::Removed)
    }
}

/// Why an object is not adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stray {
    /// A later generation has taken its place: it is removed.
    Replaced,
    /// Its worker has been removed, by this log: it is removed.
    Removed,
    /// It was made without a log.
    WithoutLog,
    /// It was made under another log.
    OtherLog,
    /// Its intent lies beyond the end of this log: the log was restored from an older copy.
    BeyondLog,
    /// It is of a later generation than this log knows.
    Later,
    /// It has the name and the generation of a worker, and was made by another intent.
    OtherIntent,
    /// It is a worker's, and this log has put that on another provider: was this one renamed?
    OtherProvider,
    /// The intent that it names is not in this log, or was compacted away.
    Unproven,
    /// What the log says of its worker cannot be understood here: a newer version wrote it, or it is damaged.
    Unreadable,
}

/// What an object is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The present generation of a worker.
    Ours,
    /// None of it.
    Stray(Stray),
}

/// Judges an object. `end` is the last position of the log; `known` what the log knows of a worker of that name;
/// `removed` the last generation of one that is no more.
pub(super) fn judge(
    provider: &ProviderName,
    status: &WorkerStatus,
    known: Option<&Worker>,
    removed: Option<Generation>,
    log: &LogId,
    end: u64,
) -> Judgement {
    let generation = status.worker.generation;
    let intent = status.ownership.as_ref().and_then(|ownership| ownership.intent.as_ref());
    let stray = match intent {
        None => Stray::WithoutLog,
        Some(intent) if intent.log != *log => Stray::OtherLog,
        Some(intent) if intent.position > end => Stray::BeyondLog,
        Some(intent) => match known {
            Some(worker) if generation == worker.generation => match intent.position == worker.intent {
                true if worker.provider == *provider => return Judgement::Ours,
                true => Stray::OtherProvider,
                false => Stray::OtherIntent,
            },
            Some(worker) if generation < worker.generation => Stray::Replaced,
            Some(_) => Stray::Later,
            None if removed.is_some_and(|last| generation > last) => Stray::Later,
            None => Stray::Removed,
        },
    };
    Judgement::Stray(stray)
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::{
        WorkerPhase,
        model::{IntentMark, Ownership},
    };

    use super::*;

    fn object(generation: u64, mark: Option<(&str, u64)>) -> WorkerStatus {
        let worker = WorkerRef::new("a".parse().unwrap(), generation);
        let mut ownership = Ownership::new("test".parse().unwrap(), worker.clone());
        ownership.intent = mark.map(|(log, position)| IntentMark { log: log.parse().unwrap(), position });
        let mut status = WorkerStatus::new(worker, WorkerPhase::Running, Timestamp::UNIX_EPOCH);
        status.ownership = Some(ownership);
        status
    }

    #[test]
    fn l6_what_this_log_cannot_know_is_never_removed() {
        let log: LogId = "ours".parse().unwrap();
        let judged = |status: &WorkerStatus| judge(&"p".parse().unwrap(), status, None, None, &log, 10);
        for (mark, reason) in [
            (None, Stray::WithoutLog),
            (Some(("theirs", 3)), Stray::OtherLog),
            (Some(("ours", 11)), Stray::BeyondLog),
        ] {
            assert_eq!(judged(&object(1, mark)), Judgement::Stray(reason));
            let found = Found {
                provider: "p".parse().unwrap(),
                worker: WorkerRef::new("a".parse().unwrap(), 1),
                native_id: String::new(),
                reason,
                since: Timestamp::UNIX_EPOCH,
            };
            assert!(found.is_quarantined());
        }
        assert_eq!(judged(&object(1, Some(("ours", 10)))), Judgement::Stray(Stray::Removed));
        let removed = Generation::new(2);
        assert_eq!(
            judge(&"p".parse().unwrap(), &object(3, Some(("ours", 5))), None, removed, &log, 10),
            Judgement::Stray(Stray::Later)
        );
    }
}
