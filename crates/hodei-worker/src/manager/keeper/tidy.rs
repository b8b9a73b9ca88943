//! Saving what events came to, and removing those that it covers: a little at a time.

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerId,
    store::{Appended, Batch, Compaction},
};

use super::{Keeper, writes::Written};
use crate::manager::message::Reply;

/// How many folds are written at once.
const CHUNK: usize = 256;

pub(super) struct Tidying {
    /// The position at which it was last done.
    at: u64,
    /// Workers that are still to be saved; `None` while it is not under way.
    left: Option<Vec<WorkerId>>,
    /// How many of these, at the end, are saved one by one: together they were refused because of one.
    singly: usize,
    replies: Vec<Reply<Result<Compaction>>>,
}

impl Tidying {
    pub(super) fn since(at: u64) -> Self {
        Self { at, left: None, singly: 0, replies: Vec::new() }
    }
}

impl Keeper {
    pub(super) fn tidy_if_due(&mut self) {
        if self.position.saturating_sub(self.tidying.at) >= self.settings.compact_every {
            self.tidy(None);
        }
    }

    pub(super) fn tidy(&mut self, reply: Option<Reply<Result<Compaction>>>) {
        self.tidying.replies.extend(reply);
        if self.tidying.left.is_some() {
            return;
        }
        self.tidying.at = self.position;
        self.forget_removed();
        let unsaved = |(id, slot): (&WorkerId, &super::slot::Slot)| {
            (slot.owned && slot.worker().is_some_and(|worker| worker.version > slot.saved))
                .then(|| id.clone())
        };
        self.tidying.left = Some(self.slots.iter().filter_map(unsaved).collect());
        self.tidy_on();
    }

    fn tidy_on(&mut self) {
        let Some(left) = &mut self.tidying.left else { return };
        let size = if self.tidying.singly > 0 { 1 } else { CHUNK };
        let mut batch = Batch::new();
        let mut saved = Vec::with_capacity(size);
        while saved.len() < size
            && let Some(id) = left.pop()
        {
            self.tidying.singly = self.tidying.singly.saturating_sub(1);
            let Some(worker) = self.slots.get(&id).and_then(|slot| slot.worker()) else { continue };
            match worker.to_bytes() {
                Ok(bytes) => {
                    batch = batch.save(id.clone(), worker.version, bytes);
                    saved.push((id, worker.version));
                }
                Err(error) => tracing::error!(worker = %id, %error, "a worker could not be saved"),
            }
        }
        let batch = batch.fenced(self.others.fence());
        let store = Arc::clone(&self.store);
        if saved.is_empty() {
            let through = self.tidying.at.saturating_sub(self.settings.keep_events);
            self.writes.push(async move { Written::Compacted(store.compact(through).await) }.boxed());
        } else {
            self.writes.push(async move { Written::Saved(saved, store.append(batch).await) }.boxed());
        }
    }

    pub(super) fn saved(&mut self, saved: Vec<(WorkerId, u64)>, result: Result<Appended>) {
        match result {
            Ok(_) => {
                for (id, version) in saved {
                    if let Some(slot) = self.slots.get_mut(&id) {
                        slot.saved = version;
                    }
                }
                self.tidy_on();
            }
            // A worker of the chunk was removed meanwhile, or is another host's: the others are saved without it.
            Err(error) if self.tidying_goes_on(&error) => {
                if let (Some(left), 2..) = (&mut self.tidying.left, saved.len()) {
                    self.tidying.singly = saved.len();
                    left.extend(saved.into_iter().map(|(id, _)| id));
                }
                self.tidy_on();
            }
            Err(error) => self.compacted(Err(error)),
        }
    }

    /// Whether it says something about a worker, and nothing about all of them.
    fn tidying_goes_on(&self, error: &Error) -> bool {
        let is_host = self.others.hold.is_some();
        error.kind() == ErrorKind::Conflict || (error.kind() == ErrorKind::Fenced && is_host)
    }

    pub(super) fn compacted(&mut self, result: Result<Compaction>) {
        self.tidying.left = None;
        if let Err(error) = &result {
            tracing::warn!(%error, "the log could not be compacted");
        }
        for reply in self.tidying.replies.drain(..) {
            let _ = reply.send(result.as_ref().map(|done| *done).map_err(Error::clone));
        }
    }

    fn forget_removed(&mut self) {
        let (now, kept) = (self.clock.now(), self.settings.tombstones.get());
        self.removed.retain(|_, removed| {
            Duration::try_from(now.duration_since(removed.at)).unwrap_or_default() < kept
        });
    }
}
