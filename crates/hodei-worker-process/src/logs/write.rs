//! Writing output to rotating files, in little memory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use hodei_worker_core::{Clock as _, SystemClock};

use super::format::{self, HEADER, Header, Kind, LONGEST, MAGIC};
use crate::{error::is_full, wire::LogPlan};

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
    /// Made when there is something to read: most workers are silent most of the time.
    buffer: Vec<u8>,
    /// The beginning of a line whose end has not been read.
    held: usize,
}

impl Lines {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, buffer: Vec::new(), held: 0 }
    }

    /// Where to read to. Never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.buffer.resize(BUFFER, 0);
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
    /// Opened with the first output: a disk is slow, and most workers say nothing for a while.
    open: Option<OpenFile>,
    /// Output was lost since the last record.
    lost: Option<String>,
    out: Vec<u8>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    number: u64,
    size: u64,
}

/// Makes the folder of a worker's log.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

impl LogWriter {
    /// Goes on where an earlier run has ended, as soon as there is something to write.
    pub(crate) fn new(plan: LogPlan) -> Self {
        Self { plan, open: None, lost: None, out: Vec::new() }
    }

    fn write(&mut self, kind: Kind, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let time = now();
        if let Some(reason) = self.lost.take() {
            gap(&mut self.out, &reason);
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends_line = line.ends_with(b"\n");
            let header = Header { time, len: line.len() as u32, kind, ends_line };
            self.out.extend_from_slice(&header.encode());
            self.out.extend_from_slice(line);
        }
        self.put();
    }

    /// Says what was lost at the end, if there is room for that by now.
    pub(crate) fn end(&mut self) {
        if let Some(reason) = self.lost.take() {
            gap(&mut self.out, &reason);
            self.put();
        }
    }

    /// Appends what is ready. On a full file system the oldest output makes room for the newest.
    fn put(&mut self) {
        let mut appended = self.append();
        while matches!(&appended, Err(error) if is_full(error)) {
            self.take_back();
            if !remove_oldest(&self.plan.folder).unwrap_or(false) {
                break;
            }
            appended = self.append();
        }
        if let Err(error) = appended {
            self.take_back();
            self.lost = Some(format!("output could not be written to the log: {error}"));
        }
        self.out.clear();
        self.out.shrink_to(2 * BUFFER);
    }

    /// Not half a record: what was begun is taken back.
    fn take_back(&self) {
        if let Some(open) = &self.open {
            let _ = open.file.set_len(open.size);
        }
    }

    fn append(&mut self) -> io::Result<()> {
        let full = |open: &OpenFile, more: usize| {
            open.size > MAGIC.len() as u64 && open.size + more as u64 > self.plan.max_size
        };
        let open = match self.open.take() {
            Some(open) if full(&open, self.out.len()) => rotate(&self.plan, open.number)?,
            Some(open) => open,
            None => {
                make_folder(&self.plan.folder)?;
                let number = format::numbers(&self.plan.folder)?.last().copied().unwrap_or(1);
                let open = open_file(&self.plan, number)?;
                match whole(&open)? {
                    // The reader says so; what follows is not to be lost with it.
                    None => rotate(&self.plan, number)?,
                    Some(_) if full(&open, self.out.len()) => rotate(&self.plan, number)?,
                    Some(end) if end < open.size => {
                        open.file.set_len(end)?;
                        let mut told = Vec::new();
                        gap(&mut told, "the end of what an earlier run has written was cut off");
                        told.append(&mut self.out);
                        self.out = told;
                        OpenFile { size: end, ..open }
                    }
                    Some(_) => open,
                }
            }
        };
        let open = self.open.insert(open);
        open.file.write_all(&self.out)?;
        open.size += self.out.len() as u64;
        Ok(())
    }
}

fn now() -> i64 {
    SystemClock.now().as_nanosecond() as i64
}

/// Adds a record that says what is missing here.
fn gap(out: &mut Vec<u8>, reason: &str) {
    let header = Header { time: now(), len: reason.len() as u32, kind: Kind::Gap, ends_line: true };
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(reason.as_bytes());
}

/// Where the last whole record of a file ends: whoever was killed while it wrote leaves a part of one, behind which
/// nothing could be read. `None` for a file that is damaged before its end.
///
/// It costs a read of the whole file, once per run that goes on with one.
fn whole(open: &OpenFile) -> io::Result<Option<u64>> {
    let mut at = MAGIC.len() as u64;
    // On the stack: what a supervisor takes of the heap it keeps.
    let mut bytes = [0; 4096];
    let (mut begin, mut filled) = (0, open.file.read_at(&mut bytes, 0)?);
    if !bytes.starts_with(&MAGIC) {
        return Ok(None);
    }
    while at + HEADER as u64 <= open.size {
        if at + HEADER as u64 > begin + filled as u64 {
            (begin, filled) = (at, open.file.read_at(&mut bytes, at)?);
        }
        let offset = (at - begin) as usize;
        let Some(header) = bytes[offset..filled].first_chunk() else { break };
        let Some(header) = Header::decode(header).filter(|header| header.len <= LONGEST) else {
            return Ok(None);
        };
        let end = at + HEADER as u64 + u64::from(header.len);
        if end > open.size {
            break;
        }
        at = end;
    }
    Ok(Some(at))
}

/// Removes the lowest file but the last; whether there was one.
fn remove_oldest(folder: &Path) -> io::Result<bool> {
    match format::numbers(folder)?.as_slice() {
        [oldest, _, ..] => fs::remove_file(format::path(folder, *oldest)).map(|()| true),
        _ => Ok(false),
    }
}

/// Begins the next file. The oldest goes first, so that there is room for it.
fn rotate(plan: &LogPlan, number: u64) -> io::Result<OpenFile> {
    let (next, kept) = (number + 1, u64::from(plan.max_files.max(1)));
    for number in format::numbers(&plan.folder)? {
        if number + kept <= next {
            fs::remove_file(format::path(&plan.folder, number))?;
        }
    }
    open_file(plan, next)
}

fn open_file(plan: &LogPlan, number: u64) -> io::Result<OpenFile> {
    let path = format::path(&plan.folder, number);
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut size = file.metadata()?.len();
    if size < MAGIC.len() as u64 {
        file.set_len(0)?;
        file.write_all(&MAGIC)?;
        size = MAGIC.len() as u64;
    }
    Ok(OpenFile { file, number, size })
}
