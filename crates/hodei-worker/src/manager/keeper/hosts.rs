//! Workers that other hosts answer for, and the lease of this one.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerId, WorkerStateEvent,
    lifecycle::{Call, Change, Input, Worker},
    store::{Fence, StoredEvent, TakenOver},
};
use tokio::task::JoinSet;

use super::{
    Keeper,
    decide::Cause,
    forward::Forwarded,
    slot::Slot,
    writes::{PAUSE, Written},
};
use crate::manager::{
    hosts::Hold,
    opening::{self, Unreadable, View},
};

/// What a keeper has to do with other hosts. Nothing, where the store is its own.
#[derive(Default)]
pub(super) struct Others {
    /// Whether there may be others.
    pub(super) shared: bool,
    pub(super) hold: Option<Hold>,
    /// Up to where everything that was stored has been heard, whoever wrote it.
    seen: u64,
    /// Workers whose calls wait for the lease to be renewed.
    held_back: HashSet<WorkerId>,
    /// Requests of others that are being carried out.
    pub(super) requests: HashSet<String>,
    /// Workers that are ours once what was written of them has been read.
    taken: Vec<TakenOver>,
    /// Whether all that is stored is being read.
    viewing: bool,
    /// Whether it is to be read once more: what is missing may have been written since that began.
    view_again: bool,
    /// Workers of which something cannot be understood here: nothing is done for them until it can be.
    pub(super) unreadable: HashMap<WorkerId, Unreadable>,
    /// Questions and answers under way.
    pub(super) errands: JoinSet<Option<Forwarded>>,
}

impl Others {
    pub(super) fn with(hold: Option<Hold>, seen: u64, unreadable: HashMap<WorkerId, Unreadable>) -> Self {
        for known in unreadable.values() {
            tracing::error!(error = %known.error, "a worker is left alone");
        }
        Self { shared: hold.is_some(), hold, seen, unreadable, ..Self::default() }
    }

    /// The proof that goes with what is written.
    pub(super) fn fence(&self) -> Option<Fence> {
        self.hold.map(|hold| Fence::new(hold.lease))
    }
}

/// Whether what is known of a worker is all of what was taken over.
fn is_known(slot: Option<&Slot>, taken: &TakenOver) -> bool {
    let known = slot.and_then(Slot::worker);
    known.is_some_and(|known| known.born == taken.first && known.version >= taken.version)
}

fn fenced() -> Error {
    Error::new(ErrorKind::Fenced, "this host does not answer for the worker any more; another one does")
        .with_help("try again: the request goes to the other host then")
}

impl Keeper {
    /// Up to where all that is stored is known.
    pub(super) fn seen(&self) -> u64 {
        if self.others.shared { self.others.seen } else { self.position }
    }

    /// Whether a call may be made now; if not, it is made when the lease has been renewed.
    pub(super) fn may_call(&mut self, id: &WorkerId) -> bool {
        if !self.others.shared || self.others.hold.is_some_and(|hold| hold.may_call()) {
            return true;
        }
        self.others.held_back.insert(id.clone());
        false
    }

    pub(super) fn leased(&mut self, hold: Hold) {
        self.others.hold = Some(hold);
        for id in std::mem::take(&mut self.others.held_back) {
            // A look, where nothing is intended.
            let looks =
                self.slots.get(&id).and_then(Slot::worker).is_some_and(|worker| worker.pending.is_none());
            self.resume(&id);
            if looks {
                self.act(&id, Call::Observe);
            }
        }
    }

    /// Others answer for all workers from now on, or will.
    pub(super) fn lease_lost(&mut self) {
        self.others.hold = None;
        self.others.held_back.clear();
        self.others.taken.clear();
        self.calls.abort_all();
        let ours: Vec<_> =
            self.slots.iter().filter(|(_, slot)| slot.owned).map(|(id, _)| id.clone()).collect();
        for id in ours {
            self.disown(&id);
        }
    }

