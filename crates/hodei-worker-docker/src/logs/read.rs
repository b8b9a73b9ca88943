use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, Retry, Timestamp, WorkerObservation, WorkerPhase, WorkerRef, WorkerStatus,
    model::RunId,
    provider::{BoxStream, LogChunk, LogItem, LogOptions, WorkerFilter},
};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{sync::mpsc, time::Instant};

use super::{
    frames::{Decoder, Frame},
    mend::Mender,
    position::{Position, Resumption, Verdict},
    tail::Ring,
    witness::Witness,
};
use crate::{backoff::Backoff, client::query, error::status, provider::Shared, status as engine_status};

/// Items that wait for a slow reader; then the engine waits, which keeps the rest.
const AHEAD: usize = 64;
/// A reader that makes us wait for that long in all, before it has caught up, makes the engine wait, which goes on to
/// rotate the log meanwhile.
const STALL: Duration = Duration::from_secs(1);
/// The place where we stand is looked for again for one part in so many of the time, at most.
const SEARCH: u32 = 10;
/// A follow that ends while the worker runs is opened again after this time.
const AGAIN: Duration = Duration::from_millis(100);
/// For so many last lines the engine is asked for the last pieces first, which spares it a long log.
const FEW: u64 = 1 << 10;

impl Shared {
    pub(crate) async fn logs(
        self: &Arc<Self>,
        worker: &WorkerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        let mut id = self.id_of(worker).await?;
        let opened = match self.begin_logs(worker, &id, options).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                id = self.successor_of(worker, &id).await?;
                self.begin_logs(worker, &id, options).await
            }
            other => other,
        };
        let Begun { ahead, position, troubled, source } = opened?;
        let (send, receive) = mpsc::channel(AHEAD);
        let reader = Reader {
            shared: Arc::clone(self),
            worker: worker.clone(),
            id,
            options: options.clone(),
            position,
            troubled,
            waited: Duration::ZERO,
            patience: STALL,
            send,
        };
        tokio::spawn(async move {
            let send = reader.send.clone();
            tokio::select! {
                () = send.closed() => {}
                () = reader.run(ahead, source) => {}
            }
        });
        let stream = futures::stream::unfold(receive, |mut receive| async move {
            receive.recv().await.map(|item| (item, receive))
        });
        Ok(stream.boxed())
    }

    async fn begin_logs(&self, worker: &WorkerRef, id: &str, options: &LogOptions) -> Result<Begun> {
        if let Some(after) = &options.after {
            let position = Position::restore(after, id)?;
            let from = Some(position.resume_from());
            let source = Some(self.open_logs(worker, id, options.follow, from).await?);
            return Ok(Begun { ahead: Vec::new(), position, troubled: false, source });
        }
        if let Some(lines) = options.tail {
            let pass = self.read_tail(worker, id, lines, options).await?;
            let (position, troubled) = (pass.position, pass.troubled);
            return Ok(Begun { ahead: pass.ring.finish(), position, troubled, source: None });
        }
        let position = Position::new(options.since.unwrap_or(Timestamp::UNIX_EPOCH));
        let source = Some(self.open_logs(worker, id, options.follow, options.since).await?);
        Ok(Begun { ahead: Vec::new(), position, troubled: false, source })
    }

    async fn open_logs(
        &self,
        worker: &WorkerRef,
        id: &str,
        follow: bool,
        since: Option<Timestamp>,
    ) -> Result<Source> {
        let witness = self.witness(worker, id, since.unwrap_or(Timestamp::UNIX_EPOCH)).await?;
        let since = since.map_or_else(|| "0".to_owned(), epoch);
        let source = self.request_logs(worker, id, follow, &[("since", &since)]).await?;
        Ok(Source { witness, ..source })
    }

    /// The last frame of what is to be read, where the engine would not say that it cannot read it.
    async fn witness(&self, worker: &WorkerRef, id: &str, since: Timestamp) -> Result<Option<Witness>> {
        if !self.engine.hides_damage() {
            return Ok(None);
        }
        let mut source = self.request_logs(worker, id, false, &[("tail", "1")]).await?;
        let asked = source.asked;
        let mut witness = None;
        while let Some(frame) = source.next().await? {
            if let Frame::Chunk(chunk) = frame {
                witness = Some(Witness::new(&chunk, asked));
            }
        }
        Ok(witness.filter(|witness| witness.is_expected(since)))
    }

    /// Both streams in any case: they are one log, in which the position is counted.
    async fn request_logs(
        &self,
        worker: &WorkerRef,
        id: &str,
        follow: bool,
        more: &[(&str, &str)],
    ) -> Result<Source> {
        let mut pairs = vec![("stdout", "1"), ("stderr", "1"), ("timestamps", "1")];
        pairs.push(("follow", if follow { "1" } else { "0" }));
        pairs.extend_from_slice(more);
        let path = format!("/containers/{id}/logs");
        match self.engine.request(Method::GET, &path, &query(&pairs), None).await {
            Ok(answer) => {
                let driver = self.memory.known(worker).and_then(|facts| facts.made);
                let mend = driver.is_some_and(|made| self.engine.forgets_line_feeds(&made.log_driver));
                let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
                let asked = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
                Ok(Source {
                    asked: asked.map(|date| date.timestamp()),
                    body: answer.into_body(),
                    decoder: Decoder::default(),
                    mender: Mender::new(mend),
                    witness: None,
                    next: None,
                })
            }
            // 409: it is being removed.
            Err(error) if matches!(status(&error), Some(404 | 409)) => {
                self.memory.forget(worker);
                Err(Error::worker_not_found(worker))
            }
            Err(error) => Err(self.engine.error(error)),
        }
    }

    /// The last lines that there are now, and where they end. Read once, however many lines there are, and kept as
    /// far as they are the last.
    async fn read_tail(
        &self,
        worker: &WorkerRef,
        id: &str,
        lines: u64,
        options: &LogOptions,
    ) -> Result<Pass> {
        let since = options.since.unwrap_or(Timestamp::UNIX_EPOCH);
        let mut hint = None;
        if lines < FEW {
            // One more than needed: whether the first line is whole shows in what stands before it.
            let (count, from) = ((lines + 1).to_string(), epoch(since));
            let witness = self.witness(worker, id, since).await?;
            let source = self.request_logs(worker, id, false, &[("tail", &count), ("since", &from)]).await?;
            let source = Source { witness, ..source };
            // Positions can only be counted from a time on, not from the middle of what was written at one time.
            let pass = Pass::read(source, Ring::new(lines, options), since, None).await?;
            let all = options.since.is_none() && pass.count <= lines;
            hint = Some((all || pass.ring.is_sure(), pass)).filter(|(_, pass)| !pass.troubled);
        }
        let mut from = since;
        if let Some((true, pass)) = hint {
            if !options.follow && !options.positions {
                return Ok(pass);
            }
            from = pass.first.unwrap_or(since);
            hint = Some((true, pass));
        }
        let source = self.open_logs(worker, id, false, Some(from)).await?;
        let container = options.positions.then_some(id);
        let pass = Pass::read(source, Ring::new(lines, options), from, container).await?;
        let (Some((sure, mut end)), Some(why)) = (hint, pass.ring.troubled()) else { return Ok(pass) };
        // The engine reads a damaged log from its end still.
        end.ring.trouble_at(if sure { end.count } else { 0 }, why.to_owned());
        end.troubled = true;
        Ok(end)
    }
}

