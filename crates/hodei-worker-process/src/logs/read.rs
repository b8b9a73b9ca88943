//! Reading output back, while it is written and rotated.

use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt as _, path::PathBuf};

use bytes::Bytes;
use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp,
    provider::{LogChunk, LogItem, LogOptions, LogPosition, LogStream},
};

use super::format::{self, HEADER, Header, Kind, LONGEST, MAGIC};

/// What is read at once.
const BATCH: usize = 64 * 1024;

/// A place in the files of a folder.
#[derive(Debug)]
pub(crate) struct Cursor {
    folder: PathBuf,
    number: u64,
    offset: u64,
    file: Option<File>,
    /// The rest of this file cannot be read.
    damaged: bool,
    /// The highest number that was ever there.
    latest: u64,
}

/// A record and where it begins.
#[derive(Debug)]
struct Record {
    header: Header,
    bytes: Bytes,
    number: u64,
    offset: u64,
}

/// What a batch holds.
#[derive(Debug)]
enum Found {
    Record(Record),
    Gap(String),
}

impl Cursor {
    /// The beginning of what is kept.
    pub(crate) fn new(folder: PathBuf) -> io::Result<Self> {
        let number = format::numbers(&folder)?.first().copied().unwrap_or(1);
        Ok(Self { folder, number, offset: 0, file: None, damaged: false, latest: 0 })
    }

    fn seek(&mut self, number: u64, offset: u64) {
        (self.number, self.offset, self.file, self.damaged) = (number, offset, None, false);
    }

    /// Reads on. Empty at the end of what has been written by now.
    fn batch(&mut self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        while found.is_empty() {
            if self.file.is_none() && !self.open(&mut found)? {
                break;
            }
            // Looked at first: what is not in this file then is all that there will be in it.
            let next = self.next_number()?;
            let rest = if self.damaged { 0 } else { self.read(&mut found)? };
            if !found.is_empty() {
                break;
            }
            let Some(next) = next else {
                if self.latest > self.number {
                    // With their worker.
                    self.latest = self.number;
                    found.push(Found::Gap("the rest of the output was removed before it was read".into()));
                }
                break;
            };
            if rest > 0 {
                found.push(Found::Gap("the end of a log file was not written whole".into()));
            }
            if next != self.number + 1 {
                found.push(Found::Gap("older output was rotated away before it was read".into()));
            }
            self.seek(next, 0);
        }
        Ok(found)
    }

    fn next_number(&mut self) -> io::Result<Option<u64>> {
        let numbers = format::numbers(&self.folder)?;
        self.latest = self.latest.max(numbers.last().copied().unwrap_or(0));
        Ok(numbers.into_iter().find(|number| *number > self.number))
    }

    /// Opens the file at the cursor, or the oldest after it. `false` when there is none.
    fn open(&mut self, found: &mut Vec<Found>) -> io::Result<bool> {
        loop {
            match crate::files::absent(File::open(format::path(&self.folder, self.number)))? {
                Some(file) => {
                    self.file = Some(file);
                    return Ok(true);
                }
                None => match self.next_number()? {
                    None => return Ok(false),
                    Some(next) => {
                        found.push(Found::Gap("older output was rotated away before it was read".into()));
                        self.seek(next, 0);
                    }
                },
            }
        }
    }

    /// Reads records of the open file; returns how many bytes are left that make none.
    fn read(&mut self, found: &mut Vec<Found>) -> io::Result<usize> {
        let Some(file) = &self.file else { return Ok(0) };
        if self.offset == 0 {
            let mut magic = [0; MAGIC.len()];
            match read_up_to(file, &mut magic, 0)? {
                read if read < MAGIC.len() => return Ok(read),
                _ if magic != MAGIC => {
                    self.damaged = true;
                    found.push(Found::Gap("a log file is not of this version, or damaged".into()));
                    return Ok(0);
                }
                _ => self.offset = MAGIC.len() as u64,
            }
        }
        let mut buffer = vec![0; BATCH];
        let mut read = read_up_to(file, &mut buffer, self.offset)?;
        if let Some(header) = first_header(&buffer[..read])
            && header.len <= LONGEST
            && header.len as usize + HEADER > BATCH
        {
            buffer.resize(header.len as usize + HEADER, 0);
            read = read_up_to(file, &mut buffer, self.offset)?;
        }
        buffer.truncate(read);
        let buffer = Bytes::from(buffer);
        let mut at = 0;
        while let Some((header, rest)) = buffer[at..].split_first_chunk::<HEADER>() {
            let Some(header) = Header::decode(header).filter(|header| header.len <= LONGEST) else {
                self.damaged = true;
                found.push(Found::Gap("a log file is damaged".into()));
                break;
            };
            let len = header.len as usize;
            if rest.len() < len {
                break;
            }
            let bytes = buffer.slice(at + HEADER..at + HEADER + len);
            let offset = self.offset + at as u64;
            found.push(match header.kind {
                Kind::Gap => Found::Gap(String::from_utf8_lossy(&bytes).into_owned()),
                _ => Found::Record(Record { header, bytes, number: self.number, offset }),
            });
            at += HEADER + len;
        }
        self.offset += at as u64;
        Ok(buffer.len() - at)
    }
}

