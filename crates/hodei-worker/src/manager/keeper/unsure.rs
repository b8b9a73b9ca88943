//! Finding out whether something was written whose answer was lost.

use hodei_worker_core::{
    Result, WorkerId, WorkerStateEvent,
    lifecycle::Change,
    store::{Store, StoredEvent},
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
    Events(Vec<StoredEvent>),
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
        let mut is_another = false;
        if last > 0 && page.events.first().is_some_and(|first| first.version == self.version) {
            is_another = page.events.remove(0).position != self.position;
        }
        if !is_another && !page.events.is_empty() {
            return Ok(Found::Events(page.events));
        }
        // A forgotten stream shows nothing, and its worker's configuration went in the same write.
        let has_ended = self.ends && store.get(&config_key(id)).await?.is_none();
        // What another host ended and forgot is in the log still. Of a worker that was to be made nothing can be told from
        // earlier ones of its name.
        let may_be_forgotten = self.shared && self.version > 0;
        let mut events = Vec::new();
        if has_ended || may_be_forgotten {
            events = self.in_the_log(store, id).await?;
        }
        Ok(match events.is_empty() {
            false => Found::Events(events),
            true if is_another => Found::Another,
            true if has_ended => Found::Ended,
            true => Found::Events(events),
        })
    }

    /// The events after the last that is known, up to the worker's end.
    async fn in_the_log(self, store: &dyn Store, id: &WorkerId) -> Result<Vec<StoredEvent>> {
        let mut events: Vec<StoredEvent> = Vec::new();
        let mut position = self.position;
        loop {
            let page = store.read(position, PAGE).await?;
            for stored in page.events {
                let next = self.version + 1 + events.len() as u64;
                if stored.worker == *id && stored.version == next {
                    let is_end = WorkerStateEvent::from_stored(&stored)?.change == Change::Terminated;
                    events.push(stored);
                    if is_end {
                        return Ok(events);
                    }
                }
            }
            if page.is_last || events.len() >= UNKNOWN {
                return Ok(events);
            }
            position = page.next;
        }
    }
}