/// What is to be told first, where it ends, and what comes next.
struct Begun {
    ahead: Vec<LogItem>,
    position: Position,
    troubled: bool,
    source: Option<Source>,
}

/// What one answer of the engine held, read to its end.
struct Pass {
    ring: Ring,
    position: Position,
    first: Option<Timestamp>,
    count: u64,
    /// Whether it ended where the engine could not read its log.
    troubled: bool,
}

impl Pass {
    /// With positions in this container's log, if it is given.
    async fn read(mut source: Source, ring: Ring, from: Timestamp, container: Option<&str>) -> Result<Self> {
        let mut pass = Self { ring, position: Position::new(from), first: None, count: 0, troubled: false };
        while let Some(frame) = source.next().await? {
            match frame {
                Frame::Chunk(mut chunk) => {
                    pass.first.get_or_insert(chunk.time);
                    pass.count += 1;
                    pass.troubled = false;
                    pass.position.note(&chunk);
                    chunk.position = container.and_then(|container| pass.position.save(container));
                    pass.ring.push(&chunk);
                }
                Frame::Trouble(reason) => {
                    pass.troubled = true;
                    pass.ring.trouble_at(pass.count, reason);
                }
            }
        }
        Ok(pass)
    }
}

/// A time as the engine's queries take it.
fn epoch(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

/// One answer of the engine.
struct Source {
    /// The engine's time when it answered.
    asked: Option<Timestamp>,
    body: Incoming,
    decoder: Decoder,
    mender: Mender,
    /// What must come yet.
    witness: Option<Witness>,
    /// What comes after a trouble that was told.
    next: Option<LogChunk>,
}

/// What is said in the place of an engine that says nothing.
const HIDDEN: &str = "the engine leaves out a part of its log, which is damaged";

impl Source {
    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Result<Option<Frame>> {
        if let Some(chunk) = self.next.take() {
            return Ok(Some(Frame::Chunk(chunk)));
        }
        loop {
            if let Some(frame) = self.decoder.next()? {
                let Frame::Chunk(chunk) = frame else { return Ok(Some(frame)) };
                let chunk = self.mender.mend(chunk);
                if let Some(witness) = &self.witness {
                    if witness.is(&chunk) {
                        self.witness = None;
                    } else if witness.is_missed_by(&chunk) {
                        (self.witness, self.next) = (None, Some(chunk));
                        return Ok(Some(Frame::Trouble(HIDDEN.to_owned())));
                    }
                }
                return Ok(Some(Frame::Chunk(chunk)));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.decoder.push(&bytes);
                    }
                }
                Some(Err(error)) => {
                    return Err(Error::new(ErrorKind::Unavailable, "the engine's log stream broke")
                        .with_retry(Retry::IfIdempotent)
                        .with_source(error));
                }
                None => {
                    let missed = self.witness.take();
                    return Ok(missed.map(|_| Frame::Trouble(HIDDEN.to_owned())));
                }
            }
        }
    }
}

