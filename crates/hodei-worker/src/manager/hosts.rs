//! Sharing a store with other hosts: the lease of this one, the workers of those that are gone, and what others write.

use std::{sync::Arc, time::Duration};

use super::{mailbox, message::Message, requests};
use crate::telemetry::Telemetry;
use hodei_worker_core::{
    Clock, Error, ErrorKind, Result,
    store::{HostId, LeaseId, LeaseStore, Store, TakenOver},
};

/// Workers that are taken over at once.
const AT_ONCE: usize = 256;
/// Events that are read at once.
const PAGE: usize = 256;
/// The pause after the store could not be reached.
const PAUSE: Duration = Duration::from_millis(500);

/// The time since this machine began, suspended times included: what a lease is counted in.
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The right to act, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    pub(super) lease: LeaseId,
    until: Duration,
    ttl: Duration,
}

impl Hold {
    fn of(lease: &hodei_worker_core::store::Lease, asked: Duration) -> Self {
        Self { lease: lease.id, until: asked + lease.ttl, ttl: lease.ttl }
    }
    /// How much of it is left.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_sub(since_boot())
    }
    /// Whether a call may still be sent: not at the end, when it might come to be made after the lease.
    pub(super) fn may_call(&self) -> bool {
        self.left() > self.ttl / 4
    }
}

/// What a host does for its lease and for those of others.
pub(super) struct Hosts {
    store: Arc<dyn Store>,
    host: HostId,
    ttl: Duration,
    clock: Arc<dyn Clock>,
    telemetry: Telemetry,
    keeper: mailbox::WeakSender,
}

/// The keeper is gone.
struct Over;

impl Hosts {
    pub(super) fn new(
        store: Arc<dyn Store>,
        host: HostId,
        ttl: Duration,
        clock: Arc<dyn Clock>,
        telemetry: Telemetry,
        keeper: mailbox::WeakSender,
    ) -> Self {
        Self { store, host, ttl, clock, telemetry, keeper }
    }

    fn leases(&self) -> Result<&dyn LeaseStore> {
        self.store.leases().ok_or_else(|| Error::new(ErrorKind::Unexpected, "the store has no leases"))
    }

    /// Gets a lease.
    pub(super) async fn acquire(&self) -> Result<Hold> {
        let asked = since_boot();
        let lease = self.leases()?.acquire(&self.host, self.ttl).await?;
        Ok(Hold::of(&lease, asked))
    }

    /// Keeps the lease, and gets another when it is lost.
    pub(super) async fn run(self, mut hold: Hold) {
        loop {
            if self.keep(&mut hold).await.is_err() {
                return;
            }
            tracing::warn!(host = %self.host, lease = %hold.lease, "the lease is lost: others answer for the workers");
            self.telemetry.lease_lost(&self.host);
            self.telemetry.lease(&self.host, None);
            if self.tell(Message::LeaseLost).await.is_err() {
                return;
            }
            hold = loop {
                match self.acquire().await {
                    Ok(hold) => break hold,
                    Err(error) => tracing::warn!(%error, "there is no new lease yet"),
                }
                if self.keeper.upgrade().is_none() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            };
            if self.tell(Message::Leased(hold)).await.is_err() {
                return;
            }
        }
    }

    /// Until it is lost.
    async fn keep(&self, hold: &mut Hold) -> Result<(), Over> {
        let pause = (self.ttl / 4).min(PAUSE);
        let mut renew_at = since_boot() + self.ttl / 4;
        let mut forget_at = since_boot();
        loop {
            if since_boot() >= renew_at {
                match self.renew(hold.lease).await {
                    Ok(renewed) => {
                        *hold = renewed;
                        self.tell(Message::Leased(renewed)).await?;
                        renew_at = since_boot() + self.ttl / 4;
                    }
                    Err(error) if error.kind() == ErrorKind::Fenced => return Ok(()),
                    Err(error) => tracing::warn!(%error, "the lease could not be renewed"),
                }
                if hold.left().is_zero() {
                    return Ok(());
                }
            }
            if since_boot() >= forget_at {
                let forgotten = requests::forget_answers(&*self.store, self.clock.now()).await;
                forget_at = since_boot() + forgotten.unwrap_or(self.ttl);
            }
            self.telemetry.lease(&self.host, Some(hold.left()));
            match self.look_around(hold.lease).await? {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Fenced => return Ok(()),
                Err(error) => tracing::warn!(%error, "other hosts could not be looked at"),
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn renew(&self, lease: LeaseId) -> Result<Hold> {
        let asked = since_boot();
        // A renewal that takes longer than the lease comes too late.
        let renewed = tokio::time::timeout(self.ttl, self.leases()?.renew(lease)).await;
        let lease = renewed.map_err(|_| Error::new(ErrorKind::Timeout, "the store does not answer"))??;
        Ok(Hold::of(&lease, asked))
    }

    /// Takes over the workers of hosts that are gone, and what others ask of ours.
    async fn look_around(&self, lease: LeaseId) -> Result<Result<()>, Over> {
        let leases = match self.leases() {
            Ok(leases) => leases,
            Err(error) => return Ok(Err(error)),
        };
        let ended = match leases.ended().await {
            Ok(ended) => ended,
            Err(error) => return Ok(Err(error)),
        };
        for ended in ended {
            loop {
                let taken: Vec<TakenOver> = match leases.take_over(lease, ended, AT_ONCE).await {
                    Ok(taken) => taken,
                    // It was renewed at the last moment, or another host was first.
                    Err(error) if error.kind() == ErrorKind::Conflict => break,
                    Err(error) => return Ok(Err(error)),
                };
                if taken.is_empty() {
                    break;
                }
                tracing::info!(host = %self.host, from = %ended, workers = taken.len(), "workers are taken over");
                self.tell(Message::TookOver(taken)).await?;
            }
        }
        let requests = match requests::open(&*self.store).await {
            Ok(requests) => requests,
            Err(error) => return Ok(Err(error)),
        };
        if !requests.is_empty() {
            self.tell(Message::Requested(requests)).await?;
        }
        Ok(Ok(()))
    }

    async fn tell(&self, message: Message) -> Result<(), Over> {
        self.keeper.send(message).await.map_err(|_| Over)
    }
}

/// Tells the keeper what is stored after that position, whoever wrote it.
pub(super) async fn tail(store: Arc<dyn Store>, keeper: mailbox::WeakSender, mut after: u64) {
    loop {
        let read = async {
            store.changed(after).await?;
            store.read(after, PAGE).await
        };
        match read.await {
            Ok(page) => {
                after = page.next.max(after);
                if page.events.is_empty() {
                    continue;
                }
                if keeper.send(Message::Stored(page.events)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "what other hosts write cannot be read, and is tried again");
                if keeper.upgrade().is_none() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
