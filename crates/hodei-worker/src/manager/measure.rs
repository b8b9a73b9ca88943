//! Metrics that are brought up to date when somebody asks.

use std::sync::Arc;

use hodei_worker_core::{Result, WorkerId, lifecycle::Worker};

use super::{WorkerManager, WorkerQuery};
use crate::telemetry::{SampleTarget, Sampled};

impl WorkerManager {
    /// Brings up to date what is measured only when somebody asks: how many workers this host has in which state, how far
    /// subscribers are behind, and what single workers use, as far as
    /// [`sampling`](super::ManagerSettings::sampling) allows. Call it before each scrape, or at an interval.
    ///
    /// # Errors
    /// [`Cancelled`](hodei_worker_core::ErrorKind::Cancelled) when the manager has ended.
    ///
    /// # Cancel safety
    /// When dropped, what was measured is kept.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker::{Result, WorkerManager};
    /// # async fn example(manager: &WorkerManager) -> Result<()> {
    /// let sampled = manager.measure().await?;
    /// println!("{} workers measured", sampled.measured);
    /// # Ok(()) }
    /// ```
    pub async fn measure(&self) -> Result<Sampled> {
        let workers = self.workers(&WorkerQuery::owned()).await?;
        let telemetry = self.telemetry();
        telemetry.workers(workers.iter().filter_map(|worker| Some((&worker.provider, worker.state?))));
        telemetry.bus(&self.events().lag());
        let running: Vec<_> = workers.iter().filter(|worker| worker.alive).collect();
        // They come in the order of their names.
        let after = |after: Option<&WorkerId>, limit| {
            let begin = after.map_or(0, |after| running.partition_point(|worker| worker.id <= *after));
            running[begin..].iter().filter_map(|worker| self.target(worker)).take(limit).collect()
        };
        Ok(self.sampler.sample(running.len(), after).await)
    }

    fn target(&self, worker: &Worker) -> Option<SampleTarget> {
        let provider = self.provider(&worker.provider)?;
        let worker_type = worker.traits.worker_type.clone();
        Some(SampleTarget::new(worker.reference(), worker_type, Arc::clone(provider)))
    }
}
