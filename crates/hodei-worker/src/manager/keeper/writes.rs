//! Making decisions durable, and what follows.

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, Retry, Timestamp, WorkerId, WorkerStateEvent,
    lifecycle::{self, Call, Change, Decision, Input, Worker},
    store::{Appended, Batch, Compaction, Expected},
};
use tokio::time::Instant;

use super::{
    Keeper,
    decide::Cause,
    unsure::{Found, Unsure},
};
use crate::manager::{
    config_key,
    opening::{Removed, View},
};

/// The pause after a write that failed, before what happened is decided about anew.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// The pause before a write whose outcome is unknown is made again or looked for.
pub(super) const AGAIN: Duration = Duration::from_millis(200);
/// How often a write is looked for that somebody else may hide for a moment: 10 s, in which a database notices that a
/// client is gone whose transaction is open. Until then nobody sees what was written after that.
const READS: u32 = 50;
/// How many events a worker can have got that we do not know of: one write at most.
pub(super) const UNKNOWN: usize = 64;

/// What is being written for a worker.
pub(super) struct Writing {
    events: Vec<WorkerStateEvent>,
    call: Option<Call>,
    cause: Cause,
    batch: Batch,
    /// How often it was looked for without being found.
    reads: u32,
    /// Whether it may have been written already: an earlier try had no answer.
    unsure: bool,
}

/// What was written, or read.
pub(super) enum Written {
    Events(WorkerId, Result<Appended>),
    /// The worker's stream after an answer was lost.
    Again(WorkerId, Result<Found>, Error),
    /// Snapshots, with the versions that they cover.
    Saved(Vec<(WorkerId, u64)>, Result<Appended>),
    /// All that is stored, where a part of what others wrote was missed.
    Viewed(Result<View>),
    Compacted(Result<Compaction>),
}

impl Keeper {
    /// Has a decision written down; it counts when it is durable.
    pub(super) fn write(&mut self, id: &WorkerId, decision: Decision, mut cause: Cause) {
        let expected = self.slots.get(id).and_then(|slot| slot.worker()).map_or(0, |worker| worker.version);
        if self.others.shared && self.others.hold.is_none() {
            cause.answer(Err(without_lease()));
            self.drop_empty(id);
            return;
        }
        let batch = match batch(id, expected, &decision, &cause, self.clock.now()) {
            Ok(batch) => batch.fenced(self.others.fence()),
            Err(error) => {
                cause.answer(Err(error));
                self.drop_empty(id);
                return;
            }
        };
        let slot = self.slots.entry(id.clone()).or_default();
        let Decision { events, call, .. } = decision;
        slot.busy().writing =
            Some(Writing { events, call, cause, batch: batch.clone(), reads: 0, unsure: false });
        self.append(id, batch, Duration::ZERO);
    }

    /// Appends, after that time.
    fn append(&mut self, id: &WorkerId, batch: Batch, pause: Duration) {
        let (store, id, telemetry) = (Arc::clone(&self.store), id.clone(), self.care.telemetry());
        telemetry.queued(store.info().kind, self.writes.len() + 1);
        self.writes.push(
            async move {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let begun = Instant::now();
                let result = store.append(batch).await;
                let failure = result.as_ref().err().map(Error::kind);
                telemetry.appended(store.info().kind, failure, begun.elapsed());
                Written::Events(id, result)
            }
            .boxed(),
        );
    }

    pub(super) fn written(&mut self, written: Written) {
        match written {
            Written::Events(id, result) => {
                self.care.telemetry().queued(self.store.info().kind, self.writes.len());
                let Some(writing) = self.slots.get_mut(&id).and_then(|slot| slot.busy().writing.take())
                else {
                    return;
                };
                match result {
                    Ok(appended) => {
                        self.durable(&id, writing, appended.first.first().copied().unwrap_or_default())
                    }
                    Err(error) => self.not_written(&id, writing, error),
                }
                self.make_up(&id);
            }
            Written::Again(id, found, error) => {
                self.read_again(&id, found, error);
                self.make_up(&id);
            }
            Written::Viewed(view) => self.viewed(view),
            Written::Saved(saved, result) => self.saved(saved, result),
            Written::Compacted(result) => self.compacted(result),
        }
    }

    fn durable(&mut self, id: &WorkerId, writing: Writing, first: u64) {
        let Writing { events, call, mut cause, .. } = writing;
        let Some(worker) = self.take_in(id, events, first) else { return };
        let config = cause.config.take();
        cause.answer(Ok(worker.clone()));
        if worker.state.is_none() {
            self.ended(id, &worker);
            return;
        }
        match call {
            Some(call) => self.act_with(id, call, config),
            None => {
                self.resume(id);
            }
        }
        self.care_for(id);
        self.go_on(id);
    }

