use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::RetrySettings;

/// How long to wait before the next attempt: exponential, with full jitter (anything from nothing to the ceiling), so
/// that callers who failed together do not come back together.
#[derive(Debug)]
pub struct Backoff {
    base: Duration,
    most: Duration,
    random: Mutex<fastrand::Rng>,
}

impl Backoff {
    /// Seeded by the system.
    pub fn new(settings: &RetrySettings) -> Self {
        Self::from_rng(settings, fastrand::Rng::new())
    }
    /// Seeded by hand: the same seed waits the same times.
    pub fn seeded(settings: &RetrySettings, seed: u64) -> Self {
        Self::from_rng(settings, fastrand::Rng::with_seed(seed))
    }
    fn from_rng(settings: &RetrySettings, random: fastrand::Rng) -> Self {
        Self { base: settings.base.get(), most: settings.most.get(), random: Mutex::new(random) }
    }

    /// The longest wait after that many failed attempts.
    pub fn ceiling(&self, failed: u32) -> Duration {
        let factor = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.most)
    }

    /// The wait after that many failed attempts.
    pub fn wait(&self, failed: u32) -> Duration {
        let part = self.random.lock().unwrap_or_else(PoisonError::into_inner).f64();
        self.ceiling(failed).mul_f64(part)
    }
}
