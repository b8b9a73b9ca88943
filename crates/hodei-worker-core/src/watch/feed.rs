use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, MutexGuard},
};

use super::{Shared, State};
use crate::{
    clock::Timestamp,
    model::WorkerRef,
    status::{Gone, WorkerStatus},
};

pub(super) type Known = BTreeMap<WorkerRef, Arc<WorkerStatus>>;

/// What is known, and whether it is whole.
#[derive(Default)]
pub(super) struct Picture {
    workers: Known,
    synced: bool,
}

impl Picture {
    pub(super) fn synced(&self) -> Option<&Known> {
        self.synced.then_some(&self.workers)
    }
}

/// Where a provider tells what it reads from its source.
pub struct WatchFeed {
    shared: Arc<Shared>,
    epoch: u64,
}

impl WatchFeed {
    pub(super) fn new(shared: Arc<Shared>, epoch: u64) -> Self {
        Self { shared, epoch }
    }

    fn state(&self) -> Option<MutexGuard<'_, State>> {
        let state = self.shared.state();
        (state.epoch == self.epoch).then_some(state)
    }

    /// The whole picture, as it was listed *after* the source of changes was opened. Watchers get it in brackets.
    pub fn resync(&self, workers: impl IntoIterator<Item = Arc<WorkerStatus>>) {
        let Some(mut state) = self.state() else { return };
        let State { picture, subscribers, .. } = &mut *state;
        picture.workers = workers.into_iter().map(|status| (status.worker.clone(), status)).collect();
        picture.synced = true;
        for subscriber in subscribers {
            subscriber.resync(&picture.workers);
        }
    }

    /// The whole picture again, of a source that cannot push: what differs from the last one is told. The first one
    /// is told in brackets.
    pub fn reconcile(&self, workers: impl IntoIterator<Item = Arc<WorkerStatus>>, as_of: Timestamp) {
        if self.state().is_none_or(|state| !state.picture.synced) {
            return self.resync(workers);
        }
        let now: Known = workers.into_iter().map(|status| (status.worker.clone(), status)).collect();
        let vanished: Vec<Gone> = match self.state() {
            Some(state) => {
                let missing = state.picture.workers.values().filter(|known| !now.contains_key(&known.worker));
                missing.map(|known| Gone::new(known.worker.clone(), known.native_id.clone(), as_of)).collect()
            }
            None => return,
        };
        vanished.into_iter().for_each(|gone| self.gone(gone));
        now.into_values().for_each(|status| self.apply(status));
    }

    /// A worker as it is now. News older than what is known, and what says nothing new, is dropped.
    pub fn apply(&self, status: Arc<WorkerStatus>) {
        let Some(mut state) = self.state() else { return };
        let State { picture, subscribers, .. } = &mut *state;
        if let Some(known) = picture.workers.get(&status.worker)
            && (known.as_of > status.as_of || same(known, &status))
        {
            return;
        }
        picture.workers.insert(status.worker.clone(), Arc::clone(&status));
        if picture.synced {
            for subscriber in subscribers {
                subscriber.applied(&status);
            }
        }
    }

    /// A worker that has been removed, in that generation. One that was never known is not told. A source that does not
    /// say which object it was leaves the native id empty: then it is the one that is known.
    pub fn gone(&self, mut gone: Gone) {
        let Some(mut state) = self.state() else { return };
        let State { picture, subscribers, .. } = &mut *state;
        // A late word on an object of the same name that was replaced meanwhile must not bury its successor.
        match picture.workers.get(&gone.worker) {
            Some(known) if known.native_id == gone.native_id || gone.native_id.is_empty() => {}
            _ => return,
        }
        if let Some(known) = picture.workers.remove(&gone.worker)
            && picture.synced
        {
            gone.native_id.clone_from(&known.native_id);
            for subscriber in subscribers {
                subscriber.gone(&known, &gone);
            }
        }
    }

    /// The workers that are known at present.
    pub fn known(&self) -> Vec<Arc<WorkerStatus>> {
        self.state().map(|state| state.picture.workers.values().cloned().collect()).unwrap_or_default()
    }
}

/// Whether two statuses differ in nothing but the time at which they were read.
fn same(one: &WorkerStatus, other: &WorkerStatus) -> bool {
    let mut one = one.clone();
    one.as_of = other.as_of;
    one == *other
}

impl fmt::Debug for WatchFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchFeed")
    }
}
