use std::{ops::Deref, sync::Arc, time::Duration};

use bytes::Bytes;

use super::StorePlace;
use crate::{
    error::Result,
    model::WorkerId,
    store::{Appended, Batch, Fence, HostId, Lease, LeaseStore, Page, Store, StoredEvent},
    testkit::{CaseFailure, CaseResult},
};

/// What a case works with: the place of a store of its own.
pub(super) struct StoreContext {
    place: Arc<dyn StorePlace>,
}

impl StoreContext {
    pub(super) fn new(place: Arc<dyn StorePlace>) -> Self {
        Self { place }
    }

    /// The store as a host has it; with a lease of its own for an hour, where it is shared.
    pub(super) async fn open(&self) -> CaseResult<Hand> {
        self.open_for("suite", Duration::from_secs(3600)).await
    }

    /// As [`open`](Self::open), for a host of that name, with a lease for that time.
    pub(super) async fn open_for(&self, host: &str, ttl: Duration) -> CaseResult<Hand> {
        let store = self.place.open().await?;
        let lease = match store.leases() {
            Some(leases) => Some(leases.acquire(&HostId::new(host)?, ttl).await?),
            None => None,
        };
        Ok(Hand { store, lease })
    }

    /// As another host has it at the same time; not applicable where a store is for one host.
    pub(super) async fn another(&self, hand: &Hand, ttl: Duration) -> CaseResult<Hand> {
        hand.leases()?;
        self.open_for("another", ttl).await
    }

    /// How long short leases hold.
    pub(super) fn lease_time(&self) -> Duration {
        self.place.lease_time()
    }
    /// Lets the time of short leases pass, where the store's clock can be moved.
    pub(super) async fn pass_lease_time(&self) {
        self.place.pass(self.lease_time()).await;
    }
}

/// A store, and the right to write to it.
#[derive(Clone)]
pub(super) struct Hand {
    pub(super) store: Arc<dyn Store>,
    pub(super) lease: Option<Lease>,
}

impl Deref for Hand {
    type Target = dyn Store;
    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

impl Hand {
    fn fence(&self) -> Option<Fence> {
        self.lease.as_ref().map(|lease| Fence::new(lease.id))
    }
    /// Appends, with the hand's lease.
    pub(super) async fn put(&self, batch: Batch) -> Result<Appended> {
        self.store.append(batch.fenced(self.fence())).await
    }
    /// Appends events of these texts to a worker's stream.
    pub(super) async fn say(&self, worker: &WorkerId, expected: u64, texts: &[&str]) -> Result<Appended> {
        self.put(Batch::new().append(worker.clone(), expected, events(texts))).await
    }
    /// The store's leases; not applicable without.
    pub(super) fn leases(&self) -> CaseResult<&dyn LeaseStore> {
        let none = || CaseFailure::inapplicable("one host has this store to itself");
        self.store.leases().ok_or_else(none)
    }
    /// Its own lease; not applicable without.
    pub(super) fn lease(&self) -> CaseResult<&Lease> {
        let none = || CaseFailure::inapplicable("one host has this store to itself");
        self.lease.as_ref().ok_or_else(none)
    }
    /// All events of the log, read in pages of that size.
    pub(super) async fn whole_log(&self, page: usize) -> CaseResult<Vec<StoredEvent>> {
        let mut events = Vec::new();
        let mut after = 0;
        loop {
            let read = self.store.read(after, page).await?;
            if read.events.len() > page || (read.events.is_empty() && !read.is_last) {
                return Err(CaseFailure::new(format!("a page of {page} is {read:?}")));
            }
            events.extend(read.events);
            if read.is_last {
                return Ok(events);
            }
            after = read.next;
        }
    }
    /// All events of a worker's stream.
    pub(super) async fn stream(&self, worker: &WorkerId) -> Result<Page> {
        self.store.read_stream(worker, 0, 100_000).await
    }
}

/// The worker's id.
pub(super) fn worker(id: &str) -> CaseResult<WorkerId> {
    Ok(id.parse()?)
}
/// An event of that text.
pub(super) fn event(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
/// Events of these texts.
pub(super) fn events(texts: &[&str]) -> Vec<Bytes> {
    texts.iter().map(|text| event(text)).collect()
}
/// The texts of these events.
pub(super) fn texts(page: &Page) -> Vec<String> {
    page.events.iter().map(|event| String::from_utf8_lossy(&event.event).into_owned()).collect()
}
