//! Who waits for what.

use std::collections::HashMap;

use hodei_worker_core::{Error, ErrorKind, Result, WorkerId, lifecycle::Worker};

use super::{Keeper, slot::Slot};
use crate::manager::message::{Reply, Until};

type Waiter = (Until, Reply<Result<Worker>>);

#[derive(Default)]
pub(super) struct Waiting {
    workers: HashMap<WorkerId, Vec<Waiter>>,
    pub(super) quiet: Vec<Reply<()>>,
    pub(super) synced: Vec<Reply<()>>,
}

impl Keeper {
    pub(super) fn wait(&mut self, id: WorkerId, until: Until, reply: Reply<Result<Worker>>) {
        match self.slots.get(&id).and_then(Slot::worker) {
            Some(worker) if until(worker) => {
                let _ = reply.send(Ok(worker.clone()));
            }
            None if !self.slots.contains_key(&id) => {
                let error =
                    self.others.unreadable.get(&id).map(|known| known.error.clone()).unwrap_or_else(|| {
                        Error::new(ErrorKind::NotFound, "there is no such worker").with_context("worker", &id)
                    });
                let _ = reply.send(Err(error));
            }
            _ => {
                let waiting = self.waiting.workers.entry(id).or_default();
                // Those who gave up.
                waiting.retain(|(_, reply)| !reply.is_closed());
                waiting.push((until, reply));
            }
        }
    }

    /// What is known of a worker; why it cannot be, where something of it cannot be understood.
    pub(super) fn known(&self, id: &WorkerId) -> Result<Option<Worker>> {
        match self.others.unreadable.get(id) {
            Some(unreadable) => Err(unreadable.error.clone()),
            None => Ok(self.slots.get(id).and_then(|slot| slot.worker().cloned())),
        }
    }

    /// Tells those who wait in vain.
    pub(super) fn tell_in_vain(&mut self, id: &WorkerId, error: &Error) {
        for (_, reply) in self.waiting.workers.remove(id).into_iter().flatten() {
            let _ = reply.send(Err(error.clone()));
        }
    }

    /// Tells those who wait for this, and all of them when there is nothing more to come.
    pub(super) fn tell_waiting(&mut self, worker: &Worker) {
        let Some(waiting) = self.waiting.workers.get_mut(&worker.id) else { return };
        let over = worker.state.is_none();
        for (until, reply) in std::mem::take(waiting) {
            if until(worker) {
                let _ = reply.send(Ok(worker.clone()));
            } else if over {
                let error = Error::new(ErrorKind::NotFound, "the worker was removed meanwhile")
                    .with_worker(&worker.reference());
                let _ = reply.send(Err(error));
            } else if !reply.is_closed() {
                waiting.push((until, reply));
            }
        }
        if waiting.is_empty() {
            self.waiting.workers.remove(&worker.id);
        }
    }

    /// Tells those who wait for nothing to be under way, or for the providers.
    pub(super) fn tell_quiet(&mut self) {
        if !self.waiting.synced.is_empty() && self.providers.values().all(|provider| provider.synced) {
            for reply in self.waiting.synced.drain(..) {
                let _ = reply.send(());
            }
        }
        let is_quiet = self.writes.is_empty() && self.calls.is_empty() && self.inbox.is_idle();
        if !self.waiting.quiet.is_empty() && is_quiet {
            for reply in self.waiting.quiet.drain(..) {
                let _ = reply.send(());
            }
        }
    }
}
