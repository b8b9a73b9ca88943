mod copy;
mod file;
mod lines;
mod position;
mod record;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use copy::{Copied, LineStyle, copy_logs};
pub use file::{LogFile, LogFileOptions};
pub use lines::{LineEnd, LogEntry, LogLine, LogLines};
pub use position::LogPosition;
pub use record::{LogFields, LogLevel, LogRecord, LogValue};

use crate::clock::Timestamp;

/// Which part of a worker's output is read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogOptions {
    /// Goes on with what is written from now, until the worker is deleted. Default: false.
    pub follow: bool,
    /// Only what was written at this time or later. Default: from the beginning.
    pub since: Option<Timestamp>,
    /// Only the last lines before now, that many. Default: all.
    pub tail: Option<u64>,
    /// Standard output is read. Default: true.
    pub stdout: bool,
    /// Standard error is read. Default: true.
    pub stderr: bool,
    /// Each chunk carries its [position](LogChunk::position), where the provider has them
    /// ([`LogPositions`](crate::Capability::LogPositions)). Default: false, since it costs some time.
    pub positions: bool,
    /// Only what comes after this position, in the same run or a later one: `since` and `tail` do not count then. Needs
    /// [`LogPositions`](crate::Capability::LogPositions). Default: none.
    pub after: Option<LogPosition>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            follow: false,
            since: None,
            tail: None,
            stdout: true,
            stderr: true,
            positions: false,
            after: None,
        }
    }
}

impl LogOptions {
    /// All that there is by now.
    pub fn all() -> Self {
        Self::default()
    }
    /// All that there is, and what comes.
    pub fn following() -> Self {
        Self { follow: true, ..Self::default() }
    }
    /// Only what was written at this time or later.
    #[must_use]
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }
    /// Only the last lines, that many.
    #[must_use]
    pub fn tail(mut self, lines: u64) -> Self {
        self.tail = Some(lines);
        self
    }
    /// Only one of the two streams.
    #[must_use]
    pub fn only(mut self, stream: LogStream) -> Self {
        (self.stdout, self.stderr) = (stream == LogStream::Stdout, stream == LogStream::Stderr);
        self
    }
    /// With the position of each chunk.
    #[must_use]
    pub fn with_positions(mut self) -> Self {
        self.positions = true;
        self
    }
    /// Only what comes after this position, with the position of each chunk.
    #[must_use]
    pub fn after(mut self, position: LogPosition) -> Self {
        (self.positions, self.after) = (true, Some(position));
        self
    }
    /// Whether this stream is wanted.
    pub fn wants(&self, stream: LogStream) -> bool {
        match stream {
            LogStream::Stdout => self.stdout,
            LogStream::Stderr => self.stderr,
        }
    }
}

/// Where a worker wrote something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output, or both where the provider cannot tell.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// `stdout` or `stderr`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What a log stream yields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogItem {
    /// Something that the worker wrote.
    Chunk(LogChunk),
    /// Some output is lost, since rotation was faster than the reader, or a file was damaged.
    Gap {
        /// Why.
        reason: String,
    },
}

impl LogItem {
    /// What the worker wrote, if this is that.
    pub fn chunk(&self) -> Option<&LogChunk> {
        match self {
            Self::Chunk(chunk) => Some(chunk),
            Self::Gap { .. } => None,
        }
    }
}

/// A piece of a worker's output: one line with its line feed, or a part of one where it has no end (yet) or is very
/// long. Put together, the chunks of a stream are what the worker wrote, byte for byte; [`LogLines`] does that.
///
/// Chunks are equal when they hold the same output: who read it, and from where on, does not count.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogChunk {
    /// When it was read from the worker.
    pub time: Timestamp,
    /// Where the worker wrote it.
    pub stream: LogStream,
    /// What it wrote, line feed included.
    pub bytes: Bytes,
    /// Where another reader goes on after this, where that was [asked for](LogOptions::positions).
    pub position: Option<LogPosition>,
}

impl PartialEq for LogChunk {
    fn eq(&self, other: &Self) -> bool {
        (self.time, self.stream, &self.bytes) == (other.time, other.stream, &other.bytes)
    }
}

impl Eq for LogChunk {}

impl LogChunk {
    /// A piece of output.
    pub fn new(time: Timestamp, stream: LogStream, bytes: impl Into<Bytes>) -> Self {
        Self { time, stream, bytes: bytes.into(), position: None }
    }
    /// The same, behind which a reader goes on at this position.
    #[must_use]
    pub fn at(mut self, position: LogPosition) -> Self {
        self.position = Some(position);
        self
    }
    /// The text without its line feed, with what is not UTF-8 replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes))
    }
    /// What it says: its fields where it is an object of JSON, its text otherwise. Of a line that came in several chunks,
    /// [`LogLines`] knows it.
    pub fn record(&self) -> LogRecord<'_> {
        LogRecord::of(self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes))
    }
}
