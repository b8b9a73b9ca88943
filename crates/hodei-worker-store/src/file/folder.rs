use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use hodei_worker_core::Result;

use super::{
    anchor::{self, AnchorFile, Found},
    error,
};
use crate::{FileSettings, engine::sync_folder, lock};

const LOCK: &str = "lock";
const ANCHOR: &str = "anchor";
/// How long the store of a host that has just been killed may be held.
const LETTING_GO: Duration = Duration::from_secs(1);

/// A store's folder, which one process has to itself.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// `None` for one that is only read, and has none: a copy.
    lock: Option<File>,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A process that is just being started has all open files of this one until it executes its program, and with them
        // the lock, unless it is given back.
        if let Some(lock) = &self.lock
            && let Err(error) = lock.unlock()
        {
            tracing::warn!(store = %self.path.display(), %error, "the store's lock was not given back");
        }
    }
}

impl Folder {
    /// Takes it, and makes it where that is wanted.
    pub(crate) fn take(path: &Path, settings: &FileSettings) -> Result<Self> {
        if settings.create {
            fs::create_dir_all(path)
                .map_err(|e| error::from_io(path, "cannot make the store's folder", e))?;
        }
        let doing = "cannot open the store";
        let lock =
            OpenOptions::new().write(true).create(settings.create).truncate(false).open(path.join(LOCK));
        let lock = lock.map_err(|e| error::from_io(path, doing, e))?;
        Self::hold(path, Some(lock), doing)
    }

    /// Takes it to be read, which changes nothing in it: it may be a copy, or on a disk that cannot be written to.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let doing = "cannot read the store";
        fs::read_dir(path).map_err(|e| error::from_io(path, doing, e))?;
        match File::open(path.join(LOCK)) {
            Ok(lock) => Self::hold(path, Some(lock), doing),
            Err(e) if e.kind() == ErrorKind::NotFound => Self::hold(path, None, doing),
            Err(e) => Err(error::from_io(path, doing, e)),
        }
    }

    fn hold(path: &Path, lock: Option<File>, doing: &'static str) -> Result<Self> {
        let taken = lock.as_ref().map_or(Ok(true), |lock| lock::take(lock, LETTING_GO));
        match taken {
            Ok(true) => Ok(Self { path: path.to_owned(), lock }),
            Ok(false) => Err(error::in_use(path)),
            Err(e) => Err(error::from_io(path, doing, e)),
        }
    }

    /// What its anchor says.
    pub(crate) fn found(&self) -> Result<Found> {
        match fs::read(self.path.join(ANCHOR)) {
            Ok(bytes) => Ok(anchor::read(&bytes)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
            Err(e) => Err(error::from_io(&self.path, "cannot read the store's anchor", e)),
        }
    }

    pub(crate) fn anchor(&self) -> Result<AnchorFile> {
        AnchorFile::open(&self.path.join(ANCHOR))
            .map_err(|e| error::from_io(&self.path, "cannot open the store's anchor", e))
    }

    /// Makes what was created in it survive a power cut.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        sync_folder(&self.path)?;
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
            _ => Ok(()),
        }
    }
}
