//! Time, injected: the only place that reads the wall clock.

use std::{fmt, sync::Arc};

pub use jiff::Timestamp;

/// Where wall-clock time comes from. Durations are measured with `tokio::time`, which tests can pause.
///
/// # Examples
/// ```
/// use hodei_worker_core::{Clock, SystemClock, Timestamp};
/// assert!(SystemClock.now() > Timestamp::UNIX_EPOCH);
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // This is the one place.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The machine's clock behind a pointer, as contexts hold it.
pub fn system() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}
