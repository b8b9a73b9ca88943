use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use tokio::time::Instant;

use super::{CacheSettings, Call, Policy, with::Observations};
use crate::{
    capability::ProviderCapabilities,
    error::Result,
    model::WorkerRef,
    status::{WorkerObservation, WorkerPhase, WorkerStatus},
    watch::same,
};

/// Serves a worker's status and the capabilities again while they are fresh.
///
/// A status says as of when it is. A call that changes a worker drops what is known of it before it begins and
/// when it ends, also where it is dropped; a read that began before such a change is not remembered. Watches that
/// pass through replace what is known, so nobody who has seen a change reads an older status after it; they make no
/// reads unnecessary, so who wants the status of many workers again and again keeps what a watch tells.
#[derive(Debug)]
pub struct Cache {
    statuses: Arc<Statuses>,
    capabilities: Mutex<Option<(Instant, Arc<ProviderCapabilities>)>>,
    capabilities_age: Duration,
}

const SHARDS: usize = 32;

#[derive(Debug)]
struct Statuses {
    age: Duration,
    per_shard: usize,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    /// Counts the changes of its workers: a read is remembered if there was none meanwhile.
    epoch: u64,
    serial: u64,
    entries: HashMap<WorkerRef, Entry>,
    /// Entries in the order in which they grow old. An entry that was replaced stands here twice.
    ages: VecDeque<(u64, WorkerRef)>,
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    read: Instant,
    status: Arc<WorkerStatus>,
}

impl Cache {
    /// Empty.
    pub fn new(settings: &CacheSettings) -> Self {
        let statuses = Statuses {
            age: settings.status.get(),
            per_shard: settings.workers.div_ceil(SHARDS),
            hasher: RandomState::new(),
            shards: Default::default(),
        };
        Self {
            statuses: Arc::new(statuses),
            capabilities: Mutex::new(None),
            capabilities_age: settings.capabilities.get(),
        }
    }

    /// How many statuses are remembered.
    pub fn len(&self) -> usize {
        self.statuses.shards.iter().map(|shard| lock(shard).entries.len()).sum()
    }
    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Drops the oldest entries, where they are stale or too many.
    fn tidy(&mut self, age: Duration, most: usize) {
        let Self { entries, ages, .. } = self;
        let current = |entries: &HashMap<WorkerRef, Entry>, serial: u64, worker: &WorkerRef| {
            entries.get(worker).is_some_and(|entry| entry.serial == serial)
        };
        while let Some((serial, worker)) = ages.front() {
            if current(entries, *serial, worker) {
                let stale = entries.get(worker).is_none_or(|entry| entry.read.elapsed() >= age);
                if !stale && entries.len() <= most {
                    break;
                }
                entries.remove(worker);
            }
            ages.pop_front();
        }
        // Entries that were replaced often must not pile up behind an old one.
        if ages.len() > 2 * most + 64 {
            ages.retain(|(serial, worker)| current(entries, *serial, worker));
        }
    }
}

