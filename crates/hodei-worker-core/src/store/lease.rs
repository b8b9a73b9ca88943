use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{
    error::{Error, ErrorKind, Result},
    model::WorkerId,
};

/// The name of a host, for people: 1 to 100 characters. Several lives of one host may have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct HostId(String);

impl HostId {
    /// A host of that name.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is empty, longer than 100 characters, or has control characters.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(Error::new(
                ErrorKind::Config,
                "a host's name has 1 to 100 characters, none of them a control character",
            ));
        }
        Ok(Self(name))
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One lease: a life of a host. Never given twice; a later one has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The right of a host to act for the workers that it owns, for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// Which lease.
    pub id: LeaseId,
    /// Whose.
    pub host: HostId,
    /// How long it holds, by the store's clock, from before the request was sent: the holder counts from there.
    pub ttl: Duration,
}

impl Lease {
    /// That lease of that host.
    pub const fn new(id: LeaseId, host: HostId, ttl: Duration) -> Self {
        Self { id, host, ttl }
    }
}

/// A worker that changed its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenOver {
    /// The worker.
    pub worker: WorkerId,
    /// The version that its stream has; no other host adds to it any more.
    pub version: u64,
    /// The position of the stream's first event: it tells this stream from an earlier one of that name, which was
    /// forgotten.
    pub first: u64,
    /// How often it has changed its owner.
    pub owner_epoch: u64,
}

impl TakenOver {
    /// That worker, with the stream's version and first position, and the owner's epoch.
    pub const fn new(worker: WorkerId, version: u64, first: u64, owner_epoch: u64) -> Self {
        Self { worker, version, first, owner_epoch }
    }
}

/// Who may write, in a store that several hosts share. Time is the store's own.
#[async_trait]
pub trait LeaseStore: fmt::Debug + Send + Sync {
    /// Gives the host a new lease.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable).
    ///
    /// # Cancel safety
    /// When dropped, a lease may be left that runs out by itself.
    async fn acquire(&self, host: &HostId, ttl: Duration) -> Result<Lease>;

    /// Makes the lease hold for its whole time again.
    ///
    /// # Errors
    /// [`Fenced`](ErrorKind::Fenced) when it has run out or was taken over: it never comes back.
    ///
    /// # Cancel safety
    /// When dropped, it may be renewed or not.
    async fn renew(&self, lease: LeaseId) -> Result<Lease>;

    /// Gives the lease up: its workers can be taken over at once.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable).
    ///
    /// # Cancel safety
    /// When dropped, it may be given up or not.
    async fn release(&self, lease: LeaseId) -> Result<()>;

    /// The leases that have run out or were given up, and still own workers.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable).
    ///
    /// # Cancel safety
    /// Reads only.
    async fn ended(&self) -> Result<Vec<LeaseId>>;

    /// Takes over up to `limit` workers of a lease that has ended, and fences its holder for good. The new owner is
    /// `lease`.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the other lease still holds; [`Fenced`](ErrorKind::Fenced) when one's own
    /// does not.
    ///
    /// # Cancel safety
    /// When dropped, workers may have been taken over: [`owned`](Self::owned) tells.
    async fn take_over(&self, lease: LeaseId, from: LeaseId, limit: usize) -> Result<Vec<TakenOver>>;

    /// The workers that the lease owns, in the order of their ids, after `after`.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable).
    ///
    /// # Cancel safety
    /// Reads only.
    async fn owned(&self, lease: LeaseId, after: Option<&WorkerId>, limit: usize) -> Result<Vec<TakenOver>>;
}
