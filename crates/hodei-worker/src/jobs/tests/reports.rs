//! Reports of workers whose output is played by hand.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use hodei_worker_core::{
    Capability, Error, ErrorKind, Operation, ProviderCapabilities, Result, Timestamp, WorkerConfig,
    WorkerHandle, WorkerPhase, WorkerProvider, WorkerRef, WorkerStatus,
    lifecycle::HealthChange,
    model::{HealthCheckConfig, Probe, RunId},
    provider::{
        BoxStream, CreateOptions, DeleteOptions, Listing, LogChunk, LogItem, LogOptions, LogStream,
        ProviderInfo, StartOptions, StopOptions, WorkerFilter,
    },
    quantity::HumanDuration,
};
use tokio::sync::mpsc;

use crate::{
    health::{HealthMonitor, HealthReport, HealthSettings, Subject},
    jobs::{Jobs, JobsChanges, Reports},
};

/// A provider that knows output only: one stream after the other, as they were prepared.
#[derive(Debug)]
struct Output {
    info: ProviderInfo,
    streams: Mutex<VecDeque<Result<mpsc::UnboundedReceiver<Result<LogItem>>>>>,
    asked: Mutex<Vec<LogOptions>>,
}

fn no<T>() -> Result<T> {
    Err(Error::unsupported(Operation::Status))
}

#[async_trait]
impl WorkerProvider for Output {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }
    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        no()
    }
    async fn create_worker(&self, _: &WorkerConfig, _: &CreateOptions) -> Result<WorkerHandle> {
        no()
    }
    async fn start_worker(&self, _: &WorkerRef, _: &StartOptions) -> Result<()> {
        no()
    }
    async fn stop_worker(&self, _: &WorkerRef, _: &StopOptions) -> Result<()> {
        no()
    }
    async fn delete_worker(&self, _: &WorkerRef, _: &DeleteOptions) -> Result<()> {
        no()
    }
    async fn get_worker_status(&self, _: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        no()
    }
    async fn list_workers(&self, _: &WorkerFilter) -> Result<Listing> {
        no()
    }
    async fn worker_logs(
        &self,
        _: &WorkerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        self.asked.lock().unwrap().push(options.clone());
        let next = self.streams.lock().unwrap().pop_front();
        let receiver = next.unwrap_or_else(|| Err(Error::new(ErrorKind::NotFound, "it is gone")))?;
        let items =
            |mut receiver: mpsc::UnboundedReceiver<_>| async { Some((receiver.recv().await?, receiver)) };
        Ok(futures::stream::unfold(receiver, items).boxed())
    }
}

struct Bench {
    provider: Arc<Output>,
    jobs: Jobs,
    changes: JobsChanges,
    reports: Reports,
    health: HealthMonitor,
    found: mpsc::Receiver<HealthReport>,
    worker: WorkerRef,
    run: RunId,
}

impl Bench {
    fn new() -> Self {
        let context = hodei_worker_core::ConnectContext::new("out".parse().unwrap(), "test".parse().unwrap());
        let provider =
            Output { info: context.info("output"), streams: Mutex::default(), asked: Mutex::default() };
        let (send, found) = mpsc::channel(16);
        let health = HealthMonitor::start(&HealthSettings::default(), send).unwrap();
        let (jobs, changes) = Jobs::new();
        Self {
            provider: Arc::new(provider),
            reports: Reports::new(jobs.clone(), health.clone()),
            jobs,
            changes,
            health,
            found,
            worker: WorkerRef::first("a".parse().unwrap()),
            run: RunId::new("1"),
        }
    }

    /// The next stream that is asked for.
    fn stream(&self) -> mpsc::UnboundedSender<Result<LogItem>> {
        let (send, receive) = mpsc::unbounded_channel();
        self.provider.streams.lock().unwrap().push_back(Ok(receive));
        send
    }

    fn fail(&self, kind: ErrorKind) {
        self.provider.streams.lock().unwrap().push_back(Err(Error::new(kind, "not now")));
    }

    fn follow(&self) {
        let began = Some(Timestamp::UNIX_EPOCH);
        self.reports.follow(Arc::clone(&self.provider) as _, &self.worker, &self.run, began);
    }

    /// How many jobs it comes to have.
    async fn jobs(&mut self) -> usize {
        let change = tokio::time::timeout(Duration::from_secs(3600), self.changes.next()).await;
        change.expect("nothing is told").unwrap().jobs
    }

    fn asked(&self) -> Vec<(Option<i64>, Option<u64>)> {
        let asked = self.provider.asked.lock().unwrap();
        asked.iter().map(|options| (options.since.map(|since| since.as_second()), options.tail)).collect()
    }
}

fn line(second: i64, text: &str) -> Result<LogItem> {
    let time = Timestamp::from_second(second).unwrap();
    Ok(LogItem::Chunk(LogChunk::new(time, LogStream::Stdout, format!("{text}\n").into_bytes())))
}

