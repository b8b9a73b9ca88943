use std::io::{self, Write as _};

use futures::{FutureExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{LineEnd, LogEntry, LogItem, LogLines, LogStream};
use crate::{
    clock::Timestamp,
    error::{Error, ErrorKind, Result},
};

/// What is written at once; a longer line is written at once too.
pub(super) const BATCH: usize = 64 << 10;

/// How a line is written. Default: as the worker wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LineStyle {
    /// Its time stands before it, by RFC 3339. Default: false.
    pub time: bool,
    /// `stdout` or `stderr` stands before it. Default: false.
    pub stream: bool,
}

impl LineStyle {
    /// With the time before each line.
    #[must_use]
    pub const fn with_time(mut self) -> Self {
        self.time = true;
        self
    }
    /// With `stdout` or `stderr` before each line.
    #[must_use]
    pub const fn with_stream(mut self) -> Self {
        self.stream = true;
        self
    }

    fn head(self, out: &mut Vec<u8>, time: Timestamp, stream: LogStream) {
        // A buffer in memory takes everything.
        let _ = match (self.time, self.stream) {
            (false, false) => Ok(()),
            (true, false) => write!(out, "{time} "),
            (false, true) => write!(out, "{} ", stream.as_str()),
            (true, true) => write!(out, "{time} {} ", stream.as_str()),
        };
    }

    /// Adds what stands for this in a file: one line, whatever it holds.
    pub(super) fn write(self, out: &mut Vec<u8>, entry: &LogEntry) {
        match entry {
            LogEntry::Line(line) => {
                self.head(out, line.time, line.stream);
                out.extend_from_slice(&line.bytes);
                if line.end == LineEnd::Cut {
                    out.extend_from_slice(b" [cut: the line goes on]");
                }
            }
            LogEntry::Gap { reason } => {
                let _ = write!(out, "[gap: {}]", reason.replace(['\n', '\r'], " "));
            }
        }
        out.push(b'\n');
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Copied {
    /// Lines; each piece of one that was cut counts.
    pub lines: u64,
    /// Gaps, told in words on lines of their own.
    pub gaps: u64,
    /// Bytes in all.
    pub bytes: u64,
}

impl Copied {
    pub(super) fn count(&mut self, entry: &LogEntry, bytes: usize) {
        match entry {
            LogEntry::Line(_) => self.lines += 1,
            LogEntry::Gap { .. } => self.gaps += 1,
        }
        self.bytes += bytes as u64;
    }
}

/// How taking entries ended.
pub(super) enum Taken {
    /// No more is ready, or it is enough at once.
    More,
    /// The log has ended.
    All,
    /// It broke.
    Broken(Error),
}

/// Waits for an entry, and takes what is ready beside it, until that is enough to be written at once.
pub(super) async fn take<S>(
    lines: &mut LogLines<S>,
    enough: usize,
    mut entry: impl FnMut(LogEntry) -> usize,
) -> Taken
where
    S: Stream<Item = Result<LogItem>> + Unpin,
{
    let mut next = lines.next().await;
    let mut size = 0;
    loop {
        match next {
            Some(Ok(told)) => size += entry(told),
            Some(Err(error)) => return Taken::Broken(error),
            None => return Taken::All,
        }
        // What was put together from one chunk is taken together, so that it is known where the reader stands.
        if size >= enough && lines.held().is_some() {
            return Taken::More;
        }
        next = match lines.next().now_or_never() {
            Some(next) => next,
            None => return Taken::More,
        };
    }
}

/// Copies a log, line by line, into anything that can be written to, until the log ends. What is ready is written
/// together and flushed, so that a line is there as soon as it can be; who writes slowly slows only this log's reader. A
/// gap is a line of its own, in words. A last line without a line feed gets one.
///
/// # Errors
/// Those of the log, after all that came before was written; and [`Unavailable`](ErrorKind::Unavailable) where it cannot
/// be written.
///
/// # Cancel safety
/// When dropped, some of what was read may not be written, or a line in part. To go on after that, copy into a
/// [`LogFile`](super::LogFile).
///
/// # Examples
/// ```
/// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, provider::LogOptions};
/// use hodei_worker_core::provider::{LineStyle, copy_logs};
/// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
/// let logs = provider.worker_logs(worker, &LogOptions::all()).await?;
/// let mut text = Vec::new();
/// let copied = copy_logs(logs, &mut text, LineStyle::default().with_time()).await?;
/// println!("{} lines:\n{}", copied.lines, String::from_utf8_lossy(&text));
/// # Ok(()) }
/// ```
pub async fn copy_logs<S, W>(logs: S, writer: &mut W, style: LineStyle) -> Result<Copied>
where
    S: Stream<Item = Result<LogItem>> + Unpin,
    W: AsyncWrite + Unpin + ?Sized,
{
    let mut lines = LogLines::new(logs);
    let mut copied = Copied::default();
    let mut out = Vec::new();
    loop {
        out.clear();
        let taken = take(&mut lines, BATCH, |entry| {
            let before = out.len();
            style.write(&mut out, &entry);
            copied.count(&entry, out.len() - before);
            out.len() - before
        });
        let taken = taken.await;
        let written = async {
            writer.write_all(&out).await?;
            writer.flush().await
        };
        written.await.map_err(unwritable)?;
        match taken {
            Taken::More => out.shrink_to(2 * BATCH),
            Taken::All => return Ok(copied),
            Taken::Broken(error) => return Err(error),
        }
    }
}

fn unwritable(error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("a worker's output cannot be written on: {error}"))
        .with_help("who took the output has gone, or has no room for it")
        .with_source(error)
}
