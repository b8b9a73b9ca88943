//! Workers that other hosts answer for, and the lease of this one.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::FutureExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerId, WorkerStateEvent,
    lifecycle::{Command, CorrelationId, Input, Worker},
    store::{Fence, Page, StoredEvent, TakenOver},
};
use tokio::{sync::oneshot, task::JoinSet};

use super::{
    Keeper,
    decide::Cause,
    slot::Slot,
    writes::{UNKNOWN, Written},
};
use crate::manager::{hosts::Hold, message::Ordered, requests::Request};

/// What a keeper has to do with other hosts. Nothing, where the store is its own.
#[derive(Default)]
pub(super) struct Others {
    /// Whether there may be others.
    pub(super) shared: bool,
    pub(super) hold: Option<Hold>,
    /// Workers whose calls wait for the lease to be renewed.
    held_back: HashSet<WorkerId>,
    /// Requests of others that are being carried out.
    requests: HashSet<String>,
    /// Questions and answers under way.
    errands: JoinSet<()>,
}

impl Others {
    pub(super) fn with(hold: Option<Hold>) -> Self {
        Self { shared: hold.is_some(), hold, ..Self::default() }
    }

    /// The proof that goes with what is written.
    pub(super) fn fence(&self) -> Option<Fence> {
        self.hold.map(|hold| Fence::new(hold.lease))
    }
}

fn fenced() -> Error {
    Error::new(ErrorKind::Fenced, "this host does not answer for the worker any more; another one does")
        .with_help("try again: the request goes to the other host then")
}

