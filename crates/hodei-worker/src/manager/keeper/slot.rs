use std::collections::VecDeque;

use hodei_worker_core::{
    Error, ErrorKind, Retry, WorkerId,
    lifecycle::{Input, Worker},
};
use tokio::{task::AbortHandle, time::Instant};
use tokio_util::time::delay_queue::Key;

use super::{decide::Cause, writes::Writing};

/// A worker's place in the keeper: small while nothing is done for it.
pub(super) struct Slot {
    /// What is durable. `None` until its first event is.
    worker: Option<Box<Worker>>,
    /// The version that its snapshot covers.
    pub(super) saved: u64,
    /// Whether this host answers for it.
    pub(super) owned: bool,
    /// What a host before us intended and may not have done: its call has not been made by us.
    pub(super) stands_out: bool,
    /// The position of the last event that was told while something was being written here, ours or another host's.
    pub(super) skipped: u64,
    busy: Option<Box<Busy>>,
}

/// What is under way for a worker.
#[derive(Default)]
pub(super) struct Busy {
    /// What is being written down.
    pub(super) writing: Option<Writing>,
    /// What happened meanwhile.
    pub(super) queue: VecDeque<Cause>,
    /// The call that is being made, and its number.
    pub(super) call: Option<(u64, AbortHandle)>,
    pub(super) timer: Option<Key>,
    /// When it is looked at, if nothing was told of it by then.
    pub(super) look_at: Option<Instant>,
    /// How often it has been looked at without anything to be seen.
    pub(super) looks: u32,
    /// When what could not be written is tried again.
    pub(super) write_at: Option<Instant>,
    /// Ties together what is being done.
    pub(super) correlation: Option<hodei_worker_core::lifecycle::CorrelationId>,
}

/// What may wait for what is being written for a worker.
const QUEUE: usize = 64;

impl Busy {
    /// Has something wait until what is being written is durable.
    pub(super) fn put_off(&mut self, id: &WorkerId, mut cause: Cause) {
        // Of several statuses that wait, the last says it all, unless a run ended or began in between.
        if let (Some(last), Input::Observed(new)) = (self.queue.back_mut(), &cause.input)
            && let Input::Observed(waiting) = &last.input
            && (waiting.phase, &waiting.run) == (new.phase, &new.run)
        {
            *last = cause;
            return;
        }
        if self.queue.len() >= QUEUE {
            if matches!(cause.input, Input::Command(_)) {
                let error = Error::new(
                    ErrorKind::Overloaded,
                    "too many commands for this worker wait to be written down",
                );
                let error = error.with_retry(Retry::Safe { after: None });
                cause.answer(Err(error.with_context("worker", id).with_context("waiting", QUEUE)));
                return;
            }
            // What is the case now matters more than what was.
            let is_status = |cause: &Cause| matches!(cause.input, Input::Observed(_));
            if is_status(&cause)
                && let Some(oldest) = self.queue.iter().position(is_status)
            {
                self.queue.remove(oldest);
            }
        }
        self.queue.push_back(cause);
    }

    fn is_idle(&self) -> bool {
        self.writing.is_none()
            && self.queue.is_empty()
            && self.call.is_none()
            && self.timer.is_none()
            && self.look_at.is_none()
            && self.write_at.is_none()
    }
}

impl Default for Slot {
    /// The place of a worker that this host creates.
    fn default() -> Self {
        Self { worker: None, saved: 0, owned: true, stands_out: false, skipped: 0, busy: None }
    }
}

impl Slot {
    /// One that another host has created.
    pub(super) fn of_another() -> Self {
        Self { owned: false, ..Self::default() }
    }
    pub(super) fn of(worker: Worker, saved: u64, owned: bool) -> Self {
        Self {
            stands_out: owned && worker.pending.is_some(),
            owned,
            worker: Some(Box::new(worker)),
            saved,
            skipped: 0,
            busy: None,
        }
    }
    pub(super) fn worker(&self) -> Option<&Worker> {
        self.worker.as_deref()
    }
    pub(super) fn take_worker(&mut self) -> Option<Worker> {
        self.worker.take().map(|worker| *worker)
    }
    pub(super) fn set_worker(&mut self, worker: Option<Worker>) {
        self.worker = worker.map(Box::new);
    }
    pub(super) fn busy(&mut self) -> &mut Busy {
        self.busy.get_or_insert_default()
    }
    pub(super) fn is_busy(&self) -> Option<&Busy> {
        self.busy.as_deref()
    }
    pub(super) fn is_writing(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.writing.is_some() || busy.write_at.is_some())
    }
    pub(super) fn is_called(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.call.is_some())
    }
    /// Gives back what it needs no more.
    pub(super) fn rest(&mut self) {
        if self.busy.as_ref().is_some_and(|busy| busy.is_idle()) {
            self.busy = None;
        }
    }
    /// Drops the call that is being made.
    pub(super) fn abandon(&mut self) {
        if let Some((_, task)) = self.busy.as_mut().and_then(|busy| busy.call.take()) {
            task.abort();
        }
    }
}
