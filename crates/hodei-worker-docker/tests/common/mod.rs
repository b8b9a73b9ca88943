//! What the tests against a real engine share.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.
#![allow(dead_code)] // Each test binary uses a part of it.

pub(crate) mod capture;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod registry;

use std::{future::Future, sync::Arc, time::Duration};

use futures::StreamExt as _;
use hodei_worker_core::{
    ConnectContext, Result, WorkerConfig, WorkerObservation, WorkerProvider as _, WorkerRef, WorkerStatus,
    credential::MemoryCredentialProvider,
    model::{InstallationId, WorkerConfigBuilder},
    provider::{
        BoxStream, CreateOptions, DeleteOptions, LogItem, LogOptions, LogStream, StartOptions, WatchOptions,
        WorkerFilter,
    },
};
use hodei_worker_docker::{DockerProvider, DockerSettings, PruneOptions};

/// Longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// What the test run must say about the parts that it brought up.
pub(crate) fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need a Docker Engine; run `cargo xtask test --only docker`")
    })
}

/// The socket of the engine under test.
pub(crate) fn socket() -> String {
    let host = var("HODEI_TEST_DOCKER_HOST");
    host.strip_prefix("unix://").unwrap_or_else(|| panic!("`{host}` is no Unix socket")).to_owned()
}

/// A provider with an installation of its own.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) provider: DockerProvider,
    pub(crate) installation: InstallationId,
    /// Where the engine answers without anything in between.
    engine: String,
}

/// Secrets that the tests know.
pub(crate) fn credentials() -> Arc<MemoryCredentialProvider> {
    // What begins with `planted-` is looked for in every container of the suite. The other is shown on purpose.
    let secrets = MemoryCredentialProvider::new().with("db/password", "planted-hunter2").unwrap();
    Arc::new(secrets.with("db/shown", "shown-hunter2").unwrap())
}

pub(crate) fn context(installation: &InstallationId) -> ConnectContext {
    ConnectContext::new("docker".parse().unwrap(), installation.clone()).with_credentials(credentials())
}

/// An installation that no other test has.
pub(crate) fn installation(tag: &str) -> InstallationId {
    format!("t-{tag}-{:08x}", fastrand::u32(..)).parse().unwrap()
}

impl Bench {
    pub(crate) async fn connect(settings: DockerSettings, installation: &InstallationId) -> Result<Self> {
        let provider = DockerProvider::connect(settings, context(installation)).await?;
        Ok(Self { provider, installation: installation.clone(), engine: var("HODEI_TEST_DOCKER_HOST") })
    }

    /// The same installation from another process, as it were: it remembers nothing.
    pub(crate) async fn stranger(&self) -> Self {
        let stranger = Self::connect(DockerSettings::at(&self.engine), &self.installation).await.unwrap();
        Self { engine: self.engine.clone(), ..stranger }
    }

    /// Somebody else on the same engine.
    pub(crate) fn raw(&self) -> raw::Raw {
        raw::Raw(self.provider.client())
    }

    /// A worker that runs this script.
    pub(crate) fn script(&self, id: &str, script: &str) -> WorkerConfigBuilder {
        WorkerConfig::builder(id).image(var("HODEI_TEST_IMAGE")).command(["sh", "-c"]).args([script])
    }

    pub(crate) async fn create(&self, config: &WorkerConfig) -> WorkerRef {
        self.provider.create_worker(config, &CreateOptions::default()).await.unwrap().worker
    }

    /// Creates and starts a worker that runs this script.
    pub(crate) async fn run(&self, id: &str, script: &str) -> WorkerRef {
        let worker = self.create(&self.script(id, script).build().unwrap()).await;
        self.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        worker
    }

    pub(crate) async fn status(&self, worker: &WorkerRef) -> Arc<WorkerStatus> {
        self.provider.get_worker_status(worker).await.unwrap()
    }

