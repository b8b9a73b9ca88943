use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::stream::{self, BoxStream, StreamExt as _};
use hodei_worker_core::{
    Error, Result, WorkerId, WorkerStateEvent,
    store::{Page, Store},
};

use super::{
    EventBus, EventFilter, Notice, Subscription,
    tail::{PAGE, longer},
};

/// An event that is stored is told soon after, if it is told at all: what was not within this time is read.
const TOLD_WITHIN: Duration = Duration::from_millis(50);

impl EventBus {
    /// What was stored after that position, and then what happens: each event once, in the log's order. What a slow
    /// reader misses is read from the store. With a filter for one worker only that worker's stream is read; of one that is no
    /// more the store may have forgotten it.
    ///
    /// The stream ends when the bus is gone and all is told, and after an error of the store that trying again does not mend.
    /// After one that it may mend, as while the store cannot be reached, the stream goes on with the same place, some pause
    /// later.
    ///
    /// Call it inside a Tokio runtime with a timer.
    ///
    /// # Errors
    /// As items, those of [`EventStore::read`](hodei_worker_core::store::EventStore::read), and in the place of an event that
    /// cannot be understood, with its position and its worker, [`Corrupt`](hodei_worker_core::ErrorKind::Corrupt) or, where
    /// a newer version wrote it, [`Unsupported`](hodei_worker_core::ErrorKind::Unsupported): what follows it is told.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use futures::StreamExt as _;
    /// # use hodei_worker::{events::{EventBus, EventFilter, Notice}, store::Store};
    /// # async fn example(bus: EventBus, store: Arc<dyn Store>, position: u64) -> hodei_worker::Result<()> {
    /// let mut events = bus.replay(store, position, EventFilter::all());
    /// while let Some(notice) = events.next().await {
    ///     match notice? {
    ///         Notice::Event(event) => println!("{}: {}", event.event_id, event.event_type()),
    ///         Notice::Compacted { first } => println!("what was before {first} is not kept any more"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn replay(
        &self,
        store: Arc<dyn Store>,
        after_position: u64,
        filter: EventFilter,
    ) -> BoxStream<'static, Result<Notice>> {
        let only = filter.only().cloned();
        // Subscribed before the store is read. All that is in the way is heard, not only what is wanted: a step in the
        // positions, or in the versions of the one worker, tells that something was not.
        let live = self.subscribe(only.clone().map_or_else(EventFilter::all, EventFilter::worker));
        let place = match only {
            Some(worker) => Place::Stream { worker, version: 0 },
            None => Place::Log,
        };
        let replay = Replay {
            store,
            filter,
            live,
            place,
            position: after_position,
            ready: VecDeque::new(),
            failed: None,
            reads: true,
            pause: Duration::ZERO,
            ended: false,
        };
        stream::unfold(replay, |mut replay| async move { Some((replay.next().await?, replay)) }).boxed()
    }
}

struct Replay {
    store: Arc<dyn Store>,
    filter: EventFilter,
    live: Subscription,
    place: Place,
    /// Everything up to here was told, or was not wanted.
    position: u64,
    ready: VecDeque<Result<Notice>>,
    /// Told after what is ready.
    failed: Option<Error>,
    /// The store has, or may have, something that was not told.
    reads: bool,
    pause: Duration,
    ended: bool,
}

enum Place {
    Log,
    /// Where the worker's stream was read to; 0: from its beginning.
    Stream {
        worker: WorkerId,
        version: u64,
    },
}

impl Replay {
    async fn next(&mut self) -> Option<Result<Notice>> {
        loop {
            if let Some(notice) = self.ready.pop_front() {
                return Some(notice);
            }
            if let Some(error) = self.failed.take() {
                return Some(Err(error));
            }
            if self.ended {
                return None;
            }
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
            let step = if self.reads { self.read().await } else { self.listen().await };
            match step {
                Ok(()) => self.pause = Duration::ZERO,
                Err(error) => {
                    self.ended = !error.is_retryable();
                    self.pause = longer(self.pause);
                    self.reads = true;
                    self.failed = Some(error);
                }
            }
        }
    }

    /// Takes one page of what is stored.
    async fn read(&mut self) -> Result<()> {
        let page = match &self.place {
            Place::Log => self.store.read(self.position, PAGE).await?,
            Place::Stream { worker, version } => self.store.read_stream(worker, *version, PAGE).await?,
        };
        if page.compacted {
            self.compacted(&page).await?;
        }
        for stored in &page.events {
            if stored.position <= self.position {
                continue;
            }
            match WorkerStateEvent::from_stored(stored) {
                Ok(event) => self.take(Arc::new(event)),
                Err(error) => {
                    self.position = stored.position;
                    self.ready.push_back(Err(error));
                }
            }
        }
        match &mut self.place {
            Place::Log => self.position = self.position.max(page.next),
            Place::Stream { version, .. } => *version = page.next,
        }
        self.reads = !page.is_last;
        Ok(())
    }

    async fn compacted(&mut self, page: &Page) -> Result<()> {
        let wanted = |stored: &&hodei_worker_core::store::StoredEvent| stored.position > self.position;
        let first = page.events.iter().find(wanted).map(|stored| stored.position);
        let first = match (&self.place, first) {
            (Place::Log, first) => first.unwrap_or(page.next + 1),
            // What is gone of the stream may all be older than what was asked for.
            (Place::Stream { .. }, _) if !self.store.read(self.position, 1).await?.compacted => return Ok(()),
            (Place::Stream { .. }, Some(first)) => first,
            (Place::Stream { .. }, None) => self.store.last_position().await? + 1,
        };
        self.ready.push_back(Ok(Notice::Compacted { first }));
        Ok(())
    }

    /// Waits for one event. Where it turns out not to be the next, the store is read.
    async fn listen(&mut self) -> Result<()> {
        let notice = tokio::select! {
            biased;
            notice = self.live.next() => notice,
            // Not by each of those who want one worker: all would wake whenever something happens to any.
            changed = self.store.changed(self.position), if matches!(self.place, Place::Log) => {
                changed?;
                match tokio::time::timeout(TOLD_WITHIN, self.live.next()).await {
                    Ok(notice) => notice,
                    Err(_) => {
                        self.reads = true;
                        return Ok(());
                    }
                }
            }
        };
        match notice {
            Some(Notice::Event(event)) if event.event_id <= self.position => {}
            Some(Notice::Event(event)) if self.is_next(&event) => {
                if let Place::Stream { version, .. } = &mut self.place {
                    *version = event.version;
                }
                self.take(event);
            }
            Some(Notice::Missed { through, .. }) if through <= self.position => {}
            Some(_) => self.read_again(),
            None => {
                self.read_again();
                self.last().await?;
            }
        }
        Ok(())
    }

    fn is_next(&self, event: &WorkerStateEvent) -> bool {
        match &self.place {
            Place::Log => event.event_id == self.position + 1,
            Place::Stream { version, .. } => event.version == version + 1,
        }
    }

    fn read_again(&mut self) {
        self.reads = true;
        // From the beginning: the worker may have been removed and made anew, with a stream of its own.
        if let Place::Stream { version, .. } = &mut self.place {
            *version = 0;
        }
    }

    /// The bus is gone: what is stored is told, and no more.
    async fn last(&mut self) -> Result<()> {
        while self.reads {
            self.read().await?;
        }
        self.ended = true;
        Ok(())
    }

    fn take(&mut self, event: Arc<WorkerStateEvent>) {
        self.position = event.event_id;
        if self.filter.matches(&event) {
            self.ready.push_back(Ok(Notice::Event(event)));
        }
    }
}
