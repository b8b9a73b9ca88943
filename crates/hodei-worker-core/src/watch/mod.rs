//! One source of changes, any number of watchers, nobody waits for anybody.
//!
//! A provider reads its source as fast as it comes and tells the [`WatchFeed`]; for each watcher the hub keeps only
//! the newest status per worker that has not been read yet. Every provider's `watch_workers` stands on this.

mod feed;
mod subscriber;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::stream::BoxStream;
use tokio::task::AbortHandle;

pub(crate) use feed::same;
pub use feed::{Reading, WatchFeed};

use crate::{
    error::{Error, Result},
    model::WorkerRef,
    provider::WorkerFilter,
    status::{WorkerObservation, WorkerStatus},
};
use feed::Picture;
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

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    picture: Picture,
    subscribers: Vec<Arc<Subscriber>>,
    driver: Option<AbortHandle>,
    /// Tells a driver that was replaced from its successor.
    epoch: u64,
    /// Reads begun so far; see [`Reading`].
    readings: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchHub {
    /// Opens a watch, and begins to read the source if nobody else watches: `driver` then feeds the hub until it
    /// returns why it cannot go on, which ends all watches. It is aborted when the last watch is dropped.
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
        let mut state = self.0.state();
        state.subscribers.push(Arc::clone(&subscriber));
        if state.driver.is_some() {
            if let Some(picture) = state.picture.synced() {
                subscriber.resync(picture);
            }
        } else {
            state.epoch += 1;
            state.picture = Picture::default();
            let epoch = state.epoch;
            let reading = driver(WatchFeed::new(Arc::clone(&self.0), epoch));
            let shared = Arc::clone(&self.0);
            let task = tokio::spawn(async move {
                let error = reading.await;
                shared.end(epoch, &error);
            });
            state.driver = Some(task.abort_handle());
        }
        drop(state);
        subscriber::stream(Arc::clone(&self.0), subscriber)
    }

    /// The newest status of a worker, if somebody watches and the picture is whole.
    pub fn current(&self, worker: &WorkerRef) -> Option<Arc<WorkerStatus>> {
        self.0.state().picture.synced()?.get(worker).map(|known| Arc::clone(&known.status))
    }

    /// How many watches are open.
    pub fn watches(&self) -> usize {
        self.0.state().subscribers.len()
    }
}

impl Shared {
    fn end(&self, epoch: u64, error: &Error) {
        let mut state = self.state();
        if state.epoch != epoch {
            return;
        }
        state.driver = None;
        state.picture = Picture::default();
        for subscriber in state.subscribers.drain(..) {
            subscriber.fail(error.clone());
        }
    }

    fn leave(&self, subscriber: &Arc<Subscriber>) {
        let mut state = self.state();
        state.subscribers.retain(|other| !Arc::ptr_eq(other, subscriber));
        if state.subscribers.is_empty()
            && let Some(driver) = state.driver.take()
        {
            state.epoch += 1;
            state.picture = Picture::default();
            driver.abort();
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