    /// Waits for a worker to be as it should, by the watch.
    pub(crate) async fn until(
        &self,
        worker: &WorkerRef,
        is_it: impl Fn(&WorkerStatus) -> bool,
    ) -> Arc<WorkerStatus> {
        let options = WatchOptions::filter(WorkerFilter::id(worker.id.clone()));
        let mut changes = self.provider.watch_workers(&options).await.unwrap();
        let found = next(&mut changes, |change| match change.status() {
            Some(status) if status.worker == *worker && is_it(status) => Some(Arc::clone(status)),
            _ => None,
        });
        found.await
    }

    /// Waits for the end of a worker.
    pub(crate) async fn ended(&self, worker: &WorkerRef) -> Arc<WorkerStatus> {
        self.until(worker, |status| status.phase.is_over()).await
    }

    pub(crate) async fn output(&self, worker: &WorkerRef, options: &LogOptions) -> Vec<(LogStream, Vec<u8>)> {
        let logs = self.provider.worker_logs(worker, options).await.unwrap();
        let items: Vec<_> = limit(logs.collect::<Vec<_>>()).await;
        let each = items.into_iter().map(|item| match item.unwrap() {
            LogItem::Chunk(chunk) => (chunk.stream, chunk.bytes.to_vec()),
            other => panic!("{other:?}"),
        });
        each.collect()
    }

    /// What it wrote to both streams, put together.
    pub(crate) async fn text(&self, worker: &WorkerRef, options: &LogOptions) -> String {
        let all: Vec<u8> =
            self.output(worker, options).await.into_iter().flat_map(|(_, bytes)| bytes).collect();
        String::from_utf8(all).unwrap()
    }

    /// Waits until the worker has written this line.
    pub(crate) async fn says(&self, worker: &WorkerRef, line: &str) {
        let mut logs = self.provider.worker_logs(worker, &LogOptions::following()).await.unwrap();
        limit(async {
            while let Some(item) = logs.next().await {
                if item.unwrap().chunk().is_some_and(|chunk| chunk.text() == line) {
                    return;
                }
            }
            panic!("the log ended without `{line}`");
        })
        .await;
    }

    async fn sweep(&self) {
        let stranger = self.stranger().await;
        for status in &stranger.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers {
            stranger.provider.delete_worker(&status.worker, &DeleteOptions::default()).await.unwrap();
        }
        stranger.provider.prune_images(&PruneOptions::older_than(Duration::ZERO)).await.unwrap();
    }
}

/// Runs a test with an installation of its own, and removes what it left, however it ends.
pub(crate) async fn on_engine<F, Fut>(tag: &str, test: F)
where
    F: FnOnce(Bench) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    on_engine_with(tag, DockerSettings::at(var("HODEI_TEST_DOCKER_HOST")), test).await;
}

pub(crate) async fn on_engine_with<F, Fut>(tag: &str, settings: DockerSettings, test: F)
where
    F: FnOnce(Bench) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    with_bench(Bench::connect(settings, &installation(tag)).await.unwrap(), test).await;
}

/// The same on another engine than the one under test.
pub(crate) async fn on_other_engine<F, Fut>(tag: &str, engine: String, test: F)
where
    F: FnOnce(Bench) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let bench = Bench::connect(DockerSettings::at(&engine), &installation(tag)).await.unwrap();
    with_bench(Bench { engine, ..bench }, test).await;
}

async fn with_bench<F, Fut>(bench: Bench, test: F)
where
    F: FnOnce(Bench) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let outcome = tokio::spawn(test(bench.clone())).await;
    bench.sweep().await;
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}

/// Fails rather than to hang.
pub(crate) async fn limit<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("it takes too long")
}

/// The first observation that is looked for.
pub(crate) async fn next<T>(
    changes: &mut BoxStream<'static, Result<WorkerObservation>>,
    mut look: impl FnMut(WorkerObservation) -> Option<T>,
) -> T {
    limit(async {
        loop {
            let change = changes.next().await.expect("the watch has ended").expect("the watch has failed");
            if let Some(found) = look(change) {
                return found;
            }
        }
    })
    .await
}

pub(crate) async fn until_synced(changes: &mut BoxStream<'static, Result<WorkerObservation>>) {
    next(changes, |change| (change == WorkerObservation::Synced).then_some(())).await;
}
