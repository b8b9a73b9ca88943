use std::sync::{Arc, PoisonError, RwLock, atomic::AtomicBool};

use async_trait::async_trait;
use bollard::{Docker, models::ImageInspect};
use hodei_worker_core::{
    Capability, ConnectContext, Error, Operation, ProviderCapabilities, ProviderInfo, ProviderSettings as _,
    Result, WorkerConfig, WorkerHandle, WorkerObservation, WorkerProvider, WorkerRef, WorkerStatus,
    factory::Environment,
    model::InstallationId,
    provider::{
        BoxStream, CreateOptions, DeleteOptions, ExecOptions, ExecSession, Listing, LogItem, LogOptions,
        StartOptions, StatsOptions, StopOptions, WatchOptions, WorkerFilter, WorkerStats,
    },
    settings::Problems,
    watch::WatchHub,
};

use crate::{
    DockerSettings, ImageScanner, capabilities,
    client::{Engine, SharedEngine},
    context,
    events::Nudges,
    image, kills,
    lately::Lately,
    memory::Memory,
    names,
    secret::SecretStore,
    security::Scans,
    status::Viewpoint,
    volume::GivenVolumes,
};

/// Workers as containers of one Docker Engine.
///
/// Clones share connections, memory and the one event stream.
#[derive(Clone, Debug)]
pub struct DockerProvider(pub(crate) Arc<Shared>);

/// What all clones, streams and tasks of a provider share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) info: ProviderInfo,
    pub(crate) settings: DockerSettings,
    pub(crate) context: ConnectContext,
    pub(crate) engine: SharedEngine,
    pub(crate) view: Viewpoint,
    pub(crate) memory: Memory,
    pub(crate) secrets: SecretStore,
    pub(crate) hub: WatchHub,
    pub(crate) pulls: image::Pulls,
    pub(crate) scans: Scans,
    /// Held by who makes a container on a network, so that nobody of ours takes the network away meanwhile.
    pub(crate) joining: Arc<tokio::sync::RwLock<()>>,
    /// Held by who makes a network: engines make two of one name if they are asked at once.
    pub(crate) making_network: tokio::sync::Mutex<()>,
    /// Networks that were as they should be, with what they should be.
    pub(crate) networks_seen: Lately<()>,
    pub(crate) images_seen: Lately<Arc<ImageInspect>>,
    /// Whether helpers were looked for that calls of earlier hosts left.
    pub(crate) helpers_swept: AtomicBool,
    /// Held by who writes into volumes, so that nobody of ours takes them away meanwhile.
    pub(crate) filling: Arc<tokio::sync::RwLock<()>>,
    /// Held by who gives a volume to its owner.
    pub(crate) giving: tokio::sync::Mutex<()>,
    /// The volumes that are their owners' by now.
    pub(crate) given: GivenVolumes,
    pub(crate) kills: kills::Kills,
    pub(crate) nudges: Nudges,
    capabilities: RwLock<Arc<ProviderCapabilities>>,
}

impl DockerProvider {
    /// Connects to the engine that the settings mean, agrees on an API version and finds out what it can do.
    ///
    /// # Errors
    /// [`Config`](hodei_worker_core::ErrorKind::Config) with the field at fault;
    /// [`Unavailable`](hodei_worker_core::ErrorKind::Unavailable) when there is no socket, or nobody listens on it;
    /// [`PermissionDenied`](hodei_worker_core::ErrorKind::PermissionDenied) when this user may not open it;
    /// [`Unauthenticated`](hodei_worker_core::ErrorKind::Unauthenticated) when one side does not accept the other's
    /// certificate; [`Unsupported`](hodei_worker_core::ErrorKind::Unsupported) when there is no API version that both
    /// sides speak.
    ///
    /// # Cancel safety
    /// Removes at most what is nobody's: networks and secrets that deletions and hosts have left which were cut off.
    ///
    /// # Examples
    /// ```no_run
    /// use hodei_worker_core::{ConnectContext, WorkerProvider as _};
    /// use hodei_worker_docker::{DockerProvider, DockerSettings};
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let context = ConnectContext::new("docker".parse()?, "my-app".parse()?);
    /// let provider = DockerProvider::connect(DockerSettings::default(), context).await?;
    /// println!("{}", provider.get_capabilities().await?.version);
    /// # Ok(()) }
    /// ```
    pub async fn connect(settings: DockerSettings, context: ConnectContext) -> Result<Self> {
        let info = context.info(DockerSettings::TYPE);
        Box::pin(Self::open(settings, context, info.clone()))
            .await
            .map_err(|error| error.with_operation(Operation::Connect).with_provider(&info))
    }

