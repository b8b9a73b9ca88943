use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::Duration};

use super::{
    super::{Batch, HostId, Lease, LeaseId, SnapshotWrite, TakenOver, refusal},
    content::Content,
};
use crate::{
    clock::{Clock, Timestamp},
    error::Result,
    model::WorkerId,
};

/// Who may write.
#[derive(Debug)]
pub(super) struct Leases {
    clock: Arc<dyn Clock>,
    /// All that were ever given.
    given: Vec<Given>,
    owners: BTreeMap<WorkerId, Owner>,
}

#[derive(Debug)]
struct Given {
    host: HostId,
    ttl: Duration,
    /// `None` when it has ended for good.
    ends: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    lease: LeaseId,
    epoch: u64,
}

impl Leases {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, given: Vec::new(), owners: BTreeMap::new() }
    }

    fn given(&mut self, lease: LeaseId) -> Option<&mut Given> {
        lease.0.checked_sub(1).and_then(|index| self.given.get_mut(index as usize))
    }
    fn holds(&self, lease: LeaseId) -> bool {
        let given = lease.0.checked_sub(1).and_then(|index| self.given.get(index as usize));
        given.and_then(|given| given.ends).is_some_and(|ends| self.clock.now() < ends)
    }
    fn end_of(&self, ttl: Duration) -> Option<Timestamp> {
        Some(self.clock.now().checked_add(ttl).unwrap_or(Timestamp::MAX))
    }

    /// Whether its writer may write the batch.
    pub(super) fn check(&self, batch: &Batch) -> Result<()> {
        let Some(fence) = batch.fence else {
            return if batch.is_state_alone() { Ok(()) } else { Err(refusal::unfenced()) };
        };
        if !self.holds(fence.lease) {
            return Err(refusal::ended(fence.lease));
        }
        for stream in &batch.streams {
            let owner = self.owners.get(&stream.worker).map(|owner| owner.lease);
            if owner.is_some_and(|owner| owner != fence.lease) {
                return Err(refusal::owned(&stream.worker, fence.lease, owner));
            }
        }
        for worker in batch.snapshots.iter().map(SnapshotWrite::worker) {
            let owner = self.owners.get(worker).map(|owner| owner.lease);
            let is_new = owner.is_none() && batch.streams.iter().any(|stream| stream.worker == *worker);
            if !is_new && owner != Some(fence.lease) {
                return Err(refusal::owned(worker, fence.lease, owner));
            }
        }
        Ok(())
    }

    /// Notes the owners of the streams of a batch that is written.
    pub(super) fn apply(&mut self, batch: &Batch) {
        let Some(fence) = batch.fence else { return };
        for stream in &batch.streams {
            let new = Owner { lease: fence.lease, epoch: 0 };
            self.owners.entry(stream.worker.clone()).or_insert(new);
        }
        for snapshot in &batch.snapshots {
            if let SnapshotWrite::Forget { worker, .. } = snapshot {
                self.owners.remove(worker);
            }
        }
    }

    pub(super) fn acquire(&mut self, host: &HostId, ttl: Duration) -> Lease {
        let ends = self.end_of(ttl);
        self.given.push(Given { host: host.clone(), ttl, ends });
        Lease::new(LeaseId(self.given.len() as u64), host.clone(), ttl)
    }
    pub(super) fn renew(&mut self, lease: LeaseId) -> Result<Lease> {
        if !self.holds(lease) {
            return Err(refusal::ended(lease));
        }
        let now = self.clock.now();
        let given = self.given(lease).ok_or_else(|| refusal::ended(lease))?;
        given.ends = Some(now.checked_add(given.ttl).unwrap_or(Timestamp::MAX));
        Ok(Lease::new(lease, given.host.clone(), given.ttl))
    }
    pub(super) fn release(&mut self, lease: LeaseId) {
        if let Some(given) = self.given(lease) {
            given.ends = None;
        }
    }

    pub(super) fn ended(&self) -> Vec<LeaseId> {
        let mut ended: Vec<_> = self.owners.values().map(|owner| owner.lease).collect();
        ended.sort_unstable();
        ended.dedup();
        ended.retain(|lease| !self.holds(*lease));
        ended
    }

    pub(super) fn take_over(
        &mut self,
        lease: LeaseId,
        from: LeaseId,
        limit: usize,
        content: &Content,
    ) -> Result<Vec<TakenOver>> {
        if !self.holds(lease) {
            return Err(refusal::ended(lease));
        }
        if self.holds(from) {
            return Err(refusal::still_holds(from));
        }
        self.release(from);
        let of_theirs = self.owners.iter_mut().filter(|(_, owner)| owner.lease == from).take(limit);
        let taken = of_theirs.map(|(worker, owner)| {
            *owner = Owner { lease, epoch: owner.epoch + 1 };
            TakenOver::new(worker.clone(), content.version(worker), content.begin(worker), owner.epoch)
        });
        Ok(taken.collect())
    }

    pub(super) fn owned(
        &self,
        lease: LeaseId,
        after: Option<&WorkerId>,
        limit: usize,
        content: &Content,
    ) -> Vec<TakenOver> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let owners = self.owners.range::<WorkerId, _>((from, Bound::Unbounded));
        let own = owners.filter(|(_, owner)| owner.lease == lease).take(limit);
        own.map(|(worker, owner)| {
            TakenOver::new(worker.clone(), content.version(worker), content.begin(worker), owner.epoch)
        })
        .collect()
    }
}
