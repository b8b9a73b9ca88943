//! What happened, and what is decided about it.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerConfig, WorkerId,
    lifecycle::{self, Command, Context, CorrelationId, Decision, Input, Worker},
    model::ProviderName,
};

use super::{Keeper, slot::Slot};
use crate::manager::{
    message::{Ordered, Reply},
    requests::Request,
};

/// Something that happened to a worker.
pub(super) struct Cause {
    pub(super) input: Input,
    pub(super) reply: Option<Reply<Result<Worker>>>,
    pub(super) config: Option<WorkerConfig>,
    /// The request of another host that it carries out.
    pub(super) request: Option<Request>,
    correlation: Option<CorrelationId>,
    metadata: BTreeMap<String, String>,
}

impl Cause {
    pub(super) fn of(input: Input) -> Self {
        Self { input, reply: None, config: None, request: None, correlation: None, metadata: BTreeMap::new() }
    }

    pub(super) fn answer(&mut self, result: Result<Worker>) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(result);
        }
    }
}

impl Keeper {
    pub(super) fn ordered(&mut self, ordered: Ordered) {
        let Ordered { id, mut command, config, correlation, metadata, reply } = ordered;
        if self.is_closing() {
            let error = Error::new(ErrorKind::Cancelled, "the manager is being shut down");
            let _ = reply.send(Err(error));
            return;
        }
        if self.slots.contains_key(&id) {
            self.care.before(&id, &mut command);
        }
        let input = Input::Command(command);
        let correlation = Some(correlation);
        self.handle(&id, Cause { input, reply: Some(reply), config, request: None, correlation, metadata });
    }

    /// Carries out what another host asks.
    pub(super) fn requested_one(
        &mut self,
        id: &WorkerId,
        mut command: Command,
        reply: Reply<Result<Worker>>,
        request: Request,
    ) {
        self.care.before(id, &mut command);
        let cause = Cause {
            reply: Some(reply),
            request: Some(request),
            correlation: Some(CorrelationId::random()),
            ..Cause::of(Input::Command(command))
        };
        self.handle(id, cause);
    }

    /// Takes in what happened, now or when what is being written is durable.
    pub(super) fn handle(&mut self, id: &WorkerId, mut cause: Cause) {
        if let Some(unreadable) = self.others.unreadable.get(id) {
            cause.answer(Err(unreadable.error.clone()));
            return;
        }
        match self.slots.get_mut(id) {
            Some(slot) if !slot.owned && !matches!(cause.input, Input::TakenOver { .. }) => {
                // A creation of one that exists changes nothing, and is answered here.
                let creates = matches!(cause.input, Input::Command(Command::Create { .. }));
                if creates && slot.worker().is_some() {
                    self.decide(id, cause);
                } else {
                    self.forward(id, cause);
                }
            }
            Some(slot) if slot.is_writing() => slot.busy().put_off(id, cause),
            None if !matches!(cause.input, Input::Command(_)) => {}
            _ => self.decide(id, cause),
        }
    }

    /// Decides about what waits.
    pub(super) fn go_on(&mut self, id: &WorkerId) {
        loop {
            let Some(slot) = self.slots.get_mut(id) else { return };
            if slot.is_writing() || slot.is_busy().is_none_or(|busy| busy.queue.is_empty()) {
                break;
            }
            let Some(cause) = slot.busy().queue.pop_front() else { break };
            if slot.owned {
                self.decide(id, cause);
            } else {
                self.handle(id, cause);
            }
        }
        self.arm(id);
    }

    fn decide(&mut self, id: &WorkerId, mut cause: Cause) {
        if let Input::Command(Command::Create { generation, .. }) = &mut cause.input
            && let Some(last) = self.removed.get(id)
        {
            *generation = last.generation.next();
        }
        let decided = self.decision(id, &cause);
        let slot = self.slots.entry(id.clone()).or_default();
        match decided {
            Err(error) => {
                cause.answer(Err(error));
                self.drop_empty(id);
            }
            Ok(decision) => {
                if decision.abandons {
                    slot.abandon();
                }
                if cause.correlation.is_some() {
                    slot.busy().correlation.clone_from(&cause.correlation);
                }
                if decision.events.is_empty() {
                    if let Some(worker) = slot.worker().cloned() {
                        cause.answer(Ok(worker));
                    }
                    if let Some(call) = decision.call {
                        self.act(id, call);
                    }
                    self.arm(id);
                    self.drop_empty(id);
                } else {
                    self.write(id, decision, cause);
                }
            }
        }
    }

    fn decision(&mut self, id: &WorkerId, cause: &Cause) -> Result<Decision> {
        let slot = self.slots.get(id);
        let worker = slot.and_then(Slot::worker);
        let mut context = Context::new(self.clock.now(), &self.settings.recovery);
        let alternatives: Vec<ProviderName>;
        if let Some(worker) = worker {
            if let Some(provider) = self.providers.get(&worker.provider) {
                (context.restarts_in_place, context.keeps_stopped) =
                    (provider.restarts_in_place(), provider.keeps_stopped());
            }
            let others =
                self.providers.iter().filter(|(name, other)| **name != worker.provider && other.synced);
            alternatives = others.map(|(name, _)| name.clone()).collect();
            context.alternatives = &alternatives;
        }
        context.chance = self.random.u64(..);
        context.metadata.clone_from(&cause.metadata);
        context.correlation = cause
            .correlation
            .clone()
            .or_else(|| slot.and_then(Slot::is_busy).and_then(|busy| busy.correlation.clone()));
        lifecycle::decide(id, worker, &cause.input, &context)
    }

    /// Forgets a place that never got a worker.
    pub(super) fn drop_empty(&mut self, id: &WorkerId) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.rest();
            if slot.worker().is_none() && slot.is_busy().is_none() {
                self.slots.remove(id);
                let error = Error::new(ErrorKind::NotFound, "the worker was not created");
                self.tell_in_vain(id, &error.with_context("worker", id));
            }
        }
    }
}
