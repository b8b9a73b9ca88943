//! What this host knows of the pods that it made: their uids.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hodei_worker_core::WorkerRef;

/// So many at most; what is forgotten costs a request.
const MOST: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<HashMap<WorkerRef, Arc<str>>>);

impl Memory {
    fn all(&self) -> MutexGuard<'_, HashMap<WorkerRef, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pod without secrets that was just made.
    pub(crate) fn know(&self, worker: &WorkerRef, uid: &str) {
        let mut all = self.all();
        if all.len() < MOST {
            all.insert(worker.clone(), uid.into());
        }
    }

    /// Its uid, if we made it and its start needs nothing else.
    pub(crate) fn plain(&self, worker: &WorkerRef) -> Option<Arc<str>> {
        self.all().get(worker).map(Arc::clone)
    }

    pub(crate) fn forget(&self, worker: &WorkerRef) {
        self.all().remove(worker);
    }
}
