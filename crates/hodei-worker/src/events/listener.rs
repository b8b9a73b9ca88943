use std::{
    collections::VecDeque,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use futures::Stream;
use hodei_worker_core::WorkerStateEvent;

use super::{EventFilter, Notice, bus::Shared};

/// One subscriber: what it has not read yet.
pub(super) struct Listener {
    pub(super) filter: EventFilter,
    limit: usize,
    unread: Mutex<Unread>,
}

#[derive(Default)]
struct Unread {
    /// What was dropped; it came before all that is kept.
    missed: Option<(u64, u64)>,
    events: VecDeque<Arc<WorkerStateEvent>>,
    waker: Option<Waker>,
    over: bool,
}

impl Listener {
    pub(super) fn new(filter: EventFilter, limit: usize) -> Self {
        Self { filter, limit: limit.max(1), unread: Mutex::default() }
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the event for the reader; of its worker nobody needs to be sure, only of its type. Whoever is to be woken
    /// is handed out, and whether an older event was dropped for it.
    ///
    /// The oldest are dropped, not the newest: so there is never more than one gap, in front of all that is kept, and a
    /// reader that comes back sees how things are and not how they were.
    pub(super) fn offer(&self, event: &Arc<WorkerStateEvent>) -> (Option<Waker>, bool) {
        if !self.filter.matches_type(event) {
            return (None, false);
        }
        let mut unread = self.unread();
        let mut drops = false;
        if unread.events.len() >= self.limit
            && let Some(oldest) = unread.events.pop_front()
        {
            let position = oldest.event_id;
            let (from, through) = unread.missed.unwrap_or((position, position));
            unread.missed = Some((from.min(position), through.max(position)));
            drops = true;
        }
        unread.events.push_back(Arc::clone(event));
        (unread.waker.take(), drops)
    }

    /// Nothing comes any more.
    pub(super) fn end(&self) {
        let mut unread = self.unread();
        unread.over = true;
        let waker = unread.waker.take();
        drop(unread);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.unread().events.len()
    }

    /// Holds it: whoever offers it something waits.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop + '_ {
        struct Held<'a>(#[allow(dead_code)] MutexGuard<'a, Unread>);
        impl Drop for Held<'_> {
            fn drop(&mut self) {}
        }
        Held(self.unread())
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Option<Notice>> {
        let mut unread = self.unread();
        if let Some((from, through)) = unread.missed.take() {
            return Poll::Ready(Some(Notice::Missed { from, through }));
        }
        if let Some(event) = unread.events.pop_front() {
            if unread.events.is_empty() && unread.events.capacity() > 64 {
                // Thousands may listen that were slow once.
                drop(mem::take(&mut unread.events));
            }
            return Poll::Ready(Some(Notice::Event(event)));
        }
        if unread.over {
            return Poll::Ready(None);
        }
        unread.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// What happens from now on, as a stream. Ends when the bus is gone. Dropping it ends the subscription.
pub struct Subscription {
    pub(super) listener: Arc<Listener>,
    pub(super) number: u64,
    pub(super) bus: Weak<Shared>,
}

impl Subscription {
    /// How many events wait to be read.
    pub fn unread(&self) -> usize {
        self.listener.len()
    }
}

impl Stream for Subscription {
    type Item = Notice;
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.listener.poll(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(bus) = self.bus.upgrade() {
            bus.leave(self.number, &self.listener);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filter = &self.listener.filter;
        f.debug_struct("Subscription").field("filter", filter).field("unread", &self.unread()).finish()
    }
}
