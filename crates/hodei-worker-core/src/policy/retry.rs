use std::{future::Future, time::Duration};

use tokio::time::Instant;

use super::{Backoff, Budget, Call, Policy, RetrySettings, current_deadline, limit::QueueFull, names};
use crate::error::{Error, Result, Retry};

/// Repeats what failed and may be repeated.
///
/// An error says whether it may ([`Retry`]): `Safe` always, and not before the time that the other side asked for;
/// `IfIdempotent` where the operation is. It gives up after a number of attempts, and when the provider's [`Budget`]
/// is used up: then the error is [`Retry::Exhausted`], so that no outer layer starts again. It never waits past the
/// call's deadline: where it would have to, it returns the error at once, unchanged. So it does where our own queue was
/// full: nothing was sent, and the caller may come again later.
#[derive(Debug)]
pub struct RetryPolicy {
    attempts: u32,
    backoff: Backoff,
    budget: Budget,
}

impl RetryPolicy {
    /// With a full budget of its own.
    pub fn new(settings: &RetrySettings) -> Self {
        Self::with_backoff(settings, Backoff::new(settings))
    }
    /// With waits that can be foreseen, for tests.
    pub fn seeded(settings: &RetrySettings, seed: u64) -> Self {
        Self::with_backoff(settings, Backoff::seeded(settings, seed))
    }
    fn with_backoff(settings: &RetrySettings, backoff: Backoff) -> Self {
        Self { attempts: settings.attempts.max(1), backoff, budget: Budget::new(&settings.budget) }
    }

    /// The budget that its calls share.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// How long to wait before the attempt after that many failed ones, or the error to give up with.
    fn next(&self, call: &Call<'_>, error: Error, failed: u32) -> Result<Duration> {
        if QueueFull::caused(&error) {
            return Err(error);
        }
        let minimum = match error.retry() {
            Retry::Safe { after } => after.unwrap_or_default(),
            Retry::IfIdempotent if call.operation.is_idempotent() => Duration::ZERO,
            _ => return Err(error),
        };
        let tell = |error: Error| {
            if failed > 1 { error.with_context("attempts", failed) } else { error }
        };
        if failed >= self.attempts {
            // One attempt means that nobody wanted retries here: another layer may do them.
            return Err(if self.attempts > 1 { tell(error).with_retry(Retry::Exhausted) } else { error });
        }
        let wait = minimum.saturating_add(self.backoff.wait(failed));
        let late = |deadline| Instant::now().checked_add(wait).is_none_or(|end| end >= deadline);
        if current_deadline().is_some_and(late) {
            return Err(tell(error));
        }
        if !self.budget.withdraw() {
            let error = tell(error).with_retry(Retry::Exhausted);
            return Err(error.with_context("not repeated", "the provider's retry budget is used up"));
        }
        Ok(wait)
    }
}

impl Policy for RetryPolicy {
    async fn run<T, F, Fut>(&self, call: Call<'_>, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        self.budget.deposit();
        let mut failed = 0;
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failed += 1;
            let kind = error.kind();
            let wait = self.next(&call, error, failed)?;
            tracing::debug!(operation = %call.operation, attempt = failed, %kind, ?wait, "trying again");
            names::count_retry(&call);
            tokio::time::sleep(wait).await;
        }
    }
}
