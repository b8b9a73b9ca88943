use std::sync::Arc;

use async_trait::async_trait;
use hodei_worker_core::{
    ConnectContext, Error, ProviderCapabilities, ProviderSettings as _, Result, WorkerConfig, WorkerHandle,
    WorkerId, WorkerObservation, WorkerProvider, WorkerRef, WorkerStatus,
    model::GroupRef,
    provider::{
        AutoscaleOptions, BoxStream, CreateOptions, DeleteOptions, ExecOptions, ExecSession, Listing,
        LogItem, LogOptions, Operation, ProviderInfo, ScaleOptions, StartOptions, StatsOptions, StopOptions,
        WatchOptions, WorkerConnection, WorkerFilter, WorkerStats,
    },
    settings::Problems,
    watch::WatchHub,
};

use crate::{
    AutoscalerOptions, KubernetesSettings, capabilities, client::Cluster, memory::Memory, status::Viewpoint,
};

/// Workers as pods of one Kubernetes cluster, in one namespace. Clones share everything.
#[derive(Debug, Clone)]
pub struct KubernetesProvider(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) info: ProviderInfo,
    pub(crate) settings: KubernetesSettings,
    pub(crate) context: ConnectContext,
    pub(crate) cluster: Cluster,
    pub(crate) view: Viewpoint,
    pub(crate) memory: Memory,
    pub(crate) hub: WatchHub,
    /// Held by creations that mount volumes; alone by who removes unused ones.
    pub(crate) mounting: tokio::sync::RwLock<()>,
    pub(crate) capabilities: Arc<ProviderCapabilities>,
}

impl KubernetesProvider {
    /// Connects to the cluster that the settings mean, and finds out what it can do. Two requests.
    ///
    /// # Errors
    /// [`Config`](hodei_worker_core::ErrorKind::Config) with the field at fault, the kubeconfig's too;
    /// [`Unavailable`](hodei_worker_core::ErrorKind::Unavailable) when no API server answers;
    /// [`Unauthenticated`](hodei_worker_core::ErrorKind::Unauthenticated) when one side does not accept the other's
    /// certificate or the log-in; [`PermissionDenied`](hodei_worker_core::ErrorKind::PermissionDenied) when this user may
    /// not ask what the cluster is.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```no_run
    /// use hodei_worker_core::{ConnectContext, WorkerProvider as _};
    /// use hodei_worker_k8s::{KubernetesProvider, KubernetesSettings};
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let context = ConnectContext::new("cluster".parse()?, "my-app".parse()?);
    /// let settings = KubernetesSettings::default().in_namespace("workers");
    /// let provider = KubernetesProvider::connect(settings, context).await?;
    /// println!("{}", provider.get_capabilities().await?.version);
    /// # Ok(()) }
    /// ```
    pub async fn connect(settings: KubernetesSettings, context: ConnectContext) -> Result<Self> {
        let info = context.info(KubernetesSettings::TYPE);
        Box::pin(Self::open(settings, context, info.clone()))
            .await
            .map_err(|error| error.with_operation(Operation::Connect).with_provider(&info))
    }

    async fn open(settings: KubernetesSettings, context: ConnectContext, info: ProviderInfo) -> Result<Self> {
        let mut problems = Problems::new();
        settings.validate(&mut problems);
        problems.into_result()?;
        context.progress.report("finding the cluster", 0);
        let cluster = Cluster::open(&settings).await?;
        context.progress.report("asking the API server", 30);
        let version = cluster.version().await?;
        context.progress.report("finding out what the cluster can do", 60);
        let reaches_pods = settings.reaches_pods.unwrap_or(cluster.inside);
        let groups = cluster.api_groups().await?;
        let capabilities = capabilities::detect(&version, &groups, reaches_pods);
        let view = Viewpoint { installation: context.installation.clone(), reaches_pods };
        Ok(Self(Arc::new(Shared {
            info,
            settings,
            context,
            cluster,
            view,
            memory: Memory::default(),
            hub: WatchHub::default(),
            mounting: tokio::sync::RwLock::default(),
            capabilities: Arc::new(capabilities),
        })))
    }

    /// The client of kube below, for what this library does not do. Its calls go past the labels that keep installations
    /// apart, and past all policies; kube's types may change with its version.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(provider: hodei_worker_k8s::KubernetesProvider) -> Result<(), Box<dyn std::error::Error>> {
    /// let version = provider.client().apiserver_version().await?;
    /// # Ok(()) }
    /// ```
    pub fn client(&self) -> kube::Client {
        self.0.cluster.client.clone()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Shared {
    pub(crate) fn about(&self, operation: Operation, worker: Option<&WorkerRef>, error: Error) -> Error {
        let error = error.with_operation(operation).with_provider(&self.info);
        match worker {
            Some(worker) => error.with_worker(worker),
            None => error,
        }
    }
}

#[async_trait]
impl WorkerProvider for KubernetesProvider {
    fn info(&self) -> &ProviderInfo {
        &self.0.info
    }

    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        Ok(Arc::clone(&self.0.capabilities))
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

    async fn scale_workers(
        &self,
        group: &GroupRef,
        target: usize,
        options: &ScaleOptions,
    ) -> Result<Vec<WorkerId>> {
        let scaled = Box::pin(self.0.scale(group, target, options)).await;
        scaled.map_err(|error| self.0.about(Operation::Scale, None, error).with_context("group", group))
    }

    async fn autoscale(&self, group: &GroupRef, options: &AutoscaleOptions) -> Result<()> {
        match &options.scaling {
            Some(scaling) => self.autoscale_by(group, scaling, &AutoscalerOptions::default()).await,
            None => {
                let done = Box::pin(self.0.take_back(group)).await;
                done.map_err(|error| {
                    self.0.about(Operation::Autoscale, None, error).with_context("group", group)
                })
            }
        }
    }

    async fn watch_workers(
        &self,
        options: &WatchOptions,
    ) -> Result<BoxStream<'static, Result<WorkerObservation>>> {
        Ok(self.0.watch(&options.filter))
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

    async fn connect_worker_port(&self, worker: &WorkerRef, port: u16) -> Result<Box<dyn WorkerConnection>> {
        let connected = Box::pin(self.0.connect_port(worker, port)).await;
        connected.map_err(|error| self.0.about(Operation::ConnectPort, Some(worker), error))
    }

    async fn worker_stats(&self, worker: &WorkerRef, _: &StatsOptions) -> Result<WorkerStats> {
        let measured = Box::pin(self.0.stats(worker)).await;
        measured.map_err(|error| self.0.about(Operation::Stats, Some(worker), error))
    }
}