impl Keeper {
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
            self.resume(&id);
        }
    }

    /// Others answer for all workers from now on, or will.
    pub(super) fn lease_lost(&mut self) {
        self.others.hold = None;
        self.others.held_back.clear();
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
        if slot.is_busy().is_some() {
            let busy = slot.busy();
            (busy.look_at, busy.write_at) = (None, None);
            for mut cause in std::mem::take(&mut busy.queue) {
                cause.answer(Err(fenced()));
            }
        }
        self.arm(id);
        self.care_for(id);
        self.drop_empty(id);
    }

    /// Takes in what was stored, by whomever.
    pub(super) fn stored(&mut self, events: Vec<StoredEvent>) {
        for stored in events {
            self.position = self.position.max(stored.position);
            self.stored_one(&stored);
        }
    }

    fn stored_one(&mut self, stored: &StoredEvent) {
        let id = &stored.worker;
        match self.slots.get(id) {
            // What is written here is taken in when it is acknowledged.
            Some(slot) if slot.is_writing() => return,
            Some(slot) => {
                let known = slot.worker().map_or(0, |worker| worker.version);
                let position = slot.worker().map_or(0, |worker| worker.position);
                if stored.position <= position {
                    return;
                }
                if stored.version != known + 1 {
                    self.catch_up(id, known, None);
                    return;
                }
                if slot.owned {
                    self.disown(id);
                }
            }
            // The rest of one that is no more.
            None if stored.version > 1 => return,
            None => {
                self.slots.insert(id.clone(), Slot::of_another());
            }
        }
        match WorkerStateEvent::from_stored(stored) {
            Ok(event) => self.heard(id, vec![event]),
            Err(error) => tracing::error!(%error, "what another host wrote cannot be read"),
        }
    }

    /// Folds what another host wrote.
    fn heard(&mut self, id: &WorkerId, events: Vec<WorkerStateEvent>) {
        for event in events {
            let position = event.event_id;
            let Some(worker) = self.take_in(id, vec![event], position) else { return };
            if worker.state.is_none() {
                self.ended(id, &worker);
                return;
            }
        }
    }

    /// Reads what is missing of a worker's stream, and then takes it over where it is ours now.
    fn catch_up(&mut self, id: &WorkerId, after: u64, taken: Option<TakenOver>) {
        let (store, id) = (Arc::clone(&self.store), id.clone());
        self.writes.push(
            async move {
                let page = store.read_stream(&id, after, UNKNOWN).await;
                Written::Caught(id, page, taken)
            }
            .boxed(),
        );
    }

    pub(super) fn caught(&mut self, id: &WorkerId, page: Result<Page>, taken: Option<TakenOver>) {
        let known = self.slots.get(id).and_then(Slot::worker).map_or(0, |worker| worker.version);
        let events = page.and_then(|page| {
            let news = page.events.iter().filter(|stored| stored.version > known);
            Ok((news.map(WorkerStateEvent::from_stored).collect::<Result<Vec<_>>>()?, page.is_last))
        });
        match events {
            Ok((events, is_last)) => {
                if !events.is_empty() {
                    self.slots.entry(id.clone()).or_insert_with(Slot::of_another);
                    self.heard(id, events);
                }
                let version = self.slots.get(id).and_then(Slot::worker).map_or(0, |worker| worker.version);
                match taken {
                    _ if !is_last => self.catch_up(id, version, taken),
                    Some(taken) => self.take_over(taken),
                    None => {}
                }
            }
            Err(error) => {
                tracing::warn!(worker = %id, %error, "what another host wrote cannot be read, and is tried again");
                let (store, id) = (Arc::clone(&self.store), id.clone());
                self.writes.push(
                    async move {
                        tokio::time::sleep(super::writes::PAUSE).await;
                        let page = store.read_stream(&id, known, UNKNOWN).await;
                        Written::Caught(id, page, taken)
                    }
                    .boxed(),
                );
            }
        }
    }

    pub(super) fn took_over(&mut self, taken: Vec<TakenOver>) {
        for taken in taken {
            let known =
                self.slots.get(&taken.worker).and_then(Slot::worker).map_or(0, |worker| worker.version);
            if known < taken.version {
                let id = taken.worker.clone();
                self.catch_up(&id, known, Some(taken));
            } else {
                self.take_over(taken);
            }
        }
    }

    fn take_over(&mut self, taken: TakenOver) {
        let Some(hold) = self.others.hold else { return };
        let Some(slot) = self.slots.get_mut(&taken.worker) else { return };
        slot.owned = true;
        let input = Input::TakenOver { lease: hold.lease.0, owner_epoch: taken.owner_epoch };
        self.handle(&taken.worker, Cause::of(input));
    }

    /// Has another host carry out a command.
    pub(super) fn forward(&mut self, id: &WorkerId, mut cause: Cause) {
        let request = match &cause.input {
            Input::Command(command) => Request::of(id, command),
            _ => None,
        };
        let (Some(request), Some(reply)) = (request, cause.reply.take()) else { return };
        let worker = self.slots.get(id).and_then(Slot::worker).cloned();
        let store = Arc::clone(&self.store);
        self.others.errands.spawn(async move {
            let answer = request.ask(&*store).await;
            let known = worker.ok_or_else(fenced);
            let _ = reply.send(answer.and(known));
        });
    }

    /// Carries out what other hosts ask of our workers.
    pub(super) fn requested(&mut self, requests: Vec<Request>) {
        while self.others.errands.try_join_next().is_some() {}
        let open: HashSet<_> = requests.iter().map(|request| request.name().to_owned()).collect();
        self.others.requests.retain(|name| open.contains(name));
        for request in requests {
            let known = self.slots.get(&request.worker);
            // A worker that is no more is nobody's: whoever sees the request answers.
            let ours = known.map_or(self.others.hold.is_some(), |slot| slot.owned);
            if !ours || !self.others.requests.insert(request.name().to_owned()) {
                continue;
            }
            let (reply, answer) = oneshot::channel::<Result<Worker>>();
            let command: Command = request.command();
            let id = request.worker.clone();
            let store = Arc::clone(&self.store);
            self.others.errands.spawn(async move {
                let Ok(result) = answer.await else { return };
                // What became of it is known; that it is asked again does no harm.
                if let Err(error) = request.answer(&*store, result.map(drop)).await {
                    tracing::warn!(%error, "another host's request could not be answered");
                }
            });
            self.ordered(Ordered {
                id,
                command,
                config: None,
                correlation: CorrelationId::random(),
                metadata: HashMap::new().into_iter().collect(),
                reply,
            });
        }
    }
}