    /// Folds durable events and tells of them.
    pub(super) fn take_in(
        &mut self,
        id: &WorkerId,
        events: Vec<WorkerStateEvent>,
        first: u64,
    ) -> Option<Worker> {
        let slot = self.slots.get_mut(id)?;
        let owned = slot.owned;
        let mut known = slot.take_worker();
        let mut stored = Vec::with_capacity(events.len());
        for (position, mut event) in (first..).zip(events) {
            event.event_id = position;
            if known.as_ref().is_some_and(|worker| worker.version + 1 != event.version) {
                tracing::error!(worker = %id, version = event.version, "an event does not follow from what is known");
                break;
            }
            self.position = self.position.max(position);
            known = Worker::apply(known, &event);
            if let Some(worker) = &known {
                self.care.event(&event, worker, owned);
            }
            stored.push(Arc::new(event));
        }
        let worker = known?;
        slot.set_worker(Some(worker.clone()));
        for event in &stored {
            self.bus.publish(event);
        }
        self.care.changed(&worker, owned);
        self.tell_waiting(&worker);
        self.tidy_if_due();
        Some(worker)
    }

    /// A worker is no more.
    pub(super) fn ended(&mut self, id: &WorkerId, worker: &Worker) {
        if !self.was_removed(id, worker.position) {
            let removed =
                Removed { generation: worker.generation, position: worker.position, at: self.clock.now() };
            self.removed.insert(id.clone(), removed);
        }
        if self.slots.get(id).is_some_and(|slot| slot.skipped > worker.position) {
            // Another of its name has begun meanwhile.
            self.view();
        }
        self.forget(id);
    }

    /// Keeps nothing of a worker any more; what waited for it is handled as if it had never been there.
    pub(super) fn forget(&mut self, id: &WorkerId) {
        let Some(mut slot) = self.slots.remove(id) else { return };
        self.care_for(id);
        slot.abandon();
        let busy = std::mem::take(slot.busy());
        if let Some(timer) = busy.timer {
            self.timers.try_remove(&timer);
        }
        for cause in busy.queue {
            self.handle(id, cause);
        }
    }

