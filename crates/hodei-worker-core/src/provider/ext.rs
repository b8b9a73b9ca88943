use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;

use super::{
    CreateOptions, LogItem, LogOptions, Operation, StartOptions, StopOptions, WatchOptions, WorkerFilter,
    WorkerProvider,
    exec::{MOST, too_much},
};
use crate::{
    capability::Capability,
    deadline::{self, DeadlinePassed},
    error::{Error, ErrorKind, Result, Retry},
    model::{RunId, WorkerConfig, WorkerHandle, WorkerRef},
    status::{WorkerObservation, WorkerPhase, WorkerStatus},
};

/// Conveniences on top of the port. Every provider has them.
#[async_trait]
pub trait WorkerProviderExt: WorkerProvider {
    /// Creates the first generation of a worker and starts its first run.
    ///
    /// # Errors
    /// As [`create_worker`](WorkerProvider::create_worker) and [`start_worker`](WorkerProvider::start_worker).
    ///
    /// # Cancel safety
    /// As those two: repeating it arrives at one worker that was started once.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerConfig, WorkerProvider, WorkerProviderExt};
    /// # async fn example(provider: &dyn WorkerProvider) -> Result<()> {
    /// let handle = provider.run_worker(&WorkerConfig::builder("a").command(["true"]).build()?).await?;
    /// let end = provider.wait_for_exit(&handle.worker).await?;
    /// println!("{:?}", end.exit);
    /// # Ok(()) }
    /// ```
    async fn run_worker(&self, config: &WorkerConfig) -> Result<WorkerHandle> {
        let handle = self.create_worker(config, &CreateOptions::default()).await?;
        self.start_worker(&handle.worker, &StartOptions::default()).await?;
        Ok(handle)
    }

    /// Starts the run after the worker's last one.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) without [`RestartInPlace`](Capability::RestartInPlace): then the worker is
    /// not stopped either. Else as [`get_worker_status`](WorkerProvider::get_worker_status),
    /// [`stop_worker`](WorkerProvider::stop_worker) and [`start_worker`](WorkerProvider::start_worker).
    ///
    /// # Cancel safety
    /// When dropped, it may be stopped or restarted. Repeating it may restart it once more: keep the run and call
    /// `start_worker` where that matters.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, WorkerProviderExt, WorkerRef, provider::StopOptions};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// provider.restart_worker(worker, &StopOptions::default()).await?;
    /// # Ok(()) }
    /// ```
    async fn restart_worker(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        self.get_capabilities().await?.require([Capability::RestartInPlace])?;
        let run = self.get_worker_status(worker).await?.run.clone();
        self.stop_worker(worker, options).await?;
        self.start_worker(worker, &StartOptions::after(run)).await
    }

