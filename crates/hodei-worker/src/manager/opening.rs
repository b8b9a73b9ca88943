//! Reading the log when a manager begins: the view that was durable, as it was.

use std::collections::HashMap;

use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp, WorkerId, WorkerStateEvent,
    lifecycle::Worker,
    model::Generation,
    store::{Store, StoredEvent, WorkerSnapshot},
};

/// How many are read at once.
const PAGE: usize = 4096;

/// What the log came to.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) workers: HashMap<WorkerId, Opened>,
    /// The last generation of workers that are no more, and when they ended.
    pub(super) removed: HashMap<WorkerId, (Generation, Timestamp)>,
    /// The last position that was read.
    pub(super) position: u64,
    /// How many events were read.
    pub(super) events: u64,
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
    let mut view = View::default();
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
            None => return Ok(view),
        }
    }
}

impl View {
    fn save(&mut self, snapshot: WorkerSnapshot) -> Result<()> {
        let worker = Worker::from_bytes(&snapshot.state)
            .map_err(|error| error.with_context("snapshot of worker", &snapshot.worker))?;
        self.position = self.position.max(snapshot.position);
        let opened = Opened { worker: Some(worker), saved: snapshot.version, covered: snapshot.position };
        self.workers.insert(snapshot.worker, opened);
        Ok(())
    }

    fn take_all(&mut self, events: &[StoredEvent]) -> Result<()> {
        self.events += events.len() as u64;
        events.iter().try_for_each(|stored| self.take(stored))
    }

    /// Takes in the next event of the log.
    pub(super) fn take(&mut self, stored: &StoredEvent) -> Result<()> {
        let known = self.workers.get_mut(&stored.worker);
        if known.as_ref().is_some_and(|known| stored.position <= known.covered) {
            return Ok(());
        }
        if known.is_none() && stored.version > 1 {
            // The rest of a worker that is no more: a snapshot would stand for the beginning of any other.
            return Ok(());
        }
        let event = WorkerStateEvent::from_stored(stored)?;
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
        let Some(worker) = folded else { return Err(does_not_follow(stored)) };
        if worker.state.is_none() {
            self.removed.insert(stored.worker.clone(), (worker.generation, event.timestamp));
            self.workers.remove(&stored.worker);
        }
        Ok(())
    }
}

fn does_not_follow(stored: &StoredEvent) -> Error {
    Error::new(ErrorKind::Corrupt, "an event of the log does not follow from what is before it")
        .with_context("position", stored.position)
        .with_context("worker", &stored.worker)
        .with_context("version", stored.version)
        .with_help("events are missing; `verify` of the store says what, `repair` salvages the rest")
}
