//! The workers of a project that exist.

use std::{collections::BTreeMap, sync::Arc};

use hodei_worker_core::{Result, WorkerProvider, WorkerRef, WorkerStatus, provider::WorkerFilter};

use super::names;

/// One worker of a service.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Instance {
    /// The service.
    pub service: String,
    /// Which of its workers, from 1.
    pub number: usize,
    /// What its provider says of it.
    pub status: Arc<WorkerStatus>,
}

impl Instance {
    /// The worker, for its provider.
    pub fn worker(&self) -> &WorkerRef {
        &self.status.worker
    }
    /// A short name for people: `web-1`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.service, self.number)
    }
    pub(super) fn key(&self) -> (String, usize) {
        (self.service.clone(), self.number)
    }
    pub(super) fn of(status: Arc<WorkerStatus>) -> Option<Self> {
        let service = status.labels.get(names::SERVICE)?.clone();
        let number = status.labels.get(names::NUMBER)?.parse().ok()?;
        Some(Self { service, number, status })
    }
    /// The containers whose namespaces it shares.
    pub(super) fn shares(&self) -> &str {
        self.status.labels.get(names::SHARES).map_or("", String::as_str)
    }
    /// What tells its configuration from another.
    pub(super) fn hash(&self) -> &str {
        self.status.labels.get(names::HASH).map_or("", String::as_str)
    }
}

/// All of a project's workers, by service and number; older generations of one come last.
#[derive(Debug, Default, Clone)]
pub(super) struct Present(pub(super) BTreeMap<(String, usize), Vec<Instance>>);

impl Present {
    pub(super) async fn list(provider: &dyn WorkerProvider, project: &str) -> Result<Self> {
        let listing = provider.list_workers(&WorkerFilter::all().label(names::PROJECT, project)).await?;
        let mut all: BTreeMap<_, Vec<Instance>> = BTreeMap::new();
        for instance in listing.workers.into_iter().filter_map(Instance::of) {
            all.entry(instance.key()).or_default().push(instance);
        }
        for generations in all.values_mut() {
            generations.sort_by_key(|instance| std::cmp::Reverse(instance.status.worker.generation));
        }
        Ok(Self(all))
    }

    /// The newest generation of each.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Instance> {
        self.0.values().filter_map(|generations| generations.first())
    }

    pub(super) fn get(&self, service: &str, number: usize) -> &[Instance] {
        self.0.get(&(service.to_owned(), number)).map_or(&[], Vec::as_slice)
    }

    /// Those of a service, in the order of their numbers.
    pub(super) fn of(&self, service: &str) -> impl Iterator<Item = &Instance> {
        self.newest().filter(move |instance| instance.service == service)
    }
}
