//! Finding out whether something was written whose answer was lost.

use hodei_worker_core::{
    Result, WorkerId, WorkerStateEvent,
    lifecycle::Change,
    store::{Page, Store},
};

use super::{Slot, writes::UNKNOWN};
use crate::manager::config_key;

/// How many events of the log are read at once.
const PAGE: usize = 1024;

/// What is known of a worker's stream, and what was to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unsure {
    /// The last version that is known.
    version: u64,
    /// Its position.
    position: u64,
    /// Whether the worker was to be no more, its stream forgotten.
    ends: bool,
    /// Whether others write to the store.
    shared: bool,
}

/// What was found.
pub(super) enum Found {
    /// What its stream has got since.
    Events(Page),
    /// It has ended as it should, and its events are compacted away already.
    Ended,
    /// The stream is another's, of the same name: ours has come to its end.
    Another,
}

impl Unsure {
    pub(super) fn of(slot: &Slot, events: &[WorkerStateEvent], shared: bool) -> Self {
        let (version, position) = slot.worker().map_or((0, 0), |worker| (worker.version, worker.position));
        let ends = events.last().is_some_and(|event| matches!(event.change, Change::Terminated));
        Self { version, position, ends, shared }
    }

    /// Reads what the worker's stream has got.
    pub(super) async fn read(self, store: &dyn Store, id: &WorkerId) -> Result<Found> {
        // Where others write, the stream may be forgotten and begun anew meanwhile: the last event that is known says
        // whether it is still the same.
        let last = u64::from(self.shared && self.version > 0);
        let mut page = store.read_stream(id, self.version - last, UNKNOWN).await?;
        // It may have been compacted away.
        if last > 0 && page.events.first().is_some_and(|first| first.version == self.version) {
            let first = page.events.remove(0);
            if first.position != self.position {
                return Ok(Found::Another);
            }
        }
        // A forgotten stream shows nothing. Its worker's configuration went in the same write.
        if !self.ends || !page.events.is_empty() || store.get(&config_key(id)).await?.is_some() {
            return Ok(Found::Events(page));
        }
        let mut position = self.position;
        loop {
            let mut page = store.read(position, PAGE).await?;
            page.events.retain(|event| event.worker == *id && event.version > self.version);
            if !page.events.is_empty() {
                return Ok(Found::Events(page));
            }
            if page.is_last {
                return Ok(Found::Ended);
            }
            position = page.next;
        }
    }
}
