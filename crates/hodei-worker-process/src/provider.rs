//! The port, on local processes.

use std::sync::Arc;

use async_trait::async_trait;
use hodei_worker_core::{
    ConnectContext, Error, ProviderCapabilities, ProviderInfo, ProviderSettings as _, Result, WorkerConfig,
    WorkerHandle, WorkerObservation, WorkerProvider, WorkerRef, WorkerStatus,
    provider::{
        BoxStream, CreateOptions, DeleteOptions, ExecOptions, ExecSession, Listing, LogItem, LogOptions,
        Operation, StartOptions, StatsOptions, StopOptions, WatchOptions, WorkerFilter, WorkerStats,
    },
    watch::WatchHub,
};
use tokio::sync::Semaphore;

use crate::{
    attached::Attachments,
    capabilities, error, folders,
    fork_server::ForkServer,
    host::{Host, Launcher, blocking},
    limits::Limits,
    lock,
    notices::Notices,
    places, proc,
    scan::Scans,
    settings::ProcessSettings,
};

/// Runs workers as processes of this machine.
///
/// A worker's main process gets the request to stop; at the deadline, and when the main process ends, everything
/// that it has started is killed.
#[derive(Debug, Clone)]
pub struct ProcessProvider(Arc<Host>);

impl ProcessProvider {
    /// Prepares the folders, finds out what this machine can do, and finishes what an earlier host left half done.
    ///
    /// What it hears of workers comes through the runtime on which it is connected; when that is gone, calls that wait
    /// for something answer [`Unavailable`](hodei_worker_core::ErrorKind::Unavailable).
    ///
    /// # Errors
    /// [`Config`](hodei_worker_core::ErrorKind::Config) and
    /// [`PermissionDenied`](hodei_worker_core::ErrorKind::PermissionDenied) when the settings do not fit the machine.
    ///
    /// # Cancel safety
    /// Can be dropped and repeated.
    ///
    /// # Examples
    /// ```no_run
    /// # use hodei_worker_core::{ConnectContext, Result, WorkerConfig, WorkerProviderExt as _};
    /// # use hodei_worker_process::{ProcessProvider, ProcessSettings};
    /// # async fn example(context: ConnectContext) -> Result<()> {
    /// let provider = ProcessProvider::connect(ProcessSettings::default(), context).await?;
    /// provider.run_worker(&WorkerConfig::builder("a").command(["true"]).build()?).await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(settings: ProcessSettings, context: ConnectContext) -> Result<Self> {
        let info = context.info(ProcessSettings::TYPE);
        Self::open(settings, context)
            .await
            .map_err(|error| error.with_operation(Operation::Connect).with_provider(&info))
    }

    async fn open(settings: ProcessSettings, context: ConnectContext) -> Result<Self> {
        let launcher = capabilities::launcher(&settings)?;
        if matches!(launcher, Launcher::Attached(_)) {
            capabilities::check_signals()?;
        }
        context.progress.report("making folders and looking for control groups", 10);
        let (prepared, installation) = (settings.clone(), context.installation.clone());
        let (layout, logs, limits) = blocking(move || {
            let layout = folders::prepare(&places::state(&prepared), installation.as_str())?;
            let logs = places::logs(&prepared);
            let own = logs.join(installation.as_str());
            folders::prepare_logs(&logs, &own)?;
            let logs = crate::logs::home(&own, layout.root())?;
            Ok((layout, logs, Limits::detect(prepared.limits, &installation)))
        })
        .await?;
        let boot = proc::boot_id().map_err(|error| {
            error::file("reading the boot id", "/proc/sys/kernel/random/boot_id".as_ref(), error)
        })?;
        let locks = layout.dir("locks");
        // The kernel tells of the closing before it lets go of the lock, and of every attempt to take it.
        let is_free = Box::new(move |run: &str| !lock::is_held(&locks.join(run)).unwrap_or(true));
        let notices = Notices::open(&layout, is_free).map_err(|error| {
            error::file("watching the state folder", layout.root(), error)
                .with_help("raise `fs.inotify.max_user_instances`, or connect fewer providers")
        })?;
        let starts = std::thread::available_parallelism().map_or(4, |cpus| cpus.get() * 2);
        let host = Arc::new(Host {
            info: context.info(ProcessSettings::TYPE),
            logs,
            installation: context.installation,
            capabilities: Arc::new(capabilities::detect(&launcher, &limits, layout.root())),
            settings,
            layout,
            boot,
            clock: context.clock,
            credentials: context.credentials,
            limits,
            launcher,
            notices,
            hub: WatchHub::default(),
            fork_server: ForkServer::default(),
            scans: Scans::default(),
            attached: Attachments::default(),
            starting: Arc::new(Semaphore::new(starts)),
        });
        context.progress.report("finishing what an earlier host left", 60);
        host.sweep().await?;
        Ok(Self(host))
    }

    fn describe<T>(&self, result: Result<T>, operation: Operation, worker: Option<&WorkerRef>) -> Result<T> {
        result.map_err(|error: Error| {
            let error = error.with_operation(operation).with_provider(&self.0.info);
            match worker {
                Some(worker) => error.with_worker(worker),
                None => error,
            }
        })
    }
}