#[tokio::test(start_paused = true)]
async fn l5_a_worker_that_says_busy_has_a_job_until_it_says_idle() {
    let mut bench = Bench::new();
    let output = bench.stream();
    bench.follow();
    for (second, text) in [(1, "hello"), (2, "::hodei busy"), (3, "::hodei busy")] {
        output.send(line(second, text)).unwrap();
    }
    assert_eq!(bench.jobs().await, 1);
    output.send(line(4, "::hodei idle")).unwrap();
    assert_eq!(bench.jobs().await, 0);
    let options = bench.provider.asked.lock().unwrap()[0].clone();
    assert!(options.follow && options.stdout && !options.stderr);
    assert_eq!(bench.asked(), [(Some(0), Some(1000))]);
}

#[tokio::test(start_paused = true)]
async fn l5_reading_goes_on_where_it_was_after_errors() {
    let mut bench = Bench::new();
    let first = bench.stream();
    (0..5).for_each(|_| bench.fail(ErrorKind::Unavailable));
    let second = bench.stream();
    bench.follow();
    first.send(line(7, "::hodei busy")).unwrap();
    assert_eq!(bench.jobs().await, 1);
    first.send(Err(Error::new(ErrorKind::Unavailable, "the connection broke"))).unwrap();
    // Still busy, as far as anybody knows.
    second.send(line(7, "::hodei busy")).unwrap();
    second.send(line(9, "::hodei idle")).unwrap();
    assert_eq!(bench.jobs().await, 0);
    assert_eq!(bench.asked()[1..], [(Some(7), None); 6]);
}

#[tokio::test(start_paused = true)]
async fn l5_what_the_run_said_ends_with_it() {
    let mut bench = Bench::new();
    let first = bench.stream();
    bench.follow();
    // Followed already.
    bench.follow();
    first.send(line(1, "::hodei busy")).unwrap();
    assert_eq!(bench.jobs().await, 1);
    let second = bench.stream();
    bench.run = RunId::new("2");
    bench.follow();
    assert_eq!(bench.jobs().await, 0);
    second.send(line(2, "::hodei busy")).unwrap();
    assert_eq!(bench.jobs().await, 1);
    // An earlier generation's end is not this one's.
    bench.reports.forget(&WorkerRef::new(bench.worker.id.clone(), 7));
    assert_eq!((bench.reports.len(), bench.jobs.count(&bench.worker.id)), (1, 1));
    bench.reports.forget(&bench.worker);
    assert_eq!(bench.jobs().await, 0);
    assert!(bench.reports.is_empty());
    // Its stream is closed.
    second.closed().await;
    assert_eq!(bench.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn l2_signs_of_life_come_from_output_and_their_absence_says_nothing_while_it_cannot_be_read() {
    let mut bench = Bench::new();
    let mut status = WorkerStatus::new(bench.worker.clone(), WorkerPhase::Running, Timestamp::UNIX_EPOCH);
    status.run = Some(bench.run.clone());
    bench.health.watch(Subject {
        worker_type: None,
        worker: bench.worker.clone(),
        run: bench.run.clone(),
        checks: vec![HealthCheckConfig::new(Probe::Heartbeat { within: HumanDuration::secs(10) })],
        provider: Arc::clone(&bench.provider) as _,
        status: Arc::new(status),
    });
    let first = bench.stream();
    (0..100).for_each(|_| bench.fail(ErrorKind::Unavailable));
    let second = bench.stream();
    bench.follow();
    first.send(line(1, "::hodei heartbeat")).unwrap();
    assert_eq!(bench.found.recv().await.unwrap().change, HealthChange::Healthy);
    first.send(Err(Error::new(ErrorKind::Unavailable, "the engine is restarted"))).unwrap();
    let began = tokio::time::Instant::now();
    let change = bench.found.recv().await.unwrap().change;
    assert!(matches!(&change, HealthChange::Unhealthy { reason } if reason.contains("10s")), "{change:?}");
    // All those tries were made first, and then it had its time.
    assert_eq!(bench.asked().len(), 102);
    assert!(began.elapsed() > Duration::from_secs(60), "{:?}", began.elapsed());
    second.send(line(2, "::hodei busy")).unwrap();
    assert_eq!(bench.found.recv().await.unwrap().change, HealthChange::Healthy);
}

#[test]
fn l5_a_provider_without_logs_is_refused() {
    let without = ProviderCapabilities::new("1").without(Capability::Logs, "it keeps nothing");
    let error = Reports::check(&without).unwrap_err();
    assert!(error.to_string().contains("it keeps nothing"), "{error}");
    let config = WorkerConfig::builder("a").command(["true"]).reports().build().unwrap();
    assert!(hodei_worker_core::capability::needed_by(&config).contains(&Capability::Logs));
}
