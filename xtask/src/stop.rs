//! Ctrl-C and its relatives: remembered here, so that parts are always stopped before the task ends.

use std::sync::{Arc, OnceLock, atomic::AtomicBool, atomic::Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::{Failure, Result};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From here on a signal is a request, not an end.
pub(crate) fn listen() -> Result<()> {
    let flag = REQUESTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

pub(crate) fn requested() -> bool {
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Refuses to go on once somebody has asked to stop.
pub(crate) fn check() -> Result<()> {
    if requested() { Err(Failure::new("interrupted")) } else { Ok(()) }
}

/// Lets `time` pass, whatever is asked meanwhile: for tearing down.
pub(crate) fn settle(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// Lets `time` pass, unless `is_over` says so before. Whether it has passed.
pub(crate) fn unless(time: Duration, is_over: impl Fn() -> bool) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if is_over() || requested() {
            return false;
        }
        settle(Duration::from_millis(50));
    }
    true
}

/// Asks `probe` every 50 ms until it has an answer, `limit` has passed or a stop is requested.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        check()?;
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            return Err(Failure(format!("{what}: not there after {} s", limit.as_secs())));
        }
        settle(Duration::from_millis(50));
    }
}
