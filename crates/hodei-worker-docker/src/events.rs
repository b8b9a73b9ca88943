//! The watch: one event stream of the engine for all watchers, and a list after every gap in it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bollard::models::EventMessage;
use bytes::{Buf as _, BytesMut};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use hodei_worker_core::{
    Error, ErrorKind, Result, Retry, WorkerObservation, WorkerStatus,
    model::Ownership,
    provider::{BoxStream, WorkerFilter},
    status::Gone,
    watch::WatchFeed,
};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::{backoff::Backoff, client::query, names, provider::Shared};

/// What changes a status. `health_status` stands for `health_status: healthy` and the like.
const EVENTS: [&str; 9] =
    ["create", "start", "die", "oom", "pause", "unpause", "rename", "destroy", "health_status"];
/// Events are asked for from that long ago: the engine begins its answer before it listens to its own events.
const OVERLAP: Duration = Duration::from_secs(2);
/// Containers that are inspected at once.
const AT_ONCE: usize = 8;
/// An event that is longer than this is none.
const LONGEST: usize = 1 << 20;

impl Shared {
    pub(crate) async fn watch(
        self: &Arc<Self>,
        filter: &WorkerFilter,
    ) -> Result<BoxStream<'static, Result<WorkerObservation>>> {
        // Opened here, so that an engine that cannot be reached is an error of this call.
        let source = if self.hub.watches() == 0 { Some(self.open_events().await?) } else { None };
        let shared = Arc::clone(self);
        Ok(self.hub.subscribe(filter.clone(), move |feed| drive(shared, feed, source)))
    }

    async fn open_events(&self) -> Result<Events> {
        let since = self.context.clock.now() - OVERLAP;
        let filters = serde_json::json!({
            "type": ["container"],
            "event": EVENTS,
            "label": names::label_filter(self.installation(), []),
        });
        let since = format!("{}.{:09}", since.as_second(), since.subsec_nanosecond());
        let query = query(&[("since", &since), ("filters", &filters.to_string())]);
        let answer = self.engine.request(Method::GET, "/events", &query, None).await;
        let answer = answer.map_err(|error| self.engine.error(error))?;
        Ok(Events { body: answer.into_body(), buffer: BytesMut::new() })
    }
}

/// The engine's event stream.
struct Events {
    body: Incoming,
    buffer: BytesMut,
}

impl Events {
    /// The next event. Its end is an error: an engine ends it only when it stops. May be dropped at any time.
    async fn next(&mut self) -> Result<EventMessage> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                return serde_json::from_slice(&line).map_err(|error| {
                    Error::new(ErrorKind::Unexpected, "an event makes no sense").with_source(error)
                });
            }
            if self.buffer.len() > LONGEST {
                return Err(Error::new(ErrorKind::Unexpected, "an event has no end"));
            }
            let broken = || {
                Error::new(ErrorKind::Unavailable, "the engine's event stream broke")
                    .with_retry(Retry::Safe { after: None })
            };
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
                Some(Err(error)) => return Err(broken().with_source(error)),
                None => return Err(broken()),
            }
        }
    }
}

/// Feeds the hub for as long as somebody watches. Only a first attempt that fails ends the watches.
async fn drive(shared: Arc<Shared>, feed: WatchFeed, mut source: Option<Events>) -> Error {
    let mut backoff = Backoff::default();
    let mut synced = false;
    loop {
        let events = match source.take() {
            Some(events) => Ok(events),
            None => shared.open_events().await,
        };
        let error = match events {
            Ok(events) => Box::pin(Pump::new(&shared, &feed, events).run(&mut synced, &mut backoff)).await,
            Err(error) => error,
        };
        if !synced {
            return error;
        }
        tracing::warn!(provider = %shared.info, %error, "the watch has a gap and is opened again");
        tokio::time::sleep(backoff.next()).await;
        // Another engine may have come up in its place, which speaks another version.
        shared.refresh().await.ok();
    }
}

type Inspection = (String, Result<Option<Arc<WorkerStatus>>>);

/// One connection's worth of events.
struct Pump<'a> {
    shared: &'a Arc<Shared>,
    feed: &'a WatchFeed,
    events: Events,
    /// Containers of which something was heard, in order.
    waiting: VecDeque<String>,
    /// Containers that are being looked at; those of which something more was heard meanwhile.
    looking: HashMap<String, bool>,
    /// Removed while they were looked at: what is seen of them then is old.
    removed: HashSet<String>,
    inspections: FuturesUnordered<BoxFuture<'a, Inspection>>,
}

