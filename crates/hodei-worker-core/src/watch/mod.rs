//! One source of changes, any number of watchers, nobody waits for anybody.
//!
//! A provider reads its source as fast as it comes and tells the [`WatchFeed`]; for each watcher the hub keeps only
//! the newest status per worker that has not been read yet. Every provider's `watch_workers` stands on this.

mod feed;
mod picture;
mod reading;
mod subscriber;

use std::{
    fmt,
    future::Future,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::stream::BoxStream;
use tokio::task::AbortHandle;

pub use feed::WatchFeed;
pub(crate) use picture::same;
pub use reading::Reading;

use crate::{
    error::{Error, ErrorKind, Result},
    model::WorkerRef,
    provider::{Operation, WorkerFilter},
    status::{WorkerObservation, WorkerStatus},
};
use picture::Picture;
use reading::ReadClock;
use subscriber::Subscriber;

/// Hands one source's changes to any number of watchers. The source is read while somebody watches.
///
/// # Examples
/// ```
/// use futures::StreamExt as _;
/// use hodei_worker_core::{WorkerObservation, provider::WorkerFilter, watch::WatchHub};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let hub = WatchHub::default();
/// let mut changes = hub.subscribe(WorkerFilter::all(), |feed| async move {
///     feed.resync(Vec::new());
///     std::future::pending().await
/// });
/// assert_eq!(changes.next().await.unwrap().unwrap(), WorkerObservation::Resync);
/// assert_eq!(changes.next().await.unwrap().unwrap(), WorkerObservation::Synced);
/// # }
/// ```
#[derive(Clone, Default)]
pub struct WatchHub(Arc<Shared>);

struct Shared {
    clock: Arc<ReadClock>,
    state: Mutex<State>,
}

struct State {
    picture: Picture,
    subscribers: Vec<Arc<Subscriber>>,
    driver: Driver,
    /// Tells a driver that was replaced from its successor.
    epoch: u64,
}

impl Default for Shared {
    fn default() -> Self {
        let clock = Arc::new(ReadClock::default());
        let picture = Picture::new(&clock);
        let (subscribers, driver, epoch) = (Vec::new(), Driver::None, 0);
        Self { clock, state: Mutex::new(State { picture, subscribers, driver, epoch }) }
    }
}

/// What reads the source.
#[derive(Default)]
enum Driver {
    #[default]
    None,
    /// It is being made, or has been spawned a moment ago.
    Begun,
    Runs(AbortHandle),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchHub {
    /// Opens a watch, and begins to read the source if nobody else watches: `driver` then feeds the hub until it
    /// returns why it cannot go on, which ends all watches, as does its panic or the end of its runtime. It is aborted
    /// when the last watch is dropped.
    ///
    /// Call it inside a Tokio runtime.
    pub fn subscribe<F, Fut>(
        &self,
        filter: WorkerFilter,
        driver: F,
    ) -> BoxStream<'static, Result<WorkerObservation>>
    where
        F: FnOnce(WatchFeed) -> Fut,
        Fut: Future<Output = Error> + Send + 'static,
    {
        let subscriber = Arc::new(Subscriber::new(filter));
        let stream = subscriber::stream(Arc::clone(&self.0), Arc::clone(&subscriber));
        if let Some(epoch) = self.0.join(subscriber) {
            // Not under the lock: `driver` is somebody else's code.
            let ending = Ending { shared: Arc::clone(&self.0), epoch, error: None };
            let reading = driver(WatchFeed::new(Arc::clone(&self.0), epoch));
            let task = tokio::spawn(async move { ending.because(reading.await) });
            self.0.runs(epoch, task.abort_handle());
        }
        stream
    }

    /// The newest status of a worker, if somebody watches, the picture is whole, and its source has no gap.
    pub fn current(&self, worker: &WorkerRef) -> Option<Arc<WorkerStatus>> {
        self.0.state().picture.current(worker).map(Arc::clone)
    }

    /// Begins a read of the provider's own, for a status or a listing: take it before the platform is asked, and hand it
    /// to [`saw`](Self::saw) with each status that was found.
    pub fn reading(&self) -> Reading {
        self.0.clock.begin()
    }

    /// Gives a status that the provider has read its version, and tells it to those who watch: so that nobody knows
    /// anything by asking that the watches do not come to tell.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use hodei_worker_core::{Result, WorkerRef, WorkerStatus, watch::WatchHub};
    /// # async fn inspect(_: &WorkerRef) -> Result<WorkerStatus> { unimplemented!() }
    /// async fn get_worker_status(hub: &WatchHub, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
    ///     let reading = hub.reading();
    ///     let status = inspect(worker).await?;
    ///     Ok(hub.saw(&reading, status))
    /// }
    /// ```
    pub fn saw(&self, reading: &Reading, status: impl Into<Arc<WorkerStatus>>) -> Arc<WorkerStatus> {
        let mut status = status.into();
        if status.version.is_none() {
            reading.stamp(Arc::make_mut(&mut status));
        }
        let mut state = self.0.state();
        if !matches!(state.driver, Driver::None) {
            state.apply(reading, Arc::clone(&status));
        }
        status
    }

    /// How many watches are open.
    pub fn watches(&self) -> usize {
        self.0.state().subscribers.len()
    }
}

/// Ends all watches when a driver ends, in whatever way.
struct Ending {
    shared: Arc<Shared>,
    epoch: u64,
    error: Option<Error>,
}

impl Ending {
    fn because(mut self, error: Error) {
        self.error = Some(error);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let error = self.error.take().unwrap_or_else(|| {
            let why = if std::thread::panicking() { "it panicked" } else { "its runtime was shut down" };
            Error::new(ErrorKind::Unexpected, format!("what reads the source of changes ended early: {why}"))
                .with_operation(Operation::Watch)
        });
        self.shared.end(self.epoch, &error);
    }
}

impl Shared {
    /// Adds a watch. Returns the epoch of the driver that must be begun for it, if none runs.
    fn join(&self, subscriber: Arc<Subscriber>) -> Option<u64> {
        let mut state = self.state();
        let begins = matches!(state.driver, Driver::None);
        if begins {
            state.epoch += 1;
            state.picture = Picture::new(&self.clock);
            state.driver = Driver::Begun;
        } else if state.picture.is_synced() {
            subscriber.resync(&state.picture);
        }
        state.subscribers.push(subscriber);
        begins.then_some(state.epoch)
    }

    /// Takes note of how the driver is aborted, unless it has ended already; aborts it if it has been replaced.
    fn runs(&self, epoch: u64, task: AbortHandle) {
        let mut state = self.state();
        if state.epoch != epoch {
            drop(state);
            task.abort();
        } else if matches!(state.driver, Driver::Begun) {
            state.driver = Driver::Runs(task);
        }
    }

    fn end(&self, epoch: u64, error: &Error) {
        let mut state = self.state();
        if state.epoch != epoch {
            return;
        }
        state.driver = Driver::None;
        state.picture = Picture::new(&self.clock);
        for subscriber in state.subscribers.drain(..) {
            subscriber.fail(error.clone());
        }
    }

    fn leave(&self, subscriber: &Arc<Subscriber>) {
        let mut state = self.state();
        state.subscribers.retain(|other| !Arc::ptr_eq(other, subscriber));
        if !state.subscribers.is_empty() {
            return;
        }
        state.epoch += 1;
        state.picture = Picture::new(&self.clock);
        let driver = mem::take(&mut state.driver);
        drop(state);
        if let Driver::Runs(task) = driver {
            task.abort();
        }
    }
}

impl fmt::Debug for WatchHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchHub").field("watches", &self.watches()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
