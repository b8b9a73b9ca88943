//! The store for tests, and for workers that need not outlive their host.

mod content;
mod leases;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;

use self::{content::Content, leases::Leases};
use super::{
    Appended, Batch, Compaction, EventStore, HostId, Lease, LeaseId, LeaseStore, Page, StateEntry,
    StateStore, StateValue, Store, StoreInfo, TakenOver, WorkerSnapshot, refusal,
};
use crate::{
    clock::Clock,
    error::{Error, ErrorKind, Result},
    model::{LogId, WorkerId},
};

/// A store in memory: gone with the process. Clones are handles of the same store.
///
/// # Examples
/// ```
/// use hodei_worker_core::store::{Batch, EventStore, MemoryStore};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = MemoryStore::new();
/// store.append(Batch::new().append("build-1".parse()?, 0, ["created".into()])).await?;
/// let page = store.read(0, 100).await?;
/// assert_eq!((page.events.len(), page.events[0].version), (1, 1));
/// # Ok::<(), hodei_worker_core::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    info: StoreInfo,
    inner: Mutex<Inner>,
    last: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    content: Content,
    /// Where several hosts share it.
    leases: Option<Leases>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store for one host.
    pub fn new() -> Self {
        Self::build(None)
    }

    /// An empty store that several hosts of this process share, with leases that run out by that clock: for tests of what
    /// several hosts do.
    pub fn shared(clock: Arc<dyn Clock>) -> Self {
        Self::build(Some(Leases::new(clock)))
    }

    fn build(leases: Option<Leases>) -> Self {
        let mut info = StoreInfo::new("memory", LogId::random(), "memory");
        info.durable = false;
        info.shared = leases.is_some();
        let inner = Mutex::new(Inner { content: Content::default(), leases });
        Self(Arc::new(Shared { info, inner, last: watch::Sender::new(0) }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn write_now(&self, batch: &Batch) -> Result<Appended> {
        batch.validate()?;
        let mut inner = self.lock();
        let Inner { content, leases } = &mut *inner;
        match leases {
            Some(leases) => leases.check(batch)?,
            None if batch.fence.is_some() => return Err(refusal::no_leases()),
            None => {}
        }
        content.check(batch)?;
        if let Some(leases) = leases {
            leases.apply(batch);
        }
        let appended = content.apply(batch);
        if !batch.streams.is_empty() {
            self.0.last.send_replace(appended.last);
        }
        Ok(appended)
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    fn info(&self) -> &StoreInfo {
        &self.0.info
    }
    async fn append(&self, batch: Batch) -> Result<Appended> {
        self.write_now(&batch)
    }
    async fn read(&self, after: u64, limit: usize) -> Result<Page> {
        Ok(self.lock().content.read(after, limit))
    }
    async fn read_stream(&self, worker: &WorkerId, after: u64, limit: usize) -> Result<Page> {
        Ok(self.lock().content.read_stream(worker, after, limit))
    }
    async fn last_position(&self) -> Result<u64> {
        Ok(*self.0.last.borrow())
    }
    async fn changed(&self, after: u64) -> Result<()> {
        let mut last = self.0.last.subscribe();
        let waited = last.wait_for(|last| *last > after).await;
        waited.map(drop).map_err(|_| Error::new(ErrorKind::Unavailable, "the store was closed"))
    }
    async fn snapshots(&self, after: Option<&WorkerId>, limit: usize) -> Result<Vec<WorkerSnapshot>> {
        Ok(self.lock().content.snapshots(after, limit))
    }
    async fn compact(&self, through: u64) -> Result<Compaction> {
        Ok(self.lock().content.compact(through))
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<StateValue>> {
        Ok(self.lock().content.get(key))
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<StateEntry>> {
        Ok(self.lock().content.list(prefix, after, limit))
    }
    async fn write(&self, batch: Batch) -> Result<()> {
        if !batch.is_state_alone() {
            return Err(refusal::not_state_alone());
        }
        self.write_now(&batch).map(drop)
    }
}

impl Store for MemoryStore {
    fn leases(&self) -> Option<&dyn LeaseStore> {
        self.0.info.shared.then_some(self as _)
    }
}

impl MemoryStore {
    fn with_leases<T>(&self, act: impl FnOnce(&mut Leases, &Content) -> Result<T>) -> Result<T> {
        let mut inner = self.lock();
        let Inner { content, leases } = &mut *inner;
        act(leases.as_mut().ok_or_else(refusal::no_leases)?, content)
    }
}

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn acquire(&self, host: &HostId, ttl: Duration) -> Result<Lease> {
        self.with_leases(|leases, _| Ok(leases.acquire(host, ttl)))
    }
    async fn renew(&self, lease: LeaseId) -> Result<Lease> {
        self.with_leases(|leases, _| leases.renew(lease))
    }
    async fn release(&self, lease: LeaseId) -> Result<()> {
        self.with_leases(|leases, _| {
            leases.release(lease);
            Ok(())
        })
    }
    async fn ended(&self) -> Result<Vec<LeaseId>> {
        self.with_leases(|leases, _| Ok(leases.ended()))
    }
    async fn take_over(&self, lease: LeaseId, from: LeaseId, limit: usize) -> Result<Vec<TakenOver>> {
        self.with_leases(|leases, content| leases.take_over(lease, from, limit, content))
    }
    async fn owned(&self, lease: LeaseId, after: Option<&WorkerId>, limit: usize) -> Result<Vec<TakenOver>> {
        self.with_leases(|leases, content| Ok(leases.owned(lease, after, limit, content)))
    }
}
