use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use futures::Stream;
use serde::{Deserialize, Serialize};

use super::{
    Copied, LineStyle, LogItem, LogLines, LogOptions, LogPosition,
    copy::{self, Taken},
    lines::Held,
};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    quantity::ByteSize,
};

/// How a [`LogFile`] is written.
///
/// # Examples
/// ```
/// use hodei_worker_core::{provider::LogFileOptions, quantity::ByteSize};
/// let options = LogFileOptions::default().max_size(ByteSize::mib(1)).max_files(3);
/// # assert_eq!(options.max_files, 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogFileOptions {
    /// A file that would grow beyond this is followed by another. One of less than 64 KiB may be longer by a line.
    /// Default: 10 MiB.
    pub max_size: ByteSize,
    /// Files that are kept, the present one included; the oldest goes first. Default: 5.
    pub max_files: u32,
    /// How lines are written. Default: as the worker wrote them.
    pub style: LineStyle,
}

impl Default for LogFileOptions {
    fn default() -> Self {
        Self { max_size: ByteSize::mib(10), max_files: 5, style: LineStyle::default() }
    }
}

impl LogFileOptions {
    /// With files of this size at most.
    #[must_use]
    pub const fn max_size(mut self, size: ByteSize) -> Self {
        self.max_size = size;
        self
    }
    /// With so many files.
    #[must_use]
    pub const fn max_files(mut self, files: u32) -> Self {
        self.max_files = files;
        self
    }
    /// With lines like this.
    #[must_use]
    pub const fn style(mut self, style: LineStyle) -> Self {
        self.style = style;
        self
    }
}

/// A file that a worker's output is kept in, with rotation, and which goes on where it has ended when the host comes
/// back: no line is lost, repeated or split over two files.
///
/// The newest lines stand in the file of the given path, earlier ones in `<path>.1`, `<path>.2` and so on. Beside them
/// `<path>.position` says how far the log was read, where the provider has
/// [positions](crate::Capability::LogPositions); without them, who copies again decides by [`LogOptions`] what is
/// written. A line ends with its line feed: whoever reads the file meanwhile takes what has none for unfinished. What an
/// aborted host left of a line is taken back when the file is opened.
///
/// That holds for a host that dies at any moment. After a power failure the end of what was written may be missing,
/// since nothing waits for the disk. One file is for one worker, and one host at a time.
///
/// # Examples
/// ```no_run
/// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, provider::LogOptions};
/// use hodei_worker_core::provider::{LogFile, LogFileOptions};
/// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
/// let mut file = LogFile::open("/var/log/app/web.log", LogFileOptions::default()).await?;
/// // From the beginning at first, and from where the last host stopped ever after.
/// let logs = provider.worker_logs(worker, &file.resumed(LogOptions::following())).await?;
/// file.copy(logs).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LogFile {
    options: LogFileOptions,
    path: PathBuf,
    held: Held,
    /// Gone when a call was dropped while it wrote: then it is opened again.
    file: Option<Open>,
}

impl LogFile {
    /// Opens a file to go on with, or begins it. Its folder must exist.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable), [`PermissionDenied`](ErrorKind::PermissionDenied) or
    /// [`Capacity`](ErrorKind::Capacity) where it cannot be opened; [`Corrupt`](ErrorKind::Corrupt) where what stands
    /// beside it makes no sense.
    ///
    /// # Cancel safety
    /// When dropped, the file may have been made.
    pub async fn open(path: impl Into<PathBuf>, options: LogFileOptions) -> Result<Self> {
        let mut file = Self { options, path: path.into(), held: Held::default(), file: None };
        file.reopen().await?;
        Ok(file)
    }

    async fn reopen(&mut self) -> Result<()> {
        let path = self.path.clone();
        let (open, held) = blocking(move || Open::new(&path)).await?;
        (self.file, self.held) = (Some(open), held);
        Ok(())
    }

    /// How far the log was read, where that is known.
    pub fn position(&self) -> Option<&LogPosition> {
        self.held.position.as_ref()
    }

    /// The same options, for what has not been written yet.
    #[must_use]
    pub fn resumed(&self, options: LogOptions) -> LogOptions {
        match self.position() {
            Some(position) => options.after(position.clone()),
            None => options.with_positions(),
        }
    }

