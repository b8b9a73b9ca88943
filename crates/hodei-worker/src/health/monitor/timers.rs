//! The one queue of times for all checks of all workers.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// A time in the queue, to take it out again.
pub(super) type Timer = (Instant, u64);

#[derive(Debug)]
pub(super) struct Timers<T> {
    queue: BTreeMap<Timer, T>,
    next: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { queue: BTreeMap::new(), next: 0 }
    }
}

impl<T> Timers<T> {
    pub(super) fn set(&mut self, at: Instant, what: T) -> Timer {
        self.next += 1;
        let timer = (at, self.next);
        self.queue.insert(timer, what);
        timer
    }

    pub(super) fn remove(&mut self, timer: Timer) {
        self.queue.remove(&timer);
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// One whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<T> {
        let first = self.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }
}
