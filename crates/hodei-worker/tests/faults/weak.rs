//! A store that fails when it is told to.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use hodei_worker::{
    Error, ErrorKind, Result, Retry, SystemClock, WorkerId,
    store::{
        Appended, Batch, Compaction, EventStore, HostId, Lease, LeaseId, LeaseStore, MemoryStore, Page,
        StateEntry, StateStore, StateValue, Store, StoreInfo, TakenOver, WorkerSnapshot,
    },
};

/// What happens to a write, or a read of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weakness {
    /// The disk is full.
    Full,
    /// It is written, and nobody hears of it.
    LosesAnswer,
    /// It is not written, and nobody knows.
    LosesRequest,
    /// It takes that long.
    Slow(Duration),
    /// It takes that long until the disk turns out to be full.
    SlowlyFull(Duration),
    /// It cannot be reached, and says so.
    Away,
    /// It goes well.
    None,
}

#[derive(Debug)]
pub(crate) struct WeakStore {
    inner: MemoryStore,
    writes: Mutex<VecDeque<Weakness>>,
    reads: Mutex<VecDeque<Weakness>>,
    forgets_snapshots: AtomicBool,
    /// Writes under way, and the most that there were.
    under_way: AtomicUsize,
    most: AtomicUsize,
    loses_take_over: AtomicBool,
}

impl WeakStore {
    pub(crate) fn new() -> Self {
        Self::of(MemoryStore::new())
    }
    /// One that several hosts share.
    pub(crate) fn shared() -> Self {
        Self::of(MemoryStore::shared(Arc::new(SystemClock)))
    }
    fn of(inner: MemoryStore) -> Self {
        Self {
            inner,
            writes: Mutex::default(),
            reads: Mutex::default(),
            forgets_snapshots: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            loses_take_over: AtomicBool::new(false),
        }
    }
    /// Nobody hears of the next workers that are taken over.
    pub(crate) fn lose_take_over(&self) {
        self.loses_take_over.store(true, Ordering::Relaxed);
    }
    /// From now on it has no snapshots any more.
    pub(crate) fn forget_snapshots(&self) {
        self.forgets_snapshots.store(true, Ordering::Relaxed);
    }
    /// How many writes there were at once, at most.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
    /// The next writes go like that.
    pub(crate) fn writes(&self, weaknesses: impl IntoIterator<Item = Weakness>) {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).extend(weaknesses);
    }
    /// The next reads of a stream go like that.
    pub(crate) fn reads(&self, weaknesses: impl IntoIterator<Item = Weakness>) {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).extend(weaknesses);
    }
    /// Whether all that was told has come to pass.
    pub(crate) fn is_spent(&self) -> bool {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

fn next(weaknesses: &Mutex<VecDeque<Weakness>>) -> Weakness {
    weaknesses.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Weakness::None)
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection broke").with_retry(Retry::IfIdempotent)
}

fn full() -> Error {
    Error::new(ErrorKind::Capacity, "the disk is full").with_help("make room")
}

impl WeakStore {
    async fn append_weakly(&self, batch: Batch) -> Result<Appended> {
        match next(&self.writes) {
            Weakness::Full => return Err(full()),
            Weakness::LosesAnswer => return self.inner.append(batch).await.and(Err(lost())),
            Weakness::LosesRequest => return Err(lost()),
            Weakness::Away => return Err(crate::bed::away()),
            Weakness::Slow(time) => tokio::time::sleep(time).await,
            Weakness::SlowlyFull(time) => {
                tokio::time::sleep(time).await;
                return Err(full());
            }
            Weakness::None => {}
        }
        self.inner.append(batch).await
    }
}

#[async_trait]
impl EventStore for WeakStore {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }
    async fn append(&self, batch: Batch) -> Result<Appended> {
        let now = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        let appended = self.append_weakly(batch).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        appended
    }
    async fn read(&self, after: u64, limit: usize) -> Result<Page> {
        self.inner.read(after, limit).await
    }
    async fn read_stream(&self, worker: &WorkerId, after: u64, limit: usize) -> Result<Page> {
        match next(&self.reads) {
            Weakness::None => self.inner.read_stream(worker, after, limit).await,
            _ => Err(lost()),
        }
    }
    async fn last_position(&self) -> Result<u64> {
        self.inner.last_position().await
    }
    async fn changed(&self, after: u64) -> Result<()> {
        self.inner.changed(after).await
    }
    async fn snapshots(&self, after: Option<&WorkerId>, limit: usize) -> Result<Vec<WorkerSnapshot>> {
        if self.forgets_snapshots.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        self.inner.snapshots(after, limit).await
    }
    async fn compact(&self, through: u64) -> Result<Compaction> {
        self.inner.compact(through).await
    }
}

#[async_trait]
impl StateStore for WeakStore {
    async fn get(&self, key: &str) -> Result<Option<StateValue>> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<StateEntry>> {
        self.inner.list(prefix, after, limit).await
    }
    async fn write(&self, batch: Batch) -> Result<()> {
        self.inner.write(batch).await
    }
}

impl Store for WeakStore {
    fn leases(&self) -> Option<&dyn LeaseStore> {
        self.inner.leases().map(|_| self as &dyn LeaseStore)
    }
}

impl WeakStore {
    fn inner_leases(&self) -> &dyn LeaseStore {
        self.inner.leases().unwrap()
    }
}

#[async_trait]
impl LeaseStore for WeakStore {
    async fn acquire(&self, host: &HostId, ttl: Duration) -> Result<Lease> {
        self.inner_leases().acquire(host, ttl).await
    }
    async fn renew(&self, lease: LeaseId) -> Result<Lease> {
        self.inner_leases().renew(lease).await
    }
    async fn release(&self, lease: LeaseId) -> Result<()> {
        self.inner_leases().release(lease).await
    }
    async fn ended(&self) -> Result<Vec<LeaseId>> {
        self.inner_leases().ended().await
    }
    async fn take_over(&self, lease: LeaseId, from: LeaseId, limit: usize) -> Result<Vec<TakenOver>> {
        let taken = self.inner_leases().take_over(lease, from, limit).await?;
        if !taken.is_empty() && self.loses_take_over.swap(false, Ordering::Relaxed) {
            return Err(lost());
        }
        Ok(taken)
    }
    async fn owned(&self, lease: LeaseId, after: Option<&WorkerId>, limit: usize) -> Result<Vec<TakenOver>> {
        self.inner_leases().owned(lease, after, limit).await
    }
}
