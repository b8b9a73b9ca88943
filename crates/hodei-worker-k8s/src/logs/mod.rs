//! A worker's output: read with the cluster's times, gone on with after a cut, without a line lost or repeated. What a
//! node has rotated away meanwhile is told as a gap.

mod cursor;
mod resume;
mod tail;

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{AsyncBufRead, AsyncBufReadExt as _, StreamExt as _, stream};
use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp, WorkerObservation, WorkerPhase, WorkerRef,
    model::RunId,
    provider::{BoxStream, LogChunk, LogItem, LogOptions, LogStream, WorkerFilter},
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;

use crate::{
    client::Failed,
    names::CONTAINER,
    provider::Shared,
    status::{is_gated, run, uid},
};
use cursor::{Cursor, Key};
use resume::{Resumption, Verdict};
use tail::Tail;

/// Output as the API server sends it: lines, each with its time before it.
type Output = Pin<Box<dyn AsyncBufRead + Send>>;

/// Between two attempts to reach the API server again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A node may tell that a program has ended before it has written down the last of its output.
const SETTLES_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// So long it is waited for a line that tells whether others were read before.
const TELLS_WITHIN: Duration = Duration::from_secs(5);
const SETTLING_PAUSE: Duration = Duration::from_millis(100);

/// A reader, from one attempt to the next.
struct Reader {
    shared: Arc<Shared>,
    worker: WorkerRef,
    pod: String,
    uid: String,
    run: RunId,
    options: LogOptions,
    cursor: Cursor,
    output: Option<Output>,
    /// The line that is being read: it stays when a read is dropped.
    line: Vec<u8>,
    pause: Duration,
    /// The last lines, while all are read and counted; `None` when they were handed out.
    tail: Option<Tail>,
    /// What is handed out next.
    ready: VecDeque<LogItem>,
    /// What of this attempt was read before.
    resumption: Resumption,
    /// Lines of which that is not known yet.
    held: Vec<Line>,
    /// The run has ended: what is read now is the rest.
    over: bool,
    /// It has ended a moment ago: what is read to its end is looked at again, until nothing new is there.
    settles: bool,
    /// Lines of this attempt that were not read before.
    news: u64,
    /// Nothing more is read.
    exhausted: bool,
    done: bool,
}

