use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, MutexGuard},
};

use super::{Shared, State};
use crate::{
    clock::Timestamp,
    model::WorkerRef,
    status::{Gone, WorkerStatus},
};

pub(super) type Known = BTreeMap<WorkerRef, Entry>;

/// What is known of a worker, and from which reading.
pub(super) struct Entry {
    pub(super) status: Arc<WorkerStatus>,
    reading: Reading,
}

/// When a read began, in the order of all reads of one hub. Not a time: a clock that steps back must not make news
/// look old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading(u64);

/// What is known, and whether it is whole.
#[derive(Default)]
pub(super) struct Picture {
    workers: Known,
    synced: bool,
    /// Whether changes may have been missed since.
    stale: bool,
}

impl Picture {
    pub(super) fn synced(&self) -> Option<&Known> {
        self.synced.then_some(&self.workers)
    }
    pub(super) fn current(&self) -> Option<&Known> {
        self.synced().filter(|_| !self.stale)
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

    /// Begins a read: take it before the source is asked, and hand it to [`apply_as_of`](Self::apply_as_of) with what
    /// was found. Of two reads that cross, the one that began later counts.
    pub fn reading(&self) -> Reading {
        self.shared.state().reading()
    }

    /// The whole picture, as it was listed *after* the source of changes was opened. Watchers get it in brackets.
    pub fn resync(&self, workers: impl IntoIterator<Item = Arc<WorkerStatus>>) {
        // Not under the lock: the iterator is somebody else's code.
        let workers: Vec<_> = workers.into_iter().collect();
        let Some(mut state) = self.state() else { return };
        let reading = state.reading();
        state.resync(workers, reading);
    }

    /// The source has a gap: until the next whole picture, nobody is told by [`current`](super::WatchHub::current) how a
    /// worker was before it.
    pub fn stale(&self) {
        if let Some(mut state) = self.state() {
            state.picture.stale = true;
        }
    }

    /// The whole picture again, of a source that cannot push: what differs from the last one is told. The first one
    /// is told in brackets.
    pub fn reconcile(&self, workers: impl IntoIterator<Item = Arc<WorkerStatus>>, as_of: Timestamp) {
        let workers: Vec<_> = workers.into_iter().collect();
        let Some(mut state) = self.state() else { return };
        let reading = state.reading();
        if !state.picture.synced {
            return state.resync(workers, reading);
        }
        state.picture.stale = false;
        let now: BTreeSet<&WorkerRef> = workers.iter().map(|status| &status.worker).collect();
        let missing = state.picture.workers.values().filter(|known| !now.contains(&known.status.worker));
        let vanished: Vec<Gone> = missing
            .map(|known| Gone::new(known.status.worker.clone(), known.status.native_id.clone(), as_of))
            .collect();
        vanished.into_iter().for_each(|gone| state.gone(gone));
        workers.into_iter().for_each(|status| state.apply(reading, status));
    }

    /// A worker as it is now: as [`apply_as_of`](Self::apply_as_of) with a read that begins here. For news that comes
    /// in its order.
    pub fn apply(&self, status: Arc<WorkerStatus>) {
        let Some(mut state) = self.state() else { return };
        let reading = state.reading();
        state.apply(reading, status);
    }

    /// A worker as a read found it that began then. What was read before that which is known, and what says nothing
    /// new, is dropped.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use hodei_worker_core::{WorkerRef, WorkerStatus, error::Result, watch::WatchFeed};
    /// # async fn inspect(_: &WorkerRef) -> Result<Arc<WorkerStatus>> { unimplemented!() }
    /// async fn look_at(worker: &WorkerRef, feed: &WatchFeed) -> Result<()> {
    ///     let reading = feed.reading();
    ///     let status = inspect(worker).await?;
    ///     feed.apply_as_of(reading, status);
    ///     Ok(())
    /// }
    /// ```
    pub fn apply_as_of(&self, reading: Reading, status: Arc<WorkerStatus>) {
        if let Some(mut state) = self.state() {
            state.apply(reading, status);
        }
    }

    /// A worker that has been removed, in that generation. One that was never known is not told. A source that does not
    /// say which object it was leaves the native id empty: then it is the one that is known.
    pub fn gone(&self, gone: Gone) {
        if let Some(mut state) = self.state() {
            state.gone(gone);
        }
    }

    /// The workers that are known at present.
    pub fn known(&self) -> Vec<Arc<WorkerStatus>> {
        let statuses = |state: MutexGuard<'_, State>| {
            state.picture.workers.values().map(|known| Arc::clone(&known.status)).collect()
        };
        self.state().map(statuses).unwrap_or_default()
    }
}

impl State {
    fn reading(&mut self) -> Reading {
        self.readings += 1;
        Reading(self.readings)
    }

    fn resync(&mut self, workers: Vec<Arc<WorkerStatus>>, reading: Reading) {
        let entries = workers.into_iter().map(|status| (status.worker.clone(), Entry { status, reading }));
        self.picture.workers = entries.collect();
        self.picture.synced = true;
        self.picture.stale = false;
        for subscriber in &self.subscribers {
            subscriber.resync(&self.picture.workers);
        }
    }

    fn apply(&mut self, reading: Reading, status: Arc<WorkerStatus>) {
        let Self { picture, subscribers, .. } = self;
        if let Some(known) = picture.workers.get_mut(&status.worker) {
            if known.reading > reading {
                return;
            }
            if same(&known.status, &status) {
                known.reading = reading;
                return;
            }
        }
        let entry = Entry { status: Arc::clone(&status), reading };
        picture.workers.insert(status.worker.clone(), entry);
        if picture.synced {
            for subscriber in subscribers {
                subscriber.applied(&status);
            }
        }
    }

    fn gone(&mut self, mut gone: Gone) {
        let Self { picture, subscribers, .. } = self;
        // A late word on an object of the same name that was replaced meanwhile must not bury its successor.
        match picture.workers.get(&gone.worker) {
            Some(known) if known.status.native_id == gone.native_id || gone.native_id.is_empty() => {}
            _ => return,
        }
        if let Some(known) = picture.workers.remove(&gone.worker)
            && picture.synced
        {
            gone.native_id.clone_from(&known.status.native_id);
            for subscriber in subscribers {
                subscriber.gone(&known.status, &gone);
            }
        }
    }
}

/// Whether two statuses differ in nothing but the time at which they were read.
pub(crate) fn same(one: &WorkerStatus, other: &WorkerStatus) -> bool {
    let mut one = one.clone();
    one.as_of = other.as_of;
    one == *other
}

impl fmt::Debug for WatchFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchFeed")
    }
}
