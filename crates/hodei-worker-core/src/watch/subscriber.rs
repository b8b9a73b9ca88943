use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::Notify;

use super::{Shared, picture::Picture};
use crate::{
    error::{Error, ErrorReport, Result},
    model::WorkerRef,
    provider::WorkerFilter,
    status::{Gone, WorkerObservation, WorkerStatus},
};

/// One watcher: what it has not read yet.
pub(super) struct Subscriber {
    filter: WorkerFilter,
    pending: Mutex<Pending>,
    wake: Notify,
}

#[derive(Default)]
struct Pending {
    /// A listing that is being told, what is left of it.
    listing: Option<Listing>,
    /// The newest word on each worker, with its place in `order`.
    changes: BTreeMap<WorkerRef, (u64, WorkerObservation)>,
    /// The order in which the first unread word on each came.
    order: BTreeMap<u64, WorkerRef>,
    placed: u64,
    /// The workers that this watcher takes to exist: nobody else need be told that one is gone.
    told: BTreeSet<WorkerRef>,
    /// Why the source is lost, if that has not been told.
    lost: Option<Arc<ErrorReport>>,
    failed: Option<Error>,
    ended: bool,
}

struct Listing {
    begun: bool,
    left: BTreeMap<WorkerRef, Arc<WorkerStatus>>,
}

impl Pending {
    fn change(&mut self, worker: &WorkerRef, observation: WorkerObservation) {
        let is_gone = matches!(observation, WorkerObservation::Gone(_));
        // What has not been listed yet is listed as it is now, or not at all.
        if let Some(listing) = &mut self.listing
            && listing.left.contains_key(worker)
        {
            match observation {
                WorkerObservation::Applied(status) => drop(listing.left.insert(worker.clone(), status)),
                _ => drop(listing.left.remove(worker)),
            }
        } else if is_gone && !self.told.contains(worker) {
            if let Some((place, _)) = self.changes.remove(worker) {
                self.order.remove(&place);
            }
        } else if let Some((_, known)) = self.changes.get_mut(worker) {
            *known = observation;
        } else {
            self.placed += 1;
            self.order.insert(self.placed, worker.clone());
            self.changes.insert(worker.clone(), (self.placed, observation));
        }
    }

    fn next_change(&mut self) -> Option<WorkerObservation> {
        let (_, worker) = self.order.pop_first()?;
        let (_, change) = self.changes.remove(&worker)?;
        match change {
            WorkerObservation::Gone(_) => self.told.remove(&worker),
            _ => self.told.insert(worker),
        };
        Some(change)
    }
}

impl Subscriber {
    pub(super) fn new(filter: WorkerFilter) -> Self {
        Self { filter, pending: Mutex::default(), wake: Notify::new() }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn resync(&self, all: &Picture) {
        let meant = all.workers().filter(|status| self.filter.matches_status(status));
        let left = meant.map(|status| (status.worker.clone(), Arc::clone(status))).collect();
        let mut pending = self.pending();
        pending.changes.clear();
        pending.order.clear();
        pending.told.clear();
        pending.lost = None;
        pending.listing = Some(Listing { begun: false, left });
        drop(pending);
        self.wake.notify_one();
    }

    pub(super) fn applied(&self, status: &Arc<WorkerStatus>) {
        if self.filter.matches_status(status) {
            self.change(&status.worker, WorkerObservation::Applied(Arc::clone(status)));
        }
    }

    pub(super) fn gone(&self, known: &WorkerStatus, gone: &Gone) {
        if self.filter.matches_status(known) {
            self.change(&gone.worker, WorkerObservation::Gone(gone.clone()));
        }
    }

    fn change(&self, worker: &WorkerRef, observation: WorkerObservation) {
        self.pending().change(worker, observation);
        self.wake.notify_one();
    }

    pub(super) fn lost(&self, why: &Arc<ErrorReport>) {
        self.pending().lost = Some(Arc::clone(why));
        self.wake.notify_one();
    }

    pub(super) fn fail(&self, error: Error) {
        self.pending().failed = Some(error);
        self.wake.notify_one();
    }

    fn take(&self) -> Option<Option<Result<WorkerObservation>>> {
        let mut pending = self.pending();
        if pending.ended {
            return Some(None);
        }
        if let Some(listing) = &mut pending.listing {
            if !listing.begun {
                listing.begun = true;
                return Some(Some(Ok(WorkerObservation::Resync)));
            }
            return Some(Some(Ok(match listing.left.pop_first() {
                Some((worker, status)) => {
                    pending.told.insert(worker);
                    WorkerObservation::Listed(status)
                }
                None => {
                    pending.listing = None;
                    WorkerObservation::Synced
                }
            })));
        }
        if let Some(change) = pending.next_change() {
            return Some(Some(Ok(change)));
        }
        if let Some(why) = pending.lost.take() {
            return Some(Some(Ok(WorkerObservation::Unsynced(why))));
        }
        let error = pending.failed.take()?;
        pending.ended = true;
        Some(Some(Err(error)))
    }

    /// How many changes have not been read yet.
    #[cfg(test)]
    pub(super) fn unread(&self) -> usize {
        let pending = self.pending();
        assert_eq!(pending.changes.len(), pending.order.len());
        pending.changes.len()
    }

    async fn next(&self) -> Option<Result<WorkerObservation>> {
        loop {
            if let Some(item) = self.take() {
                return item;
            }
            self.wake.notified().await;
        }
    }
}

/// Leaves the hub when the stream is dropped.
struct Membership {
    shared: Arc<Shared>,
    subscriber: Arc<Subscriber>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.shared.leave(&self.subscriber);
    }
}

pub(super) fn stream(
    shared: Arc<Shared>,
    subscriber: Arc<Subscriber>,
) -> BoxStream<'static, Result<WorkerObservation>> {
    let membership = Membership { shared, subscriber };
    stream::unfold(membership, |membership| async move {
        let item = membership.subscriber.next().await?;
        Some((item, membership))
    })
    .boxed()
}
