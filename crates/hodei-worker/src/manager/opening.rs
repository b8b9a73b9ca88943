//! Reading the log when a manager begins: the view that was durable, as it was.

use std::collections::HashMap;

use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp, WorkerId, WorkerStateEvent,
    lifecycle::{Change, Worker},
    model::Generation,
    store::{Store, StoredEvent, WorkerSnapshot},
};

use super::config_key;

/// How many are read at once.
const PAGE: usize = 4096;
/// How often what does not add up is read again, where others compact the log meanwhile.
const TRIES: u32 = 5;

/// What the log came to.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) workers: HashMap<WorkerId, Opened>,
    pub(super) removed: HashMap<WorkerId, Removed>,
    /// The last position that was read.
    pub(super) position: u64,
    /// How many events were read.
    pub(super) events: u64,
    /// Events without a beginning, by worker, with whether they came to an end: the rest of those that are no more.
    rests: HashMap<WorkerId, Rest>,
    /// Workers of which something cannot be understood, where several hosts share the store: one that a newer version
    /// wrote, or that is damaged, is not to keep the others from being seen.
    pub(super) unreadable: HashMap<WorkerId, Unreadable>,
    /// Whether such workers are put aside; else the first is an error.
    puts_aside: bool,
}

/// A worker that is no more: its last generation, the position of its last event, and when that was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Removed {
    pub(super) generation: Generation,
    pub(super) position: u64,
    pub(super) at: Timestamp,
}

/// What of a worker cannot be understood, at which position, and why.
#[derive(Debug, Clone)]
pub(super) struct Unreadable {
    pub(super) position: u64,
    pub(super) error: Error,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    position: u64,
    version: u64,
    is_over: bool,
}

/// A worker, and what of it its snapshot covers.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) worker: Option<Worker>,
    pub(super) saved: u64,
    covered: u64,
}

/// Reads snapshots and events. The next page is read while the last is understood: each takes about as long.
pub(super) async fn read(store: &dyn Store) -> Result<View> {
    let mut tries = 0;
    loop {
        let view = read_once(store).await?;
        tries += 1;
        // Another host may have saved a snapshot and removed what it covers in the middle of it.
        let is_torn = view.unreadable.values().any(|known| known.error.kind() == ErrorKind::Corrupt);
        if !is_torn || tries == TRIES {
            return Ok(view);
        }
    }
}

async fn read_once(store: &dyn Store) -> Result<View> {
    let mut view = View { puts_aside: store.leases().is_some(), ..View::default() };
    let mut page = store.snapshots(None, PAGE).await?;
    while let Some(last) = page.last().map(|snapshot| snapshot.worker.clone()) {
        let understand = async { page.into_iter().try_for_each(|snapshot| view.save(snapshot)) };
        let (next, understood) = tokio::join!(store.snapshots(Some(&last), PAGE), understand);
        understood?;
        page = next?;
    }
    let mut page = store.read(0, PAGE).await?;
    loop {
        let (from, is_last) = (page.next, page.is_last);
        let next = async { if is_last { Ok(None) } else { store.read(from, PAGE).await.map(Some) } };
        let (next, understood) = tokio::join!(next, async { view.take_all(&page.events) });
        understood?;
        view.position = view.position.max(from);
        match next? {
            Some(next) => page = next,
            None => break,
        }
    }
    view.check_rests(store).await?;
    Ok(view)
}

impl View {
    /// Leaves a worker out, or gives up.
    fn put_aside(&mut self, worker: &WorkerId, position: u64, error: Error) -> Result<()> {
        if !self.puts_aside {
            return Err(error);
        }
        self.workers.remove(worker);
        self.unreadable.entry(worker.clone()).or_insert(Unreadable { position, error });
        Ok(())
    }

    fn save(&mut self, snapshot: WorkerSnapshot) -> Result<()> {
        let WorkerSnapshot { worker: id, version, position, state, .. } = snapshot;
        self.position = self.position.max(position);
        match Worker::from_bytes(&state) {
            Ok(worker) => {
                let opened = Opened { worker: Some(worker), saved: version, covered: position };
                self.workers.insert(id, opened);
                Ok(())
            }
            Err(error) => self.put_aside(&id, position, error.with_context("snapshot of worker", &id)),
        }
    }

    fn take_all(&mut self, events: &[StoredEvent]) -> Result<()> {
        self.events += events.len() as u64;
        events.iter().try_for_each(|stored| match self.take(stored) {
            Ok(()) => Ok(()),
            Err(error) => self.put_aside(&stored.worker, stored.position, error),
        })
    }

    /// A worker without a beginning that did not come to an end is one that the log has lost a part of.
    async fn check_rests(&mut self, store: &dyn Store) -> Result<()> {
        for (worker, rest) in std::mem::take(&mut self.rests) {
            let is_lost = !rest.is_over && !self.workers.contains_key(&worker);
            // Its configuration goes with it.
            if is_lost && store.get(&config_key(&worker)).await?.is_some() {
                let error = does_not_follow(&worker, rest.position, rest.version);
                self.put_aside(&worker, rest.position, error)?;
            }
        }
        Ok(())
    }

    /// Takes in the next event of the log.
    fn take(&mut self, stored: &StoredEvent) -> Result<()> {
        let known = self.workers.get_mut(&stored.worker);
        if known.as_ref().is_some_and(|known| stored.position <= known.covered) {
            return Ok(());
        }
        let event = WorkerStateEvent::from_stored(stored);
        if self.unreadable.contains_key(&stored.worker) {
            let is_over = event.as_ref().is_ok_and(|event| matches!(event.change, Change::Terminated));
            // The next of its name has a life of its own.
            if is_over || stored.version == 1 {
                self.unreadable.remove(&stored.worker);
            }
            if stored.version > 1 {
                return Ok(());
            }
        }
        let event = event?;
        if known.is_none() && stored.version > 1 {
            // The rest of a worker that is no more: a snapshot would stand for the beginning of any other.
            let is_over = matches!(event.change, Change::Terminated);
            let rest = Rest { position: stored.position, version: stored.version, is_over };
            self.rests.insert(stored.worker.clone(), rest);
            return Ok(());
        }
        let folded = match known {
            Some(known) => {
                let worker = known.worker.take();
                known.worker = Worker::apply(worker, &event);
                known.worker.as_ref()
            }
            None => {
                let worker = Worker::apply(None, &event);
                let opened = Opened { worker, saved: 0, covered: 0 };
                self.workers.entry(stored.worker.clone()).or_insert(opened).worker.as_ref()
            }
        };
        let Some(worker) = folded else {
            return Err(does_not_follow(&stored.worker, stored.position, stored.version));
        };
        if worker.state.is_none() {
            let (generation, position) = (worker.generation, stored.position);
            let removed = Removed { generation, position, at: event.timestamp };
            self.removed.insert(stored.worker.clone(), removed);
            self.workers.remove(&stored.worker);
        }
        Ok(())
    }
}

fn does_not_follow(worker: &WorkerId, position: u64, version: u64) -> Error {
    Error::new(ErrorKind::Corrupt, "an event of the log does not follow from what is before it")
        .with_context("position", position)
        .with_context("worker", worker)
        .with_context("version", version)
        .with_help("events are missing; `verify` of the store says what, `repair` salvages the rest")
}
