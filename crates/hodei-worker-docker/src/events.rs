//! The watch: one event stream of the engine for all watchers, and a list after every gap in it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::models::EventMessage;
use bytes::{Buf as _, BytesMut};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use hodei_worker_core::{
    Error, ErrorKind, Result, Retry, Timestamp, WorkerObservation, WorkerPhase, WorkerStatus,
    model::Ownership,
    provider::{BoxStream, WorkerFilter},
    status::Gone,
    watch::{Reading, WatchFeed},
};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{backoff::Backoff, client::query, names, provider::Shared};

/// What changes a status. `health_status` stands for `health_status: healthy` and the like.
const EVENTS: [&str; 9] =
    ["create", "start", "die", "oom", "pause", "unpause", "rename", "destroy", "health_status"];
/// Events are asked for from that long ago: the engine begins its answer before it listens to its own events.
const OVERLAP: Duration = Duration::from_secs(2);
/// An engine gets at least this time to answer.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause before another look at a container of which the engine does not tell.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
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
        let source =
            if self.hub.watches() == 0 { Some(self.open_events(None, &EVENTS).await?) } else { None };
        let shared = Arc::clone(self);
        Ok(self.hub.subscribe(filter.clone(), move |feed| drive(shared, feed, source)))
    }

    pub(crate) async fn open_events(&self, since: Option<Timestamp>, actions: &[&str]) -> Result<Events> {
        let since = since.unwrap_or_else(|| self.context.clock.now() - OVERLAP);
        let filters = serde_json::json!({
            "type": ["container"],
            "event": actions,
            "label": names::label_filter(self.installation(), []),
        });
        let since = format!("{}.{:09}", since.as_second(), since.subsec_nanosecond());
        let query = query(&[("since", &since), ("filters", &filters.to_string())]);
        let answer = self.engine.request(Method::GET, "/events", &query, None).await;
        let answer = answer.map_err(|error| self.engine.error(error))?;
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp());
        let opened = date.unwrap_or_else(|| self.context.clock.now());
        Ok(Events { body: answer.into_body(), buffer: BytesMut::new(), opened })
    }
}

/// The engine remembers so many events, of all kinds and of everybody.
const REMEMBERED: usize = 256;

impl Shared {
    /// Whether events since then may have left the engine's memory, which is short: then its answer's silence about our
    /// containers says nothing.
    async fn has_forgotten(&self, since: Timestamp, until: Timestamp) -> Result<bool> {
        let query = query(&[("since", "1"), ("until", &epoch(until))]);
        let answer = self.engine.request(Method::GET, "/events", &query, None).await;
        let body = answer.map_err(|error| self.engine.error(error))?.into_body();
        let mut history = Events { body, buffer: BytesMut::new(), opened: Timestamp::UNIX_EPOCH };
        let (mut oldest, mut count) = (None, 0);
        while let Some(line) = history.line().await? {
            // Of events of all kinds, those that no client knows yet among them.
            let event: Dated = read(&line)?;
            oldest = oldest.or(event.time());
            count += 1;
        }
        // The newest ones are younger than this answer. A memory that is half empty has lost nothing yet.
        Ok(count >= REMEMBERED / 2 && oldest.is_some_and(|oldest| oldest > since))
    }
}

/// A time as the engine's queries take it.
fn epoch(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

/// The engine's event stream.
pub(crate) struct Events {
    body: Incoming,
    buffer: BytesMut,
    /// When it was opened, by the engine's clock, in whole seconds.
    opened: Timestamp,
}

impl Events {
    /// The next event. Its end is an error: an engine ends it only when it stops. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Result<EventMessage> {
        match self.line().await? {
            Some(line) => read(&line),
            None => Err(broken()),
        }
    }

    /// The next event as text; `None` at the end.
    async fn line(&mut self) -> Result<Option<BytesMut>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                return Ok(Some(line));
            }
            if self.buffer.len() > LONGEST {
                return Err(Error::new(ErrorKind::Unexpected, "an event has no end"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
                Some(Err(error)) => return Err(broken().with_source(error)),
                None => return Ok(None),
            }
        }
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Unavailable, "the engine's event stream broke")
        .with_retry(Retry::Safe { after: None })
}

fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line)
        .map_err(|error| Error::new(ErrorKind::Unexpected, "an event makes no sense").with_source(error))
}

/// An event, as far as its time goes.
#[derive(Deserialize)]
struct Dated {
    #[serde(rename = "timeNano")]
    nanos: Option<i64>,
}

impl Dated {
    fn time(&self) -> Option<Timestamp> {
        Timestamp::from_nanosecond(self.nanos?.into()).ok()
    }
}

fn time_of(event: &EventMessage) -> Option<Timestamp> {
    Timestamp::from_nanosecond(event.time_nano?.into()).ok()
}

