use std::{fmt, future::Future, time::Duration};

use tokio::{task::futures::TaskLocalFuture, time::Instant};

use crate::error::{Error, ErrorKind, Retry};

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Gives every call made by the future at most this much time from now, retries and queues included. The nearer of
/// several deadlines counts. Code that the future spawns is not bound.
///
/// # Cancel safety
/// As the future's.
///
/// # Examples
/// ```
/// # use std::time::Duration;
/// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, policy};
/// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
/// let status = policy::within(Duration::from_secs(2), provider.get_worker_status(worker)).await?;
/// # Ok(()) }
/// ```
pub fn within<F: Future>(limit: Duration, future: F) -> TaskLocalFuture<Instant, F> {
    until(after(limit), future)
}

/// As [`within`], with an instant.
///
/// # Cancel safety
/// As the future's.
///
/// # Examples
/// ```
/// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, policy, provider::StopOptions};
/// # async fn example(provider: &dyn WorkerProvider, workers: &[WorkerRef], deadline: tokio::time::Instant) -> Result<()> {
/// for worker in workers {
///     policy::until(deadline, provider.stop_worker(worker, &StopOptions::default())).await?;
/// }
/// # Ok(()) }
/// ```
pub fn until<F: Future>(deadline: Instant, future: F) -> TaskLocalFuture<Instant, F> {
    let nearer = current_deadline().map_or(deadline, |outer| outer.min(deadline));
    DEADLINE.scope(nearer, future)
}

/// The deadline of the call that is being made, for policies and providers.
pub fn current_deadline() -> Option<Instant> {
    DEADLINE.try_get().ok()
}

/// Whether there is no time left for the call.
pub(crate) fn has_passed() -> bool {
    current_deadline().is_some_and(|deadline| deadline <= Instant::now())
}

/// That time from now, or some decades from now where that is no time at all.
pub(crate) fn after(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or_else(|| now + Duration::from_secs(30 * 365 * 86_400))
}

/// Waits for the future until the call's deadline, if it has one. `None`: it has passed.
pub(crate) async fn bounded<F: Future>(future: F) -> Option<F::Output> {
    match current_deadline() {
        None => Some(future.await),
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
    }
}

/// The source of an error that says nothing about the provider: the call's own deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadlinePassed;

impl fmt::Display for DeadlinePassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline of the call passed")
    }
}

impl std::error::Error for DeadlinePassed {}

impl DeadlinePassed {
    /// The error of a call whose deadline passed before anything was sent.
    pub(crate) fn unsent(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Timeout, message).with_retry(Retry::Safe { after: None }).with_source(Self)
    }
    /// The error of a call whose deadline passed while the provider worked on it.
    pub(crate) fn unknown() -> Error {
        Error::new(ErrorKind::Timeout, "no answer before the deadline of the call; the outcome is unknown")
            .with_retry(Retry::IfIdempotent)
            .with_source(Self)
    }
    /// Whether that is why the call failed.
    pub fn caused(error: &Error) -> bool {
        std::error::Error::source(error).is_some_and(|source| source.is::<Self>())
    }
}
