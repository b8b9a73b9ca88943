use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use crate::{
    capability::ProviderCapabilities,
    clock::Timestamp,
    error::{Error, Result},
    model::{GroupRef, WorkerConfig, WorkerHandle, WorkerId, WorkerRef},
    provider::{
        AutoscaleOptions, BoxStream, CreateOptions, DeleteOptions, ExecOptions, ExecSession, Listing,
        LogItem, LogOptions, Operation, ProviderInfo, ScaleOptions, StartOptions, StatsOptions, StopOptions,
        WatchOptions, WorkerConnection, WorkerFilter, WorkerProvider, WorkerStats,
    },
    status::{ExitStatus, WorkerObservation, WorkerPhase, WorkerStatus},
};

/// What the next call does.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Done,
    Fail(Error),
    Takes(Duration),
    Until(Arc<Notify>),
    Never,
}

/// A provider that does what it is told, call by call, and writes down what it was asked. Without a step left, it
/// does everything at once.
#[derive(Debug)]
pub(super) struct Script {
    info: ProviderInfo,
    steps: Mutex<VecDeque<Step>>,
    calls: Mutex<Vec<(Operation, Instant)>>,
    capabilities: Mutex<ProviderCapabilities>,
    phase: Mutex<WorkerPhase>,
    watch: Mutex<Option<mpsc::UnboundedReceiver<WorkerObservation>>>,
}

impl Script {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Self::with_capabilities(steps, ProviderCapabilities::new("1"))
    }
    pub(super) fn with_capabilities(
        steps: impl IntoIterator<Item = Step>,
        capabilities: ProviderCapabilities,
    ) -> Arc<Self> {
        Arc::new(Self {
            info: ProviderInfo::new("script", "here".parse().unwrap()),
            steps: Mutex::new(steps.into_iter().collect()),
            calls: Mutex::default(),
            capabilities: Mutex::new(capabilities),
            phase: Mutex::new(WorkerPhase::Created),
            watch: Mutex::default(),
        })
    }
    pub(super) fn provider(self: &Arc<Self>) -> Arc<dyn WorkerProvider> {
        Arc::<Self>::clone(self)
    }
    pub(super) fn then(&self, step: Step) {
        self.steps.lock().unwrap().push_back(step);
    }
    pub(super) fn set_phase(&self, phase: WorkerPhase) {
        *self.phase.lock().unwrap() = phase;
    }
    pub(super) fn set_watch(&self) -> mpsc::UnboundedSender<WorkerObservation> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.watch.lock().unwrap() = Some(receiver);
        sender
    }
    /// What it was asked so far.
    pub(super) fn asked(&self) -> Vec<Operation> {
        self.calls.lock().unwrap().iter().map(|(operation, _)| *operation).collect()
    }
    /// How often it was asked this.
    pub(super) fn count(&self, operation: Operation) -> usize {
        self.asked().iter().filter(|asked| **asked == operation).count()
    }
    /// The pauses between one question and the next.
    pub(super) fn pauses(&self) -> Vec<Duration> {
        self.calls.lock().unwrap().windows(2).map(|pair| pair[1].1 - pair[0].1).collect()
    }

    async fn step(&self, operation: Operation) -> Result<()> {
        self.calls.lock().unwrap().push((operation, Instant::now()));
        let step = self.steps.lock().unwrap().pop_front().unwrap_or(Step::Done);
        match step {
            Step::Done => {}
            Step::Fail(error) => return Err(error),
            Step::Takes(time) => tokio::time::sleep(time).await,
            Step::Until(gate) => gate.notified().await,
            Step::Never => std::future::pending().await,
        }
        Ok(())
    }
}

/// The script's clock stands still unless a status is made at a time of its own.
pub(super) fn status(worker: &WorkerRef, phase: WorkerPhase, second: i64) -> Arc<WorkerStatus> {
    Arc::new(WorkerStatus::new(worker.clone(), phase, Timestamp::from_second(second).unwrap()))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl WorkerProvider for Script {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }
    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        self.step(Operation::Capabilities).await?;
        Ok(Arc::new(self.capabilities.lock().unwrap().clone()))
    }
    async fn create_worker(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        self.step(Operation::Create).await?;
        let worker = WorkerRef { id: config.worker_id.clone(), generation: options.generation };
        Ok(WorkerHandle::new(self.info.name.clone(), worker, "native"))
    }
    async fn start_worker(&self, _: &WorkerRef, _: &StartOptions) -> Result<()> {
        self.step(Operation::Start).await
    }
    async fn stop_worker(&self, _: &WorkerRef, options: &StopOptions) -> Result<()> {
        self.step(if options.is_kill() { Operation::Kill } else { Operation::Stop }).await
    }
    async fn delete_worker(&self, _: &WorkerRef, _: &DeleteOptions) -> Result<()> {
        self.step(Operation::Delete).await
    }
    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        // It answers what was the case when it was asked, however long the answer takes.
        let phase = *self.phase.lock().unwrap();
        self.step(Operation::Status).await?;
        Ok(status(worker, phase, 0))
    }
    async fn list_workers(&self, _: &WorkerFilter) -> Result<Listing> {
        self.step(Operation::List).await?;
        Ok(Listing::new(Vec::new(), Timestamp::UNIX_EPOCH))
    }
    async fn scale_workers(&self, _: &GroupRef, _: usize, _: &ScaleOptions) -> Result<Vec<WorkerId>> {
        self.step(Operation::Scale).await?;
        Ok(Vec::new())
    }
    async fn get_image_id(&self, _: &WorkerConfig) -> Result<Option<String>> {
        self.step(Operation::Image).await?;
        Ok(None)
    }
    async fn autoscale(&self, _: &GroupRef, _: &AutoscaleOptions) -> Result<()> {
        self.step(Operation::Autoscale).await
    }
    async fn watch_workers(&self, _: &WatchOptions) -> Result<BoxStream<'static, Result<WorkerObservation>>> {
        self.step(Operation::Watch).await?;
        let Some(mut changes) = self.watch.lock().unwrap().take() else {
            return Ok(futures::stream::pending().boxed());
        };
        Ok(futures::stream::poll_fn(move |context| changes.poll_recv(context)).map(Ok).boxed())
    }
    async fn worker_logs(
        &self,
        _: &WorkerRef,
        _: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        self.step(Operation::Logs).await?;
        Ok(futures::stream::pending().boxed())
    }
    async fn exec_in_worker(&self, _: &WorkerRef, _: &ExecOptions) -> Result<ExecSession> {
        self.step(Operation::Exec).await?;
        let exit = async { Ok(ExitStatus::Code(0)) };
        Ok(ExecSession::new(None, futures::stream::empty().boxed(), exit))
    }
    async fn connect_worker_port(&self, _: &WorkerRef, _: u16) -> Result<Box<dyn WorkerConnection>> {
        self.step(Operation::ConnectPort).await?;
        Ok(Box::new(tokio::io::duplex(1).0))
    }
    async fn worker_stats(&self, _: &WorkerRef, _: &StatsOptions) -> Result<WorkerStats> {
        self.step(Operation::Stats).await?;
        Ok(WorkerStats::new(Timestamp::UNIX_EPOCH))
    }
}
