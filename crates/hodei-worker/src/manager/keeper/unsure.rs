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
}

impl Unsure {
    pub(super) fn of(slot: &Slot, events: &[WorkerStateEvent]) -> Self {
        let (version, position) = slot.worker().map_or((0, 0), |worker| (worker.version, worker.position));
        let ends = events.last().is_some_and(|event| matches!(event.change, Change::Terminated));
        Self { version, position, ends }
    }

    /// Reads what the worker's stream has got. `None`: it has ended as it should, and its events are compacted away already.
    pub(super) async fn read(self, store: &dyn Store, id: &WorkerId) -> Result<Option<Page>> {
        let page = store.read_stream(id, self.version, UNKNOWN).await?;
        // A forgotten stream shows nothing. Its worker's configuration went in the same write.
        if !self.ends || !page.events.is_empty() || store.get(&config_key(id)).await?.is_some() {
            return Ok(Some(page));
        }
        let mut position = self.position;
        loop {
            let mut page = store.read(position, PAGE).await?;
            page.events.retain(|event| event.worker == *id && event.version > self.version);
            if !page.events.is_empty() {
                return Ok(Some(page));
            }
            if page.is_last {
                return Ok(None);
            }
            position = page.next;
        }
    }
}