    /// Waits, by a watch, until the worker's status satisfies the condition, or it is gone: then the last status is
    /// `Absent`. News from before the call does not count, and what passes between two news is not seen. It waits for as
    /// long as it takes, or up to the deadline of [`policy::within`](crate::policy::within).
    ///
    /// # Errors
    /// Where the watch fails; [`Unsupported`](ErrorKind::Unsupported) where the provider has none;
    /// [`Timeout`](ErrorKind::Timeout) at the caller's deadline.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, WorkerProviderExt, WorkerRef, WorkerStatus};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// let reachable = |status: &WorkerStatus| status.address(8080).is_some() || status.phase.is_over();
    /// println!("{:?}", provider.wait_until(worker, &reachable).await?.address(8080));
    /// # Ok(()) }
    /// ```
    async fn wait_until(
        &self,
        worker: &WorkerRef,
        condition: &(dyn for<'a> Fn(&'a WorkerStatus) -> bool + Sync),
    ) -> Result<Arc<WorkerStatus>> {
        watch_for(self, worker, &mut |status| condition(status)).await
    }

    /// Waits, by a watch, until the run that the worker has at the time of the call has ended, or it is gone. For one
    /// that has not run yet, that is its first run. Where it was started again before its end was seen, the status is
    /// that of a later run, with another `run`: how the awaited one ended is not known then.
    ///
    /// # Errors
    /// As [`wait_until`](WorkerProviderExt::wait_until).
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # use hodei_worker_core::{Result, WorkerProvider, WorkerProviderExt, WorkerRef, policy};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// let end = policy::within(Duration::from_secs(600), provider.wait_for_exit(worker)).await?;
    /// println!("{:?}", end.exit);
    /// # Ok(()) }
    /// ```
    async fn wait_for_exit(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        // A watch tells the newest status only: the end itself may never be seen.
        let mut awaited: Option<(String, Option<RunId>)> = None;
        watch_for(self, worker, &mut |status| {
            let (object, run) = awaited.get_or_insert_with(|| (status.native_id.clone(), None));
            let another = !status.native_id.is_empty() && status.native_id != *object;
            let later = status.run.is_some() && run.is_some() && *run != status.run;
            if run.is_none() {
                run.clone_from(&status.run);
            }
            status.phase.is_over() || another || later
        })
        .await
    }

    /// All that the worker has written by now, both streams together, and whole. Keeps 64 MiB at most; `tail` and `since`
    /// make it less.
    ///
    /// # Errors
    /// As [`worker_logs`](WorkerProvider::worker_logs). [`Corrupt`](ErrorKind::Corrupt) where some output is lost, and
    /// [`Config`](ErrorKind::Config) where there is more than that, or `follow` is set: read the stream then.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, WorkerProviderExt, WorkerRef, provider::LogOptions};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// let last = provider.collect_logs(worker, &LogOptions::all().tail(20)).await?;
    /// println!("{}", String::from_utf8_lossy(&last));
    /// # Ok(()) }
    /// ```
    async fn collect_logs(&self, worker: &WorkerRef, options: &LogOptions) -> Result<Vec<u8>> {
        let about = |error: Error| error.with_operation(Operation::Logs).with_worker(worker);
        if options.follow {
            let endless = Error::config("follow", "what comes cannot be collected");
            return Err(about(endless.with_help("read `worker_logs` piece by piece")));
        }
        let mut logs = self.worker_logs(worker, options).await?;
        let mut all = Vec::new();
        loop {
            let Some(item) = deadline::bounded(logs.next()).await else {
                return Err(about(DeadlinePassed::unsent("the deadline passed while the log was read")));
            };
            let Some(item) = item else { return Ok(all) };
            match item? {
                LogItem::Chunk(chunk) => all.extend_from_slice(&chunk.bytes),
                LogItem::Gap { reason } => {
                    let lost = Error::new(ErrorKind::Corrupt, "some of the output is lost");
                    return Err(about(lost.with_context("reason", reason)));
                }
            }
            if all.len() as u64 > MOST.bytes() {
                return Err(about(too_much(MOST)));
            }
        }
    }
}

impl<T: WorkerProvider + ?Sized> WorkerProviderExt for T {}

/// Reads the worker's status, and then waits for news, until a status satisfies the condition. The first one that the
/// condition sees is that at the time of the call.
async fn watch_for<P: WorkerProvider + ?Sized>(
    provider: &P,
    worker: &WorkerRef,
    condition: &mut (dyn for<'a> FnMut(&'a WorkerStatus) -> bool + Send),
) -> Result<Arc<WorkerStatus>> {
    let options = WatchOptions::filter(WorkerFilter::id(worker.id.clone()));
    let mut changes = provider.watch_workers(&options).await?;
    // Read after the watch was opened, so that nothing falls between; a watch that others have open may still tell
    // what was the case before.
    let begun = provider.get_worker_status(worker).await?;
    let mut settled = |status: &WorkerStatus| status.phase == WorkerPhase::Absent || condition(status);
    if settled(&begun) {
        return Ok(begun);
    }
    let mut listed = false;
    loop {
        let Some(change) = deadline::bounded(changes.next()).await else {
            let late = DeadlinePassed::unsent("the deadline passed while the worker was waited for");
            return Err(late.with_operation(Operation::Watch).with_worker(worker));
        };
        let Some(change) = change else { break };
        let doubtful = match change? {
            WorkerObservation::Listed(status) | WorkerObservation::Applied(status)
                if status.worker == *worker =>
            {
                listed = true;
                match status.is_newer_than(&begun) {
                    Some(false) => false,
                    Some(true) if settled(&status) => return Ok(status),
                    Some(true) => false,
                    // It may be what was, and it may be what is.
                    None => settled(&status),
                }
            }
            WorkerObservation::Resync => {
                listed = false;
                false
            }
            WorkerObservation::Synced => !listed,
            WorkerObservation::Gone(gone) => gone.worker == *worker,
            _ => false,
        };
        if doubtful {
            let status = provider.get_worker_status(worker).await?;
            if settled(&status) {
                return Ok(status);
            }
        }
    }
    let error = Error::new(ErrorKind::Unavailable, "the watch ended").with_retry(Retry::Safe { after: None });
    Err(error.with_worker(worker))
}
