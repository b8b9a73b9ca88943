//! What a file store asks of an engine: ordered tables of bytes, and durable, atomic commits.

#[cfg(feature = "redb")]
pub(crate) mod redb;
#[cfg(feature = "sled")]
pub(crate) mod sled;

use std::{
    fmt,
    ops::{Bound, ControlFlow},
    path::Path,
};

use crate::FileSettings;

/// One of a store's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Table {
    /// Events by the position of the first of a row.
    Log = 1,
    /// Values by their key.
    State = 2,
    /// Snapshots by worker.
    Snapshots = 3,
    /// Where streams of forgotten workers ended, by worker.
    Over = 4,
    /// The manifest.
    Meta = 5,
}

/// Sets a row, or removes it.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) table: Table,
    pub(crate) key: Vec<u8>,
    pub(crate) row: Option<Vec<u8>>,
}

/// Why an engine failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Another process has it open.
    Locked,
    /// The engine's file does not add up.
    Damaged(String),
    /// The operating system refused; the engine has to be opened again.
    Io(std::io::Error),
    /// The engine does not work any more for another reason, and has to be opened again.
    Broken(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

pub(crate) type Outcome<T> = Result<T, Fault>;
/// What is called with each row of a range, until it breaks.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Ordered tables of bytes in a file or folder.
pub(crate) trait Engine: fmt::Debug + Send + Sync + Sized + 'static {
    /// Its name.
    const KIND: &'static str;
    /// The name of its file or folder in the store's folder.
    const ENTRY: &'static str;

    /// Opens what is there, or makes it.
    fn open(path: &Path, settings: &FileSettings) -> Outcome<Self>;
    /// Opens what is there without changing it, to see whether it adds up: engines mend what is damaged, and destroy more of
    /// it. A copy, where it takes one, is put into the folder `scratch`, which is not there yet.
    fn try_out(path: &Path, scratch: &Path, settings: &FileSettings) -> Outcome<Self>;
    /// Reads a row.
    fn get(&self, table: Table, key: &[u8]) -> Outcome<Option<Vec<u8>>>;
    /// Reads the last row whose key is not greater.
    fn at_or_before(&self, table: Table, key: &[u8]) -> Outcome<Option<(Vec<u8>, Vec<u8>)>>;
    /// Visits rows from a key on, in order.
    fn range(&self, table: Table, from: Bound<&[u8]>, visit: &mut Visit<'_>) -> Outcome<()>;
    /// Makes sure that there is room for that many bytes, where the engine does not bear it when there is none. A failure
    /// leaves everything as it was.
    fn reserve(&self, size: usize) -> Outcome<()> {
        let _ = size;
        Ok(())
    }
    /// Writes all of it durably, or nothing; rows of one table stand together. After a failure it may be one or the other.
    fn commit(&self, writes: &[Write]) -> Outcome<()>;
    /// Visits what looks like rows in a file that cannot be opened, as far as that can be told; whether they are is for
    /// their checksums to say.
    fn remnants(path: &Path, visit: &mut dyn FnMut(&[u8], &[u8])) -> Outcome<()> {
        let _ = (path, visit);
        Ok(())
    }
    /// Gives file space back, where that is worth it.
    fn shrink(&mut self) -> Outcome<()>;
}

/// Makes names in a folder survive a power cut, where folders can be synced.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    if cfg!(unix) { std::fs::File::open(path)?.sync_all() } else { Ok(()) }
}