impl Shared {
    pub(crate) async fn logs(
        self: &Arc<Self>,
        worker: &WorkerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        let pod = self.find_or_fail(worker).await?;
        let cursor = match &options.after {
            Some(position) => Cursor::after(position, run(&pod).as_str())?,
            None => Cursor::from(options.since),
        };
        let settles = self.has_just_ended(&pod);
        let reader = Reader {
            shared: Arc::clone(self),
            worker: worker.clone(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            uid: uid(&pod).to_owned(),
            run: run(&pod),
            options: options.clone(),
            output: None,
            line: Vec::new(),
            pause: FIRST_PAUSE,
            // To go on after them, it has to be known how many came before them.
            tail: (options.tail.is_some()
                && options.after.is_none()
                && (options.follow || options.positions || settles))
                .then(Tail::default),
            ready: VecDeque::new(),
            resumption: Resumption::of(&cursor),
            cursor,
            held: Vec::new(),
            over: false,
            settles,
            news: 0,
            exhausted: false,
            done: is_gated(&pod) && !options.follow,
        };
        Ok(stream::unfold(reader, |mut reader| async move {
            let item = reader.next().await?;
            Some((item, reader))
        })
        .boxed())
    }
}

impl Shared {
    /// By a clock of ours that may be another than the node's, so that the time is generous.
    fn has_just_ended(&self, pod: &Pod) -> bool {
        let now = self.context.clock.now();
        let status = self.view.status(pod, now).filter(|status| status.phase == WorkerPhase::Exited);
        let ended = status.and_then(|status| status.times.finished);
        ended.is_some_and(|ended| now.duration_since(ended).abs() < SETTLES_WITHIN)
    }
}

impl Reader {
    async fn next(&mut self) -> Option<Result<LogItem>> {
        while !self.done {
            match self.step().await {
                Ok(Some(item)) => return Some(Ok(item)),
                Ok(None) => {}
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// Reads on, or opens the output again where it broke off.
    async fn step(&mut self) -> Result<Option<LogItem>> {
        if let Some(ready) = self.ready.pop_front() {
            return Ok(Some(ready));
        }
        if self.exhausted {
            self.done = true;
            return Ok(None);
        }
        let Some(output) = &mut self.output else {
            return self.open().await.map(|()| None);
        };
        let reading = output.read_until(b'\n', &mut self.line);
        let goes_on = self.options.follow && !self.over;
        let read = if goes_on && !self.held.is_empty() {
            let Ok(read) = tokio::time::timeout(TELLS_WITHIN, reading).await else {
                // A later line would tell, and none comes.
                self.end_undecided();
                return Ok(self.ready.pop_front());
            };
            read
        } else {
            reading.await
        };
        if read.is_ok() && self.line.ends_with(b"\n") {
            let line = Bytes::from(std::mem::take(&mut self.line));
            self.take(&line);
            return Ok(self.ready.pop_front());
        }
        // The output has ended, or the way to it was cut: then a line that is not whole comes again.
        self.output = None;
        let rest = Bytes::from(std::mem::take(&mut self.line));
        let read = read.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the connection to the API server broke while output was read")
                .with_retry(hodei_worker_core::Retry::IfIdempotent)
                .with_source(error)
        });
        match read {
            Ok(_) => {}
            // What was read is not read again.
            Err(_) if self.options.follow => return Ok(None),
            Err(error) => return Err(error),
        }
        if !goes_on && self.settles {
            if rest.is_empty() {
                self.end_undecided();
            }
            // Once more; when that brings nothing new, it was all.
            self.settles = std::mem::take(&mut self.news) > 0;
            tokio::time::sleep(SETTLING_PAUSE).await;
            return Ok(None);
        }
        if !goes_on {
            self.take(&rest);
            self.end_undecided();
        }
        if let Some(tail) = self.tail.take() {
            self.ready.extend(tail.into_items());
        }
        self.exhausted = !goes_on;
        Ok(None)
    }

    /// Hands a line out if it was not read before.
    fn take(&mut self, line: &Bytes) {
        let Some(line) = Line::parse(line) else { return };
        match self.resumption.judge(line.key) {
            Verdict::New => self.pass(line),
            Verdict::Known => self.held.clear(),
            Verdict::Open => self.held.push(line),
            Verdict::NewAfterGap => {
                self.tell_gap();
                self.pass(line);
            }
        }
    }

    /// Nothing comes that would tell whether lines were read before: where the last of those is not there, they were not.
    fn end_undecided(&mut self) {
        if self.resumption.ends_in_a_gap() {
            self.tell_gap();
        }
    }

    /// The node has begun another file, in which nothing was read yet.
    fn tell_gap(&mut self) {
        self.cursor.lose();
        let reason = "the node has rotated the output since it was read: some may be lost".to_owned();
        self.hand_out(LogItem::Gap { reason });
        for line in std::mem::take(&mut self.held) {
            self.pass(line);
        }
    }

    /// Takes note of a new line.
    fn pass(&mut self, line: Line) {
        self.cursor.pass(line.key);
        self.news += 1;
        let time = line.key.time;
        if self.options.since.is_some_and(|since| time < since) {
            return;
        }
        let chunk = LogChunk::new(time, LogStream::Stdout, line.text);
        let positions = self.options.positions;
        let chunk = if positions { chunk.at(self.cursor.position(self.run.as_str())) } else { chunk };
        self.hand_out(LogItem::Chunk(chunk));
    }

    /// Keeps it back where only the last lines are asked for and not all have been read.
    fn hand_out(&mut self, item: LogItem) {
        match &mut self.tail {
            Some(tail) => tail.push(item, self.options.tail.unwrap_or_default()),
            None => self.ready.push_back(item),
        }
    }

    async fn open(&mut self) -> Result<()> {
        if !self.until_there_is_output().await? {
            self.done = true;
            return Ok(());
        }
        let since = self.cursor.since();
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: self.options.follow && !self.over && self.tail.is_none(),
            since_time: since
                .and_then(|since| k8s_openapi::jiff::Timestamp::from_second(since.as_second()).ok()),
            // Of the first attempt: what was read cannot be counted from the end.
            tail_lines: self
                .options
                .tail
                .filter(|_| self.cursor.is_at_the_begin() && self.tail.is_none())
                .map(|tail| i64::try_from(tail).unwrap_or(i64::MAX)),
            timestamps: true,
            ..LogParams::default()
        };
        let pods = self.shared.cluster.pods();
        match self.shared.cluster.call(pods.log_stream(&self.pod, &parameters)).await {
            Ok(read) => {
                self.pause = FIRST_PAUSE;
                self.resumption = Resumption::of(&self.cursor);
                self.held.clear();
                self.output = Some(Box::pin(read));
                Ok(())
            }
            Err(failed) if failed.is_not_found() => {
                self.done = true;
                Ok(())
            }
            // It has not begun to write.
            Err(failed)
                if failed.status().is_some_and(|status| status.code == 400) && !self.options.follow =>
            {
                self.done = true;
                Ok(())
            }
            Err(failed) => {
                let error = self.error(failed);
                if !self.options.follow || !error.is_retryable() {
                    return Err(error);
                }
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                Ok(())
            }
        }
    }

    fn error(&self, failed: Failed) -> Error {
        self.shared.cluster.error(failed)
    }

    /// Whether there is something to be read; waits for it where the output is followed.
    async fn until_there_is_output(&mut self) -> Result<bool> {
        if !self.options.follow || self.over {
            return Ok(true);
        }
        let mut changes = self.shared.watch(&WorkerFilter::id(self.worker.id.clone()));
        while let Some(change) = changes.next().await {
            match change? {
                WorkerObservation::Listed(status) | WorkerObservation::Applied(status)
                    if status.worker == self.worker =>
                {
                    match status.phase {
                        _ if status.native_id != self.uid => return Ok(false),
                        WorkerPhase::Running | WorkerPhase::Stopping => {
                            // A group's member has begun again: the cluster shows what it wrote since then.
                            if let Some(run) = status.run.as_ref().filter(|run| **run != self.run) {
                                (self.run, self.cursor) = (run.clone(), Cursor::default());
                            }
                            return Ok(true);
                        }
                        WorkerPhase::Exited => {
                            // Nothing more will be written.
                            self.over = true;
                            self.settles = true;
                            return Ok(true);
                        }
                        _ => {}
                    }
                }
                WorkerObservation::Gone(gone) if gone.worker == self.worker => return Ok(false),
                WorkerObservation::Synced if self.shared.hub.current(&self.worker).is_none() => {
                    return Ok(false);
                }
                _ => {}
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the watch ended while output was waited for"))
    }
}

/// A line of the worker's.
struct Line {
    key: Key,
    text: Bytes,
}

impl Line {
    /// Of one that has its time before it.
    fn parse(line: &Bytes) -> Option<Self> {
        let end = line.iter().position(|byte| *byte == b' ')?;
        let time: Timestamp = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
        let text = line.slice(end + 1..);
        Some(Self { key: Key::of(time, &text), text })
    }
}
