use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::BudgetSettings;

/// Thousandths of a retry.
const ONE: u64 = 1000;

/// How many retries a provider's calls may make together.
///
/// A limit per call does not keep a provider that is down from getting a multiple of its load, at the worst time. Each
/// retry takes one from the budget, each call puts a fraction back, and some more come back with time, so that a
/// quiet host can retry too.
#[derive(Debug)]
pub struct Budget {
    capacity: u64,
    per_call: u64,
    per_second: u64,
    left: AtomicU64,
    refilled: Mutex<Option<Instant>>,
}

impl Budget {
    /// A full budget.
    pub fn new(settings: &BudgetSettings) -> Self {
        let capacity = u64::from(settings.retries).saturating_mul(ONE);
        Self {
            capacity,
            per_call: (settings.per_call.clamp(0.0, 1.0) * ONE as f64) as u64,
            per_second: (settings.per_second.clamp(0.0, 1e6) * ONE as f64) as u64,
            left: AtomicU64::new(capacity),
            refilled: Mutex::new(None),
        }
    }

    /// A call is made: it earns its part of a retry.
    pub fn deposit(&self) {
        if self.left.load(Relaxed) < self.capacity {
            self.add(self.per_call);
        }
    }

    /// Takes one retry, if there is one.
    pub fn withdraw(&self) -> bool {
        self.refill();
        self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(ONE)).is_ok()
    }

    /// Whole retries that are left.
    pub fn left(&self) -> u64 {
        self.left.load(Relaxed) / ONE
    }

    fn add(&self, amount: u64) {
        let more = |left: u64| Some(left.saturating_add(amount).min(self.capacity));
        let _ = self.left.fetch_update(Relaxed, Relaxed, more);
    }

    fn refill(&self) {
        let mut refilled = self.refilled.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let since = *refilled.get_or_insert(now);
        // Only whole seconds are paid out; what is left of one counts next time.
        let seconds = now.duration_since(since).as_secs();
        if seconds > 0 {
            *refilled = Some(since + Duration::from_secs(seconds));
            self.add(seconds.saturating_mul(self.per_second));
        }
    }
}
