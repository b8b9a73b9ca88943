use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hodei_worker_core::{Result, WorkerStateEvent, store::Store};

use super::EventBus;

/// Events per read of the store.
pub(super) const PAGE: usize = 256;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// The pause after one more failure in a row.
pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(SHORTEST, LONGEST)
}

/// While it lives, the bus hears the tail alone.
struct Tailed<'a>(&'a EventBus);

impl<'a> Tailed<'a> {
    fn begin(bus: &'a EventBus) -> Self {
        bus.shared().tailed.store(true, Ordering::Release);
        Self(bus)
    }
}

impl Drop for Tailed<'_> {
    fn drop(&mut self) {
        self.0.shared().tailed.store(false, Ordering::Release);
    }
}

impl EventBus {
    /// Publishes what is stored after that position, for as long as it runs: for stores that several hosts share, so
    /// that subscribers hear of every host's workers, in the log's order. Meanwhile [`publish`](Self::publish) does
    /// nothing. While nobody listens, nothing is read. An event that cannot be understood, as one of a newer version, is
    /// logged and left out.
    ///
    /// # Errors
    /// Those of [`EventStore::read`](hodei_worker_core::store::EventStore::read) that trying again does not mend. While the
    /// store cannot be reached it tries again.
    ///
    /// # Cancel safety
    /// When dropped, events that were stored meanwhile may not be told; go on from a position of one's own.
    pub async fn tail(&self, store: Arc<dyn Store>, after: u64) -> Result<()> {
        let _tailed = Tailed::begin(self);
        let (mut after, mut pause) = (after, Duration::ZERO);
        loop {
            match self.tell_after(&*store, &mut after).await {
                Ok(()) => pause = Duration::ZERO,
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "events cannot be read, and are tried again");
                    pause = longer(pause);
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn tell_after(&self, store: &dyn Store, after: &mut u64) -> Result<()> {
        store.changed(*after).await?;
        if !self.is_heard() {
            *after = store.last_position().await?.max(*after);
            return Ok(());
        }
        loop {
            let page = store.read(*after, PAGE).await?;
            for stored in &page.events {
                match WorkerStateEvent::from_stored(stored) {
                    Ok(event) => self.tell(&Arc::new(event)),
                    Err(error) => tracing::error!(%error, "an event is not told"),
                }
                *after = stored.position;
            }
            *after = page.next.max(*after);
            if page.is_last {
                return Ok(());
            }
        }
    }
}
