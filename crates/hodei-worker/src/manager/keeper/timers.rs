//! When something is due for a worker: one timer for those that wait for something, none for the others.

use std::time::Duration;

use hodei_worker_core::{
    WorkerId,
    lifecycle::{Call, Input, Pending, Worker},
};
use tokio::time::Instant;

use super::{Keeper, decide::Cause, slot::Slot};

/// The longest wait by the wall clock, which may step.
const LONGEST: Duration = Duration::from_secs(300);

impl Keeper {
    /// Sets the worker's timer to what is due next for it.
    pub(super) fn arm(&mut self, id: &WorkerId) {
        let Some(at) = self.next_due(id) else {
            self.disarm(id);
            if let Some(slot) = self.slots.get_mut(id) {
                slot.rest();
            }
            return;
        };
        let Some(slot) = self.slots.get_mut(id) else { return };
        let busy = slot.busy();
        match &busy.timer {
            Some(timer) => self.timers.reset_at(timer, at),
            None => busy.timer = Some(self.timers.insert_at(id.clone(), at)),
        }
    }

    fn disarm(&mut self, id: &WorkerId) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        if slot.is_busy().is_some_and(|busy| busy.timer.is_some())
            && let Some(timer) = slot.busy().timer.take()
        {
            self.timers.try_remove(&timer);
        }
    }

    fn next_due(&self, id: &WorkerId) -> Option<Instant> {
        let slot = self.slots.get(id)?;
        let busy = slot.is_busy();
        let write_at = busy.and_then(|busy| busy.write_at);
        if write_at.is_some() {
            return write_at;
        }
        if busy.is_some_and(|busy| busy.writing.is_some()) {
            return None;
        }
        let due = slot.worker().and_then(|worker| self.due(slot, worker));
        let look_at = busy.and_then(|busy| busy.look_at);
        [due, look_at].into_iter().flatten().min()
    }

    fn due(&self, slot: &Slot, worker: &Worker) -> Option<Instant> {
        // What another host answers for, or what waits for the lease, is not due here.
        let held_back = slot.stands_out && !self.others.hold.is_none_or(|hold| hold.may_call());
        if !slot.owned || held_back {
            return None;
        }
        let draining = matches!(worker.pending, Some(Pending::Drain { .. }));
        if slot.is_called() && !draining {
            return None;
        }
        let due = worker.due(&self.settings.recovery)?;
        let wait = Duration::try_from(due.duration_since(self.clock.now())).unwrap_or_default();
        Some(Instant::now() + wait.min(LONGEST))
    }

    /// Looks at a worker of which nothing was told: its run does not show, or it could not be looked at before.
    fn look(&mut self, id: &WorkerId) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let Some(worker) = slot.worker() else { return };
        let start = match &worker.pending {
            Some(Pending::Start { after }) => Some(Call::Start { after: after.clone() }),
            // What is pending otherwise has a call that answers for it.
            Some(_) => return,
            None => None,
        };
        let busy = slot.busy();
        busy.looks += 1;
        // A start may be made again: if the run has begun, nothing happens.
        let call = start.filter(|_| busy.looks.is_multiple_of(2)).unwrap_or(Call::Observe);
        self.act(id, call);
    }

    /// A worker's timer has run out.
    pub(super) fn tick(&mut self, id: WorkerId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let busy = slot.busy();
        busy.timer = None;
        let now = Instant::now();
        if busy.write_at.is_some_and(|at| at <= now) {
            busy.write_at = None;
            self.go_on(&id);
            self.make_up(&id);
            return;
        }
        if busy.look_at.is_some_and(|at| at <= now) {
            busy.look_at = None;
            self.look(&id);
        }
        self.handle(&id, Cause::of(Input::Due));
        self.arm(&id);
    }
}
