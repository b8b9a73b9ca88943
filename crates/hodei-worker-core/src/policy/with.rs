use std::{fmt, future::Future, sync::Arc};

use async_trait::async_trait;

use super::Call;
use crate::{
    capability::ProviderCapabilities,
    error::Result,
    model::{GroupRef, WorkerConfig, WorkerHandle, WorkerId, WorkerRef},
    provider::{
        AutoscaleOptions, BoxStream, CreateOptions, DeleteOptions, ExecOptions, ExecSession, Listing,
        LogItem, LogOptions, Operation, ProviderInfo, ScaleOptions, StartOptions, StatsOptions, StopOptions,
        WatchOptions, WorkerConnection, WorkerFilter, WorkerProvider, WorkerStats,
    },
    status::{WorkerObservation, WorkerStatus},
};

/// The answer to a watch.
pub(super) type Observations = BoxStream<'static, Result<WorkerObservation>>;

/// A decision about calls that is the same for all operations.
///
/// # Examples
/// ```
/// use std::{future::Future, sync::atomic::{AtomicU64, Ordering::Relaxed}};
/// use hodei_worker_core::{Result, policy::{Call, Policy}};
///
/// #[derive(Debug, Default)]
/// struct Attempts(AtomicU64);
///
/// impl Policy for Attempts {
///     async fn run<T, F, Fut>(&self, _: Call<'_>, attempt: F) -> Result<T>
///     where
///         T: Send,
///         F: Fn() -> Fut + Send + Sync,
///         Fut: Future<Output = Result<T>> + Send,
///     {
///         self.0.fetch_add(1, Relaxed);
///         attempt().await
///     }
/// }
/// ```
pub trait Policy: fmt::Debug + Send + Sync + 'static {
    /// Makes the call by `attempt`: once, several times or not at all.
    ///
    /// # Errors
    /// Those of the attempt, and the policy's own.
    ///
    /// # Cancel safety
    /// It may be dropped at any await, and must then give back what it holds.
    fn run<T, F, Fut>(&self, call: Call<'_>, attempt: F) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send;

    /// As [`run`](Self::run), for the read of one worker's status, whose answer a policy may remember.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    fn status<F, Fut>(
        &self,
        call: Call<'_>,
        attempt: F,
    ) -> impl Future<Output = Result<Arc<WorkerStatus>>> + Send
    where
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<Arc<WorkerStatus>>> + Send,
    {
        self.run(call, attempt)
    }

    /// As [`run`](Self::run), for the read of the capabilities.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    fn capabilities<F, Fut>(
        &self,
        call: Call<'_>,
        attempt: F,
    ) -> impl Future<Output = Result<Arc<ProviderCapabilities>>> + Send
    where
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<Arc<ProviderCapabilities>>> + Send,
    {
        self.run(call, attempt)
    }

    /// As [`run`](Self::run), for the opening of a watch, whose observations a policy may see pass.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    fn watch<F, Fut>(
        &self,
        call: Call<'_>,
        attempt: F,
    ) -> impl Future<Output = Result<BoxStream<'static, Result<WorkerObservation>>>> + Send
    where
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<BoxStream<'static, Result<WorkerObservation>>>> + Send,
    {
        self.run(call, attempt)
    }
}

/// What can be put around a provider. Every [`Policy`] can.
pub trait Layer {
    /// Puts it around `inner`.
    fn layer(self, inner: Arc<dyn WorkerProvider>) -> Arc<dyn WorkerProvider>;
}

impl<P: Policy> Layer for P {
    fn layer(self, inner: Arc<dyn WorkerProvider>) -> Arc<dyn WorkerProvider> {
        Arc::new(With::new(self, inner))
    }
}

/// Where [`With`] finds the provider that it forwards to: there already, or behind a handle. Sealed.
pub trait Inner: fmt::Debug + Send + Sync + 'static {
    /// Which provider it is or will be.
    fn info(&self) -> &ProviderInfo;
    /// The provider.
    ///
    /// # Errors
    /// When it is not there yet.
    fn provider(&self) -> Result<&dyn WorkerProvider>;
}

impl Inner for Arc<dyn WorkerProvider> {
    fn info(&self) -> &ProviderInfo {
        (**self).info()
    }
    fn provider(&self) -> Result<&dyn WorkerProvider> {
        Ok(&**self)
    }
}

/// A provider with a policy around each call: the one place where the port is forwarded.
#[derive(Debug)]
pub struct With<P, I = Arc<dyn WorkerProvider>> {
    policy: P,
    inner: I,
}

