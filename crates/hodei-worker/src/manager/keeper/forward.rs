//! Commands for workers that another host answers for, and what other hosts ask of ours.

use std::{collections::HashSet, sync::Arc};

use hodei_worker_core::{
    Error, ErrorKind, Result, Retry, WorkerId,
    lifecycle::{Input, Worker},
};
use tokio::sync::oneshot;

use super::{Keeper, decide::Cause, slot::Slot, writes::PAUSE};
use crate::manager::{message::Reply, requests::Request};

/// A command that another host has carried out, or refused.
pub(super) struct Forwarded {
    id: WorkerId,
    born: u64,
    result: Result<u64>,
    reply: Reply<Result<Worker>>,
}

impl Keeper {
    /// Has another host carry out a command.
    pub(super) fn forward(&mut self, id: &WorkerId, mut cause: Cause) {
        let worker = self.slots.get(id).and_then(Slot::worker).cloned();
        let request = match (&cause.input, &worker) {
            (Input::Command(command), Some(worker)) => Request::of(worker, command, self.clock.now()),
            _ => None,
        };
        let Some(mut reply) = cause.reply.take() else { return };
        let Some(request) = request else {
            let error =
                Error::new(ErrorKind::Unavailable, "it is not known yet which host answers for the worker");
            let error = error.with_retry(Retry::Safe { after: None }).with_context("worker", id);
            let _ = reply.send(Err(error));
            return;
        };
        let (store, id) = (Arc::clone(&self.store), id.clone());
        self.others.errands.spawn(async move {
            let result = tokio::select! {
                result = request.ask(&*store) => result,
                // Nobody waits for it any more.
                () = reply.closed() => return None,
            };
            Some(Forwarded { id, born: request.born, result, reply })
        });
    }

    /// A command that was forwarded is over: it counts when what became of it is seen here as well, so that whoever gave it
    /// goes on from there.
    pub(super) fn forwarded(&mut self, forwarded: Forwarded) {
        let Forwarded { id, born, result, reply } = forwarded;
        let version = match result {
            Ok(version) => version,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        match self.slots.get(&id).and_then(Slot::worker) {
            Some(worker) if worker.born == born && worker.version < version => {
                self.wait(
                    id,
                    Box::new(move |worker| worker.version >= version || worker.born != born),
                    reply,
                );
            }
            Some(worker) => {
                let _ = reply.send(Ok(worker.clone()));
            }
            None => {
                let error =
                    Error::new(ErrorKind::NotFound, "the worker is no more").with_context("worker", id);
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Carries out what other hosts ask of our workers.
    pub(super) fn requested(&mut self, requests: Vec<Request>) {
        let open: HashSet<_> = requests.iter().map(|request| request.name().to_owned()).collect();
        self.others.requests.retain(|name| open.contains(name));
        for request in requests {
            let is_over = request.is_over(self.clock.now());
            let known = self.slots.get(&request.worker);
            let meant = known.filter(|slot| slot.worker().is_some_and(|worker| worker.born == request.born));
            // A worker that is no more is nobody's, and what is too old is answered by whoever sees it; what cannot be
            // understood, by who understands it.
            let is_anybodys = meant.is_none() && !self.others.unreadable.contains_key(&request.worker);
            let ours = is_over || is_anybodys || meant.is_some_and(|slot| slot.owned);
            if !ours || self.others.hold.is_none() || self.others.requests.contains(request.name()) {
                continue;
            }
            // Of a worker that was not heard of yet nothing can be said.
            let is_unheard = known.is_some_and(|slot| {
                slot.is_writing() || slot.worker().is_none_or(|worker| worker.born < request.born)
            });
            if meant.is_none() && !is_over && (is_unheard || self.seen() < request.born) {
                continue;
            }
            self.others.requests.insert(request.name().to_owned());
            let (reply, answer) = oneshot::channel::<Result<Worker>>();
            let id = request.worker.clone();
            let refusal = if is_over {
                let message = "the request was too old to be carried out: the worker's host was away";
                Some(Error::new(ErrorKind::Timeout, message).with_retry(Retry::Safe { after: None }))
            } else if meant.is_none() {
                Some(Error::new(ErrorKind::NotFound, "the worker was removed meanwhile"))
            } else {
                None
            };
            self.answer_for(request.clone(), answer);
            match refusal {
                Some(error) => drop(reply.send(Err(error.with_context("worker", &id)))),
                None => self.requested_one(&id, request.command(), reply, request),
            }
        }
    }

    /// Answers another host when it is known what came of its request.
    fn answer_for(&mut self, request: Request, answer: oneshot::Receiver<Result<Worker>>) {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        self.others.errands.spawn(async move {
            let result = answer.await.ok()?;
            // Where it changed something, that was written together with the answer.
            let result = result.map(|worker| worker.version);
            // Who asked waits for it.
            while let Err(error) = request.answer(&*store, result.clone(), clock.now()).await {
                tracing::warn!(%error, "another host's request could not be answered yet");
                tokio::time::sleep(PAUSE).await;
            }
            None
        });
    }
}