impl<'a> Pump<'a> {
    fn new(shared: &'a Arc<Shared>, feed: &'a WatchFeed, events: Events) -> Self {
        Self {
            shared,
            feed,
            events,
            waiting: VecDeque::new(),
            looking: HashMap::new(),
            removed: HashSet::new(),
            inspections: FuturesUnordered::new(),
        }
    }

    /// Lists while it listens, then follows the events until the connection breaks.
    async fn run(mut self, synced: &mut bool, backoff: &mut Backoff) -> Error {
        let mut removed = Vec::new();
        let all = WorkerFilter::all();
        let listing = self.shared.list(&all);
        tokio::pin!(listing);
        let listing = loop {
            tokio::select! {
                listing = &mut listing => break listing,
                event = self.events.next() => match event {
                    Ok(event) => removed.extend(self.hear(event)),
                    Err(error) => return error,
                }
            }
        };
        match listing {
            Ok(listing) => self.feed.resync(listing.workers),
            Err(error) => return error,
        }
        removed.into_iter().for_each(|gone| self.feed.gone(gone));
        *synced = true;
        backoff.reset();
        self.follow().await
    }

    async fn follow(&mut self) -> Error {
        let over_tcp = !self.shared.engine.endpoint.is_local();
        let interval = self.shared.settings.ping_interval.get();
        let mut silence = Box::pin(tokio::time::sleep(interval));
        let mut ping: Option<BoxFuture<'static, Result<()>>> = None;
        loop {
            self.look();
            tokio::select! {
                event = self.events.next() => {
                    match event {
                        Ok(event) => {
                            if let Some(gone) = self.hear(event) {
                                self.feed.gone(gone);
                            }
                        }
                        Err(error) => return error,
                    }
                    silence.as_mut().reset(tokio::time::Instant::now() + interval);
                }
                Some((id, seen)) = self.inspections.next() => {
                    if let Err(error) = self.seen(id, seen) {
                        return error;
                    }
                }
                () = &mut silence, if over_tcp && ping.is_none() => ping = Some(self.ping(interval)),
                answer = async { match ping.as_mut() { Some(ping) => ping.await, None => std::future::pending().await } } => {
                    if let Err(error) = answer {
                        return error;
                    }
                    ping = None;
                    silence.as_mut().reset(tokio::time::Instant::now() + interval);
                }
            }
        }
    }

    /// A connection that died without a sign looks like an engine on which nothing happens.
    fn ping(&self, within: Duration) -> BoxFuture<'static, Result<()>> {
        let shared = Arc::clone(self.shared);
        async move {
            let docker = shared.engine.docker();
            match tokio::time::timeout(within, docker.ping()).await {
                Ok(answer) => answer.map(drop).map_err(|error| shared.engine.error(error)),
                Err(_) => Err(Error::new(ErrorKind::Timeout, "the engine does not answer any more")),
            }
        }
        .boxed()
    }

    /// Takes note of an event; returns what is gone by it.
    fn hear(&mut self, event: EventMessage) -> Option<Gone> {
        let actor = event.actor?;
        let id = actor.id?;
        let ownership: Ownership = names::ownership(self.shared.installation(), actor.attributes.as_ref())?;
        if event.action.as_deref() == Some("destroy") {
            self.waiting.retain(|waiting| *waiting != id);
            if self.looking.contains_key(&id) {
                self.removed.insert(id.clone());
            }
            return Some(Gone::new(ownership.worker, id, self.shared.context.clock.now()));
        }
        if let Some(again) = self.looking.get_mut(&id) {
            *again = true;
        } else if !self.waiting.contains(&id) {
            self.waiting.push_back(id);
        }
        None
    }

    fn look(&mut self) {
        while self.looking.len() < AT_ONCE
            && let Some(id) = self.waiting.pop_front()
        {
            self.looking.insert(id.clone(), false);
            let shared = Arc::clone(self.shared);
            self.inspections.push(
                async move {
                    let seen = shared.observe(&id).await;
                    (id, seen)
                }
                .boxed(),
            );
        }
    }

    fn seen(&mut self, id: String, seen: Result<Option<Arc<WorkerStatus>>>) -> Result<()> {
        let again = self.looking.remove(&id).unwrap_or_default();
        if self.removed.remove(&id) {
            return Ok(());
        }
        // What is not there any more is told by its own event.
        if let Some(status) = seen? {
            self.feed.apply(status);
        }
        if again {
            self.waiting.push_back(id);
        }
        Ok(())
    }
}
