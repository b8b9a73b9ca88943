use std::{sync::Arc, time::Duration};

use bollard::models::ContainerSummary;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hodei_worker_core::{
    ErrorKind, Result, WorkerStatus,
    model::labels,
    provider::{Listing, WorkerFilter},
};

use super::unmarked::Unmarked;
use crate::{client::Answer, error::EngineError, events::is_untold, names, provider::Shared};

/// An engine that does not tell of one container for that long does not hide the others.
const PATIENCE: Duration = Duration::from_secs(5);
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
        let ours: Vec<ContainerSummary> = listed
            .into_iter()
            .filter(|summary| names::ownership(self.installation(), summary.labels.as_ref()).is_some())
            .collect();
        let workers: Vec<Option<Arc<WorkerStatus>>> = stream::iter(ours)
            .map(|summary| async move {
                let id = summary.id.clone().unwrap_or_default();
                self.look_at(&id, Some(summary)).await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        // Whoever watches is told, and looks until more can be said.
        for untold in workers.iter().flatten().filter(|status| is_untold(status)) {
            self.look_again(&untold.native_id);
        }
        let workers = workers.into_iter().flatten().filter(|status| filter.matches_status(status));
        Ok(Listing::new(workers.collect(), as_of))
    }

    /// The status of a container of ours by its id; `None` if it is gone or somebody else's. One that the engine does
    /// not tell of is [`Unknown`](hodei_worker_core::WorkerPhase::Unknown): an engine locks a container while it starts
    /// it, on storage that hangs perhaps for hours, and that must not hide the others.
    pub(crate) async fn observe(&self, id: &str) -> Result<Option<Arc<WorkerStatus>>> {
        self.look_at(id, None).await
    }

    async fn look_at(
        &self,
        id: &str,
        summary: Option<ContainerSummary>,
    ) -> Result<Option<Arc<WorkerStatus>>> {
        let mut unmarked = Unmarked::default();
        let (reading, as_of, inspected) = loop {
            let (reading, as_of) = (self.hub.reading(), self.context.clock.now());
            let limit = PATIENCE.min(self.engine.timeout());
            let inspected = tokio::time::timeout(limit, self.inspect_at(id)).await;
            let inspected =
                inspected.unwrap_or_else(|_| Err(self.engine.error(EngineError::RequestTimeoutError)));
            match &inspected {
                // A list is not held up: whoever reads it hears of the rest by a watch, or reads again.
                Ok(Some(at)) if summary.is_none() && unmarked.look_again(&at.value, at.date).await => {}
                _ => break (reading, as_of, inspected),
            }
        };
        let why = match inspected {
            Ok(inspected) => {
                let Some(Answer { value: inspected, .. }) = inspected else { return Ok(None) };
                let Some(status) = self.view.status(&inspected, as_of) else { return Ok(None) };
                let copy = Box::pin(self.is_copy(&status.worker, &inspected)).await?;
                return Ok((!copy).then(|| self.hub.saw(&reading, status)));
            }
            Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unexpected) => error,
            Err(error) => return Err(error),
        };
        let summary = match summary {
            Some(summary) => Some(summary),
            // The list takes no lock of a container.
            None => self.list_filtered(serde_json::json!({"id": [id]})).await?.pop(),
        };
        let status = summary.and_then(|summary| self.view.untold(&summary, why.message(), as_of));
        Ok(status.map(|status| self.hub.saw(&reading, status)))
    }
}