/// The reader has gone, or all has been told.
struct Done;

/// How an answer of the engine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All of it was read.
    Whole,
    /// The reader made us wait for so long that the engine may have rotated away what comes next: the rest was let go,
    /// and is to be asked for by position, which finds the gap.
    Stalled,
    /// The engine cannot read its own log here.
    Damaged,
}

struct Reader {
    shared: Arc<Shared>,
    worker: WorkerRef,
    id: Arc<str>,
    options: LogOptions,
    position: Position,
    /// Whether a trouble was told since the last line that was read.
    troubled: bool,
    /// For how long the reader has made us wait since it had caught up, or since the engine's answer began.
    waited: Duration,
    /// How long it may.
    patience: Duration,
    send: mpsc::Sender<Result<LogItem>>,
}

impl Reader {
    async fn run(mut self, ahead: Vec<LogItem>, mut source: Option<Source>) {
        for item in ahead {
            if self.send.send(Ok(item)).await.is_err() {
                return;
            }
        }
        while let Some(opened) = source.take() {
            let resumption = Resumption::of(&self.position);
            match self.drain(opened, resumption).await {
                Err(Done) => return,
                Ok(Err(error)) if !self.options.follow || error.retry() == Retry::Never => {
                    self.send.send(Err(error)).await.ok();
                    return;
                }
                Ok(_) => {}
            }
        }
        if self.options.follow {
            let Err(Done) = Box::pin(self.follow()).await;
        }
    }

    /// Hands on what is new in an answer, until its end.
    async fn drain(&mut self, source: Source, mut resumption: Resumption) -> Result<Result<End>, Done> {
        let begun = Instant::now();
        let mut found = false;
        self.waited = Duration::ZERO;
        let mut source = Some(source);
        let mut end = End::Whole;
        while let Some(reading) = &mut source {
            let mut chunk = match reading.next().await {
                Ok(Some(Frame::Chunk(chunk))) => chunk,
                Ok(Some(Frame::Trouble(reason))) => {
                    end = End::Damaged;
                    if !std::mem::replace(&mut self.troubled, true) {
                        self.tell(&mut source, LogItem::Gap { reason }).await?;
                    }
                    continue;
                }
                Ok(None) => return Ok(Ok(end)),
                Err(error) => return Ok(Err(error)),
            };
            match resumption.judge(&chunk) {
                Verdict::Known => continue,
                Verdict::New => {}
                Verdict::NewAfterGap if self.troubled => {}
                Verdict::NewAfterGap => {
                    let reason = "the engine rotated output away before it was read".to_owned();
                    self.tell(&mut source, LogItem::Gap { reason }).await?;
                }
            }
            if !std::mem::replace(&mut found, true) {
                self.patience = STALL.max(begun.elapsed() * SEARCH);
            }
            self.troubled = false;
            self.position.note(&chunk);
            if self.options.wants(chunk.stream) {
                if self.options.positions {
                    chunk.position = self.position.save(&self.id);
                }
                self.tell(&mut source, LogItem::Chunk(chunk)).await?;
            }
        }
        Ok(Ok(End::Stalled))
    }