impl<P: Policy> With<P> {
    /// Puts the policy around the provider.
    pub fn new(policy: P, inner: Arc<dyn WorkerProvider>) -> Self {
        Self { policy, inner }
    }
    /// The policy.
    pub fn policy(&self) -> &P {
        &self.policy
    }
}

impl<P: Policy, I: Inner> With<P, I> {
    pub(super) fn around(inner: I, policy: P) -> Self {
        Self { policy, inner }
    }
    fn call(&self, operation: Operation) -> Call<'_> {
        Call::new(operation, self.inner.info()).below(self.inner.provider().ok())
    }
    fn about<'a>(&'a self, operation: Operation, worker: &'a WorkerRef) -> Call<'a> {
        self.call(operation).worker(worker)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: Policy, I: Inner> WorkerProvider for With<P, I> {
    fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }
    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        let call = self.call(Operation::Capabilities);
        self.policy.capabilities(call, || async { self.inner.provider()?.get_capabilities().await }).await
    }
    async fn create_worker(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        let worker = WorkerRef { id: config.worker_id.clone(), generation: options.generation };
        let call = self.about(Operation::Create, &worker).config(config);
        self.policy.run(call, || async { self.inner.provider()?.create_worker(config, options).await }).await
    }
    async fn start_worker(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        let call = self.about(Operation::Start, worker);
        self.policy.run(call, || async { self.inner.provider()?.start_worker(worker, options).await }).await
    }
    async fn stop_worker(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        let operation = if options.is_kill() { Operation::Kill } else { Operation::Stop };
        let call = self.about(operation, worker).expected(options.grace);
        self.policy.run(call, || async { self.inner.provider()?.stop_worker(worker, options).await }).await
    }
    async fn delete_worker(&self, worker: &WorkerRef, options: &DeleteOptions) -> Result<()> {
        let call = self.about(Operation::Delete, worker);
        self.policy.run(call, || async { self.inner.provider()?.delete_worker(worker, options).await }).await
    }
    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        let call = self.about(Operation::Status, worker);
        self.policy.status(call, || async { self.inner.provider()?.get_worker_status(worker).await }).await
    }
    async fn list_workers(&self, filter: &WorkerFilter) -> Result<Listing> {
        let call = self.call(Operation::List);
        self.policy.run(call, || async { self.inner.provider()?.list_workers(filter).await }).await
    }
    async fn get_image_id(&self, config: &WorkerConfig) -> Result<Option<String>> {
        let call = self.call(Operation::Image);
        self.policy.run(call, || async { self.inner.provider()?.get_image_id(config).await }).await
    }
    async fn scale_workers(
        &self,
        group: &GroupRef,
        target: usize,
        options: &ScaleOptions,
    ) -> Result<Vec<WorkerId>> {
        let call = self.call(Operation::Scale);
        let attempt = || async { self.inner.provider()?.scale_workers(group, target, options).await };
        self.policy.run(call, attempt).await
    }
    async fn autoscale(&self, group: &GroupRef, options: &AutoscaleOptions) -> Result<()> {
        let call = self.call(Operation::Autoscale);
        self.policy.run(call, || async { self.inner.provider()?.autoscale(group, options).await }).await
    }
    async fn watch_workers(&self, options: &WatchOptions) -> Result<Observations> {
        let call = self.call(Operation::Watch);
        self.policy.watch(call, || async { self.inner.provider()?.watch_workers(options).await }).await
    }
    async fn worker_logs(
        &self,
        worker: &WorkerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        let call = self.about(Operation::Logs, worker);
        self.policy.run(call, || async { self.inner.provider()?.worker_logs(worker, options).await }).await
    }
    async fn exec_in_worker(&self, worker: &WorkerRef, options: &ExecOptions) -> Result<ExecSession> {
        let call = self.about(Operation::Exec, worker);
        self.policy.run(call, || async { self.inner.provider()?.exec_in_worker(worker, options).await }).await
    }
    async fn connect_worker_port(&self, worker: &WorkerRef, port: u16) -> Result<Box<dyn WorkerConnection>> {
        let call = self.about(Operation::ConnectPort, worker);
        self.policy
            .run(call, || async { self.inner.provider()?.connect_worker_port(worker, port).await })
            .await
    }
    async fn worker_stats(&self, worker: &WorkerRef, options: &StatsOptions) -> Result<WorkerStats> {
        let call = self.about(Operation::Stats, worker);
        self.policy.run(call, || async { self.inner.provider()?.worker_stats(worker, options).await }).await
    }
}
