//! Writing output to rotating files, in little memory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
};

use hodei_worker_core::{Clock as _, SystemClock};

use super::format::{self, Header, Kind, MAGIC};
use crate::wire::LogPlan;

/// What is read of a stream at once; longer lines come in parts.
const BUFFER: usize = 8 * 1024;

/// One stream of a worker on its way to the log.
#[derive(Debug)]
pub(crate) struct Pump<R> {
    source: R,
    lines: Lines,
}

impl<R: Read> Pump<R> {
    pub(crate) fn new(source: R, kind: Kind) -> Self {
        Self { source, lines: Lines::new(kind) }
    }
    pub(crate) fn source(&self) -> &R {
        &self.source
    }

    /// Reads once and logs what came. `false` at the end of the stream.
    pub(crate) fn pump(&mut self, log: &mut LogWriter) -> bool {
        match self.source.read(self.lines.space()) {
            Ok(0) => {
                self.flush(log);
                false
            }
            Ok(read) => {
                self.lines.filled(read, log);
                true
            }
            Err(error) => matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock),
        }
    }

    /// Logs what is held back.
    pub(crate) fn flush(&mut self, log: &mut LogWriter) {
        self.lines.flush(log);
    }
}

/// What was read of a stream and not logged yet.
#[derive(Debug)]
pub(crate) struct Lines {
    kind: Kind,
    buffer: Box<[u8]>,
    /// The beginning of a line whose end has not been read.
    held: usize,
}

impl Lines {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, buffer: vec![0; BUFFER].into_boxed_slice(), held: 0 }
    }

    /// Where to read to. Never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.buffer[self.held..]
    }

    /// Logs what was read there.
    pub(crate) fn filled(&mut self, read: usize, log: &mut LogWriter) {
        let filled = self.held + read;
        // As long as more waits in the pipe, a line is kept together; when the pipe is empty, its beginning is shown.
        let whole = match self.buffer[..filled].iter().rposition(|byte| *byte == b'\n') {
            Some(end) if filled == BUFFER => end + 1,
            _ => filled,
        };
        log.write(self.kind, &self.buffer[..whole]);
        self.buffer.copy_within(whole..filled, 0);
        self.held = filled - whole;
    }

    /// Logs what is held back.
    pub(crate) fn flush(&mut self, log: &mut LogWriter) {
        log.write(self.kind, &self.buffer[..self.held]);
        self.held = 0;
    }
}

/// The log of one worker. Errors never reach the worker: what cannot be written becomes a gap.
#[derive(Debug)]
pub(crate) struct LogWriter {
    plan: LogPlan,
    file: File,
    number: u64,
    size: u64,
    /// Output was lost since the last record.
    lost: Option<String>,
    out: Vec<u8>,
}

impl LogWriter {
    /// Goes on where an earlier run has ended.
    pub(crate) fn open(plan: LogPlan) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&plan.folder)?;
        let number = format::numbers(&plan.folder)?.last().copied().unwrap_or(1);
        let (file, size) = open_file(&plan, number)?;
        Ok(Self { plan, file, number, size, lost: None, out: Vec::new() })
    }

    fn write(&mut self, kind: Kind, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let time = SystemClock.now().as_nanosecond() as i64;
        if let Some(reason) = self.lost.take() {
            let gap = Header { time, len: reason.len() as u32, kind: Kind::Gap, ends_line: true };
            self.out.extend_from_slice(&gap.encode());
            self.out.extend_from_slice(reason.as_bytes());
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends_line = line.ends_with(b"\n");
            let header = Header { time, len: line.len() as u32, kind, ends_line };
            self.out.extend_from_slice(&header.encode());
            self.out.extend_from_slice(line);
        }
        if let Err(error) = self.append() {
            // Not half a record: what was begun is taken back.
            let _ = self.file.set_len(self.size);
            self.lost = Some(format!("output could not be written to the log: {error}"));
        }
        self.out.clear();
        self.out.shrink_to(2 * BUFFER);
    }

    fn append(&mut self) -> io::Result<()> {
        if self.size > MAGIC.len() as u64 && self.size + self.out.len() as u64 > self.plan.max_size {
            self.rotate()?;
        }
        self.file.write_all(&self.out)?;
        self.size += self.out.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let next = self.number + 1;
        let (file, size) = open_file(&self.plan, next)?;
        (self.file, self.number, self.size) = (file, next, size);
        let kept = u64::from(self.plan.max_files.max(1));
        for number in format::numbers(&self.plan.folder)? {
            if number + kept <= self.number {
                fs::remove_file(format::path(&self.plan.folder, number))?;
            }
        }
        Ok(())
    }
}

fn open_file(plan: &LogPlan, number: u64) -> io::Result<(File, u64)> {
    let path = format::path(&plan.folder, number);
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let mut size = file.metadata()?.len();
    if size < MAGIC.len() as u64 {
        file.set_len(0)?;
        file.write_all(&MAGIC)?;
        size = MAGIC.len() as u64;
    }
    Ok((file, size))
}
