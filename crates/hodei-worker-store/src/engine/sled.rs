use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    io::{self, ErrorKind as Io},
    ops::{Bound, ControlFlow},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, RwLock},
    time::Duration,
};

use sled::{Batch, Config, Db, Error};

use super::{Engine, Fault, Outcome, Table, Visit, Write, sync_folder};
use crate::{FileSettings, lock};

/// How long an engine that was closed in this process may take to let go of its file.
const LETTING_GO: Duration = Duration::from_secs(5);

/// Room for segments that are begun and pages that are written anew.
const ROOM: u64 = 2 << 20;
/// Room for what it writes beside its largest file.
const SLACK: u64 = 1 << 20;

/// sled. Its `flush` hands data to the disk without waiting for it to be safe there, so its files are synced after each.
/// What it cannot read it cuts off, without a word, and overwrites: it is tried on a copy first, and the manifest and
/// the anchor find out what is gone.
pub(crate) struct SledEngine {
    db: Db,
    folder: PathBuf,
    file: File,
    /// Large values have files of their own, which are written once.
    synced: Mutex<HashSet<OsString>>,
    /// What is applied can be read before it is durable, so that readers have to wait.
    writing: RwLock<()>,
}

impl std::fmt::Debug for SledEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledEngine").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn place(table: Table, key: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(1 + key.len());
    place.push(table as u8);
    place.extend_from_slice(key);
    place
}

impl Engine for SledEngine {
    const KIND: &'static str = "sled";
    const ENTRY: &'static str = "sled";

    fn open(path: &Path, settings: &FileSettings) -> Outcome<Self> {
        let data = path.join("db");
        let is_new = !data.exists();
        if !is_new {
            wait_for_lock(&data)?;
            reserve(&File::options().write(true).open(&data)?, 0)?;
        }
        let config =
            Config::new().path(path).cache_capacity(settings.cache_bytes as u64).flush_every_ms(None);
        let db = config.open().map_err(opening)?;
        let engine = Self {
            db,
            folder: path.to_owned(),
            file: File::options().read(true).write(true).open(&data)?,
            synced: Mutex::new(HashSet::new()),
            writing: RwLock::new(()),
        };
        if is_new {
            engine.sync()?;
            sync_folder(path)?;
            path.parent().map_or(Ok(()), sync_folder)?;
        } else {
            *engine.synced.lock().unwrap_or_else(PoisonError::into_inner) = engine.blobs()?.collect();
        }
        Ok(engine)
    }

    fn try_out(path: &Path, scratch: &Path, settings: &FileSettings) -> Outcome<Self> {
        wait_for_lock(&path.join("db"))?;
        copy(path, scratch)?;
        Self::open(scratch, settings)
    }

    fn get(&self, table: Table, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let _durable = self.writing.read().unwrap_or_else(PoisonError::into_inner);
        Ok(self.db.get(place(table, key))?.map(|row| row.to_vec()))
    }

    fn at_or_before(&self, table: Table, key: &[u8]) -> Outcome<Option<(Vec<u8>, Vec<u8>)>> {
        let _durable = self.writing.read().unwrap_or_else(PoisonError::into_inner);
        let found = self.db.range(place(table, &[])..=place(table, key)).next_back().transpose()?;
        Ok(found.map(|(key, row)| (key[1..].to_vec(), row.to_vec())))
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, visit: &mut Visit<'_>) -> Outcome<()> {
        let _durable = self.writing.read().unwrap_or_else(PoisonError::into_inner);
        let from = match from {
            Bound::Included(key) => Bound::Included(place(table, key)),
            Bound::Excluded(key) => Bound::Excluded(place(table, key)),
            Bound::Unbounded => Bound::Included(place(table, &[])),
        };
        let end = Bound::Excluded(vec![table as u8 + 1]);
        for row in self.db.range::<Vec<u8>, _>((from, end)) {
            let (key, row) = row?;
            if let ControlFlow::Break(()) = visit(&key[1..], &row) {
                break;
            }
        }
        Ok(())
    }

    fn reserve(&self, size: usize) -> Outcome<()> {
        Ok(reserve(&self.file, 4 * size as u64)?)
    }

    fn commit(&self, writes: &[Write]) -> Outcome<()> {
        let mut batch = Batch::default();
        for write in writes {
            match &write.row {
                Some(row) => batch.insert(place(write.table, &write.key), row.as_slice()),
                None => batch.remove(place(write.table, &write.key)),
            }
        }
        let _durable = self.writing.write().unwrap_or_else(PoisonError::into_inner);
        self.db.apply_batch(batch)?;
        self.db.flush()?;
        self.sync()
    }

    fn shrink(&mut self) -> Outcome<()> {
        // It uses its segments again by itself.
        Ok(())
    }
}

impl SledEngine {
    fn blobs(&self) -> io::Result<impl Iterator<Item = OsString>> {
        Ok(fs::read_dir(self.folder.join("blobs"))?.filter_map(Result::ok).map(|entry| entry.file_name()))
    }

    /// Makes safe what was flushed.
    fn sync(&self) -> Outcome<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let blobs: HashSet<_> = self.blobs()?.collect();
        let new: Vec<_> = blobs.difference(&synced).collect();
        for blob in &new {
            match File::open(self.folder.join("blobs").join(blob)) {
                Ok(file) => file.sync_all()?,
                // It was replaced meanwhile.
                Err(error) if error.kind() == Io::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !new.is_empty() {
            sync_folder(&self.folder.join("blobs"))?;
        }
        self.file.sync_all()?;
        *synced = blobs;
        Ok(())
    }
}

/// Makes sure that there is room on the disk, for the file and a little for others: where sled finds none, it hangs.
#[cfg(target_os = "linux")]
fn reserve(file: &File, size: u64) -> io::Result<()> {
    use rustix::{
        fs::{FallocateFlags, fallocate},
        io::Errno,
    };
    let (length, room) = (file.metadata()?.len(), ROOM + size);
    let kept = FallocateFlags::KEEP_SIZE;
    match fallocate(file, kept, length, room + SLACK) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        outcome => outcome?,
    }
    Ok(fallocate(file, kept | FallocateFlags::PUNCH_HOLE, length + room, SLACK)?)
}
#[cfg(not(target_os = "linux"))]
fn reserve(_: &File, size: u64) -> io::Result<()> {
    let _ = ROOM + SLACK + size;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// An engine of this process that was closed lets go of its file a little later; one of another process does not.
fn wait_for_lock(data: &Path) -> Outcome<()> {
    let file = File::open(data)?;
    // Given back, not only closed, for the same reason as it is waited for.
    if lock::take(&file, LETTING_GO)? { Ok(file.unlock()?) } else { Err(Fault::Locked) }
}

/// What it cannot make sense of when it opens its files is damage.
fn opening(error: Error) -> Fault {
    match error {
        Error::Io(error) if matches!(error.kind(), Io::NotFound | Io::Other) => {
            Fault::Damaged(error.to_string())
        }
        Error::Unsupported(what) | Error::ReportableBug(what) => Fault::Damaged(what),
        other => other.into(),
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Corruption { .. } => Self::Damaged(error.to_string()),
            Error::Io(error) if matches!(error.kind(), Io::InvalidData | Io::UnexpectedEof) => {
                Self::Damaged(error.to_string())
            }
            Error::Io(error) => Self::Io(error),
            other => Self::Broken(other.to_string()),
        }
    }
}