    /// Forgets how far the log was read: what is copied next is the log of another worker.
    pub fn forget_position(&mut self) {
        self.held = Held::default();
        if let Some(file) = &mut self.file {
            file.unconfirmed.clear();
        }
    }

    /// Appends a log until it ends: that of the [`resumed`](Self::resumed) options. What is ready is written together; a
    /// gap is a line of its own, in words.
    ///
    /// # Errors
    /// Those of the log, after all that came before was written; and those of [`open`](Self::open). It can be called
    /// again after any of them.
    ///
    /// # Cancel safety
    /// When dropped, what was read and not written yet is read again by a log of the [`resumed`](Self::resumed) options.
    pub async fn copy<S>(&mut self, logs: S) -> Result<Copied>
    where
        S: Stream<Item = Result<LogItem>> + Unpin,
    {
        if self.file.is_none() {
            // The log that we were given begins where this stood; what is on disk may be further.
            let stood = self.held.position.clone();
            self.reopen().await?;
            if self.held.position != stood {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "the log file was written to after this log was opened",
                )
                .with_context("path", self.path.display())
                .with_help("open the log with the options that `resumed` gives now"));
            }
        }
        if self.held.position.is_none() {
            // Another log: nothing goes on.
            self.held = Held::default();
        }
        let mut lines = LogLines::from_held(logs, self.held.clone());
        // A file of a few lines is not to hold many.
        let enough = usize::try_from(self.options.max_size.bytes()).unwrap_or(usize::MAX).min(copy::BATCH);
        let mut copied = Copied::default();
        loop {
            let Some(mut open) = self.file.take() else { return Ok(copied) };
            let mut out = std::mem::take(&mut open.out);
            let style = self.options.style;
            let taken = copy::take(&mut lines, enough, |entry| {
                let before = out.len();
                style.write(&mut out, &entry);
                let added = out.len() - before;
                if open.was_written(&out[before..]) {
                    out.truncate(before);
                } else {
                    copied.count(&entry, added);
                }
                added
            });
            let taken = taken.await;
            if let Some(held) = lines.held() {
                self.held.clone_from(held);
            }
            open.out = out;
            let (path, options, held) = (self.path.clone(), self.options, self.held.clone());
            self.file = Some(blocking(move || open.append(&path, &options, held)).await?);
            match taken {
                Taken::More => {}
                Taken::All => return Ok(copied),
                Taken::Broken(error) => return Err(error),
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let cancelled = |error| Error::new(ErrorKind::Cancelled, "the runtime ends").with_source(error);
    tokio::task::spawn_blocking(work).await.map_err(cancelled)?
}

/// What stands beside a log file.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    /// What the file holds up to here is what was read up to `held`. A shorter file is a later one: it was begun after
    /// this was written.
    size: u64,
    held: Held,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    /// Whole lines that stand in the file and were written after it was last noted how far the log was read: they come
    /// again.
    unconfirmed: Vec<u8>,
    /// What is to be written.
    out: Vec<u8>,
    noted: Option<(u64, Held)>,
}

/// More than that was not written by us in one go.
const MOST_UNCONFIRMED: u64 = 64 << 20;

impl Open {
    fn new(path: &Path) -> Result<(Self, Held)> {
        let failed = |error| failed("opening a log file", path, error);
        let mut file = begin(path).map_err(failed)?;
        let mut size = file.metadata().map_err(failed)?.len();
        let saved = read_saved(path)?;
        let (mut unconfirmed, mut noted, mut stale) = (Vec::new(), None, false);
        let held = match saved {
            Some(saved) => {
                stale = size < saved.size;
                let from = if stale { 0 } else { saved.size };
                noted = Some((from, saved.held.clone()));
                if size - from <= MOST_UNCONFIRMED {
                    file.seek(SeekFrom::Start(from)).map_err(failed)?;
                    file.read_to_end(&mut unconfirmed).map_err(failed)?;
                    let whole = unconfirmed.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                    if whole < unconfirmed.len() {
                        unconfirmed.truncate(whole);
                        size = from + whole as u64;
                        file.set_len(size).map_err(failed)?;
                    }
                }
                saved.held
            }
            None => {
                if !ends_line(&mut file, size).map_err(failed)? {
                    // Nobody will write the rest of it.
                    const CUT: &[u8] = b" [cut]\n";
                    file.write_all(CUT).map_err(failed)?;
                    size += CUT.len() as u64;
                }
                Held::default()
            }
        };
        let mut open = Self { file, size, unconfirmed, out: Vec::new(), noted };
        if stale {
            // As long as the earlier file was, this one may become too.
            open.noted = None;
            open.note(path, 0, held.clone())?;
        }
        Ok((open, held))
    }