    async fn open(settings: DockerSettings, context: ConnectContext, info: ProviderInfo) -> Result<Self> {
        let mut problems = Problems::new();
        settings.validate(&mut problems);
        problems.into_result()?;
        context.progress.report("finding the engine", 0);
        let endpoint = context::resolve(&settings, &Environment::current())?;
        let engine = Engine::new(endpoint, &settings)?;
        context.progress.report("agreeing on an API version", 20);
        let version = engine.negotiate().await?;
        context.progress.report("finding out what the engine can do", 60);
        let secrets = SecretStore::new(&settings, &engine.endpoint, &context.installation);
        let capabilities = capabilities::detect(&engine, &version, &secrets, &settings).await?;
        let view = Viewpoint::new(context.installation.clone(), &engine.endpoint);
        view.set_sees_networks(capabilities.supports(Capability::OwnAddresses));
        let shared = Arc::new(Shared {
            info,
            settings,
            context,
            engine: Arc::new(engine),
            view,
            memory: Memory::default(),
            secrets,
            hub: WatchHub::default(),
            pulls: image::Pulls::default(),
            scans: Scans::default(),
            joining: Arc::default(),
            networks_seen: Lately::default(),
            images_seen: Lately::default(),
            making_network: tokio::sync::Mutex::default(),
            helpers_swept: AtomicBool::new(false),
            filling: Arc::default(),
            giving: tokio::sync::Mutex::default(),
            given: GivenVolumes::default(),
            kills: kills::Kills::default(),
            nudges: Nudges::default(),
            capabilities: RwLock::new(Arc::new(capabilities)),
        });
        shared.sweep_secrets().await;
        if let Err(error) = shared.sweep_networks().await {
            tracing::warn!(%error, "networks may be left that no worker is on");
        }
        Ok(Self(shared))
    }

    /// Has every image judged before a worker is made of it. There is one scanner for the provider and all its clones; a
    /// second one changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::sync::Arc;
    /// # fn example(provider: hodei_worker_docker::DockerProvider, scanner: Arc<dyn hodei_worker_docker::ImageScanner>) {
    /// let provider = provider.with_image_scanner(scanner);
    /// # }
    /// ```
    #[must_use]
    pub fn with_image_scanner(self, scanner: Arc<dyn ImageScanner>) -> Self {
        if !self.0.scans.set(scanner) {
            tracing::warn!("the provider has an image scanner already");
        }
        self
    }

    /// The client of bollard below, at the agreed API version, for what this library does not do. Its calls go past
    /// the labels that keep installations apart, and past all policies; bollard's types may change with its version.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(provider: hodei_worker_docker::DockerProvider) -> Result<(), Box<dyn std::error::Error>> {
    /// let disk = provider.client().df(None).await?;
    /// # Ok(()) }
    /// ```
    pub fn client(&self) -> Docker {
        self.0.engine.docker()
    }
}

impl Shared {
    pub(crate) fn installation(&self) -> &InstallationId {
        &self.context.installation
    }

    /// Agrees on a version and finds out the capabilities again, since another engine may have taken its place.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let version = self.engine.negotiate().await?;
        let fresh = capabilities::detect(&self.engine, &version, &self.secrets, &self.settings).await?;
        self.view.set_sees_networks(fresh.supports(Capability::OwnAddresses));
        *self.capabilities.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// Removes secrets that are left of workers that do not exist. Where they are files: one request, if there are any.
    /// Where they are volumes: two.
    async fn sweep_secrets(&self) {
        if self.secrets.is_remote() {
            if let Err(error) = self.sweep_secret_volumes().await {
                tracing::warn!(%error, "secrets of workers that do not exist may be left");
            }
            return;
        }
        if !self.secrets.is_used() {
            return;
        }
        let swept = async {
            let existing = self.list_containers([]).await?.into_iter();
            let existing =
                existing.filter_map(|one| names::ownership(self.installation(), one.labels.as_ref()));
            self.secrets.sweep(existing.map(|ownership| ownership.worker)).await
        };
        if let Err(error) = swept.await {
            tracing::warn!(%error, "secrets of workers that do not exist may be left");
        }
    }

