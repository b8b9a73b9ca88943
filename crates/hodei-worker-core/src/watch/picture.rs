use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use super::{Reading, reading::ReadClock};
use crate::{
    model::WorkerRef,
    status::{Gone, WorkerStatus},
};

/// What is known of a worker, and from which reading.
pub(super) struct Entry {
    pub(super) reading: u64,
    pub(super) status: Arc<WorkerStatus>,
}

/// What is known, and whether it is whole.
pub(super) struct Picture {
    workers: BTreeMap<WorkerRef, Entry>,
    synced: bool,
    /// The reading of the last whole listing: what was read before it and is not known was not there any more.
    listed: u64,
    /// What was removed, and by which reading, while reads go on that began before: they may still show it.
    removed: BTreeMap<(WorkerRef, String), u64>,
    clock: Arc<ReadClock>,
}

impl Picture {
    pub(super) fn new(clock: &Arc<ReadClock>) -> Self {
        Self {
            workers: BTreeMap::new(),
            synced: false,
            listed: 0,
            removed: BTreeMap::new(),
            clock: Arc::clone(clock),
        }
    }

    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    /// The statuses, in the workers' order.
    pub(super) fn workers(&self) -> impl Iterator<Item = &Arc<WorkerStatus>> {
        self.workers.values().map(|known| &known.status)
    }

    /// A worker's status, if the picture is whole.
    pub(super) fn current(&self, worker: &WorkerRef) -> Option<&Arc<WorkerStatus>> {
        self.workers.get(worker).filter(|_| self.synced).map(|known| &known.status)
    }

    /// Takes in a whole listing.
    pub(super) fn replace(&mut self, reading: &Reading, workers: Vec<Arc<WorkerStatus>>) {
        self.workers.retain(|_, known| known.reading > reading.number());
        for status in workers {
            self.take_in(Entry { reading: reading.number(), status });
        }
        self.listed(reading);
        self.synced = true;
    }

    /// Takes note of a whole listing that has been taken in.
    pub(super) fn listed(&mut self, reading: &Reading) {
        self.listed = self.listed.max(reading.number());
    }

    /// Takes in a worker's status. Returns whether that is news.
    pub(super) fn take_in(&mut self, new: Entry) -> bool {
        let worker = &new.status.worker;
        if self.is_removed(&new) {
            return false;
        }
        match self.workers.entry(worker.clone()) {
            btree_map::Entry::Vacant(vacant) => {
                // The listing came later and did not have it.
                if new.reading < self.listed {
                    return false;
                }
                vacant.insert(new);
                true
            }
            btree_map::Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if is_older(&new, known) {
                    return false;
                }
                let news = !same(&known.status, &new.status);
                *known = new;
                news
            }
        }
    }

    /// Removes the worker, if that reading is not older than what is known, and remembers it for late reads.
    pub(super) fn remove(&mut self, reading: &Reading, gone: &Gone) -> Option<Arc<WorkerStatus>> {
        let number = reading.number();
        self.tidy();
        let known = self.workers.get(&gone.worker);
        // A late word on an object of the same name that was replaced meanwhile must not bury its successor.
        let meant = known.filter(|known| {
            let native_id = &known.status.native_id;
            known.reading <= number && (*native_id == gone.native_id || gone.native_id.is_empty())
        });
        let found = meant.is_some();
        let native_id = meant.map_or_else(|| gone.native_id.clone(), |known| known.status.native_id.clone());
        if self.clock.is_any_open_before(number) {
            self.removed.insert((gone.worker.clone(), native_id), number);
        }
        if found { self.workers.remove(&gone.worker).map(|known| known.status) } else { None }
    }

    /// Takes note that the source is lost. Returns whether the picture was whole before.
    pub(super) fn lose(&mut self) -> bool {
        std::mem::take(&mut self.synced)
    }

    /// How many removals it remembers.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.removed.len()
    }

    fn is_removed(&self, new: &Entry) -> bool {
        if self.removed.is_empty() {
            return false;
        }
        let later = |native_id: &str| {
            let key = (new.status.worker.clone(), native_id.to_owned());
            self.removed.get(&key).is_some_and(|removed| *removed > new.reading)
        };
        // Without a native id, any object of that name was meant.
        later(&new.status.native_id) || later("")
    }

    /// Forgets what was removed before all reads that go on.
    fn tidy(&mut self) {
        match self.clock.first_open() {
            None => self.removed.clear(),
            Some(first) => self.removed.retain(|_, removed| *removed > first),
        }
    }
}

/// Whether the new status is older than the known one: by the platform's count if there is one, else by when it was read.
fn is_older(new: &Entry, known: &Entry) -> bool {
    let counted = new.status.version.is_some_and(|version| version.is_platforms());
    match new.status.is_newer_than(&known.status) {
        Some(newer) if counted => !newer && new.status.version != known.status.version,
        _ => known.reading > new.reading,
    }
}

/// Whether two statuses differ in nothing but when they were read.
pub(crate) fn same(one: &WorkerStatus, other: &WorkerStatus) -> bool {
    let WorkerStatus {
        worker,
        phase,
        run,
        native_id,
        exit,
        failure,
        reason,
        out_of_memory,
        health,
        times,
        addresses,
        own_addresses,
        image_id,
        labels,
        worker_type,
        ownership,
        version: _,
        as_of: _,
    } = one;
    *worker == other.worker
        && *phase == other.phase
        && *run == other.run
        && *native_id == other.native_id
        && *exit == other.exit
        && *failure == other.failure
        && *reason == other.reason
        && *out_of_memory == other.out_of_memory
        && *health == other.health
        && *times == other.times
        && *addresses == other.addresses
        && *own_addresses == other.own_addresses
        && *image_id == other.image_id
        && *labels == other.labels
        && *worker_type == other.worker_type
        && *ownership == other.ownership
}