/// Feeds the hub for as long as somebody watches. Only a first attempt that fails ends the watches.
async fn drive(shared: Arc<Shared>, feed: WatchFeed, mut source: Option<Events>) -> Error {
    let mut backoff = Backoff::default();
    let mut synced = false;
    loop {
        let events = match source.take() {
            Some(events) => Ok(events),
            None => shared.open_events(None, &EVENTS).await,
        };
        let error = match events {
            Ok(events) => Box::pin(Pump::new(&shared, &feed, events).run(&mut synced, &mut backoff)).await,
            Err(error) => error,
        };
        if !synced {
            return error;
        }
        tracing::warn!(provider = %shared.info, %error, "the watch has a gap and is opened again");
        feed.lost(&error);
        shared.engine.reconnect().ok();
        tokio::time::sleep(backoff.next()).await;
        // Another engine may have come up in its place, which speaks another version.
        shared.refresh().await.ok();
    }
}

/// Containers that an open watch is to look at although the engine sends no event of them.
#[derive(Debug, Default)]
pub(crate) struct Nudges(Mutex<Option<UnboundedSender<String>>>);

impl Nudges {
    /// From now on to this watch.
    fn open(&self) -> UnboundedReceiver<String> {
        let (send, receive) = unbounded_channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(send);
        receive
    }
}

impl Shared {
    /// Has an open watch look at a container: an engine sends no event of a start that failed before there was a
    /// process.
    pub(crate) fn look_again(&self, id: &str) {
        let nudges = self.nudges.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = &*nudges {
            // Without a watch there is nobody to tell.
            watch.send(id.to_owned()).ok();
        }
    }
}

/// Whether the engine could not say how it is.
pub(crate) fn is_untold(status: &WorkerStatus) -> bool {
    status.phase == WorkerPhase::Unknown
}

type Inspection = (String, Reading, Result<Option<Arc<WorkerStatus>>>);

/// One connection's worth of events.
struct Pump<'a> {
    shared: &'a Arc<Shared>,
    feed: &'a WatchFeed,
    events: Events,
    nudges: UnboundedReceiver<String>,
    /// The time of the newest event, or of the first opening.
    heard: Timestamp,
    /// Up to this time, all has been heard over an earlier connection.
    known: Option<Timestamp>,
    /// Containers of which something was heard, in order.
    waiting: VecDeque<String>,
    /// Containers that are being looked at; those of which something more was heard meanwhile.
    looking: HashMap<String, bool>,
    /// Removed while they were looked at: what is seen of them then is old.
    removed: HashSet<String>,
    inspections: FuturesUnordered<BoxFuture<'a, Inspection>>,
    /// Containers of which the engine does not tell, with the pause before the next look.
    untold: HashMap<String, Duration>,
    /// When they are looked at again.
    later: FuturesUnordered<BoxFuture<'static, String>>,
}

impl<'a> Pump<'a> {
    fn new(shared: &'a Arc<Shared>, feed: &'a WatchFeed, events: Events) -> Self {
        Self {
            shared,
            feed,
            heard: events.opened,
            known: None,
            nudges: shared.nudges.open(),
            events,
            waiting: VecDeque::new(),
            looking: HashMap::new(),
            removed: HashSet::new(),
            inspections: FuturesUnordered::new(),
            untold: HashMap::new(),
            later: FuturesUnordered::new(),
        }
    }

