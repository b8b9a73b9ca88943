use std::{collections::HashSet, fmt, hash::Hash};

use bytes::Bytes;

use super::LeaseId;
use crate::{
    error::{Error, ErrorKind, Result},
    model::WorkerId,
};

/// What is written in one transaction: whole and durable, or not at all.
///
/// # Examples
/// ```
/// use hodei_worker_core::store::{Batch, Expected};
/// let batch = Batch::new()
///     .append("build-1".parse()?, 0, ["created".into()])
///     .put("configs/build-1", Expected::Absent, "…");
/// assert_eq!(batch.events(), 1);
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// Who writes, where several hosts share the store. Without, a shared store refuses to append.
    pub fence: Option<Fence>,
    /// Events; each worker at most once.
    pub streams: Vec<StreamWrite>,
    /// State; each key at most once.
    pub state: Vec<StateWrite>,
    /// Snapshots; each worker at most once.
    pub snapshots: Vec<SnapshotWrite>,
}

/// Events for one worker's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamWrite {
    /// The worker.
    pub worker: WorkerId,
    /// The version that the stream has before: the number of events that were ever written to it; 0 for a new one. If it
    /// has another, the batch is a `Conflict`.
    pub expected: u64,
    /// The events, in order; at least one.
    pub events: Vec<Bytes>,
}

/// A change of the state that stands beside the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateWrite {
    /// Its name: 1 to 500 bytes, by custom in parts with `/` between them.
    pub key: String,
    /// What must be there before; otherwise the batch is a `Conflict`.
    pub expected: Expected,
    /// The value; `None` removes it.
    pub value: Option<Bytes>,
}

/// What must be there before a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Anything or nothing.
    #[default]
    Any,
    /// Nothing.
    Absent,
    /// The value of this version.
    Version(u64),
}

/// A change of a worker's snapshot. Not to be extended: a store that passed over what it does not know would lose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotWrite {
    /// The fold of the worker's stream up to that version, which it must have reached with the batch's own events; it may
    /// not be older than the snapshot that is there. Otherwise the batch is a `Conflict`.
    Save {
        /// The worker.
        worker: WorkerId,
        /// The last version that it covers.
        version: u64,
        /// The fold.
        state: Bytes,
    },
    /// The worker is over: its stream ends here, after the batch's own events, its snapshot is removed, and its events may be compacted away without a snapshot. A later stream
    /// of the same worker begins at version 1.
    Forget {
        /// The worker.
        worker: WorkerId,
        /// The version that its stream has; if it has another, the batch is a `Conflict`.
        version: u64,
    },
}

impl SnapshotWrite {
    /// The worker.
    pub fn worker(&self) -> &WorkerId {
        match self {
            Self::Save { worker, .. } | Self::Forget { worker, .. } => worker,
        }
    }
}

/// The proof that its writer may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Fence {
    /// The lease, which must not have run out, and must own every stream of the batch. A new stream becomes its own.
    pub lease: LeaseId,
}

impl Fence {
    /// As the holder of this lease.
    pub const fn new(lease: LeaseId) -> Self {
        Self { lease }
    }
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// As the holder of a lease.
    #[must_use]
    pub fn fenced(mut self, fence: Option<Fence>) -> Self {
        self.fence = fence;
        self
    }
    /// Appends to a worker's stream, which must have the version `expected`.
    #[must_use]
    pub fn append(
        mut self,
        worker: WorkerId,
        expected: u64,
        events: impl IntoIterator<Item = Bytes>,
    ) -> Self {
        self.streams.push(StreamWrite { worker, expected, events: events.into_iter().collect() });
        self
    }
    /// Sets a value.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, expected: Expected, value: impl Into<Bytes>) -> Self {
        self.state.push(StateWrite { key: key.into(), expected, value: Some(value.into()) });
        self
    }
    /// Removes a value.
    #[must_use]
    pub fn remove(mut self, key: impl Into<String>, expected: Expected) -> Self {
        self.state.push(StateWrite { key: key.into(), expected, value: None });
        self
    }
    /// Saves a worker's snapshot.
    #[must_use]
    pub fn save(mut self, worker: WorkerId, version: u64, state: impl Into<Bytes>) -> Self {
        self.snapshots.push(SnapshotWrite::Save { worker, version, state: state.into() });
        self
    }
    /// Forgets a worker.
    #[must_use]
    pub fn forget(mut self, worker: WorkerId, version: u64) -> Self {
        self.snapshots.push(SnapshotWrite::Forget { worker, version });
        self
    }
    /// How many events it has.
    pub fn events(&self) -> usize {
        self.streams.iter().map(|stream| stream.events.len()).sum()
    }
    /// Whether it writes nothing.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.state.is_empty() && self.snapshots.is_empty()
    }
    /// Whether it writes state at most.
    pub fn is_state_alone(&self) -> bool {
        self.streams.is_empty() && self.snapshots.is_empty()
    }

    /// Checks what every store refuses, whatever it holds.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: a worker or a key is named twice, a stream has no events, a key is empty or longer than
    /// 500 bytes, a snapshot covers nothing.
    pub fn validate(&self) -> Result<()> {
        let wrong = |message: &'static str, name: &str, value: &dyn fmt::Display| {
            Err(Error::new(ErrorKind::Config, message).with_context(name.to_owned(), value))
        };
        if let Some(twice) = first_double(self.streams.iter().map(|stream| &stream.worker)) {
            return wrong("a batch appends to each worker's stream once at most", "worker", twice);
        }
        if let Some(twice) = first_double(self.snapshots.iter().map(SnapshotWrite::worker)) {
            return wrong("a batch has one snapshot of a worker at most", "worker", twice);
        }
        if let Some(twice) = first_double(self.state.iter().map(|write| &write.key)) {
            return wrong("a batch writes each key once at most", "key", twice);
        }
        if let Some(stream) = self.streams.iter().find(|stream| stream.events.is_empty()) {
            return wrong("there is nothing to append", "worker", &stream.worker);
        }
        if let Some(write) = self.state.iter().find(|write| !(1..=500).contains(&write.key.len())) {
            return wrong("a key has 1 to 500 bytes", "bytes", &write.key.len());
        }
        for snapshot in &self.snapshots {
            if let SnapshotWrite::Save { worker, version: 0, .. } = snapshot {
                return wrong("a snapshot covers one event at least", "worker", worker);
            }
        }
        Ok(())
    }
}

fn first_double<T: Eq + Hash>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = HashSet::new();
    let (Some(first), Some(second)) = (items.next(), items.next()) else { return None };
    seen.insert(first);
    let mut items = std::iter::once(second).chain(items);
    items.find_map(|item| seen.replace(item))
}