#[async_trait]
impl WorkerProvider for ProcessProvider {
    fn info(&self) -> &ProviderInfo {
        &self.0.info
    }

    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        Ok(Arc::clone(&self.0.capabilities))
    }

    async fn create_worker(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        let worker = WorkerRef { id: config.worker_id.clone(), generation: options.generation };
        self.describe(self.0.create(config, options), Operation::Create, Some(&worker))
    }

    async fn start_worker(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        let started = self.0.start(worker, options).await;
        self.describe(started, Operation::Start, Some(worker))
    }

    async fn stop_worker(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        let operation = if options.is_kill() { Operation::Kill } else { Operation::Stop };
        let stopped = self.0.stop(worker, options).await;
        self.describe(stopped, operation, Some(worker))
    }

    async fn delete_worker(&self, worker: &WorkerRef, _: &DeleteOptions) -> Result<()> {
        let deleted = self.0.delete(worker).await;
        self.describe(deleted, Operation::Delete, Some(worker))
    }

    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        let reading = self.0.hub.reading();
        let status = self.describe(self.0.status_soon(worker).await, Operation::Status, Some(worker))?;
        let status = status.map(|status| self.0.hub.saw(&reading, status));
        Ok(status.unwrap_or_else(|| WorkerStatus::absent(worker, self.0.clock.now())))
    }

    async fn list_workers(&self, filter: &WorkerFilter) -> Result<Listing> {
        let (host, filter) = (Arc::clone(&self.0), filter.clone());
        let reading = self.0.hub.reading();
        let listing = blocking(move || host.list(&filter)).await;
        let mut listing = self.describe(listing, Operation::List, None)?;
        listing.workers.iter_mut().for_each(|status| *status = self.0.hub.saw(&reading, Arc::clone(status)));
        Ok(listing)
    }

    async fn watch_workers(
        &self,
        options: &WatchOptions,
    ) -> Result<BoxStream<'static, Result<WorkerObservation>>> {
        Ok(self.0.watch(options))
    }

    async fn worker_logs(
        &self,
        worker: &WorkerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        let logs = self.0.read_logs(worker, options).await;
        self.describe(logs, Operation::Logs, Some(worker))
    }

    async fn exec_in_worker(&self, worker: &WorkerRef, options: &ExecOptions) -> Result<ExecSession> {
        let session = match options.resolved(&*self.0.credentials).await {
            Ok(options) => self.0.exec(worker, &options).await,
            Err(error) => Err(error),
        };
        self.describe(session, Operation::Exec, Some(worker))
    }

    async fn worker_stats(&self, worker: &WorkerRef, _: &StatsOptions) -> Result<WorkerStats> {
        let (host, measured) = (Arc::clone(&self.0), worker.clone());
        let stats = blocking(move || host.stats(&measured)).await;
        self.describe(stats, Operation::Stats, Some(worker))
    }
}
