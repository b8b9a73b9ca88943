use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::RateSettings;
use crate::provider::Lane;

/// Calls per second, as a bucket of tokens: `burst` at once, then one every so often.
///
/// A part of the bucket is reserved for the control lane, so that a kill goes out at once while reads wait.
#[derive(Debug)]
pub(super) struct Rate {
    every: Duration,
    burst: f64,
    reserve: f64,
    bucket: Mutex<Bucket>,
    // Whoever waits holds their turn: first come, first served, and one timer for each of the two.
    control: tokio::sync::Mutex<()>,
    others: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Option<Instant>,
}

impl Rate {
    pub(super) fn new(settings: &RateSettings) -> Self {
        let burst = f64::from(settings.burst.max(2));
        Self {
            every: Duration::from_secs(1) / settings.per_second.max(1),
            burst,
            reserve: (burst / 4.0).max(1.0).floor(),
            bucket: Mutex::new(Bucket { tokens: burst, filled: None }),
            control: tokio::sync::Mutex::new(()),
            others: tokio::sync::Mutex::new(()),
        }
    }

    /// Waits for a token. Dropped while it waits, it has taken none.
    pub(super) async fn take(&self, lane: Lane) {
        let (turn, kept) = match lane {
            Lane::Control => (&self.control, 0.0),
            _ => (&self.others, self.reserve),
        };
        let _turn = turn.lock().await;
        while let Err(wait) = self.try_take(kept) {
            tokio::time::sleep(wait).await;
        }
    }

    fn try_take(&self, kept: f64) -> Result<(), Duration> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let since = bucket.filled.replace(now).unwrap_or(now);
        let earned = now.duration_since(since).div_duration_f64(self.every);
        bucket.tokens = (bucket.tokens + earned).min(self.burst);
        // A token that is all but whole counts: time is not exact to the last bit.
        let missing = kept + 1.0 - bucket.tokens;
        if missing > 1e-6 {
            return Err(self.every.mul_f64(missing));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}