impl Statuses {
    fn shard(&self, worker: &WorkerRef) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(&worker.id);
        lock(&self.shards[hash as usize % SHARDS])
    }

    /// What is known and fresh, or the epoch with which a read begins.
    fn get(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>, u64> {
        let shard = self.shard(worker);
        match shard.entries.get(worker) {
            Some(entry) if entry.read.elapsed() < self.age => Ok(Arc::clone(&entry.status)),
            _ => Err(shard.epoch),
        }
    }

    /// Remembers what a read that began in that epoch has found.
    fn put(&self, epoch: u64, read: Instant, status: &Arc<WorkerStatus>) {
        let mut shard = self.shard(&status.worker);
        // Of reads that cross, the one that began later counts.
        let newer = shard.entries.get(&status.worker).is_some_and(|known| known.read > read);
        if shard.epoch == epoch && !newer {
            self.insert(&mut shard, read, status);
        }
    }

    fn insert(&self, shard: &mut Shard, read: Instant, status: &Arc<WorkerStatus>) {
        // "Not visible yet" passes by itself, and at any moment.
        if status.phase == WorkerPhase::NotVisibleYet {
            return;
        }
        shard.serial += 1;
        let serial = shard.serial;
        shard.entries.insert(status.worker.clone(), Entry { serial, read, status: Arc::clone(status) });
        shard.ages.push_back((serial, status.worker.clone()));
        shard.tidy(self.age, self.per_shard);
    }

    /// Forgets the worker, or all, and what is being read of them.
    fn forget(&self, worker: Option<&WorkerRef>) {
        match worker {
            Some(worker) => {
                let mut shard = self.shard(worker);
                shard.epoch += 1;
                shard.entries.remove(worker);
            }
            None => {
                for shard in &self.shards {
                    let mut shard = lock(shard);
                    shard.epoch += 1;
                    shard.entries.clear();
                    shard.ages.clear();
                }
            }
        }
    }

    /// Takes in what a watch has seen.
    fn observe(&self, observation: &WorkerObservation) {
        match observation {
            WorkerObservation::Listed(status) | WorkerObservation::Applied(status) => {
                let mut shard = self.shard(&status.worker);
                shard.epoch += 1;
                // Replaces what is known, and never fills a gap: a slow reader may bring what was before a change
                // that dropped it.
                let Some(known) = shard.entries.get(&status.worker) else { return };
                let newer = status.is_newer_than(&known.status);
                let counted = status.version.is_some() && known.status.version.is_some();
                if newer.unwrap_or(!counted && known.status.as_of <= status.as_of) {
                    self.insert(&mut shard, Instant::now(), status);
                } else if newer.is_none() && !same(&known.status, status) {
                    // Which of the two is later cannot be told, so the next read asks.
                    shard.entries.remove(&status.worker);
                }
            }
            WorkerObservation::Gone(gone) => self.forget(Some(&gone.worker)),
            _ => {}
        }
    }
}

/// Forgets a worker when a call that changes it begins, and when it is over or dropped.
struct Change<'a> {
    statuses: &'a Statuses,
    worker: Option<&'a WorkerRef>,
}

impl<'a> Change<'a> {
    fn begin(statuses: &'a Statuses, worker: Option<&'a WorkerRef>) -> Self {
        statuses.forget(worker);
        Self { statuses, worker }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.statuses.forget(self.worker);
    }
}

impl Policy for Cache {
    async fn run<T, F, Fut>(&self, call: Call<'_>, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        let changes = !call.operation.is_read() && !self.statuses.age.is_zero();
        let _change = changes.then(|| Change::begin(&self.statuses, call.worker));
        attempt().await
    }

    async fn status<F, Fut>(&self, call: Call<'_>, attempt: F) -> Result<Arc<WorkerStatus>>
    where
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<Arc<WorkerStatus>>> + Send,
    {
        let Some(worker) = call.worker.filter(|_| !self.statuses.age.is_zero()) else {
            return attempt().await;
        };
        let epoch = match self.statuses.get(worker) {
            Ok(status) => return Ok(status),
            Err(epoch) => epoch,
        };
        let begun = Instant::now();
        let status = attempt().await?;
        if status.worker == *worker {
            self.statuses.put(epoch, begun, &status);
        }
        Ok(status)
    }

    async fn capabilities<F, Fut>(&self, _: Call<'_>, attempt: F) -> Result<Arc<ProviderCapabilities>>
    where
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<Arc<ProviderCapabilities>>> + Send,
    {
        if let Some((read, known)) = &*lock(&self.capabilities)
            && read.elapsed() < self.capabilities_age
        {
            return Ok(Arc::clone(known));
        }
        let begun = Instant::now();
        let found = attempt().await?;
        if !self.capabilities_age.is_zero() {
            *lock(&self.capabilities) = Some((begun, Arc::clone(&found)));
        }
        Ok(found)
    }

    async fn watch<F, Fut>(&self, _: Call<'_>, attempt: F) -> Result<Observations>
    where
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<Observations>> + Send,
    {
        let observations = attempt().await?;
        if self.statuses.age.is_zero() {
            return Ok(observations);
        }
        let statuses = Arc::clone(&self.statuses);
        let seen = observations.inspect(move |observation| {
            if let Ok(observation) = observation {
                statuses.observe(observation);
            }
        });
        Ok(seen.boxed())
    }
}
