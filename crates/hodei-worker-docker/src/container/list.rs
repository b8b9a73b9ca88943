use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use hodei_worker_core::{
    Result, WorkerStatus,
    model::labels,
    provider::{Listing, WorkerFilter},
};

use crate::{names, provider::Shared};

/// Containers that are inspected at once.
const AT_ONCE: usize = 8;

impl Shared {
    /// One request for the list, and one for each worker in it: the engine's list has neither exit codes nor the time
    /// of the start, but for a sentence made for people. Whoever wants to know without asking watches.
    pub(crate) async fn list(&self, filter: &WorkerFilter) -> Result<Listing> {
        let as_of = self.context.clock.now();
        let mut wanted: Vec<(&str, &str)> = Vec::new();
        if let Some(id) = &filter.id {
            wanted.push((labels::WORKER, id.as_str()));
        }
        if let Some(group) = &filter.worker_type {
            wanted.push((labels::WORKER_TYPE, group.as_str()));
        }
        wanted.extend(filter.labels.0.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let listed = self.list_containers(wanted).await?;
        let ours = listed.into_iter().filter_map(|summary| {
            names::ownership(self.installation(), summary.labels.as_ref())?;
            summary.id
        });
        let ids: Vec<String> = ours.collect();
        let workers: Vec<Option<Arc<WorkerStatus>>> = stream::iter(ids)
            .map(|id| async move { self.observe(&id).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let workers = workers.into_iter().flatten().filter(|status| filter.matches_status(status));
        Ok(Listing::new(workers.collect(), as_of))
    }

    /// The status of a container of ours by its id; `None` if it is gone or somebody else's.
    pub(crate) async fn observe(&self, id: &str) -> Result<Option<Arc<WorkerStatus>>> {
        let (reading, as_of) = (self.hub.reading(), self.context.clock.now());
        let inspected = self.inspect(id).await?;
        let status = inspected.and_then(|inspected| self.view.status(&inspected, as_of));
        Ok(status.map(|status| self.hub.saw(&reading, status)))
    }
}
