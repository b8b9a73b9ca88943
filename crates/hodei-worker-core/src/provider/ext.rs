use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;

use super::{
    CreateOptions, LogItem, LogOptions, StartOptions, StopOptions, WatchOptions, WorkerFilter, WorkerProvider,
};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{WorkerConfig, WorkerHandle, WorkerRef},
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
    /// As [`get_worker_status`](WorkerProvider::get_worker_status), [`stop_worker`](WorkerProvider::stop_worker)
    /// and [`start_worker`](WorkerProvider::start_worker).
    ///
    /// # Cancel safety
    /// When dropped, it may be stopped or restarted. Repeating it may restart it once more: keep the run and call
    /// `start_worker` where that matters.
    async fn restart_worker(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        let run = self.get_worker_status(worker).await?.run.clone();
        self.stop_worker(worker, options).await?;
        self.start_worker(worker, &StartOptions::after(run)).await
    }

    /// Waits, by a watch, until the worker's status satisfies the condition, or it is gone: then the last status is
    /// `Absent`. News from before the call does not count.
    ///
    /// # Errors
    /// Where the watch fails; [`Unsupported`](ErrorKind::Unsupported) where the provider has none.
    ///
    /// # Cancel safety
    /// Reads only.
    async fn wait_until(
        &self,
        worker: &WorkerRef,
        condition: &(dyn for<'a> Fn(&'a WorkerStatus) -> bool + Sync),
    ) -> Result<Arc<WorkerStatus>> {
        let options = WatchOptions::filter(WorkerFilter::id(worker.id.clone()));
        let mut changes = self.watch_workers(&options).await?;
        // Read after the watch was opened, so that nothing falls between; a watch that others have open may still tell
        // what was the case before.
        let begun = self.get_worker_status(worker).await?;
        let settled = |status: &WorkerStatus| status.phase == WorkerPhase::Absent || condition(status);
        if settled(&begun) {
            return Ok(begun);
        }
        let mut listed = false;
        while let Some(change) = changes.next().await {
            let doubtful = match change? {
                WorkerObservation::Listed(status) | WorkerObservation::Applied(status)
                    if status.worker == *worker =>
                {
                    listed = true;
                    let fits = condition(&status);
                    if fits && status.as_of > begun.as_of {
                        return Ok(status);
                    }
                    // Told before we asked, or about then: it may be what was, and it may be what is.
                    fits
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
                let status = self.get_worker_status(worker).await?;
                if settled(&status) {
                    return Ok(status);
                }
            }
        }
        let error =
            Error::new(ErrorKind::Unavailable, "the watch ended").with_retry(Retry::Safe { after: None });
        Err(error.with_worker(worker))
    }

    /// Waits, by a watch, until the run that the worker has at the time of the call has ended, or it is gone.
    ///
    /// # Errors
    /// As [`wait_until`](WorkerProviderExt::wait_until).
    ///
    /// # Cancel safety
    /// Reads only.
    async fn wait_for_exit(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        self.wait_until(worker, &|status: &WorkerStatus| status.phase.is_over()).await
    }

    /// All that the worker has written by now, both streams together.
    ///
    /// # Errors
    /// As [`worker_logs`](WorkerProvider::worker_logs).
    ///
    /// # Cancel safety
    /// Reads only.
    async fn collect_logs(&self, worker: &WorkerRef, options: &LogOptions) -> Result<Vec<u8>> {
        let mut logs = self.worker_logs(worker, options).await?;
        let mut all = Vec::new();
        while let Some(item) = logs.next().await {
            if let LogItem::Chunk(chunk) = item? {
                all.extend_from_slice(&chunk.bytes);
            }
        }
        Ok(all)
    }
}

impl<T: WorkerProvider + ?Sized> WorkerProviderExt for T {}
