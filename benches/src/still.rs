//! A provider that does nothing: its workers run as soon as they are told to, and hold a few bytes each, so that what is
//! measured is what stands over it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures::StreamExt as _;
use hodei_worker::{
    Capability, ConnectContext, Error, Result, Timestamp, WorkerConfig, WorkerObservation, WorkerPhase,
    WorkerProvider, WorkerRef, WorkerStatus,
    capability::ProviderCapabilities,
    model::{IntentMark, LogId, Ownership, RunId, WorkerHandle},
    provider::{
        BoxStream, CreateOptions, DeleteOptions, Listing, ProviderInfo, StartOptions, StopOptions,
        WatchOptions, WorkerFilter,
    },
    status::ExitStatus,
};
use tokio::sync::mpsc;

use crate::Outcome;

/// A provider whose workers are numbers: `w-7`.
#[derive(Debug)]
pub struct Still {
    info: ProviderInfo,
    context: ConnectContext,
    capabilities: Arc<ProviderCapabilities>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    workers: BTreeMap<u32, Object>,
    log: Option<LogId>,
    watchers: Vec<mpsc::UnboundedSender<WorkerObservation>>,
}

#[derive(Debug, Clone, Copy)]
struct Object {
    intent: u64,
    runs: u32,
    is_running: bool,
}

/// The name of a worker.
pub fn name(number: u32) -> String {
    format!("w-{number}")
}

fn number(worker: &WorkerRef) -> Result<u32> {
    let digits = worker.id.as_str().strip_prefix("w-");
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| Error::worker_not_found(worker))
}

impl Still {
    /// Without any worker.
    pub fn new(context: ConnectContext) -> Self {
        let capabilities =
            Capability::ALL.iter().fold(ProviderCapabilities::new("1"), |all, one| all.with(*one));
        Self {
            info: context.info("still"),
            context,
            capabilities: Arc::new(capabilities),
            state: Arc::default(),
        }
    }

    /// Keeps its workers in a file, as an engine keeps them while its client is away.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, file: &Path) -> Outcome {
        let state = self.state();
        let mut text = format!("{}\n", state.log.as_ref().map(ToString::to_string).unwrap_or_default());
        for (number, object) in &state.workers {
            writeln!(text, "{number} {} {} {}", object.intent, object.runs, u8::from(object.is_running))?;
        }
        Ok(std::fs::write(file, text)?)
    }

    /// Has the workers that were kept in a file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(&self, file: &Path) -> Outcome {
        let text = std::fs::read_to_string(file)?;
        let mut lines = text.lines();
        let mut state = self.state();
        state.log = lines.next().filter(|log| !log.is_empty()).map(str::parse).transpose()?;
        for line in lines {
            let words: Vec<u64> = line.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
            let [number, intent, runs, is_running] = words[..] else {
                return Err(format!("a worker is kept as `{line}`").into());
            };
            let object = Object { intent, runs: u32::try_from(runs)?, is_running: is_running == 1 };
            state.workers.insert(u32::try_from(number)?, object);
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self, state: &State, number: u32) -> Result<Arc<WorkerStatus>> {
        let worker = WorkerRef::first(name(number).parse()?);
        let now = self.context.clock.now();
        let Some(object) = state.workers.get(&number) else {
            return Ok(Arc::new(WorkerStatus::new(worker, WorkerPhase::Absent, now)));
        };
        Ok(status(&self.context, state.log.as_ref(), number, *object, worker, now))
    }

    /// Changes a worker, and tells those who watch.
    fn change(&self, worker: &WorkerRef, change: impl FnOnce(&mut Object)) -> Result<()> {
        let number = number(worker)?;
        let mut state = self.state();
        let object = state.workers.get_mut(&number).ok_or_else(|| Error::worker_not_found(worker))?;
        change(object);
        let status = self.status(&state, number)?;
        state
            .watchers
            .retain(|watcher| watcher.send(WorkerObservation::Applied(Arc::clone(&status))).is_ok());
        Ok(())
    }
}

fn status(
    context: &ConnectContext,
    log: Option<&LogId>,
    number: u32,
    object: Object,
    worker: WorkerRef,
    now: Timestamp,
) -> Arc<WorkerStatus> {
    let phase = match object {
        Object { is_running: true, .. } => WorkerPhase::Running,
        Object { runs: 0, .. } => WorkerPhase::Created,
        _ => WorkerPhase::Exited,
    };
    let mut status = WorkerStatus::new(worker.clone(), phase, now);
    status.native_id = format!("n-{number}");
    let mut ownership = Ownership::new(context.installation.clone(), worker);
    ownership.intent = log.map(|log| IntentMark { log: log.clone(), position: object.intent });
    status.ownership = Some(ownership);
    if object.runs > 0 {
        status.run = Some(RunId::new(format!("{number}-{}", object.runs)));
        status.times.started = Some(Timestamp::UNIX_EPOCH);
        status.exit = (!object.is_running).then_some(ExitStatus::Code(0));
    }
    Arc::new(status)
}

#[async_trait]
impl WorkerProvider for Still {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }
    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        Ok(Arc::clone(&self.capabilities))
    }
    async fn create_worker(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        let worker = WorkerRef::first(config.worker_id.clone());
        let number = number(&worker)?;
        let mut state = self.state();
        let intent = options.intent.as_ref();
        if let Some(intent) = intent {
            state.log.get_or_insert_with(|| intent.log.clone());
        }
        let position = intent.map_or(0, |intent| intent.position);
        state.workers.entry(number).or_insert(Object { intent: position, runs: 0, is_running: false });
        Ok(WorkerHandle::new(self.info.name.clone(), worker, format!("n-{number}")))
    }
    async fn start_worker(&self, worker: &WorkerRef, _: &StartOptions) -> Result<()> {
        self.change(worker, |object| {
            object.runs += u32::from(!object.is_running);
            object.is_running = true;
        })
    }
    async fn stop_worker(&self, worker: &WorkerRef, _: &StopOptions) -> Result<()> {
        self.change(worker, |object| object.is_running = false)
    }
    async fn delete_worker(&self, worker: &WorkerRef, _: &DeleteOptions) -> Result<()> {
        self.state().workers.remove(&number(worker)?);
        Ok(())
    }
    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        self.status(&self.state(), number(worker)?)
    }
    async fn list_workers(&self, _: &WorkerFilter) -> Result<Listing> {
        let state = self.state();
        let all = state.workers.keys().map(|number| self.status(&state, *number));
        Ok(Listing::new(all.collect::<Result<_>>()?, self.context.clock.now()))
    }
    async fn watch_workers(&self, _: &WatchOptions) -> Result<BoxStream<'static, Result<WorkerObservation>>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        state.watchers.push(sender);
        let (log, context, now) = (state.log.clone(), self.context.clone(), self.context.clock.now());
        let workers: Vec<_> = state.workers.iter().map(|(number, object)| (*number, *object)).collect();
        // One after the other, as they come from an engine.
        let listed = workers.into_iter().map(move |(number, object)| {
            let worker = WorkerRef::first(name(number).parse()?);
            let status = status(&context, log.as_ref(), number, object, worker, now);
            Ok(WorkerObservation::Listed(status))
        });
        let later = futures::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|observation| (Ok(observation), receiver))
        });
        let begins = futures::stream::iter([Ok(WorkerObservation::Resync)]);
        let whole = futures::stream::iter([Ok(WorkerObservation::Synced)]);
        Ok(begins.chain(futures::stream::iter(listed)).chain(whole).chain(later).boxed())
    }
}