    fn not_written(&mut self, id: &WorkerId, mut writing: Writing, error: Error) {
        tracing::warn!(worker = %id, %error, "a change of a worker could not be written down");
        let is_unknown = matches!(error.retry(), Retry::IfIdempotent | Retry::Exhausted)
            || error.kind() == ErrorKind::Timeout;
        // What makes this try fail says nothing about an earlier one.
        writing.unsure |= is_unknown;
        let unsure = writing.unsure;
        let may_succeed = is_unknown || error.is_retryable();
        let (closing, shared) = (self.is_closing(), self.others.shared);
        let Some(slot) = self.slots.get_mut(id) else { return };
        let is_full = unsure && error.kind() == ErrorKind::Capacity;
        if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Fenced) || is_full {
            // Somebody else wrote, or we did, and the answer was lost.
            let unsure = Unsure::of(slot, &writing.events, shared);
            slot.busy().writing = Some(writing);
            self.look_for(id, unsure, error, Duration::ZERO);
        } else if unsure && may_succeed && !closing {
            // It may come to be written yet. The same again is written once at most, and says which.
            // Under the lease that it was made under: under another it would be another write.
            let batch = writing.batch.clone();
            slot.busy().writing = Some(writing);
            self.append(id, batch, AGAIN);
        } else if unsure {
            self.give_back(id, writing, error.with_retry(Retry::IfIdempotent));
        } else {
            self.give_back(id, writing, error);
        }
    }

    fn look_for(&mut self, id: &WorkerId, unsure: Unsure, error: Error, pause: Duration) {
        let (store, id) = (Arc::clone(&self.store), id.clone());
        self.writes.push(
            async move {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let found = unsure.read(&*store, &id).await;
                Written::Again(id, found, error)
            }
            .boxed(),
        );
    }

    /// It is known now whether it was written.
    fn read_again(&mut self, id: &WorkerId, found: Result<Found>, error: Error) {
        let closing = self.is_closing();
        let shared = self.others.shared;
        let Some(slot) = self.slots.get_mut(id) else { return };
        let Some(mut writing) = slot.busy().writing.take() else { return };
        let is_unreadable = |kind| matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported);
        let events: Result<Vec<_>> = match found {
            Ok(Found::Ended) => {
                let first = self.position;
                self.durable(id, writing, first);
                return;
            }
            Ok(Found::Another) => {
                slot.owned = false;
                writing.cause.answer(Err(error));
                self.view();
                self.go_on(id);
                return;
            }
            Ok(Found::Events(events)) => {
                match events.iter().map(WorkerStateEvent::from_stored).collect::<Result<Vec<_>>>() {
                    Ok(events) => Ok(events),
                    // Another host wrote what cannot be understood here.
                    Err(error) if shared => {
                        slot.owned = false;
                        // Ours may be before it.
                        writing.cause.answer(Err(error.clone().with_retry(Retry::IfIdempotent)));
                        let position = self.seen();
                        self.put_aside(id, position, error);
                        return;
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        match events {
            // What is stored does not add up: it will not tell what became of the write.
            Err(error) if is_unreadable(error.kind()) => {
                self.give_back(id, writing, error.with_retry(Retry::IfIdempotent));
            }
            // The store is lost: nothing is known until it is back.
            Err(_) if !closing => {
                let unsure = Unsure::of(slot, &writing.events, shared);
                slot.busy().writing = Some(writing);
                self.look_for(id, unsure, error, PAUSE);
            }
            // What was written a moment ago may not be seen yet.
            Ok(events) if events.is_empty() && shared && writing.reads < READS && !closing => {
                writing.reads += 1;
                let unsure = Unsure::of(slot, &writing.events, shared);
                slot.busy().writing = Some(writing);
                self.look_for(id, unsure, error, AGAIN);
            }
            Err(_) => self.give_back(id, writing, error),
            Ok(events) if events.is_empty() => self.give_back(id, writing, error),
            Ok(mut events) => {
                let is_ours = |(found, meant): (&WorkerStateEvent, &WorkerStateEvent)| {
                    found.change == meant.change && found.correlation_id == meant.correlation_id
                };
                let count = writing.events.len();
                let ours = events.len() >= count && events.iter().zip(&writing.events).all(is_ours);
                if ours {
                    let first = events.first().map_or(0, |event| event.event_id);
                    let others = events.split_off(count);
                    // Who added to it answers for it.
                    slot.owned &= others.is_empty();
                    self.durable(id, writing, first);
                    self.heard(id, others);
                    return;
                }
                // Somebody else wrote, and answers for it.
                if shared && (slot.worker().is_none() || error.kind() == ErrorKind::Fenced) {
                    slot.owned = false;
                }
                writing.cause.answer(Err(error));
                for event in events {
                    let position = event.event_id;
                    self.take_in(id, vec![event], position);
                }
                if let Some(worker) = self.slots.get(id).and_then(|slot| slot.worker()).cloned()
                    && worker.state.is_none()
                {
                    self.ended(id, &worker);
                    return;
                }
                if let Some(call) =
                    self.slots.get(id).and_then(|slot| slot.worker()).and_then(lifecycle::resume)
                {
                    self.act(id, call);
                }
                self.go_on(id);
            }
        }
    }

    /// It was not written. A command has failed; what happened otherwise is decided about again.
    fn give_back(&mut self, id: &WorkerId, writing: Writing, error: Error) {
        let Writing { mut cause, .. } = writing;
        let Some(slot) = self.slots.get_mut(id) else { return };
        if matches!(cause.input, Input::Command(_)) {
            // A stop that was refused took away new jobs: the worker takes them again.
            if let Some(worker) = slot.worker() {
                self.care.changed(worker, slot.owned);
            }
            cause.answer(Err(error));
        } else if slot.owned {
            let busy = slot.busy();
            busy.queue.push_front(cause);
            busy.write_at = Some(Instant::now() + PAUSE);
        }
        self.go_on(id);
        self.drop_empty(id);
    }
}

fn without_lease() -> Error {
    Error::new(ErrorKind::Unavailable, "this host has no lease at present, and may change nothing")
        .with_retry(Retry::Safe { after: None })
        .with_help("it gets one again when it reaches the store")
}

fn batch(id: &WorkerId, expected: u64, decision: &Decision, cause: &Cause, now: Timestamp) -> Result<Batch> {
    let events = decision.events.iter().map(WorkerStateEvent::to_bytes).collect::<Result<Vec<_>>>()?;
    let written = expected + events.len() as u64;
    let mut batch = Batch::new().append(id.clone(), expected, events);
    if let Some(config) = &cause.config
        && expected == 0
    {
        let bytes = serde_json::to_vec(config).map_err(|error| {
            Error::new(ErrorKind::Config, "the configuration cannot be kept as data").with_source(error)
        })?;
        batch = batch.put(config_key(id), Expected::Any, bytes);
    }
    if let Some(request) = &cause.request {
        batch = request.settle(batch, written, now)?;
    }
    if decision.events.last().is_some_and(|event| matches!(event.change, Change::Terminated)) {
        batch = batch.remove(config_key(id), Expected::Any).forget(id.clone(), written);
    }
    Ok(batch)
}
