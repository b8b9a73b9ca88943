//! What stands around every call to a provider: retry, breaker, limits, timeouts, telemetry, each once for all
//! operations, in one standard order.
//!
//! A [`Policy`] decides, knowing nothing of a single operation; [`With`] puts it around a provider and is a provider
//! again. [`Stack::standard`] builds the standard order, outermost first, and it is part of the API:
//!
//! | layer | what it does | why it stands there |
//! |---|---|---|
//! | [`Observe`] | one span and one measurement per call | sees what the caller sees |
//! | [`Context`] | sets the call's deadline, adds operation, provider and worker to errors | everything below needs the deadline |
//! | [`Ready`] | waits for a provider that initialises | nothing below works before |
//! | [`Require`] | refuses what the provider cannot do | costs no permit and no attempt |
//! | [`Cache`] | remembers statuses for a moment | a hit costs no permit and no attempt |
//! | [`RetryPolicy`] | repeats what may be repeated | outside of the next three, so that each attempt is counted and bounded by itself |
//! | [`Breaker`] | stops asking a provider that is down | samples every attempt |
//! | [`Limit`] | bounds what runs at once, by [`Lane`](crate::provider::Lane) | no permit is held while a retry waits |
//! | [`Timeout`] | bounds one attempt | innermost: time in the queue is no fault of the provider |
//!
//! Other orders compile and are wrong. `Limit` around `RetryPolicy` keeps its permit through every back-off: a few
//! failing pulls block all others. `Timeout` around `RetryPolicy` cuts the repetitions, not the attempt that hangs.
//! `Breaker` around `RetryPolicy` sees one failure where there were four. `Timeout` around `Limit` blames the provider
//! for our own queue, and opens the breaker by load alone:
//!
//! ```
//! # use std::sync::Arc;
//! # use hodei_worker_core::{WorkerProvider, policy::{Layer, Limit, PolicySettings, Timeout}};
//! # fn example(provider: Arc<dyn WorkerProvider>) -> Arc<dyn WorkerProvider> {
//! let settings = PolicySettings::default();
//! // Wrong: the time spent waiting for a permit counts as the provider's.
//! let wrong = Limit::new(&settings.limits).layer(provider);
//! Timeout::new(&settings.timeouts).layer(wrong)
//! # }
//! ```
//!
//! Every call has a deadline, which retries and queues obey. Its default follows from [`TimeoutSettings`]; callers
//! narrow it with [`within`] and [`until`].
//!
//! A policy covers the opening of a stream, never the stream: who reads it opens another when it ends.

mod backoff;
mod breaker;
mod budget;
mod cache;
mod call;
mod context;
mod limit;
pub mod names;
mod observe;
mod rate;
mod ready;
mod require;
mod retry;
mod settings;
mod stack;
#[cfg(test)]
mod tests;
mod timeout;
mod with;

pub use crate::deadline::{DeadlinePassed, current_deadline, until, within};
pub use backoff::Backoff;
pub use breaker::{Breaker, BreakerState};
pub use budget::Budget;
pub use cache::Cache;
pub use call::Call;
pub use context::Context;
pub use limit::Limit;
pub use observe::Observe;
pub use ready::{Ready, gate};
pub use require::Require;
pub use retry::RetryPolicy;
pub use settings::{
    BreakerSettings, BudgetSettings, CacheSettings, LaneSettings, LimitSettings, PolicySettings,
    RateSettings, RetrySettings, TimeoutSettings,
};
pub use stack::{Source, Stack};
pub use timeout::Timeout;
pub use with::{Layer, Policy, With};
