use std::{fmt, sync::Arc};

use async_trait::async_trait;
pub use futures::stream::BoxStream;

use super::{
    AutoscaleOptions, CreateOptions, DeleteOptions, ExecOptions, ExecSession, Listing, LogItem, LogOptions,
    Operation, ProviderInfo, ScaleOptions, StartOptions, StatsOptions, StopOptions, WatchOptions,
    WorkerConnection, WorkerFilter, WorkerStats,
};
use crate::{
    capability::ProviderCapabilities,
    error::{Error, Result},
    model::{GroupRef, WorkerConfig, WorkerHandle, WorkerId, WorkerRef},
    status::{WorkerObservation, WorkerStatus},
};

/// What runs workers: a container engine, a cluster, a cloud, the local machine.
///
/// Eight methods are required. The others answer [`Unsupported`](crate::ErrorKind::Unsupported) unless a
/// provider has them, and its [capabilities](ProviderCapabilities) say which. Callers take providers as
/// `Arc<dyn WorkerProvider>`; conveniences are in [`WorkerProviderExt`](super::WorkerProviderExt).
///
/// # Contract
/// - Every call may be repeated, save `exec_in_worker`, and comes to the same as if it had been made once.
/// - Every call may be dropped at any await. What it had set in motion may happen or not; repeating it arrives at
///   the same end as if it had not been dropped.
/// - A provider acts only on what carries the labels of its own installation, and by the platform's own unique id.
/// - A failure to reach the provider is an error of the call, never a state of a worker.
/// - Nothing is retried below this port.
///
/// # Wrappers
/// A type that wraps a provider forwards *every* method, the optional ones too: put
/// `#[deny(clippy::missing_trait_methods)]` on the implementation.
#[async_trait]
pub trait WorkerProvider: fmt::Debug + Send + Sync + 'static {
    /// Which provider it is. Costs nothing.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::WorkerProvider;
    /// fn describe(provider: &dyn WorkerProvider) -> String {
    ///     provider.info().to_string()
    /// }
    /// ```
    fn info(&self) -> &ProviderInfo;

    /// What it can do, as detected when it connected, and again when that may have changed.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when it has to be asked and does not answer.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Capability, Result, WorkerProvider};
    /// # async fn example(provider: &dyn WorkerProvider) -> Result<()> {
    /// let capabilities = provider.get_capabilities().await?;
    /// if !capabilities.supports(Capability::Exec) {
    ///     println!("no exec: {}", capabilities.reason(Capability::Exec).unwrap_or_default());
    /// }
    /// # Ok(()) }
    /// ```
    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>>;

    /// Creates a worker without starting it, fetching its image if it is missing.
    ///
    /// Idempotent per worker id and generation: the same configuration again returns the same worker. Everything
    /// that is created carries the worker's ownership labels.
    ///
    /// Without [`DeferredStart`](crate::Capability::DeferredStart) it begins the worker's first run as well, with the
    /// errors of [`start_worker`](Self::start_worker); a start without `after` then finds it begun and does nothing.
    /// Without [`KeepsEnded`](crate::Capability::KeepsEnded), a worker that has ended may be forgotten: repeating its
    /// creation then makes and runs it anew, so ask for a later generation once a creation has been answered.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) when this generation exists with another configuration;
    /// [`NotFound`](crate::ErrorKind::NotFound) when its image does not exist;
    /// [`Config`](crate::ErrorKind::Config) when the configuration does not fit this provider or machine;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) when it needs what the provider lacks. In all of these
    /// nothing stays behind. After [`Timeout`](crate::ErrorKind::Timeout) the outcome is unknown: repeat it.
    ///
    /// # Cancel safety
    /// When dropped, the worker may exist or not. Repeating the call arrives at exactly one.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerConfig, WorkerProvider, provider::CreateOptions};
    /// # async fn example(provider: &dyn WorkerProvider) -> Result<()> {
    /// let config = WorkerConfig::builder("build-42").command(["make", "all"]).build()?;
    /// let handle = provider.create_worker(&config, &CreateOptions::default()).await?;
    /// assert_eq!(handle.worker.id, config.worker_id);
    /// # Ok(()) }
    /// ```
    async fn create_worker(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle>;

    /// Starts the run that follows `options.after`. If the worker's last run is a later one, it has been started
    /// already, and nothing happens: a repeated start never runs a finished job again.
    ///
    /// Secrets are resolved at each start. Without [`RestartInPlace`](crate::Capability::RestartInPlace) there is a first
    /// run only.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such worker, or none any more where the provider does
    /// not keep it; [`Unsupported`](crate::ErrorKind::Unsupported) for a run after another where there is none:
    /// create the next generation; [`Unavailable`](crate::ErrorKind::Unavailable) when the provider cannot be reached;
    /// [`Conflict`](crate::ErrorKind::Conflict) when the run that it should follow has not ended;
    /// [`Config`](crate::ErrorKind::Config) when a secret that it needs does not exist, or its command cannot be run:
    /// in the latter case the status then has the phase `Exited` without an exit, and says why.
    ///
    /// # Cancel safety
    /// When dropped, the worker may run or not. Repeating the call with the same `after` starts it at most once.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, provider::StartOptions};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// provider.start_worker(worker, &StartOptions::default()).await?; // the first run
    /// let last = provider.get_worker_status(worker).await?.run.clone();
    /// provider.start_worker(worker, &StartOptions::after(last)).await?; // once more, when that is over
    /// # Ok(()) }
    /// ```
    async fn start_worker(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()>;

    /// Asks the worker to stop, waits for its end, and kills it when its grace is over.
    ///
    /// The request is sent once per run; a repeated call only waits, and can shorten the grace. A worker that does
    /// not run, or does not exist, is stopped.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) and [`Timeout`](crate::ErrorKind::Timeout) only.
    ///
    /// # Cancel safety
    /// When dropped, the request may have been sent, and the kill at the deadline may not happen. Repeat it.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, provider::StopOptions};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// provider.stop_worker(worker, &StopOptions::within(Duration::from_secs(10))).await?;
    /// # Ok(()) }
    /// ```
    async fn stop_worker(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()>;

    /// Removes the worker and all that was created for it, killing it if it runs. A missing worker is removed.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) and [`Timeout`](crate::ErrorKind::Timeout) only.
    ///
    /// # Cancel safety
    /// When dropped, it may be removed or not, or in part. Repeating the call arrives at none.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, provider::DeleteOptions};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// provider.delete_worker(worker, &DeleteOptions::default()).await?;
    /// provider.delete_worker(worker, &DeleteOptions::default()).await?; // succeeds as well
    /// # Ok(()) }
    /// ```
    async fn delete_worker(&self, worker: &WorkerRef, options: &DeleteOptions) -> Result<()>;

    /// Reads the worker's status. One that does not exist has the phase
    /// [`Absent`](crate::WorkerPhase::Absent), or [`NotVisibleYet`](crate::WorkerPhase::NotVisibleYet) where
    /// the provider cannot be sure.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) and [`Timeout`](crate::ErrorKind::Timeout) only.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerPhase, WorkerProvider, WorkerRef};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// let status = provider.get_worker_status(worker).await?;
    /// if status.phase == WorkerPhase::Exited {
    ///     println!("{worker} ended: {:?}", status.exit);
    /// }
    /// # Ok(()) }
    /// ```
    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>>;

    /// Lists the installation's workers that the filter means, in every phase.
    ///
    /// # Errors
    /// Any failure to see all of them. A listing is whole or an error; it is never empty because something failed.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, provider::WorkerFilter};
    /// # async fn example(provider: &dyn WorkerProvider) -> Result<()> {
    /// let listing = provider.list_workers(&WorkerFilter::all().label("team", "build")).await?;
    /// println!("{} workers as of {}", listing.workers.len(), listing.as_of);
    /// # Ok(()) }
    /// ```
    async fn list_workers(&self, filter: &WorkerFilter) -> Result<Listing>;

    /// Tells which image a worker would be made of that was created of this configuration now, as
    /// [`WorkerStatus::image_id`] tells it of one that exists: if they differ, its name means another image by now. Needs
    /// [`ImageIds`](crate::Capability::ImageIds).
    ///
    /// An image that is fetched at each creation by the configuration's own options is fetched here too. One that is
    /// missing is not: `None`, as for a configuration without an image.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without the capability; where the image is fetched, those of
    /// [`create_worker`](Self::create_worker) about images.
    ///
    /// # Cancel safety
    /// When dropped, an image may have been fetched. No worker is changed.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerConfig, WorkerProvider, WorkerRef};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef, config: &WorkerConfig) -> Result<()> {
    /// let runs = provider.get_worker_status(worker).await?.image_id.clone();
    /// let image = provider.get_image_id(config).await?;
    /// if image.is_some() && image != runs {
    ///     println!("{worker} runs an older image");
    /// }
    /// # Ok(()) }
    /// ```
    async fn get_image_id(&self, config: &WorkerConfig) -> Result<Option<String>> {
        let _ = config;
        Err(Error::unsupported(Operation::Image))
    }

    /// Sets the size of a group of the platform's own, and returns its members.
    /// Needs [`NativeGroups`](crate::Capability::NativeGroups).
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without the capability;
    /// [`Conflict`](crate::ErrorKind::Conflict) when the group has not the expected size;
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such group and no template to make it of.
    ///
    /// # Cancel safety
    /// When dropped, the size may be set or not.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, provider::ScaleOptions};
    /// # async fn example(provider: &dyn WorkerProvider) -> Result<()> {
    /// let group = "web".parse().expect("a valid group");
    /// let members = provider.scale_workers(&group, 3, &ScaleOptions::default()).await?;
    /// # Ok(()) }
    /// ```
    async fn scale_workers(
        &self,
        group: &GroupRef,
        target: usize,
        options: &ScaleOptions,
    ) -> Result<Vec<WorkerId>> {
        let _ = (group, target, options);
        Err(Error::unsupported(Operation::Scale))
    }

    /// Hands a group's scaling to the platform. Needs
    /// [`AutoScaling`](crate::Capability::AutoScaling).
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without the capability.
    ///
    /// # Cancel safety
    /// When dropped, the policy may be set or not. Repeat it.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, model::ScalingConfiguration, provider::AutoscaleOptions};
    /// # async fn example(provider: &dyn WorkerProvider) -> Result<()> {
    /// let group = "web".parse().expect("a valid group");
    /// provider.autoscale(&group, &AutoscaleOptions::by(ScalingConfiguration::between(1, 10))).await?;
    /// # Ok(()) }
    /// ```
    async fn autoscale(&self, group: &GroupRef, options: &AutoscaleOptions) -> Result<()> {
        let _ = (group, options);
        Err(Error::unsupported(Operation::Autoscale))
    }

    /// Watches workers: `Resync`, `Listed`…, `Synced`, then `Applied` and `Gone` as things change, and the
    /// brackets again after every gap. Needs [`Watch`](crate::Capability::Watch).
    ///
    /// While the source is lost, the watch says `Unsynced` once and goes on by itself with the next picture. A status
    /// has a [`version`](WorkerStatus::version) that orders it with those of `get_worker_status` and `list_workers`; a
    /// provider on a [`WatchHub`](crate::watch::WatchHub) hands what it reads to [`saw`](crate::watch::WatchHub::saw).
    ///
    /// The provider never waits for the reader: for a slow one only the newest status of each worker is kept. An
    /// error ends the stream; open another.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the source cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the stream closes the watch.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerObservation, WorkerProvider, provider::WatchOptions};
    /// # async fn example(provider: &dyn WorkerProvider) -> Result<()> {
    /// use futures::StreamExt as _;
    /// let mut changes = provider.watch_workers(&WatchOptions::default()).await?;
    /// while let Some(change) = changes.next().await {
    ///     match change? {
    ///         WorkerObservation::Applied(status) => println!("{} is {}", status.worker, status.phase),
    ///         WorkerObservation::Gone(gone) => println!("{} is gone", gone.worker),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    async fn watch_workers(
        &self,
        options: &WatchOptions,
    ) -> Result<BoxStream<'static, Result<WorkerObservation>>> {
        let _ = options;
        Err(Error::unsupported(Operation::Watch))
    }

    /// Reads what a worker wrote, over all its runs, while it runs and after. Needs
    /// [`Logs`](crate::Capability::Logs).
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such worker.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, provider::LogOptions};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// use futures::StreamExt as _;
    /// let mut logs = provider.worker_logs(worker, &LogOptions::following().tail(10)).await?;
    /// while let Some(item) = logs.next().await {
    ///     if let Some(line) = item?.chunk() {
    ///         println!("{}", line.text());
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    async fn worker_logs(
        &self,
        worker: &WorkerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        let _ = (worker, options);
        Err(Error::unsupported(Operation::Logs))
    }

    /// Runs a command in a running worker. Not idempotent. Needs [`Exec`](crate::Capability::Exec).
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such worker;
    /// [`Conflict`](crate::ErrorKind::Conflict) when it does not run;
    /// [`Config`](crate::ErrorKind::Config) when there is no such command, where the provider can tell.
    ///
    /// # Cancel safety
    /// When dropped, the command may have been started. Dropping the session ends it where the provider can.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, provider::ExecOptions};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// let output = provider.exec_in_worker(worker, &ExecOptions::new(["uname", "-a"])).await?.collect().await?;
    /// println!("{}", String::from_utf8_lossy(&output.stdout));
    /// # Ok(()) }
    /// ```
    async fn exec_in_worker(&self, worker: &WorkerRef, options: &ExecOptions) -> Result<ExecSession> {
        let _ = (worker, options);
        Err(Error::unsupported(Operation::Exec))
    }

    /// Connects to a TCP port of a running worker through the provider, from hosts too that do not reach its addresses.
    /// Needs [`PortForward`](crate::Capability::PortForward).
    ///
    /// That nobody listens there may be told later, by the first read: see [`WorkerConnection`].
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such worker;
    /// [`Conflict`](crate::ErrorKind::Conflict) when it does not run.
    ///
    /// # Cancel safety
    /// Changes nothing. Dropping the connection closes it.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{WorkerProvider, WorkerRef};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    /// let mut connection = provider.connect_worker_port(worker, 6379).await?;
    /// connection.write_all(b"PING\r\n").await?;
    /// let mut answer = [0; 7];
    /// connection.read_exact(&mut answer).await?;
    /// # Ok(()) }
    /// ```
    async fn connect_worker_port(&self, worker: &WorkerRef, port: u16) -> Result<Box<dyn WorkerConnection>> {
        let _ = (worker, port);
        Err(Error::unsupported(Operation::ConnectPort))
    }

    /// Measures what a running worker uses. Needs [`Monitoring`](crate::Capability::Monitoring).
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such worker;
    /// [`Conflict`](crate::ErrorKind::Conflict) when it does not run.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, provider::StatsOptions};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// let stats = provider.worker_stats(worker, &StatsOptions::default()).await?;
    /// println!("{:?} of CPU, {:?} bytes", stats.cpu_time, stats.memory);
    /// # Ok(()) }
    /// ```
    async fn worker_stats(&self, worker: &WorkerRef, options: &StatsOptions) -> Result<WorkerStats> {
        let _ = (worker, options);
        Err(Error::unsupported(Operation::Stats))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: WorkerProvider + ?Sized> WorkerProvider for Arc<T> {
    fn info(&self) -> &ProviderInfo {
        (**self).info()
    }
    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        (**self).get_capabilities().await
    }
    async fn create_worker(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        (**self).create_worker(config, options).await
    }
    async fn start_worker(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        (**self).start_worker(worker, options).await
    }
    async fn stop_worker(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        (**self).stop_worker(worker, options).await
    }
    async fn delete_worker(&self, worker: &WorkerRef, options: &DeleteOptions) -> Result<()> {
        (**self).delete_worker(worker, options).await
    }
    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        (**self).get_worker_status(worker).await
    }
    async fn list_workers(&self, filter: &WorkerFilter) -> Result<Listing> {
        (**self).list_workers(filter).await
    }
    async fn get_image_id(&self, config: &WorkerConfig) -> Result<Option<String>> {
        (**self).get_image_id(config).await
    }
    async fn scale_workers(
        &self,
        group: &GroupRef,
        target: usize,
        options: &ScaleOptions,
    ) -> Result<Vec<WorkerId>> {
        (**self).scale_workers(group, target, options).await
    }
    async fn autoscale(&self, group: &GroupRef, options: &AutoscaleOptions) -> Result<()> {
        (**self).autoscale(group, options).await
    }
    async fn watch_workers(
        &self,
        options: &WatchOptions,
    ) -> Result<BoxStream<'static, Result<WorkerObservation>>> {
        (**self).watch_workers(options).await
    }
    async fn worker_logs(
        &self,
        worker: &WorkerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        (**self).worker_logs(worker, options).await
    }
    async fn exec_in_worker(&self, worker: &WorkerRef, options: &ExecOptions) -> Result<ExecSession> {
        (**self).exec_in_worker(worker, options).await
    }
    async fn connect_worker_port(&self, worker: &WorkerRef, port: u16) -> Result<Box<dyn WorkerConnection>> {
        (**self).connect_worker_port(worker, port).await
    }
    async fn worker_stats(&self, worker: &WorkerRef, options: &StatsOptions) -> Result<WorkerStats> {
        (**self).worker_stats(worker, options).await
    }
}