    /// Gives the lease up, so that others need not wait for its end.
    pub(super) async fn release(&mut self) {
        self.watchers.abort_all();
        let (Some(hold), Some(leases)) = (self.others.hold, self.store.leases()) else { return };
        match tokio::time::timeout(super::writes::PAUSE, leases.release(hold.lease)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease could not be given up; it runs out by itself")
            }
            Err(_) => tracing::warn!("the store does not answer; the lease runs out by itself"),
        }
    }

    /// This host does not answer for the worker any more.
    fn disown(&mut self, id: &WorkerId) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        (slot.owned, slot.stands_out) = (false, false);
        slot.abandon();
        self.care.shared().degradation.forget(id);
        if slot.is_busy().is_some() {
            let busy = slot.busy();
            (busy.look_at, busy.write_at) = (None, None);
            for mut cause in std::mem::take(&mut busy.queue) {
                cause.answer(Err(fenced()));
            }
        }
        self.arm(id);
        self.care_for(id);
        self.make_up(id);
        self.drop_empty(id);
    }

    /// Takes in what was stored, by whomever.
    pub(super) fn stored(&mut self, events: Vec<StoredEvent>) {
        for stored in events {
            self.position = self.position.max(stored.position);
            self.stored_one(&stored);
            self.others.seen = self.others.seen.max(stored.position);
        }
        // Of some, this may have been the last that was missing.
        let taken = std::mem::take(&mut self.others.taken);
        self.took_over(taken, PAUSE);
    }

    fn stored_one(&mut self, stored: &StoredEvent) {
        let id = &stored.worker;
        let was_removed = self.was_removed(id, stored.position);
        match self.slots.get_mut(id) {
            // What is written here is taken in when it is acknowledged.
            Some(slot) if slot.is_writing() => {
                slot.skipped = slot.skipped.max(stored.position);
                return;
            }
            Some(slot) => {
                let known = slot.worker().map_or(0, |worker| worker.version);
                let position = slot.worker().map_or(0, |worker| worker.position);
                if stored.position <= position {
                    return;
                }
                if stored.version != known + 1 {
                    self.view();
                    return;
                }
                if slot.owned {
                    self.disown(id);
                }
            }
            // The rest of one that is no more, or cannot be understood.
            None if stored.version > 1 => {
                let is_over = |event: WorkerStateEvent| matches!(event.change, Change::Terminated);
                if WorkerStateEvent::from_stored(stored).is_ok_and(is_over) {
                    self.others.unreadable.remove(id);
                    self.others.taken.retain(|taken| taken.worker != *id);
                }
                return;
            }
            // One that was made and removed here, before what is stored was heard.
            None if was_removed => return,
            None => {
                self.others.unreadable.remove(id);
                self.slots.insert(id.clone(), Slot::of_another());
            }
        }
        match WorkerStateEvent::from_stored(stored) {
            Ok(event) => self.heard(id, vec![event]),
            Err(error) => self.put_aside(id, stored.position, error),
        }
    }

    /// Whether a worker of that name is known to have ended at that position or later.
    pub(super) fn was_removed(&self, id: &WorkerId, position: u64) -> bool {
        self.removed.get(id).is_some_and(|removed| removed.position >= position)
    }

    /// Leaves a worker alone of which something at that position cannot be understood.
    pub(super) fn put_aside(&mut self, id: &WorkerId, position: u64, error: Error) {
        if self.others.unreadable.contains_key(id) {
            return;
        }
        tracing::error!(%error, "a worker is left alone");
        self.tell_in_vain(id, &error);
        let owned = self.slots.get(id).is_some_and(|slot| slot.owned);
        if let Some(mut worker) = self.slots.get(id).and_then(Slot::worker).cloned() {
            if owned && position <= worker.position {
                // Nobody else wrote: should it come to be understood, it is this host's still.
                let Worker { version, born, owner_epoch, .. } = worker;
                self.others.taken.push(TakenOver::new(id.clone(), version, born, owner_epoch));
            }
            worker.state = None;
            self.care.changed(&worker, false);
        }
        self.others.unreadable.insert(id.clone(), Unreadable { position, error });
        // What waits is answered with that.
        self.forget(id);
    }

    /// Folds what another host wrote.
    pub(super) fn heard(&mut self, id: &WorkerId, events: Vec<WorkerStateEvent>) {
        for event in events {
            let position = event.event_id;
            let Some(worker) = self.take_in(id, vec![event], position) else { return };
            if worker.state.is_none() {
                self.ended(id, &worker);
                return;
            }
        }
    }

    /// Nothing is being written for a worker any more. Where others wrote meanwhile, what they wrote is made up for: their
    /// events may be of another worker of that name, so that versions alone do not say what is missing.
    pub(super) fn make_up(&mut self, id: &WorkerId) {
        let Some(slot) = self.slots.get_mut(id).filter(|slot| !slot.is_writing()) else { return };
        let known = slot.worker().map_or(0, |worker| worker.position);
        if std::mem::take(&mut slot.skipped) > known {
            self.view();
        }
    }

    /// Reads all that is stored.
    pub(super) fn view(&mut self) {
        self.view_after(Duration::ZERO);
    }

    fn view_after(&mut self, pause: Duration) {
        if std::mem::replace(&mut self.others.viewing, true) {
            self.others.view_again = true;
        } else {
            let store = Arc::clone(&self.store);
            let read = async move {
                tokio::time::sleep(pause).await;
                Written::Viewed(opening::read(&*store).await)
            };
            self.writes.push(read.boxed());
        }
    }

    /// All that was stored has been read, in place of what was missed.
    pub(super) fn viewed(&mut self, view: Result<View>) {
        self.others.viewing = false;
        let mut view = match view {
            Ok(view) => view,
            Err(_) if self.is_closing() => return,
            Err(error) => {
                tracing::warn!(%error, "what other hosts wrote cannot be read, and is tried again");
                self.view_after(PAUSE);
                return;
            }
        };
        self.position = self.position.max(view.position);
        self.others.seen = self.others.seen.max(view.position);
        for (id, known) in std::mem::take(&mut view.unreadable) {
            let slot = self.slots.get(&id);
            // What is being written tells by itself, and what was heard later counts more.
            let is_later = slot.and_then(Slot::worker).is_some_and(|worker| worker.position > view.position);
            if !is_later && !slot.is_some_and(Slot::is_writing) && !self.was_removed(&id, known.position) {
                self.put_aside(&id, known.position, known.error);
            }
        }
        // What was put aside later than this was read stays so.
        self.others
            .unreadable
            .retain(|id, known| known.position > view.position || !view.workers.contains_key(id));
        for (id, removed) in std::mem::take(&mut view.removed) {
            if !self.was_removed(&id, removed.position) {
                self.removed.insert(id, removed);
            }
        }
        let gone: Vec<_> = self
            .slots
            .iter()
            .filter(|(id, slot)| {
                // One that was heard of later than the view was read is no part of it.
                let is_later = slot.worker().is_none_or(|worker| worker.position > view.position);
                !slot.owned && !slot.is_writing() && !is_later && !view.workers.contains_key(*id)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            if let Some(mut worker) = self.slots.get(&id).and_then(Slot::worker).cloned() {
                worker.state = None;
                self.care.changed(&worker, false);
                self.tell_waiting(&worker);
                self.ended(&id, &worker);
            }
        }
        for (id, opened) in view.workers.drain() {
            let Some(worker) = opened.worker else { continue };
            if self.was_removed(&id, worker.position) || self.others.unreadable.contains_key(&id) {
                continue;
            }
            let known = self.slots.get(&id);
            let newer = known.and_then(Slot::worker).is_none_or(|known| known.position < worker.position);
            if !newer || known.is_some_and(Slot::is_writing) {
                continue;
            }
            if known.is_some_and(|slot| slot.owned) {
                // Somebody else wrote.
                self.disown(&id);
            }
            let slot = self.slots.entry(id.clone()).or_insert_with(Slot::of_another);
            slot.set_worker(Some(worker.clone()));
            self.care.changed(&worker, false);
            self.tell_waiting(&worker);
        }
        if std::mem::take(&mut self.others.view_again) {
            self.view();
        }
        let taken = std::mem::take(&mut self.others.taken);
        self.took_over(taken, PAUSE);
    }

    /// Takes workers over as soon as all of them is known, which is read after that pause if it is not.
    pub(super) fn took_over(&mut self, taken: Vec<TakenOver>, pause: Duration) {
        for taken in taken {
            let known = self.slots.get(&taken.worker).filter(|slot| slot.owned).and_then(Slot::worker);
            if known.is_some_and(|known| known.born == taken.first)
                || self.was_removed(&taken.worker, taken.first)
            {
                // It is ours already, or is no more.
            } else if self.others.unreadable.contains_key(&taken.worker) {
                // Should it come to be understood, it is this host's.
                self.others.taken.push(taken);
            } else if is_known(self.slots.get(&taken.worker), &taken) {
                self.take_over(taken);
            } else {
                // What was written last has not been heard yet. Nobody writes any more until it is known.
                self.others.taken.push(taken);
                if !self.others.viewing {
                    self.view_after(pause);
                }
            }
        }
    }

    /// Whether this host may give a worker jobs: the one that answers for it has to know of them.
    pub(super) fn takes_jobs(&self, id: &WorkerId) -> Result<()> {
        if self.known(id)?.is_none() {
            return Err(Error::new(ErrorKind::NotFound, "there is no such worker").with_context("worker", id));
        }
        if self.slots.get(id).is_some_and(|slot| slot.owned) {
            return Ok(());
        }
        let error =
            Error::new(ErrorKind::Conflict, "another host answers for the worker, and gives it its jobs");
        Err(error.with_context("worker", id).with_help("choose among the workers of this host"))
    }

    /// Says of which workers that are this host's now nothing is done.
    pub(super) fn tell_unreadable(&self, taken: &[TakenOver]) {
        for taken in taken.iter().filter(|taken| self.others.unreadable.contains_key(&taken.worker)) {
            // What runs of it goes on running.
            tracing::error!(worker = %taken.worker, "a worker was taken over that cannot be cared for");
        }
    }

    fn take_over(&mut self, taken: TakenOver) {
        let Some(hold) = self.others.hold else { return };
        let Some(slot) = self.slots.get_mut(&taken.worker) else { return };
        slot.owned = true;
        if let Some(worker) = slot.worker() {
            self.care.changed(worker, true);
        }
        let input = Input::TakenOver { lease: hold.lease.0, owner_epoch: taken.owner_epoch };
        self.handle(&taken.worker, Cause::of(input));
    }
}