    async fn sweep_secret_volumes(&self) -> Result<()> {
        let installation = self.installation();
        // Before the workers: what is made meanwhile is not looked at.
        let volumes = self.own_volumes([]).await?.into_iter().filter(|name| name.contains(".secrets."));
        let volumes: Vec<_> = volumes.filter(|name| name.starts_with(names::RESERVED)).collect();
        if volumes.is_empty() {
            return Ok(());
        }
        let existing: Vec<String> = self
            .list_containers([])
            .await?
            .iter()
            .filter_map(|one| names::ownership(installation, one.labels.as_ref()))
            .map(|ownership| names::secret_volumes(installation, &ownership.worker))
            .collect();
        for volume in volumes {
            if !existing.iter().any(|known| volume.starts_with(known)) {
                // The engine refuses while a container has it.
                self.remove_volume(&volume).await?;
            }
        }
        Ok(())
    }

    fn about(&self, operation: Operation, worker: Option<&WorkerRef>, error: Error) -> Error {
        let error = error.with_operation(operation).with_provider(&self.info);
        match worker {
            Some(worker) => error.with_worker(worker),
            None => error,
        }
    }
}

#[async_trait]
impl WorkerProvider for DockerProvider {
    fn info(&self) -> &ProviderInfo {
        &self.0.info
    }

    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        Ok(Arc::clone(&self.0.capabilities.read().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn create_worker(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        let worker = WorkerRef { id: config.worker_id.clone(), generation: options.generation };
        let created = Box::pin(self.0.create(&worker, config, options)).await;
        created.map_err(|error| self.0.about(Operation::Create, Some(&worker), error))
    }

    async fn start_worker(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        let started = Box::pin(self.0.start(worker, options)).await;
        started.map_err(|error| self.0.about(Operation::Start, Some(worker), error))
    }

    async fn stop_worker(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        let operation = if options.is_kill() { Operation::Kill } else { Operation::Stop };
        let stopped = Box::pin(self.0.stop(worker, options)).await;
        stopped.map_err(|error| self.0.about(operation, Some(worker), error))
    }

    async fn delete_worker(&self, worker: &WorkerRef, options: &DeleteOptions) -> Result<()> {
        let deleted = Box::pin(self.0.delete(worker, options)).await;
        deleted.map_err(|error| self.0.about(Operation::Delete, Some(worker), error))
    }

    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        let found = Box::pin(self.0.read_status(worker)).await;
        found.map_err(|error| self.0.about(Operation::Status, Some(worker), error))
    }

    async fn list_workers(&self, filter: &WorkerFilter) -> Result<Listing> {
        let listed = Box::pin(self.0.list(filter)).await;
        listed.map_err(|error| self.0.about(Operation::List, None, error))
    }

    async fn get_image_id(&self, config: &WorkerConfig) -> Result<Option<String>> {
        let found = Box::pin(self.0.image_id(config)).await;
        found.map_err(|error| self.0.about(Operation::Image, None, error))
    }

    async fn watch_workers(
        &self,
        options: &WatchOptions,
    ) -> Result<BoxStream<'static, Result<WorkerObservation>>> {
        let opened = Box::pin(self.0.watch(&options.filter)).await;
        opened.map_err(|error| self.0.about(Operation::Watch, None, error))
    }

    async fn worker_logs(
        &self,
        worker: &WorkerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        let opened = Box::pin(self.0.logs(worker, options)).await;
        opened.map_err(|error| self.0.about(Operation::Logs, Some(worker), error))
    }

    async fn exec_in_worker(&self, worker: &WorkerRef, options: &ExecOptions) -> Result<ExecSession> {
        let session = Box::pin(self.0.exec(worker, options)).await;
        session.map_err(|error| self.0.about(Operation::Exec, Some(worker), error))
    }

    async fn worker_stats(&self, worker: &WorkerRef, _: &StatsOptions) -> Result<WorkerStats> {
        let stats = Box::pin(self.0.stats(worker)).await;
        stats.map_err(|error| self.0.about(Operation::Stats, Some(worker), error))
    }
}
