use std::future::Future;

use metrics::Key;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field};

use super::{Call, Policy, names};
use crate::{
    error::Result,
    provider::{Operation, ProviderInfo},
};

/// One span and one measurement per call, also where it is dropped. Nearly free while nobody listens.
#[derive(Debug)]
pub struct Observe {
    // The keys of calls that went well, made once: the others allocate, as their errors do.
    ok: Vec<Keys>,
}

#[derive(Debug)]
struct Keys {
    calls: Key,
    duration: Key,
}

impl Keys {
    fn new(provider: &ProviderInfo, operation: Operation, outcome: &'static str) -> Self {
        let labels =
            names::labels(provider, &[(names::OPERATION, operation.as_str()), (names::OUTCOME, outcome)]);
        Self {
            calls: Key::from_parts(names::CALLS, labels.clone()),
            duration: Key::from_parts(names::CALL_DURATION, labels),
        }
    }
    fn record(&self, begun: Instant) {
        names::count(&self.calls);
        names::record(&self.duration, begun.elapsed().as_secs_f64());
    }
}

impl Observe {
    /// For this provider.
    pub fn new(provider: &ProviderInfo) -> Self {
        let ok = |operation: &Operation| Keys::new(provider, *operation, "ok");
        Self { ok: Operation::ALL.iter().map(ok).collect() }
    }
}

/// A call under way. Where it is dropped before its end, that is its outcome.
struct Watched<'a> {
    observe: &'a Observe,
    call: Call<'a>,
    span: &'a Span,
    begun: Instant,
    outcome: &'static str,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.span.record("outcome", self.outcome);
        match self.observe.ok.get(self.call.operation as usize) {
            Some(keys) if self.outcome == "ok" => keys.record(self.begun),
            _ => Keys::new(self.call.provider, self.call.operation, self.outcome).record(self.begun),
        }
    }
}

impl Policy for Observe {
    async fn run<T, F, Fut>(&self, call: Call<'_>, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        let span = tracing::info_span!(
            "worker_call",
            operation = call.operation.as_str(),
            provider = call.provider.name.as_str(),
            worker = call.worker.map(field::display),
            outcome = field::Empty,
        );
        let mut watched =
            Watched { observe: self, call, span: &span, begun: Instant::now(), outcome: "dropped" };
        let result = attempt().instrument(span.clone()).await;
        watched.outcome = match &result {
            Ok(_) => "ok",
            Err(error) => error.kind().as_str(),
        };
        result
    }
}
