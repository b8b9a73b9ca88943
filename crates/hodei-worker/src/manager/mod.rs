//! The manager of workers: what a host embeds.
//!
//! A [`WorkerManager`] stands over any number of providers and one store. Every change of a worker is an event that is
//! durable before it is acted on, so that a host that is killed at any instant comes back with the same view, adopts
//! what still runs and removes what it had half made. What fails is brought back by rules that its user sets, and
//! a person is called when that does not help.
//!
#![doc = include_str!("guide.md")]

mod adopt;
mod builder;
mod hosts;
mod keeper;
mod mailbox;
mod measure;
mod message;
mod opening;
mod options;
mod requests;
mod settings;
mod watcher;

use std::{fmt, sync::Arc};

use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerConfig, WorkerId, WorkerProvider, WorkerState,
    capability::{Capability, ProviderCapabilities, needed_by},
    lifecycle::{Command, CorrelationId, Goal, Traits, Worker},
    model::{Generation, ProviderName},
    store::{Compaction, Store},
};
use tokio::sync::oneshot;

use self::message::{Message, Ordered};
pub use self::{
    adopt::{Found, Stray},
    builder::ManagerBuilder,
    options::{CreateWorker, RemoveWorker, Shutdown, StopWorker, WorkerQuery},
    settings::{ManagerSettings, Sweep},
};
use crate::{
    degradation::{AdmittedJob, Degradation},
    events::EventBus,
    health::{self, HealthMonitor},
    jobs::{Jobs, Reports},
    performance::PerformanceView,
    telemetry::{Sampler, Telemetry},
};

/// How many workers are stopped at once at the end.
const AT_ONCE: usize = 256;

/// Creates, runs, heals and removes workers on any number of providers. Cheap to clone; when the last clone is dropped it
/// ends as if its host had been killed: use [`shutdown`](Self::shutdown).
///
/// # Examples
/// ```
/// # #[cfg(feature = "process")]
/// # async fn example() -> hodei_worker::Result<()> {
/// use std::sync::Arc;
/// use hodei_worker::{ConnectContext, WorkerConfig, process::ProcessSettings, store::MemoryStore};
/// use hodei_worker::manager::{RemoveWorker, Shutdown, WorkerManager};
///
/// let context = ConnectContext::new("local".parse()?, "my-app".parse()?);
/// let provider = hodei_worker::connect(ProcessSettings::default(), context).await?;
/// let manager = WorkerManager::builder(Arc::new(MemoryStore::new())).provider(provider).open().await?;
///
/// let config = WorkerConfig::builder("build-1").command(["make"]).build()?;
/// manager.create_worker(&config).await?;
/// let end = manager.wait_for_end(&config.worker_id).await?;
/// println!("{:?}", end.end);
/// manager.remove_worker(&config.worker_id, &RemoveWorker::default()).await?;
/// manager.shutdown(Shutdown::HandOver).await
/// # }
/// ```
#[derive(Clone)]
pub struct WorkerManager {
    keeper: mailbox::Sender,
    store: Arc<dyn Store>,
    providers: Arc<[Arc<dyn WorkerProvider>]>,
    bus: EventBus,
    shared: keeper::Shared,
    sampler: Arc<Sampler>,
}

pub(crate) fn config_key(id: &WorkerId) -> String {
    format!("config/{id}")
}

fn closed() -> Error {
    Error::new(ErrorKind::Cancelled, "the manager has ended")
}

impl WorkerManager {
    /// Begins a manager on a store.
    pub fn builder(store: Arc<dyn Store>) -> ManagerBuilder {
        ManagerBuilder::new(store)
    }

    fn new(
        keeper: mailbox::Sender,
        store: Arc<dyn Store>,
        providers: Vec<Arc<dyn WorkerProvider>>,
        bus: EventBus,
        shared: keeper::Shared,
        sampler: Sampler,
    ) -> Self {
        Self { keeper, store, providers: providers.into(), bus, shared, sampler: Arc::new(sampler) }
    }

