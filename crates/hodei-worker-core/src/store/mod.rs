//! What survives the host: an append-only log of events, the state beside it, and who may write.
//!
//! A [`Store`] is all of it behind one pointer. It moves bytes; what they mean is the business of whoever writes them
//! (`lifecycle` for workers). One behaviour suite (`testkit::stores`) proves every store.
//!
//! - **Streams.** Each worker's events are a stream with versions from 1. All streams together are the log, whose
//!   positions count from 1 as well and never go back. A position that is visible stays, and nothing becomes visible
//!   before it later: who has read up to a position has not missed anything.
//! - **One transaction.** A [`Batch`] is written whole and durable, or not at all.
//! - **Snapshots** are per worker: the fold of its stream up to a version. What they cover may be compacted away.
//! - **Fences.** Where several hosts share a store, each batch names the lease of its writer, which is checked in the same
//!   transaction.

mod batch;
mod lease;
mod memory;
mod port;
pub mod refusal;
mod stored;

pub use batch::{Batch, Expected, Fence, SnapshotWrite, StateWrite, StreamWrite};
pub use lease::{HostId, Lease, LeaseId, LeaseStore, TakenOver};
pub use memory::MemoryStore;
pub use port::{EventStore, StateStore, Store};
pub use stored::{
    Appended, Compaction, Page, StateEntry, StateValue, StoreInfo, StoredEvent, WorkerSnapshot,
};
