use std::fmt;

use async_trait::async_trait;

use super::{
    Appended, Batch, Compaction, LeaseStore, Page, StateEntry, StateValue, StoreInfo, WorkerSnapshot,
};
use crate::{error::Result, model::WorkerId};

/// A log of events.
#[async_trait]
pub trait EventStore: fmt::Debug + Send + Sync + 'static {
    /// Which store it is. Costs nothing.
    fn info(&self) -> &StoreInfo;

    /// Writes a batch, and returns when it is durable.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) when something is not as expected, with the detail `worker` or `key`;
    /// [`Fenced`](crate::ErrorKind::Fenced) when the writer's lease does not hold or another owns a stream;
    /// [`Config`](crate::ErrorKind::Config) for a batch that makes no sense; in all of these nothing was written.
    /// [`Capacity`](crate::ErrorKind::Capacity) when the disk is full, and nothing was written;
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the store does not work, with
    /// [`Retry::IfIdempotent`](crate::Retry::IfIdempotent) where it may have been written: read the stream then.
    ///
    /// # Cancel safety
    /// When dropped, the batch may be written or not.
    async fn append(&self, batch: Batch) -> Result<Appended>;

    /// Reads up to `limit` events after that position, in the log's order.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) and [`Unavailable`](crate::ErrorKind::Unavailable).
    ///
    /// # Cancel safety
    /// Reads only.
    async fn read(&self, after: u64, limit: usize) -> Result<Page>;

    /// Reads up to `limit` events of one worker after that version, in order. Empty where there is no such worker.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    /// Reads only.
    async fn read_stream(&self, worker: &WorkerId, after: u64, limit: usize) -> Result<Page>;

    /// The last position that can be seen, 0 in an empty log.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    /// Reads only.
    async fn last_position(&self) -> Result<u64>;

    /// Waits until there may be something to read after that position. May return too early, and without reason.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the store was closed or is lost.
    ///
    /// # Cancel safety
    /// Waits only.
    async fn changed(&self, after: u64) -> Result<()>;

    /// Reads up to `limit` snapshots after that worker, in the order of the workers' ids.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    /// Reads only.
    async fn snapshots(&self, after: Option<&WorkerId>, limit: usize) -> Result<Vec<WorkerSnapshot>>;

    /// Removes events up to that position, as far as snapshots cover them or their workers are forgotten; stops before the
    /// first that is neither.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    ///
    /// # Cancel safety
    /// When dropped, some may be removed.
    async fn compact(&self, through: u64) -> Result<Compaction>;
}

/// Values by name, beside the log.
#[async_trait]
pub trait StateStore: fmt::Debug + Send + Sync + 'static {
    /// Reads a value.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) and [`Unavailable`](crate::ErrorKind::Unavailable).
    ///
    /// # Cancel safety
    /// Reads only.
    async fn get(&self, key: &str) -> Result<Option<StateValue>>;

    /// Reads up to `limit` values whose names begin with `prefix` and come after `after`, in the order of their names'
    /// bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// Reads only.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<StateEntry>>;

    /// Writes a batch that has state alone.
    ///
    /// # Errors
    /// As [`EventStore::append`].
    ///
    /// # Cancel safety
    /// When dropped, the batch may be written or not.
    async fn write(&self, batch: Batch) -> Result<()>;
}

/// All that survives a host: log, state, and leases where several hosts share it.
pub trait Store: EventStore + StateStore {
    /// Who may write. `None` where one host has the store to itself.
    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }
}