    /// Lists while it listens, then follows the events until the connection breaks.
    async fn run(mut self, synced: &mut bool, backoff: &mut Backoff) -> Error {
        let mut removed = Vec::new();
        let all = WorkerFilter::all();
        let reading = self.feed.reading();
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
            Ok(listing) => {
                let existing: Vec<_> = listing.workers.iter().map(|status| status.worker.clone()).collect();
                self.feed.resync_as_of(&reading, listing.workers);
                if let Err(error) = self.shared.secrets.sweep(existing).await {
                    tracing::warn!(%error, "secrets of workers that do not exist may be left");
                }
            }
            Err(error) => return error,
        }
        removed.into_iter().for_each(|gone| self.feed.gone(gone));
        *synced = true;
        backoff.reset();
        self.follow().await
    }

    async fn follow(&mut self) -> Error {
        let over_tcp = !self.shared.engine.endpoint.is_local();
        let interval = self.shared.settings.silence_limit.get();
        let mut silence = Box::pin(tokio::time::sleep(interval));
        let mut renewal: Option<BoxFuture<'static, Result<Events>>> = None;
        loop {
            self.look();
            tokio::select! {
                event = self.events.next() => {
                    match event {
                        Ok(event) if self.is_missed(&event) => {
                            return Error::new(ErrorKind::Unavailable, "the connection had died without a sign");
                        }
                        Ok(event) => {
                            if let Some(gone) = self.hear(event) {
                                self.feed.gone(gone);
                            }
                        }
                        Err(error) => return error,
                    }
                    silence.as_mut().reset(tokio::time::Instant::now() + interval);
                }
                Some(id) = self.nudges.recv() => self.wait_for(id),
                Some(id) = self.later.next() => {
                    if self.untold.contains_key(&id) {
                        self.wait_for(id);
                    }
                }
                Some((id, reading, seen)) = self.inspections.next() => {
                    if let Err(error) = self.seen(id, reading, seen) {
                        return error;
                    }
                }
                () = &mut silence, if over_tcp && renewal.is_none() => renewal = Some(self.renew(interval)),
                fresh = async { match renewal.as_mut() {
                    Some(renewal) => renewal.await,
                    None => std::future::pending().await,
                } } => {
                    match fresh {
                        Ok(fresh) => {
                            self.known = Some(self.told_until());
                            self.events = fresh;
                            // What is being looked at may wait on a connection that is as dead.
                            self.inspections.clear();
                            self.removed.clear();
                            self.waiting.extend(self.looking.drain().map(|(id, _)| id));
                        }
                        Err(error) => return error,
                    }
                    renewal = None;
                    silence.as_mut().reset(tokio::time::Instant::now() + interval);
                }
            }
        }
    }

    /// Opens another stream in the place of one that is silent: it may have died without a sign, and nothing that is
    /// asked over another connection would tell.
    fn renew(&self, within: Duration) -> BoxFuture<'static, Result<Events>> {
        let (shared, since) = (Arc::clone(self.shared), self.told_until());
        async move {
            shared.engine.reconnect()?;
            let opened = async {
                let events = shared.open_events(Some(since), &EVENTS).await?;
                // Only then is what was said in the meantime either in the new stream or lost.
                if shared.has_forgotten(since, events.opened).await? {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "the engine does not remember all that happened during the silence",
                    ));
                }
                Ok(events)
            };
            tokio::time::timeout(within.max(SHORTEST), opened).await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Timeout, "the engine does not answer any more"))
            })
        }
        .boxed()
    }

    /// The time up to which all has been told: what is older than the stream's opening was told when it opened.
    fn told_until(&self) -> Timestamp {
        self.heard.max(self.events.opened)
    }

    /// Whether an event is from a time at which an earlier connection should have told it.
    fn is_missed(&self, event: &EventMessage) -> bool {
        match (self.known, time_of(event)) {
            (Some(known), Some(time)) => time > known && time < self.events.opened,
            _ => false,
        }
    }

    /// Takes note of an event; returns what is gone by it.
    fn hear(&mut self, event: EventMessage) -> Option<Gone> {
        let time = time_of(&event);
        if time.is_some_and(|time| self.known.is_some_and(|known| time <= known)) {
            return None;
        }
        self.heard = time.unwrap_or(self.heard).max(self.heard);
        let actor = event.actor?;
        let id = actor.id?;
        let ownership: Ownership = names::ownership(self.shared.installation(), actor.attributes.as_ref())?;
        if event.action.as_deref() == Some("destroy") {
            self.waiting.retain(|waiting| *waiting != id);
            self.untold.remove(&id);
            if self.looking.contains_key(&id) {
                self.removed.insert(id.clone());
            }
            return Some(Gone::new(ownership.worker, id, self.shared.context.clock.now()));
        }
        self.wait_for(id);
        None
    }

    /// Has a container looked at, after what is being looked at now.
    fn wait_for(&mut self, id: String) {
        if let Some(again) = self.looking.get_mut(&id) {
            *again = true;
        } else if !self.waiting.contains(&id) {
            self.waiting.push_back(id);
        }
    }

    /// Has a container looked at again after a while, which doubles: what it waits for is most probably told by an event.
    fn look_later(&mut self, id: String) {
        let pause = self.untold.get(&id).map_or(SHORTEST, |pause| (*pause * 2).min(LONGEST_PAUSE));
        self.untold.insert(id.clone(), pause);
        self.later.push(
            async move {
                tokio::time::sleep(pause).await;
                id
            }
            .boxed(),
        );
    }

    fn look(&mut self) {
        while self.looking.len() < AT_ONCE
            && let Some(id) = self.waiting.pop_front()
        {
            self.looking.insert(id.clone(), false);
            let shared = Arc::clone(self.shared);
            let reading = self.feed.reading();
            self.inspections.push(
                async move {
                    let seen = shared.observe(&id).await;
                    (id, reading, seen)
                }
                .boxed(),
            );
        }
    }

    fn seen(&mut self, id: String, reading: Reading, seen: Result<Option<Arc<WorkerStatus>>>) -> Result<()> {
        let again = self.looking.remove(&id).unwrap_or_default();
        if self.removed.remove(&id) {
            return Ok(());
        }
        // What is not there any more is told by its own event.
        let status = seen?;
        if status.as_ref().is_some_and(|status| is_untold(status)) {
            self.look_later(id.clone());
        } else {
            self.untold.remove(&id);
        }
        if let Some(status) = status {
            self.feed.apply_as_of(reading, status);
        }
        if again {
            self.waiting.push_back(id);
        }
        Ok(())
    }
}