    /// Where its events are told.
    pub fn events(&self) -> &EventBus {
        &self.bus
    }
    /// Where it keeps what it knows.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
    /// Who has how many jobs.
    pub fn jobs(&self) -> &Jobs {
        &self.shared.jobs
    }
    /// How well its workers are, and what they have to do: who gets the next job.
    pub fn degradation(&self) -> &Degradation {
        &self.shared.degradation
    }
    /// Where its workers' time goes.
    pub fn performance(&self) -> &PerformanceView {
        &self.shared.performance
    }
    /// What it measures.
    pub fn telemetry(&self) -> &Telemetry {
        &self.shared.telemetry
    }
    /// What checks the health of its workers, for a host that hears of their signs of life itself.
    pub fn health(&self) -> &HealthMonitor {
        &self.shared.health
    }
    /// One of its providers.
    pub fn provider(&self, name: &ProviderName) -> Option<&Arc<dyn WorkerProvider>> {
        self.providers.iter().find(|provider| provider.info().name == *name)
    }

    /// Creates a worker and starts it. Returns when that is durable: it will be done, even if this host is killed.
    ///
    /// The same again is no second worker.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) and [`Unsupported`](ErrorKind::Unsupported) when no provider can do what it needs;
    /// [`Conflict`](ErrorKind::Conflict) when there is another worker of that name;
    /// [`Cancelled`](ErrorKind::Cancelled) when the manager is being shut down; what the store says when it cannot write.
    /// In all of these nothing was created. Failures of the creation itself are states of the worker.
    ///
    /// # Cancel safety
    /// When dropped, it may be created or not.
    pub async fn create_worker(&self, config: &WorkerConfig) -> Result<Worker> {
        self.create_worker_with(config, CreateWorker::default()).await
    }

    /// As [`create_worker`](Self::create_worker), with options.
    ///
    /// # Errors
    /// As [`create_worker`](Self::create_worker).
    ///
    /// # Cancel safety
    /// As [`create_worker`](Self::create_worker).
    pub async fn create_worker_with(&self, config: &WorkerConfig, options: CreateWorker) -> Result<Worker> {
        let provider = self.place(config, options.provider.as_ref()).await?;
        let goal = if options.stopped { Goal::Stopped } else { Goal::Running };
        let traits = Box::new(Traits::of(config));
        let command = Command::Create { provider, generation: Generation::FIRST, goal, traits };
        let (reply, answer) = oneshot::channel();
        self.send(Message::Command(Box::new(Ordered {
            id: config.worker_id.clone(),
            command,
            config: Some(config.clone()),
            correlation: options.correlation.unwrap_or_else(CorrelationId::random),
            metadata: options.metadata,
            reply,
        })))
        .await?;
        answer.await.map_err(|_| closed())?
    }

    /// The provider that is named, or the first that can do what the worker needs.
    async fn place(&self, config: &WorkerConfig, named: Option<&ProviderName>) -> Result<ProviderName> {
        let able = |capabilities: &ProviderCapabilities| {
            let needed = needed_by(config).into_iter().filter(|needed| *needed != Capability::HealthChecks);
            capabilities.require(needed)?;
            if config.reports {
                Reports::check(capabilities)?;
            }
            health::plan(config, capabilities).map(drop)
        };
        if let Some(name) = named {
            let provider = self.provider(name).ok_or_else(|| {
                let names: Vec<_> =
                    self.providers.iter().map(|provider| provider.info().name.as_str()).collect();
                Error::new(ErrorKind::Config, format!("there is no provider `{name}`"))
                    .with_context("providers", names.join(", "))
            })?;
            able(&*provider.get_capabilities().await?)?;
            return Ok(name.clone());
        }
        let mut refusal = None;
        for provider in &*self.providers {
            let fits = match provider.get_capabilities().await {
                Ok(capabilities) => able(&capabilities),
                Err(error) => Err(error),
            };
            match fits {
                Ok(()) => return Ok(provider.info().name.clone()),
                Err(error) => {
                    refusal.get_or_insert(error.with_provider(provider.info()));
                }
            }
        }
        Err(refusal.unwrap_or_else(closed))
    }

