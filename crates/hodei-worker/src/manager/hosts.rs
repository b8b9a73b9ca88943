//! Sharing a store with other hosts: the lease of this one, the workers of those that are gone, and what others write.

use std::{sync::Arc, time::Duration};

use super::{mailbox, message::Message, requests};
use crate::telemetry::Telemetry;
use hodei_worker_core::{
    Clock, Error, ErrorKind, Result, WorkerId,
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
            if self.keep(hold).await.is_err() {
                return;
            }
            tracing::warn!(host = %self.host, lease = %hold.lease, "the lease is lost: others answer for the workers");
            self.telemetry.lease_lost(&self.host);
            self.telemetry.lease(&self.host, None);
            if self.tell(Message::LeaseLost).await.is_err() {
                return;
            }
            hold = loop {
                match tokio::time::timeout(self.ttl, self.acquire()).await {
                    Ok(Ok(hold)) => break hold,
                    Err(_) => tracing::warn!("there is no new lease yet: the store does not answer"),
                    Ok(Err(error)) => tracing::warn!(%error, "there is no new lease yet"),
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

    /// Until it is lost. It is renewed beside everything else: whatever does not answer, the lease's end is noticed in time.
    async fn keep(&self, hold: Hold) -> Result<(), Over> {
        tokio::select! {
            renewed = self.go_on_renewing(hold) => renewed,
            looked = self.go_on_looking(hold.lease) => looked,
        }
    }

    /// Until it can be renewed no more.
    async fn go_on_renewing(&self, mut hold: Hold) -> Result<(), Over> {
        let pause = (self.ttl / 4).min(PAUSE);
        let mut renew_at = since_boot() + self.ttl / 4;
        loop {
            if since_boot() >= renew_at {
                match self.renew(&hold).await {
                    Ok(renewed) => {
                        hold = renewed;
                        self.tell(Message::Leased(renewed)).await?;
                        renew_at = since_boot() + self.ttl / 4;
                    }
                    Err(error) if error.kind() == ErrorKind::Fenced => return Ok(()),
                    Err(error) => tracing::warn!(%error, "the lease could not be renewed"),
                }
            }
            self.telemetry.lease(&self.host, Some(hold.left()));
            if hold.left().is_zero() {
                return Ok(());
            }
            tokio::time::sleep(pause.min(hold.left())).await;
        }
    }

    async fn renew(&self, hold: &Hold) -> Result<Hold> {
        let asked = since_boot();
        // One that is not answered is asked again, as long as there is time.
        let patience = (self.ttl / 4).min(hold.left());
        let renewed = tokio::time::timeout(patience, self.leases()?.renew(hold.lease)).await;
        let lease = renewed.map_err(|_| Error::new(ErrorKind::Timeout, "the store does not answer"))??;
        Ok(Hold::of(&lease, asked))
    }

    /// Until the store says that the lease is lost.
    async fn go_on_looking(&self, lease: LeaseId) -> Result<(), Over> {
        let pause = (self.ttl / 4).min(PAUSE);
        let mut forget_at = since_boot();
        // Whether workers may have been taken over of which nothing was heard.
        let mut unsure = false;
        loop {
            if since_boot() >= forget_at {
                let forgotten = requests::forget_answers(&*self.store, self.clock.now()).await;
                forget_at = since_boot() + forgotten.unwrap_or(self.ttl);
            }
            match self.look_around(lease, &mut unsure).await? {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Fenced => return Ok(()),
                Err(error) => tracing::warn!(%error, "other hosts could not be looked at"),
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes over the workers of hosts that are gone, and what others ask of ours.
    async fn look_around(&self, lease: LeaseId, unsure: &mut bool) -> Result<Result<()>, Over> {
        if *unsure {
            match self.find_taken(lease).await? {
                Ok(()) => *unsure = false,
                Err(error) => return Ok(Err(error)),
            }
        }
        if let Err(error) = self.take_over(lease, unsure).await? {
            return Ok(Err(error));
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

    async fn take_over(&self, lease: LeaseId, unsure: &mut bool) -> Result<Result<()>, Over> {
        let (leases, ended) = match self.leases() {
            Ok(leases) => (leases, leases.ended().await),
            Err(error) => return Ok(Err(error)),
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => return Ok(Err(error)),
        };
        for ended in ended {
            loop {
                let taken: Vec<TakenOver> = match leases.take_over(lease, ended, AT_ONCE).await {
                    Ok(taken) => taken,
                    // It was renewed at the last moment, or another host was first.
                    Err(error) if error.kind() == ErrorKind::Conflict => break,
                    Err(error) => {
                        // It may have come to pass, and nobody would ever care for those.
                        *unsure = true;
                        return Ok(Err(error));
                    }
                };
                if taken.is_empty() {
                    break;
                }
                tracing::info!(host = %self.host, from = %ended, workers = taken.len(), "workers are taken over");
                self.tell(Message::TookOver(lease, taken)).await?;
            }
        }
        Ok(Ok(()))
    }

    /// Tells of all workers that are this host's by the store: those that are known to be are passed over.
    async fn find_taken(&self, lease: LeaseId) -> Result<Result<()>, Over> {
        let mut after: Option<WorkerId> = None;
        loop {
            let page = match self.leases() {
                Ok(leases) => leases.owned(lease, after.as_ref(), AT_ONCE).await,
                Err(error) => Err(error),
            };
            let page = match page {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            let Some(last) = page.last() else { return Ok(Ok(())) };
            after = Some(last.worker.clone());
            self.tell(Message::TookOver(lease, page)).await?;
        }
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
