//! The names, labels and units of what is measured, in one place.
//!
//! Measurements go to the recorder of the `metrics` facade, whichever the host installs. Without one they cost next to
//! nothing. [`describe`] tells a recorder what they mean.

use metrics::{Key, Label, Level, Metadata, Unit, with_recorder};

use super::{BreakerState, Call};
use crate::provider::ProviderInfo;

/// Counter: calls to providers, as their callers see them. Labels: [`PROVIDER`], [`PROVIDER_TYPE`], [`OPERATION`],
/// [`OUTCOME`].
pub const CALLS: &str = "hodei_worker_calls_total";
/// Histogram, in seconds: how long they took, queues and retries included; streams until they were open. Labels as
/// [`CALLS`].
pub const CALL_DURATION: &str = "hodei_worker_call_duration_seconds";
/// Counter: repeated attempts. Labels: [`PROVIDER`], [`PROVIDER_TYPE`], [`OPERATION`].
pub const RETRIES: &str = "hodei_worker_retries_total";
/// Counter: calls that our own limits turned away. Labels: [`PROVIDER`], [`PROVIDER_TYPE`], [`OPERATION`], [`REASON`].
pub const REJECTIONS: &str = "hodei_worker_limit_rejections_total";
/// Gauge: 0 where the provider's breaker is closed, 1 half-open, 2 open. Labels: [`PROVIDER`], [`PROVIDER_TYPE`].
pub const BREAKER: &str = "hodei_worker_breaker_state";

/// The host's name for the provider.
pub const PROVIDER: &str = "provider";
/// The provider's type.
pub const PROVIDER_TYPE: &str = "provider_type";
/// The operation, as [`Operation::as_str`](crate::provider::Operation::as_str) gives it.
pub const OPERATION: &str = "operation";
/// `ok`, the error's kind as [`ErrorKind::as_str`](crate::ErrorKind::as_str) gives it, or `dropped` where the caller did
/// not wait.
pub const OUTCOME: &str = "outcome";
/// `queue` where it was full, `deadline` where it took too long.
pub const REASON: &str = "reason";

/// Tells the recorder that is installed what the measurements mean. Call it once, after installing one.
pub fn describe() {
    metrics::describe_counter!(CALLS, Unit::Count, "Calls to providers.");
    metrics::describe_histogram!(CALL_DURATION, Unit::Seconds, "Duration of calls to providers.");
    metrics::describe_counter!(RETRIES, Unit::Count, "Repeated attempts of calls to providers.");
    metrics::describe_counter!(REJECTIONS, Unit::Count, "Calls that the limits turned away.");
    metrics::describe_gauge!(BREAKER, Unit::Count, "Breaker: 0 closed, 1 half-open, 2 open.");
}

pub(super) const METADATA: Metadata<'static> =
    Metadata::new("hodei_worker_core::policy", Level::INFO, Some("hodei_worker_core::policy"));

/// The labels of a provider and these.
pub(super) fn labels(provider: &ProviderInfo, more: &[(&'static str, &'static str)]) -> Vec<Label> {
    let mut labels = Vec::with_capacity(2 + more.len());
    labels.push(Label::new(PROVIDER, provider.name.to_string()));
    labels.push(Label::new(PROVIDER_TYPE, provider.provider_type.as_str().to_owned()));
    labels.extend(more.iter().map(|(name, value)| Label::from_static_parts(name, value)));
    labels
}

pub(super) fn count_retry(call: &Call<'_>) {
    let labels = labels(call.provider, &[(OPERATION, call.operation.as_str())]);
    count(&Key::from_parts(RETRIES, labels));
}

pub(super) fn count_rejection(call: &Call<'_>, reason: &'static str) {
    let labels = labels(call.provider, &[(OPERATION, call.operation.as_str()), (REASON, reason)]);
    count(&Key::from_parts(REJECTIONS, labels));
}

pub(super) fn show_breaker(provider: &ProviderInfo, state: BreakerState) {
    let key = Key::from_parts(BREAKER, labels(provider, &[]));
    let value = match state {
        BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open => 2.0,
    };
    with_recorder(|recorder| recorder.register_gauge(&key, &METADATA)).set(value);
}

pub(super) fn count(key: &Key) {
    with_recorder(|recorder| recorder.register_counter(key, &METADATA)).increment(1);
}

pub(super) fn record(key: &Key, seconds: f64) {
    with_recorder(|recorder| recorder.register_histogram(key, &METADATA)).record(seconds);
}
