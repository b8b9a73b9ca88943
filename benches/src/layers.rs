//! F1: the full stack of layers around a call that does nothing.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use hodei_worker::{
    Capability, ProviderCapabilities, ProviderInfo, Result, WorkerConfig, WorkerHandle, WorkerProvider,
    WorkerRef, WorkerStatus,
    policy::{PolicySettings, Stack},
    provider::{CreateOptions, DeleteOptions, Listing, StartOptions, StopOptions, WorkerFilter},
};
use hodei_worker_benches::{
    Outcome,
    sample::{Samples, show},
    table::Row,
};

/// Does nothing, at once.
#[derive(Debug)]
struct Nothing(ProviderInfo);

#[async_trait]
impl WorkerProvider for Nothing {
    fn info(&self) -> &ProviderInfo {
        &self.0
    }
    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        Ok(Arc::new(ProviderCapabilities::new("0").with(Capability::Logs)))
    }
    async fn create_worker(&self, config: &WorkerConfig, _: &CreateOptions) -> Result<WorkerHandle> {
        Ok(WorkerHandle::new(self.0.name.clone(), WorkerRef::first(config.worker_id.clone()), "0"))
    }
    async fn start_worker(&self, _: &WorkerRef, _: &StartOptions) -> Result<()> {
        Ok(())
    }
    async fn stop_worker(&self, _: &WorkerRef, _: &StopOptions) -> Result<()> {
        Ok(())
    }
    async fn delete_worker(&self, _: &WorkerRef, _: &DeleteOptions) -> Result<()> {
        Ok(())
    }
    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        Ok(WorkerStatus::absent(worker, Default::default()))
    }
    async fn list_workers(&self, _: &WorkerFilter) -> Result<Listing> {
        Ok(Listing::new(Vec::new(), Default::default()))
    }
}

async fn calls(provider: &dyn WorkerProvider) -> Outcome<Samples> {
    const CALLS: usize = 200_000;
    let worker = WorkerRef::first("a".parse()?);
    let options = StartOptions::default();
    let mut samples = Samples::new();
    for n in 0..CALLS + 1000 {
        let begun = Instant::now();
        provider.start_worker(&worker, &options).await?;
        if n >= 1000 {
            samples.push(begun.elapsed());
        }
    }
    Ok(samples)
}

pub(crate) async fn overhead() -> Outcome<Vec<Row>> {
    let bare: Arc<dyn WorkerProvider> = Arc::new(Nothing(ProviderInfo::new("nothing", "nothing".parse()?)));
    let stack = Stack::standard(Arc::clone(&bare), &PolicySettings::default());
    let raw = calls(&*bare).await?;
    let quiet = calls(&*stack).await?;

    // From here on, for the rest of the run, somebody listens.
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _guard_of_metrics = metrics::set_default_local_recorder(&recorder);
    let observed = Stack::standard(Arc::clone(&bare), &PolicySettings::default());
    let heard = calls(&*observed).await?;

    let nanos = |samples: &Samples, share| samples.quantile(share).as_nanos() as f64;
    let both =
        |samples: &Samples| format!("p50 {}, p99 {}", show(samples.median()), show(samples.quantile(0.99)));
    let met = nanos(&quiet, 0.5) < 1000.0 && nanos(&quiet, 0.99) < 2000.0;
    Ok(vec![
        Row::new("F1", "a call that does nothing, bare", both(&raw)),
        Row::new("F1", "under all layers, nobody listening", both(&quiet))
            .against("p50 < 1 µs, p99 < 2 µs", met)
            .bars(
                "ns",
                [
                    ("under all layers, p50", nanos(&quiet, 0.5)),
                    ("bare, p50", nanos(&raw, 0.5)),
                    ("under all layers, p99", nanos(&quiet, 0.99)),
                    ("with subscriber and recorder, p99", nanos(&heard, 0.99)),
                ],
            ),
        Row::new("F1", "under all layers, subscriber and recorder on", both(&heard))
            .against("p99 < 10 µs", nanos(&heard, 0.99) < 10_000.0),
    ])
}
