use std::{
    borrow::Cow,
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};

use super::{LogChunk, LogItem, LogPosition, LogRecord, LogStream};
use crate::{clock::Timestamp, error::Result, quantity::ByteSize};

/// What [`LogLines`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogEntry {
    /// A line.
    Line(LogLine),
    /// Some output is lost here.
    Gap {
        /// Why.
        reason: String,
    },
}

impl LogEntry {
    /// The line, if this is one.
    pub fn line(&self) -> Option<&LogLine> {
        match self {
            Self::Line(line) => Some(line),
            Self::Gap { .. } => None,
        }
    }
}

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LineEnd {
    /// With a line feed.
    LineFeed,
    /// It is cut here, since it is longer than a line may be. The next one of its stream goes on with it.
    Cut,
    /// The log ended before it did, or some output was lost.
    Open,
}

/// A line that a worker wrote, put together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// When its beginning was read from the worker.
    pub time: Timestamp,
    /// Where the worker wrote it.
    pub stream: LogStream,
    /// What it wrote, without the line feed.
    pub bytes: Bytes,
    /// Whether this is its beginning, and not what follows a [cut](LineEnd::Cut).
    pub begins: bool,
    /// How it ends.
    pub end: LineEnd,
    /// Where another reader goes on after this. `None` while the other stream is in the middle of a line, and where the
    /// chunks carried no positions.
    pub position: Option<LogPosition>,
}

impl LogLine {
    /// Whether this is all of it.
    pub fn is_whole(&self) -> bool {
        self.begins && self.end == LineEnd::LineFeed
    }
    /// Its text, with what is not UTF-8 replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
    /// What it says: its fields where it is an object of JSON, its text otherwise.
    pub fn record(&self) -> LogRecord<'_> {
        match self.begins && self.end != LineEnd::Cut {
            true => LogRecord::of(&self.bytes),
            false => LogRecord::Text(self.text()),
        }
    }
}

/// Puts the chunks of a log together to lines, of each stream by itself, in the order of their ends.
///
/// A line is told when its line feed has come. One that is longer than the limit, 1 MiB by default, is told in pieces of
/// that length: no more is held in memory. What a gap interrupts, or the end of the log, is told as it is. Where a run
/// ends in the middle of a line, the first line of the next run goes on with it.
///
/// # Examples
/// ```
/// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, provider::LogOptions};
/// use futures::StreamExt as _;
/// use hodei_worker_core::provider::{LogEntry, LogLevel, LogLines};
/// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
/// let mut lines = LogLines::new(provider.worker_logs(worker, &LogOptions::following()).await?);
/// while let Some(entry) = lines.next().await {
///     let LogEntry::Line(line) = entry? else { continue };
///     let record = line.record();
///     if record.level() >= Some(LogLevel::Warn) {
///         println!("{}", record.message().unwrap_or_default());
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LogLines<S> {
    logs: S,
    longest: usize,
    state: Held,
    ready: VecDeque<LogEntry>,
    ended: bool,
}

/// Where the putting together stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    /// After the newest chunk.
    pub(super) position: Option<LogPosition>,
    /// The line that each stream is in.
    open: [Option<Open>; 2],
}

/// A line whose end has not come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Open {
    time: Timestamp,
    begins: bool,
    #[serde(with = "hexadecimal")]
    bytes: BytesMut,
}

const STREAMS: [LogStream; 2] = [LogStream::Stdout, LogStream::Stderr];

impl<S> LogLines<S> {
    /// The lines of this log.
    pub fn new(logs: S) -> Self {
        Self::from_held(logs, Held::default())
    }

    /// The lines of a log that goes on where another has ended.
    pub(super) fn from_held(logs: S, state: Held) -> Self {
        Self { logs, longest: 1 << 20, state, ready: VecDeque::new(), ended: false }
    }

    /// No line is longer than this; one that is comes in pieces. At least 16 bytes.
    #[must_use]
    pub fn at_most(mut self, size: ByteSize) -> Self {
        self.longest = usize::try_from(size.bytes()).unwrap_or(usize::MAX).max(16);
        self
    }

    /// Where the putting together stands, once all that is ready was taken.
    pub(super) fn held(&self) -> Option<&Held> {
        self.ready.is_empty().then_some(&self.state)
    }

    fn take(&mut self, item: LogItem) {
        match item {
            LogItem::Chunk(chunk) => self.take_chunk(chunk),
            LogItem::Gap { reason } => {
                self.interrupt();
                self.ready.push_back(LogEntry::Gap { reason });
            }
        }
    }

    fn take_chunk(&mut self, chunk: LogChunk) {
        let LogChunk { time, stream, bytes: mut rest, position } = chunk;
        self.state.position = position;
        while !rest.is_empty() {
            let line_feed = rest.iter().position(|byte| *byte == b'\n');
            let mut part = rest.split_to(line_feed.unwrap_or(rest.len()));
            if line_feed.is_some() {
                rest = rest.slice(1..);
            }
            let open = &mut self.state.open[stream as usize];
            let (mut time, mut begins) = (time, true);
            if let Some(open) = open.take() {
                (time, begins) = (open.time, open.begins);
                let mut whole = open.bytes;
                whole.extend_from_slice(&part);
                part = whole.freeze();
            }
            while part.len() > self.longest {
                let bytes = part.split_to(cut(&part, self.longest));
                self.push(LogLine { time, stream, bytes, begins, end: LineEnd::Cut, position: None });
                begins = false;
            }
            let bytes = part;
            if line_feed.is_some() {
                self.push(LogLine { time, stream, bytes, begins, end: LineEnd::LineFeed, position: None });
            } else {
                let bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
                self.state.open[stream as usize] = Some(Open { time, begins, bytes });
            }
        }
        if self.state.open == [None, None]
            && let Some(LogEntry::Line(last)) = self.ready.back_mut()
        {
            last.position.clone_from(&self.state.position);
        }
    }

    fn push(&mut self, line: LogLine) {
        self.ready.push_back(LogEntry::Line(line));
    }

    /// What is open stays so for ever.
    fn interrupt(&mut self) {
        let mut open: Vec<LogLine> = Vec::new();
        for stream in STREAMS {
            if let Some(Open { time, begins, bytes }) = self.state.open[stream as usize].take() {
                let bytes = bytes.freeze();
                open.push(LogLine { time, stream, bytes, begins, end: LineEnd::Open, position: None });
            }
        }
        open.sort_by_key(|line| line.time);
        if let Some(last) = open.last_mut() {
            last.position.clone_from(&self.state.position);
        }
        self.ready.extend(open.into_iter().map(LogEntry::Line));
    }
}

/// Where to cut so much: not within a character.
fn cut(bytes: &[u8], longest: usize) -> usize {
    let goes_on = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    (longest.saturating_sub(3)..=longest).rev().find(|at| !goes_on(at)).unwrap_or(longest)
}

impl<S: Stream<Item = Result<LogItem>> + Unpin> Stream for LogLines<S> {
    type Item = Result<LogEntry>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(entry) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(entry)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match ready!(this.logs.poll_next_unpin(context)) {
                Some(Ok(item)) => this.take(item),
                // What is open may be gone on with by another reader.
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.ended = true;
                    this.interrupt();
                }
            }
        }
    }
}

/// Bytes that may be anything, in JSON.
mod hexadecimal {
    use bytes::BytesMut;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &BytesMut, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let text: String = digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BytesMut, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Option<BytesMut> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.ok_or_else(|| D::Error::custom("it is no hexadecimal text"))
    }
}
