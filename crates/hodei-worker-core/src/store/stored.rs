use bytes::Bytes;

use crate::model::{LogId, WorkerId};

/// Which store it is, and what holds for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreInfo {
    /// Its kind: `memory`, `redb`, `sled`, `postgres`.
    pub kind: &'static str,
    /// The identity of its log: made once, at random, and kept with it.
    pub log: LogId,
    /// Where it is, in words: a path, an address. Never with a password.
    pub place: String,
    /// Whether it outlives its host.
    pub durable: bool,
    /// Whether several hosts may use it at once; they need [leases](super::LeaseStore) then.
    pub shared: bool,
}

impl StoreInfo {
    /// A store of that kind, at that place, for one host.
    pub fn new(kind: &'static str, log: LogId, place: impl Into<String>) -> Self {
        Self { kind, log, place: place.into(), durable: true, shared: false }
    }
}

/// What a write came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Appended {
    /// The position of the first event of each stream, in the batch's order; its others follow one by one.
    pub first: Vec<u64>,
    /// The position of the last event of the batch; 0 if it had none.
    pub last: u64,
}

impl Appended {
    /// Events at these positions.
    pub fn at(first: Vec<u64>, last: u64) -> Self {
        Self { first, last }
    }
}

/// An event with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEvent {
    /// Its position in the log, from 1.
    pub position: u64,
    /// Whose it is.
    pub worker: WorkerId,
    /// Its version in the worker's stream, from 1.
    pub version: u64,
    /// What was written.
    pub event: Bytes,
}

impl StoredEvent {
    /// An event at that place.
    pub fn new(position: u64, worker: WorkerId, version: u64, event: Bytes) -> Self {
        Self { position, worker, version, event }
    }
}

/// Some events in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Page {
    /// The events.
    pub events: Vec<StoredEvent>,
    /// Events between what was asked for and the first of these were compacted away.
    pub compacted: bool,
    /// Whether there was nothing more to be seen at that time.
    pub is_last: bool,
    /// Read on after this: the position, or the stream's version, up to which everything has been seen.
    pub next: u64,
}

impl Page {
    /// These events.
    pub fn new(events: Vec<StoredEvent>, next: u64) -> Self {
        Self { events, next, ..Self::default() }
    }
}

/// The fold of a worker's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerSnapshot {
    /// The worker.
    pub worker: WorkerId,
    /// The last version that it covers.
    pub version: u64,
    /// That version's position in the log.
    pub position: u64,
    /// The fold.
    pub state: Bytes,
}

impl WorkerSnapshot {
    /// The fold up to that version.
    pub fn new(worker: WorkerId, version: u64, position: u64, state: Bytes) -> Self {
        Self { worker, version, position, state }
    }
}

/// A value of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateValue {
    /// How often it was written, from 1. Begins anew when it was removed.
    pub version: u64,
    /// What was written.
    pub value: Bytes,
}

impl StateValue {
    /// A value of that version.
    pub fn new(version: u64, value: Bytes) -> Self {
        Self { version, value }
    }
}

/// A value of the state, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateEntry {
    /// Its name.
    pub key: String,
    /// The value.
    pub value: StateValue,
}

impl StateEntry {
    /// A value of that name.
    pub fn new(key: impl Into<String>, value: StateValue) -> Self {
        Self { key: key.into(), value }
    }
}

/// What a compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Compaction {
    /// Events that were removed.
    pub removed: u64,
    /// The first position that can still be read.
    pub first: u64,
}

impl Compaction {
    /// That many removed; the log begins there now.
    pub const fn new(removed: u64, first: u64) -> Self {
        Self { removed, first }
    }
}