    /// Lets go of the engine's answer when the reader makes us wait for long, if it goes on: what is there already, an
    /// engine holds in open files for us.
    async fn tell(&mut self, source: &mut Option<Source>, item: LogItem) -> Result<(), Done> {
        if self.send.capacity() == AHEAD {
            self.waited = Duration::ZERO;
        }
        let begun = Instant::now();
        let left = self.patience.saturating_sub(self.waited);
        if self.options.follow && tokio::time::timeout(left, self.send.reserve()).await.is_err() {
            *source = None;
            // All that has been told is read before more is asked for.
            self.send.reserve_many(AHEAD).await.map_err(|_| Done)?;
        }
        self.waited += begun.elapsed();
        self.send.send(Ok(item)).await.map_err(|_| Done)
    }

    /// Goes on after the end of an answer: the worker has ended, was removed, or the engine has gone.
    async fn follow(&mut self) -> Result<std::convert::Infallible, Done> {
        let mut backoff = Backoff::default();
        // The run of which everything has been read.
        let mut complete: Option<Option<RunId>> = None;
        loop {
            let state = match self.shared.inspect(&self.id).await {
                Ok(Some(inspected)) => inspected.state.unwrap_or_default(),
                Ok(None) => return Err(Done),
                Err(error) if error.retry() == Retry::Never => {
                    self.send.send(Err(error)).await.ok();
                    return Err(Done);
                }
                Err(_) => {
                    tokio::time::sleep(backoff.next()).await;
                    continue;
                }
            };
            let run = engine_status::run_id(&state);
            let alive = engine_status::is_alive(&state);
            if !alive && complete.as_ref() == Some(&run) {
                self.wait_for_another_run(&run, &mut backoff).await?;
                continue;
            }
            let (opened, resumption) = if self.troubled && alive {
                // What comes after the damage: an engine reads a log from its beginning, or from its end.
                let end = [("tail", "0")];
                let opened = self.shared.request_logs(&self.worker, &self.id, true, &end).await;
                (opened, Resumption::after_loss(&self.position))
            } else {
                // An engine may end a follow before it has sent the last lines; what it keeps is complete.
                let from = Some(self.position.resume_from());
                let opened = self.shared.open_logs(&self.worker, &self.id, alive, from).await;
                (opened, Resumption::of(&self.position))
            };
            let read = match opened {
                Ok(source) => self.drain(source, resumption).await?,
                Err(error) => Err(error),
            };
            match read {
                Ok(End::Stalled) => {}
                Ok(End::Damaged) if alive => tokio::time::sleep(backoff.next()).await,
                Ok(_) if alive => tokio::time::sleep(AGAIN).await,
                Ok(_) => {
                    backoff.reset();
                    complete = Some(run);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(Done),
                Err(error) if error.retry() == Retry::Never => {
                    self.send.send(Err(error)).await.ok();
                    return Err(Done);
                }
                Err(_) => tokio::time::sleep(backoff.next()).await,
            }
        }
    }

    /// Waits until the worker runs again, without asking.
    async fn wait_for_another_run(&self, over: &Option<RunId>, backoff: &mut Backoff) -> Result<(), Done> {
        let filter = WorkerFilter::id(self.worker.id.clone());
        let Ok(mut changes) = self.shared.watch(&filter).await else {
            tokio::time::sleep(backoff.next()).await;
            return Ok(());
        };
        let same = |status: &WorkerStatus| status.native_id == *self.id;
        let another = |status: &WorkerStatus| {
            same(status)
                && status.phase != WorkerPhase::Unknown
                && (status.run != *over || status.phase.is_alive())
        };
        let mut listed = false;
        while let Some(change) = changes.next().await {
            match change {
                Ok(WorkerObservation::Resync) => listed = false,
                Ok(WorkerObservation::Listed(status)) if same(&status) => {
                    listed = true;
                    if another(&status) {
                        // The picture may be of an earlier time, while the watch has a gap.
                        break;
                    }
                }
                Ok(WorkerObservation::Applied(status)) if another(&status) => return Ok(()),
                Ok(WorkerObservation::Synced) if !listed => return Err(Done),
                Ok(WorkerObservation::Gone(gone)) if gone.native_id == *self.id => return Err(Done),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        tokio::time::sleep(backoff.next()).await;
        Ok(())
    }
}