    /// Whether this line stands in the file already.
    fn was_written(&mut self, line: &[u8]) -> bool {
        let known = !self.unconfirmed.is_empty() && self.unconfirmed.starts_with(line);
        if known {
            self.unconfirmed.drain(..line.len());
        } else {
            // Some of it is lost to the log meanwhile.
            self.unconfirmed.clear();
        }
        known
    }

    /// Writes what is to be written, after a rotation where it does not fit, and notes how far that is.
    fn append(mut self, path: &Path, options: &LogFileOptions, held: Held) -> Result<Self> {
        let failed = |error| failed("writing a log file", path, error);
        if self.size > 0
            && self.size + self.out.len() as u64 > options.max_size.bytes()
            && !self.out.is_empty()
        {
            self.file = rotate(path, options.max_files).map_err(failed)?;
            self.size = 0;
            // So that what comes next is not taken for what the earlier file held.
            if let Some((_, held)) = self.noted.take() {
                self.note(path, 0, held)?;
            }
        }
        let before = self.size;
        if let Err(error) = self.file.write_all(&self.out) {
            // No half line; what was begun is read again.
            let _ = self.file.set_len(before);
            return Err(failed(error));
        }
        self.size += self.out.len() as u64;
        self.out.clear();
        self.out.shrink_to(2 * copy::BATCH);
        if held.position.is_some() && self.unconfirmed.is_empty() {
            let size = self.size;
            self.note(path, size, held)?;
        }
        Ok(self)
    }

    fn note(&mut self, path: &Path, size: u64, held: Held) -> Result<()> {
        let noted = (size, held);
        if self.noted.as_ref() == Some(&noted) {
            return Ok(());
        }
        let failed = |error| failed("noting how far a log was read", path, error);
        let saved = Saved { size: noted.0, held: noted.1.clone() };
        let bytes = serde_json::to_vec(&saved).map_err(|error| failed(error.into()))?;
        let (place, new) = (beside(path, "position"), beside(path, "position.new"));
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, &place)).map_err(failed)?;
        self.noted = Some(noted);
        Ok(())
    }
}

fn begin(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

/// Whether a file ends where a line does.
fn ends_line(file: &mut File, size: u64) -> io::Result<bool> {
    if size == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(size - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Makes room for the next file.
fn rotate(path: &Path, max_files: u32) -> io::Result<File> {
    let numbered = |number: u32| match number {
        0 => path.to_owned(),
        number => beside(path, &number.to_string()),
    };
    let oldest = max_files.max(1) - 1;
    absent(fs::remove_file(numbered(oldest)))?;
    for number in (0..oldest).rev() {
        absent(fs::rename(numbered(number), numbered(number + 1)))?;
    }
    begin(path)
}

/// What is not there need not be moved.
fn absent(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(end);
    name.into()
}

fn read_saved(path: &Path) -> Result<Option<Saved>> {
    let place = beside(path, "position");
    match fs::read(&place) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "how far a log was read cannot be told")
                .with_context("path", place.display())
                .with_help("remove that file: what is copied next then begins anew")
                .with_source(error)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("reading how far a log was read", &place, error)),
    }
}

fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    let (kind, retry, help) = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::PermissionDenied, Retry::Never, "name a file that can be written")
        }
        io::ErrorKind::NotFound => (ErrorKind::Config, Retry::Never, "its folder must exist"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Capacity, Retry::Safe { after: None }, "make room on that file system")
        }
        _ => (ErrorKind::Unavailable, Retry::Never, "name a file that can be written"),
    };
    Error::new(kind, format!("{doing} failed: {error}"))
        .with_retry(retry)
        .with_context("path", path.display())
        .with_help(help)
        .with_source(error)
}
