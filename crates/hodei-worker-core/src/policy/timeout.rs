use std::{future::Future, pin::pin, task::Poll};

use super::{Call, DeadlinePassed, Policy, TimeoutSettings, current_deadline};
use crate::{
    deadline::after,
    error::{Error, ErrorKind, Result, Retry},
    quantity::HumanDuration,
};

/// Bounds one attempt by the operation's own expectation (a stop's grace, a pull) and a margin, and by the call's
/// deadline.
///
/// What ran out of time may have been done or not: the error is a [`Timeout`](ErrorKind::Timeout) that may be repeated
/// only if the operation is idempotent.
#[derive(Debug)]
pub struct Timeout {
    settings: TimeoutSettings,
}

impl Timeout {
    /// With these expectations and this margin.
    pub fn new(settings: &TimeoutSettings) -> Self {
        Self { settings: settings.clone() }
    }
}

impl Policy for Timeout {
    async fn run<T, F, Fut>(&self, call: Call<'_>, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        let mut attempt = pin!(attempt());
        // Most answers of a fast provider are there at once: no timer for them.
        if let Poll::Ready(result) = futures::poll!(attempt.as_mut()) {
            return result;
        }
        let limit = self.settings.attempt(&call);
        let own = after(limit);
        let deadline = current_deadline();
        let end = deadline.map_or(own, |deadline| deadline.min(own));
        match tokio::time::timeout_at(end, attempt).await {
            Ok(result) => result,
            Err(_) if end < own => Err(DeadlinePassed::unknown()),
            Err(_) => {
                let limit = HumanDuration(limit);
                let message = format!("the provider did not answer within {limit}; the outcome is unknown");
                Err(Error::new(ErrorKind::Timeout, message).with_retry(Retry::IfIdempotent))
            }
        }
    }
}
