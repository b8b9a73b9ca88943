use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Weak},
};

use hodei_worker_core::WorkerId;
use tokio::sync::Notify;

use super::registry::Inner;

/// A worker has jobs now, or has none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobsChanged {
    /// The worker.
    pub worker: WorkerId,
    /// How many jobs it has at present.
    pub jobs: usize,
}

/// Tells which workers came to have jobs, or to have none. Of one that did both before it was read, it tells once, how it
/// is by then: what waits to be read is never more than one word per worker, and nobody who begins a job waits for it.
#[derive(Debug)]
pub struct JobsChanges {
    inner: Weak<Inner>,
    wake: Arc<Notify>,
}

impl JobsChanges {
    pub(super) fn new(inner: &Arc<Inner>, wake: Arc<Notify>) -> Self {
        Self { inner: Arc::downgrade(inner), wake }
    }

    /// The next worker; `None` when there is nobody left who could begin or end a job.
    ///
    /// # Cancel safety
    /// When dropped, nothing is lost.
    pub async fn next(&mut self) -> Option<JobsChanged> {
        loop {
            if let Some(changed) = self.inner.upgrade()?.take_changed() {
                return Some(changed);
            }
            self.wake.notified().await;
        }
    }
}

/// Workers of which something is to be told, each once.
#[derive(Debug, Default)]
pub(super) struct Changed {
    queue: VecDeque<WorkerId>,
    known: HashSet<WorkerId>,
}

impl Changed {
    pub(super) fn add(&mut self, worker: &WorkerId) {
        if self.known.insert(worker.clone()) {
            self.queue.push_back(worker.clone());
        }
    }

    pub(super) fn take(&mut self) -> Option<WorkerId> {
        let worker = self.queue.pop_front()?;
        self.known.remove(&worker);
        Some(worker)
    }
}
