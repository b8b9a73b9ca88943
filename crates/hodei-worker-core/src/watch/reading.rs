use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::status::{Version, WorkerStatus};

/// A read that goes on: when it began, in the order of all reads of one hub. Not a time: a clock that steps back must
/// not make news look old. Drop it when the read has been told.
pub struct Reading {
    number: u64,
    clock: Arc<ReadClock>,
}

/// Counts the beginnings and ends of reads.
pub(super) struct ReadClock {
    source: u64,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    last: u64,
    /// The reads that go on.
    open: BTreeSet<u64>,
}

impl Default for ReadClock {
    fn default() -> Self {
        // 0 is the platform's.
        Self { source: fastrand::u64(1..), counts: Mutex::default() }
    }
}

impl ReadClock {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(self: &Arc<Self>) -> Reading {
        let mut counts = self.counts();
        counts.last += 1;
        let number = counts.last;
        counts.open.insert(number);
        drop(counts);
        Reading { number, clock: Arc::clone(self) }
    }

    /// Whether a read goes on that began before that one.
    pub(super) fn is_any_open_before(&self, number: u64) -> bool {
        self.counts().open.first().is_some_and(|first| *first < number)
    }

    /// The first of the reads that go on, if any does.
    pub(super) fn first_open(&self) -> Option<u64> {
        self.counts().open.first().copied()
    }
}

impl Reading {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Gives a status that was read its version, unless the platform has given it one.
    pub(super) fn stamp(&self, status: &mut WorkerStatus) {
        if status.version.is_some() {
            return;
        }
        let mut counts = self.clock.counts();
        counts.last += 1;
        status.version = Some(Version::of_read(self.clock.source, self.number, counts.last));
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.clock.counts().open.remove(&self.number);
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reading").field(&self.number).finish()
    }
}