fn first_header(bytes: &[u8]) -> Option<Header> {
    Header::decode(bytes.first_chunk()?)
}

fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads what the options want.
#[derive(Debug)]
pub(crate) struct LogReader {
    cursor: Cursor,
    options: LogOptions,
    /// Per stream: what comes first is the rest of a line that is not wanted.
    skipping: [bool; 2],
    /// The creation that positions are of, where they are wanted.
    creation: Option<String>,
}

/// A place behind a record, as a position: of this creation of the worker, a file's number, an offset in it.
fn position(creation: &str, number: u64, offset: u64) -> LogPosition {
    LogPosition::new(format!("process:{creation}:{number}:{offset}"))
}

/// The file's number and the offset in it, if it is a position in the output of this creation.
fn place(position: &LogPosition, creation: &str) -> Result<(u64, u64)> {
    let wrong = || {
        Error::config("after", format!("`{position}` is no position of this provider"))
            .with_help("give it one that it has told, as it was")
    };
    let rest = position.as_str().strip_prefix("process:").ok_or_else(wrong)?;
    let [whose, number, offset] = rest.splitn(3, ':').collect::<Vec<_>>()[..] else { return Err(wrong()) };
    let (Ok(number), Ok(offset)) = (number.parse(), offset.parse()) else { return Err(wrong()) };
    if whose != creation {
        let another = "the position is one in the output of another worker, or of one that was deleted";
        return Err(Error::new(ErrorKind::Conflict, another).with_context("position", position));
    }
    Ok((number, offset))
}

const STREAMS: [LogStream; 2] = [LogStream::Stdout, LogStream::Stderr];

fn index(kind: Kind) -> usize {
    usize::from(kind == Kind::Stderr)
}

impl LogReader {
    /// Finds the place at which the options begin.
    pub(crate) fn open(folder: PathBuf, options: LogOptions) -> io::Result<Self> {
        let mut reader = Self { cursor: Cursor::new(folder)?, options, skipping: [false; 2], creation: None };
        if reader.options.after.is_none()
            && let Some(lines) = reader.options.tail
        {
            reader.seek_tail(lines)?;
        }
        Ok(reader)
    }

    /// Goes to the position from which the options want to go on, and tells positions if they want them.
    pub(crate) fn of(mut self, creation: &str) -> Result<Self> {
        if let Some(after) = self.options.after.take() {
            let (number, offset) = place(&after, creation)?;
            self.options.since = None;
            self.cursor.seek(number, offset);
        }
        self.creation = self.options.positions.then(|| creation.to_owned());
        Ok(self)
    }

    fn wants(&self, record: &Record) -> bool {
        self.options.wants(STREAMS[index(record.header.kind)])
            && self.options.since.is_none_or(|since| i128::from(record.header.time) >= since.as_nanosecond())
    }

    /// Goes to where the last lines begin.
    fn seek_tail(&mut self, lines: u64) -> io::Result<()> {
        // Where each of the last lines begins, and which streams were in the middle of a line there.
        let mut begins: VecDeque<(u64, u64, [bool; 2])> = VecDeque::new();
        let mut inside = [false; 2];
        loop {
            let batch = self.cursor.batch()?;
            if batch.is_empty() {
                break;
            }
            for record in batch {
                let Found::Record(record) = record else { continue };
                let stream = index(record.header.kind);
                if !self.wants(&record) {
                    continue;
                }
                if !inside[stream] {
                    begins.push_back((record.number, record.offset, inside));
                    if begins.len() as u64 > lines {
                        begins.pop_front();
                    }
                }
                inside[stream] = !record.header.ends_line;
            }
        }
        if let Some((number, offset, inside)) = begins.front().copied() {
            self.cursor.seek(number, offset);
            self.skipping = inside;
        }
        Ok(())
    }

    /// The next items; empty at the end of what has been written by now.
    pub(crate) fn next(&mut self) -> io::Result<Vec<LogItem>> {
        let mut items = Vec::new();
        while items.is_empty() {
            let batch = self.cursor.batch()?;
            if batch.is_empty() {
                break;
            }
            for found in batch {
                match found {
                    Found::Gap(reason) => items.push(LogItem::Gap { reason }),
                    Found::Record(record) if self.wants(&record) => items.extend(self.item(record)),
                    Found::Record(_) => {}
                }
            }
        }
        Ok(items)
    }

    fn item(&mut self, record: Record) -> Option<LogItem> {
        let stream = index(record.header.kind);
        if self.skipping[stream] {
            self.skipping[stream] = !record.header.ends_line;
            return None;
        }
        let time = Timestamp::from_nanosecond(record.header.time.into()).unwrap_or(Timestamp::UNIX_EPOCH);
        let end = record.offset + (HEADER + record.bytes.len()) as u64;
        let mut chunk = LogChunk::new(time, STREAMS[stream], record.bytes);
        chunk.position = self.creation.as_ref().map(|creation| position(creation, record.number, end));
        Some(LogItem::Chunk(chunk))
    }
}
