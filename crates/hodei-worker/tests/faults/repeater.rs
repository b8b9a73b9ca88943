//! A provider whose news come twice and out of order, and that panics when it is told to.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use hodei_worker::{
    Result, WorkerConfig, WorkerObservation, WorkerProvider, WorkerRef, WorkerStatus,
    capability::ProviderCapabilities,
    model::WorkerHandle,
    provider::{
        BoxStream, CreateOptions, DeleteOptions, Listing, ProviderInfo, StartOptions, StopOptions,
        WatchOptions, WorkerFilter,
    },
    testkit::FakeProvider,
};

#[derive(Debug)]
pub(crate) struct Repeater(pub(crate) Arc<FakeProvider>, AtomicU32);

impl Repeater {
    pub(crate) fn new(provider: Arc<FakeProvider>) -> Self {
        Self(provider, AtomicU32::new(0))
    }
    /// So many of the next questions for a status, and starts, are not survived.
    pub(crate) fn panics(&self, times: u32) {
        self.1.store(times, Ordering::Relaxed);
    }
    fn panic_if_told(&self) {
        let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(left.is_err(), "told to panic");
    }
    pub(crate) fn has_panicked(&self) -> bool {
        self.1.load(Ordering::Relaxed) == 0
    }
}

#[async_trait]
impl WorkerProvider for Repeater {
    fn info(&self) -> &ProviderInfo {
        self.0.info()
    }
    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        self.0.get_capabilities().await
    }
    async fn create_worker(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        self.0.create_worker(config, options).await
    }
    async fn start_worker(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        self.panic_if_told();
        self.0.start_worker(worker, options).await
    }
    async fn stop_worker(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        self.0.stop_worker(worker, options).await
    }
    async fn delete_worker(&self, worker: &WorkerRef, options: &DeleteOptions) -> Result<()> {
        self.0.delete_worker(worker, options).await
    }
    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        self.panic_if_told();
        self.0.get_worker_status(worker).await
    }
    async fn list_workers(&self, filter: &WorkerFilter) -> Result<Listing> {
        self.0.list_workers(filter).await
    }

    /// Each change is told, then told again, then the five before it once more.
    async fn watch_workers(
        &self,
        options: &WatchOptions,
    ) -> Result<BoxStream<'static, Result<WorkerObservation>>> {
        let changes = self.0.watch_workers(options).await?;
        let mut earlier: Vec<WorkerObservation> = Vec::new();
        let told = changes.flat_map(move |change| {
            let mut told = Vec::new();
            match change {
                Ok(change @ (WorkerObservation::Applied(_) | WorkerObservation::Gone(_))) => {
                    told.extend([change.clone(), change.clone()]);
                    told.extend(earlier.iter().rev().take(5).cloned());
                    earlier.push(change);
                }
                Ok(other) => told.push(other),
                Err(error) => return stream::iter(vec![Err(error)]),
            }
            stream::iter(told.into_iter().map(Ok).collect::<Vec<_>>())
        });
        Ok(told.boxed())
    }
}