    /// Starts a worker that does not run. One that runs or is being started goes on; one for which a person was called is
    /// tried anew.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such worker; [`Conflict`](ErrorKind::Conflict) when it is being
    /// removed; what the store says when it cannot write.
    ///
    /// # Cancel safety
    /// When dropped, it may be started or not.
    pub async fn start_worker(&self, id: &WorkerId) -> Result<Worker> {
        self.command(id, Command::Start).await
    }

    /// Stops a worker: it gets no more jobs, has the time that it is given, and is killed at its end. Returns when that is
    /// durable; [`wait_for`](Self::wait_for) waits until it has stopped.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such worker; what the store says when it cannot write.
    ///
    /// # Cancel safety
    /// When dropped, it may be stopped or not.
    pub async fn stop_worker(&self, id: &WorkerId, options: &StopWorker) -> Result<Worker> {
        self.command(id, Command::Stop { grace: options.grace, jobs: 0 }).await
    }

    /// Stops a worker and removes all that was created for it. Returns when that is durable; a worker that is not there is
    /// removed. [`wait_until_gone`](Self::wait_until_gone) waits for the end.
    ///
    /// # Errors
    /// What the store says when it cannot write.
    ///
    /// # Cancel safety
    /// When dropped, it may be removed or not.
    pub async fn remove_worker(&self, id: &WorkerId, options: &RemoveWorker) -> Result<()> {
        let (grace, keep_volumes) = (options.grace, options.keep_volumes);
        match self.command(id, Command::Remove { grace, jobs: 0, keep_volumes }).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn command(&self, id: &WorkerId, command: Command) -> Result<Worker> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Command(Box::new(Ordered {
            id: id.clone(),
            command,
            config: None,
            correlation: CorrelationId::random(),
            metadata: Default::default(),
            reply,
        })))
        .await?;
        answer.await.map_err(|_| closed())?
    }

    /// Gives a worker a job, which lasts until what this returns is dropped: a drain waits for it, and scaling in spares
    /// the worker.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such worker; [`Conflict`](ErrorKind::Conflict) when it gets no
    /// more jobs, or another host answers for it: that one gives it its jobs; [`Overloaded`](ErrorKind::Overloaded) when it does not run at present, or when there is more to do than
    /// can be done and jobs of that priority are shed.
    ///
    /// # Cancel safety
    /// When dropped, no job has begun.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker::{Result, WorkerManager};
    /// # async fn example(manager: &WorkerManager) -> Result<()> {
    /// let worker = manager.degradation().choose(None, 0)?;
    /// let job = manager.begin_job(&worker, 0).await?;
    /// // … the host has the worker do it …
    /// drop(job);
    /// # Ok(()) }
    /// ```
    pub async fn begin_job(&self, id: &WorkerId, priority: i32) -> Result<AdmittedJob> {
        self.ask(|reply| Message::TakesJobs(id.clone(), reply)).await??;
        self.shared.degradation.begin(&self.shared.jobs, id, priority)
    }

    /// What is known of a worker.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) when the manager has ended.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn worker(&self, id: &WorkerId) -> Result<Option<Worker>> {
        self.ask(|reply| Message::Get(id.clone(), reply)).await?
    }

    /// What is known of the workers that are meant, in the order of their names.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) when the manager has ended.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn workers(&self, query: &WorkerQuery) -> Result<Vec<Worker>> {
        self.ask(|reply| Message::List(query.clone(), reply)).await
    }

    /// The configuration that a worker was created with.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such worker, and what the store says.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn config(&self, id: &WorkerId) -> Result<WorkerConfig> {
        keeper::read_config(&*self.store, id).await
    }

    /// Objects of this installation that no worker of this log stands behind: what is going to be removed, and what is left
    /// alone because the log cannot know it.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) when the manager has ended.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn strays(&self) -> Result<Vec<Found>> {
        self.ask(Message::Found).await
    }

    /// Waits until something holds for a worker.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such worker, or none any more;
    /// [`Cancelled`](ErrorKind::Cancelled) when the manager ends.
    ///
    /// # Cancel safety
    /// Waits only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker::{Result, WorkerId, WorkerState, manager::WorkerManager};
    /// # async fn example(manager: &WorkerManager, id: &WorkerId) -> Result<()> {
    /// let worker = manager.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await?;
    /// println!("{} runs as {:?}", worker.id, worker.run);
    /// # Ok(()) }
    /// ```
    pub async fn wait_for(
        &self,
        id: &WorkerId,
        until: impl Fn(&Worker) -> bool + Send + 'static,
    ) -> Result<Worker> {
        self.ask(|reply| Message::Wait(id.clone(), Box::new(until), reply)).await?
    }

    /// Waits until a worker has come to its end: stopped, or failed for good.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    ///
    /// # Cancel safety
    /// Waits only.
    pub async fn wait_for_end(&self, id: &WorkerId) -> Result<Worker> {
        let over = |worker: &Worker| match worker.state {
            None | Some(WorkerState::Stopped | WorkerState::Failed) => true,
            // It was never to be started, or not any more.
            Some(WorkerState::Creating) => {
                worker.created && worker.pending.is_none() && worker.goal != Goal::Running
            }
            _ => false,
        };
        self.wait_for(id, over).await
    }

    /// Waits until there is no worker of that name.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) when the manager ends.
    ///
    /// # Cancel safety
    /// Waits only.
    pub async fn wait_until_gone(&self, id: &WorkerId) -> Result<()> {
        match self.wait_for(id, |worker| worker.state.is_none()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits until what all providers told is whole: every worker that runs has been seen.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) when the manager ends.
    ///
    /// # Cancel safety
    /// Waits only.
    pub async fn synced(&self) -> Result<()> {
        self.ask(Message::Synced).await
    }

    /// Waits until nothing is under way: no write and no call.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) when the manager ends.
    ///
    /// # Cancel safety
    /// Waits only.
    pub async fn quiet(&self) -> Result<()> {
        self.ask(Message::Quiet).await
    }

    /// Saves what the events came to, and removes old ones that this covers. Done by itself every so often.
    ///
    /// # Errors
    /// What the store says.
    ///
    /// # Cancel safety
    /// It goes on when dropped.
    pub async fn compact(&self) -> Result<Compaction> {
        self.ask(Message::Compact).await?
    }

    /// Ends the manager: its workers go on, or are stopped, or removed. What cannot be stopped because its provider is away
    /// is waited for; bound it with a timeout, and hand over after that.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) when it had ended already; what the store says.
    ///
    /// # Cancel safety
    /// When dropped, some workers may be stopped. Call it again.
    pub async fn shutdown(&self, mode: Shutdown) -> Result<()> {
        match mode {
            Shutdown::HandOver => {}
            Shutdown::Stop { grace } => {
                self.for_all(|id| async move {
                    self.stop_worker(&id, &StopWorker { grace }).await?;
                    self.wait_for_end(&id).await.map(drop)
                })
                .await?;
            }
            Shutdown::Remove { grace } => {
                let options = &RemoveWorker { grace, keep_volumes: false };
                self.for_all(|id| async move {
                    self.remove_worker(&id, options).await?;
                    self.wait_until_gone(&id).await
                })
                .await?;
            }
        }
        self.ask(Message::Close).await
    }

    async fn for_all<F: Future<Output = Result<()>>>(&self, act: impl Fn(WorkerId) -> F) -> Result<()> {
        // Where several hosts share the store, the others go on with theirs.
        let workers = self.workers(&WorkerQuery::owned()).await?;
        let mut acts =
            futures::stream::iter(workers.into_iter().map(|worker| act(worker.id))).buffer_unordered(AT_ONCE);
        let mut first = None;
        while let Some(result) = acts.next().await {
            if let Err(error) = result
                && error.kind() != ErrorKind::NotFound
            {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply)).await?;
        answer.await.map_err(|_| closed())
    }

    async fn send(&self, message: Message) -> Result<()> {
        self.keeper.send(message).await.map_err(|_| closed())
    }
}

impl fmt::Debug for WorkerManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerManager")
            .field("store", self.store.info())
            .field("providers", &self.providers.iter().map(|provider| provider.info()).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
