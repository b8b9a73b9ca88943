//! One span per call. Alone in its process: whether a span is recorded is decided once per process, by whoever comes
//! first, so a subscriber of one thread is not reliably asked while other tests run.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use hodei_worker_core::{
    Error, ErrorKind, ProviderCapabilities, ProviderInfo, Result, Timestamp, WorkerConfig, WorkerHandle,
    WorkerProvider, WorkerRef, WorkerStatus,
    policy::{PolicySettings, Stack},
    provider::{CreateOptions, DeleteOptions, Listing, StartOptions, StopOptions, WorkerFilter},
};
use tracing::{Event, Metadata, Subscriber, field, span};

type Fields = BTreeMap<&'static str, String>;

/// Writes down the spans of the policies, each with its fields.
#[derive(Debug, Clone, Default)]
struct Spans(Arc<Mutex<Vec<Fields>>>);

struct Visit<'a>(&'a mut Fields);

impl field::Visit for Visit<'_> {
    fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("hodei_worker_core::policy")
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields::from([("span", attributes.metadata().name().to_owned())]);
        attributes.record(&mut Visit(&mut fields));
        let mut spans = self.0.lock().unwrap();
        spans.push(fields);
        span::Id::from_u64(spans.len() as u64)
    }
    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Visit(&mut self.0.lock().unwrap()[id.into_u64() as usize - 1]));
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Starts what is there, does not find `missing`, and never comes back from `slow`.
#[derive(Debug)]
struct Provider(ProviderInfo);

#[async_trait]
impl WorkerProvider for Provider {
    fn info(&self) -> &ProviderInfo {
        &self.0
    }
    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        Ok(Arc::new(ProviderCapabilities::new("1")))
    }
    async fn create_worker(&self, config: &WorkerConfig, _: &CreateOptions) -> Result<WorkerHandle> {
        Ok(WorkerHandle::new(self.0.name.clone(), WorkerRef::first(config.worker_id.clone()), ""))
    }
    async fn start_worker(&self, worker: &WorkerRef, _: &StartOptions) -> Result<()> {
        match worker.id.as_str() {
            "missing" => Err(Error::new(ErrorKind::NotFound, "there is no such worker")),
            "slow" => std::future::pending().await,
            _ => Ok(()),
        }
    }
    async fn stop_worker(&self, _: &WorkerRef, _: &StopOptions) -> Result<()> {
        Ok(())
    }
    async fn delete_worker(&self, _: &WorkerRef, _: &DeleteOptions) -> Result<()> {
        Ok(())
    }
    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        Ok(WorkerStatus::absent(worker, Timestamp::UNIX_EPOCH))
    }
    async fn list_workers(&self, _: &WorkerFilter) -> Result<Listing> {
        Ok(Listing::new(Vec::new(), Timestamp::UNIX_EPOCH))
    }
}

#[tokio::test]
async fn p6_each_call_is_one_span_however_it_ends() {
    let spans = Spans::default();
    let _subscriber = tracing::subscriber::set_default(spans.clone());
    let provider = Arc::new(Provider(ProviderInfo::new("test", "here".parse().unwrap())));
    let provider = Stack::standard(provider, &PolicySettings::default());
    let worker = |name: &str| WorkerRef::first(name.parse().unwrap());
    let options = StartOptions::default();

    provider.start_worker(&worker("good"), &options).await.unwrap();
    provider.start_worker(&worker("missing"), &options).await.unwrap_err();
    let slow = worker("slow");
    let mut dropped = provider.start_worker(&slow, &options);
    assert!(futures::poll!(dropped.as_mut()).is_pending());
    drop(dropped);

    let seen = spans.0.lock().unwrap();
    let expected =
        [("good#1", "ok"), ("missing#1", "not_found"), ("slow#1", "dropped")].map(|(worker, outcome)| {
            Fields::from([
                ("span", "worker_call".to_owned()),
                ("operation", "start".to_owned()),
                ("provider", "here".to_owned()),
                ("worker", worker.to_owned()),
                ("outcome", outcome.to_owned()),
            ])
        });
    assert_eq!(*seen, expected);
}
