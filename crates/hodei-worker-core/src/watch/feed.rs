use std::{borrow::Borrow, collections::BTreeSet, fmt, sync::Arc, sync::MutexGuard};

use super::{Reading, Shared, State, picture::Entry};
use crate::{
    clock::Timestamp,
    error::Error,
    status::{Gone, WorkerStatus},
};

/// Where a provider tells what it reads from its source.
///
/// News that is read by asking comes with the [`Reading`] that was begun before the source was asked: of two reads that
/// cross, the one that began later counts, whichever arrives first.
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

    /// Begins a read: take it before the source is asked, and hand it over with what was found.
    pub fn reading(&self) -> Reading {
        self.shared.clock.begin()
    }

    /// As [`resync_as_of`](Self::resync_as_of) with a read that begins here: for a source that nothing else is read
    /// from meanwhile.
    pub fn resync(&self, workers: impl IntoIterator<Item = Arc<WorkerStatus>>) {
        self.resync_as_of(self.reading(), workers);
    }

    /// The whole picture, as a listing found it that began then, *after* the source of changes was opened. What is known
    /// from later reads stays. Watchers get it in brackets.
    pub fn resync_as_of(
        &self,
        reading: impl Borrow<Reading>,
        workers: impl IntoIterator<Item = Arc<WorkerStatus>>,
    ) {
        // Not under the lock: the iterator is somebody else's code.
        let workers = stamped(reading.borrow(), workers);
        if let Some(mut state) = self.state() {
            state.resync(reading.borrow(), workers);
        }
    }

    /// As [`reconcile_as_of`](Self::reconcile_as_of) with a read that begins here: for a source that nothing else is
    /// read from meanwhile.
    pub fn reconcile(&self, workers: impl IntoIterator<Item = Arc<WorkerStatus>>, as_of: Timestamp) {
        self.reconcile_as_of(self.reading(), workers, as_of);
    }

    /// The whole picture again, as a listing found it that began then, of a source that cannot push: what differs from
    /// the last one is told, but for what is known from later reads. The first one is told in brackets.
    ///
    /// # Examples
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use hodei_worker_core::{Error, Result, Timestamp, WorkerStatus, watch::WatchFeed};
    /// # async fn list() -> Result<Vec<Arc<WorkerStatus>>> { unimplemented!() }
    /// # fn now() -> Timestamp { unimplemented!() }
    /// async fn poll(feed: &WatchFeed) -> Error {
    ///     loop {
    ///         let reading = feed.reading();
    ///         match list().await {
    ///             Ok(workers) => feed.reconcile_as_of(reading, workers, now()),
    ///             Err(error) => feed.lost(&error),
    ///         }
    ///         tokio::time::sleep(Duration::from_secs(5)).await;
    ///     }
    /// }
    /// ```
    pub fn reconcile_as_of(
        &self,
        reading: impl Borrow<Reading>,
        workers: impl IntoIterator<Item = Arc<WorkerStatus>>,
        as_of: Timestamp,
    ) {
        let reading = reading.borrow();
        let workers = stamped(reading, workers);
        let Some(mut state) = self.state() else { return };
        if !state.picture.is_synced() {
            return state.resync(reading, workers);
        }
        let now: BTreeSet<_> = workers.iter().map(|status| status.worker.clone()).collect();
        let vanished: Vec<Gone> = state
            .picture
            .workers()
            .filter(|known| !now.contains(&known.worker))
            .map(|known| Gone::new(known.worker.clone(), known.native_id.clone(), as_of))
            .collect();
        vanished.into_iter().for_each(|gone| state.gone(reading, gone));
        workers.into_iter().for_each(|status| state.apply(reading, status));
        state.picture.listed(reading);
    }

    /// As [`apply_as_of`](Self::apply_as_of) with a read that begins here: for news that comes in its order.
    pub fn apply(&self, status: Arc<WorkerStatus>) {
        self.apply_as_of(self.reading(), status);
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
    pub fn apply_as_of(&self, reading: impl Borrow<Reading>, mut status: Arc<WorkerStatus>) {
        if status.version.is_none() {
            reading.borrow().stamp(Arc::make_mut(&mut status));
        }
        if let Some(mut state) = self.state() {
            state.apply(reading.borrow(), status);
        }
    }

    /// As [`gone_as_of`](Self::gone_as_of) with a read that begins here: for news that comes in its order.
    pub fn gone(&self, gone: Gone) {
        self.gone_as_of(self.reading(), gone);
    }

    /// A worker that has been removed, in that generation, as a read found that began then: what was read before and
    /// arrives later does not bring it back. One that was never known is not told. A source that does not say which
    /// object it was leaves the native id empty: then it is the one that is known.
    pub fn gone_as_of(&self, reading: impl Borrow<Reading>, gone: Gone) {
        if let Some(mut state) = self.state() {
            state.gone(reading.borrow(), gone);
        }
    }

    /// The source is lost, for this reason: watchers are told that what they know may be old. The next picture ends
    /// that. Whoever cannot go on at all returns the error instead.
    pub fn lost(&self, why: &Error) {
        if let Some(mut state) = self.state() {
            state.lost(why);
        }
    }

    /// The workers that are known at present.
    pub fn known(&self) -> Vec<Arc<WorkerStatus>> {
        self.state().map(|state| state.picture.workers().map(Arc::clone).collect()).unwrap_or_default()
    }
}

fn stamped(
    reading: &Reading,
    workers: impl IntoIterator<Item = Arc<WorkerStatus>>,
) -> Vec<Arc<WorkerStatus>> {
    let stamp = |mut status: Arc<WorkerStatus>| {
        if status.version.is_none() {
            reading.stamp(Arc::make_mut(&mut status));
        }
        status
    };
    workers.into_iter().map(stamp).collect()
}

impl State {
    fn resync(&mut self, reading: &Reading, workers: Vec<Arc<WorkerStatus>>) {
        self.picture.replace(reading, workers);
        for subscriber in &self.subscribers {
            subscriber.resync(&self.picture);
        }
    }

    pub(super) fn apply(&mut self, reading: &Reading, status: Arc<WorkerStatus>) {
        let entry = Entry { reading: reading.number(), status: Arc::clone(&status) };
        if self.picture.take_in(entry) && self.picture.is_synced() {
            for subscriber in &self.subscribers {
                subscriber.applied(&status);
            }
        }
    }

    fn gone(&mut self, reading: &Reading, mut gone: Gone) {
        let Some(known) = self.picture.remove(reading, &gone) else { return };
        gone.native_id.clone_from(&known.native_id);
        gone.run = gone.run.take().or_else(|| known.run.clone());
        if self.picture.is_synced() {
            for subscriber in &self.subscribers {
                subscriber.gone(&known, &gone);
            }
        }
    }

    fn lost(&mut self, why: &Error) {
        if self.picture.lose() {
            let report = Arc::new(why.report());
            for subscriber in &self.subscribers {
                subscriber.lost(&report);
            }
        }
    }
}

impl fmt::Debug for WatchFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchFeed")
    }
}
