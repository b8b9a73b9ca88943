use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};

use hodei_worker_core::{WorkerId, WorkerStateEvent};

use super::{EventFilter, EventSettings, Subscription, listener::Listener};

/// Tells events to subscribers. Clones are handles of the same bus; with the last of them the subscriptions end.
///
/// # Examples
/// ```
/// use hodei_worker::events::{EventBus, EventFilter};
/// let bus = EventBus::default();
/// let news = bus.subscribe(EventFilter::all());
/// assert_eq!(bus.lag().subscribers, 1);
/// drop(news);
/// assert_eq!(bus.lag().subscribers, 0);
/// ```
#[derive(Clone, Default)]
pub struct EventBus(Arc<Shared>);

#[derive(Default)]
pub(super) struct Shared {
    settings: EventSettings,
    /// How many listen: so that a bus to which nobody listens costs one load.
    listening: AtomicUsize,
    missed: AtomicU64,
    /// A tail of the store publishes, and nobody else.
    pub(super) tailed: AtomicBool,
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    numbered: u64,
    /// Those who want all workers.
    all: BTreeMap<u64, Arc<Listener>>,
    /// Those who want one or some: nobody else is looked at when something happens to a worker.
    of: HashMap<WorkerId, BTreeMap<u64, Arc<Listener>>>,
}

/// How far subscribers are behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BusLag {
    /// How many there are.
    pub subscribers: usize,
    /// The most events that one of them has not read yet.
    pub longest: usize,
    /// Events that were dropped for slow subscribers since the bus began.
    pub missed: u64,
}

impl EventBus {
    /// A bus with these settings.
    pub fn new(settings: EventSettings) -> Self {
        let mut shared = Shared::default();
        shared.settings = settings;
        Self(Arc::new(shared))
    }

    /// Tells an event that is stored. Never waits for a reader, never fails, and costs next to nothing while nobody
    /// listens.
    ///
    /// Each subscriber gets events in the order of these calls: call it for each worker in the order of its versions,
    /// and, where the order across workers matters to live subscribers, from the one task that writes the log. While a
    /// [tail](Self::tail) of the store runs, that tells everything, and this does nothing.
    pub fn publish(&self, event: &Arc<WorkerStateEvent>) {
        if !self.0.tailed.load(Ordering::Acquire) {
            self.tell(event);
        }
    }

    pub(super) fn tell(&self, event: &Arc<WorkerStateEvent>) {
        if !self.is_heard() {
            return;
        }
        let mut wakers: Vec<Waker> = Vec::new();
        let mut missed = 0;
        let listeners = self.0.listeners();
        let of_worker = listeners.of.get(&event.worker_id).into_iter().flat_map(BTreeMap::values);
        for listener in listeners.all.values().chain(of_worker) {
            let (waker, drops) = listener.offer(event);
            wakers.extend(waker);
            missed += u64::from(drops);
        }
        drop(listeners);
        if missed > 0 {
            self.0.missed.fetch_add(missed, Ordering::Relaxed);
        }
        // Not under the lock: who is woken may drop a subscription.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.0.listening.load(Ordering::SeqCst) > 0
    }

    /// Listens to what happens from now on.
    pub fn subscribe(&self, filter: EventFilter) -> Subscription {
        self.subscribe_with(filter, self.0.settings.buffer)
    }

    /// As [`subscribe`](Self::subscribe), with so many events kept that were not read yet instead of the
    /// [setting's](EventSettings::buffer); at least one.
    pub fn subscribe_with(&self, filter: EventFilter, buffer: usize) -> Subscription {
        let listener = Arc::new(Listener::new(filter, buffer));
        let number = self.0.join(&listener);
        Subscription { listener, number, bus: Arc::downgrade(&self.0) }
    }

    /// How far subscribers are behind. Looks at each of them.
    pub fn lag(&self) -> BusLag {
        let listeners = self.0.listeners();
        let some = listeners.of.values().flat_map(BTreeMap::values);
        let longest = listeners.all.values().chain(some).map(|listener| listener.len()).max();
        drop(listeners);
        BusLag {
            subscribers: self.0.listening.load(Ordering::Relaxed),
            longest: longest.unwrap_or(0),
            missed: self.0.missed.load(Ordering::Relaxed),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, listener: &Arc<Listener>) -> u64 {
        let mut listeners = self.listeners();
        listeners.numbered += 1;
        let number = listeners.numbered;
        match listener.filter.chosen() {
            None => drop(listeners.all.insert(number, Arc::clone(listener))),
            Some(workers) => {
                for worker in workers {
                    listeners.of.entry(worker.clone()).or_default().insert(number, Arc::clone(listener));
                }
            }
        }
        self.listening.fetch_add(1, Ordering::SeqCst);
        number
    }

    pub(super) fn leave(&self, number: u64, listener: &Listener) {
        let mut listeners = self.listeners();
        match listener.filter.chosen() {
            None => drop(listeners.all.remove(&number)),
            Some(workers) => {
                for worker in workers {
                    if let Some(of) = listeners.of.get_mut(worker) {
                        of.remove(&number);
                        if of.is_empty() {
                            listeners.of.remove(worker);
                        }
                    }
                }
            }
        }
        self.listening.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let listeners = self.listeners.get_mut().unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.all.values().chain(listeners.of.values().flat_map(BTreeMap::values)) {
            listener.end();
        }
    }
}

impl fmt::Debug for EventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBus").field("lag", &self.lag()).finish_non_exhaustive()
    }
}
