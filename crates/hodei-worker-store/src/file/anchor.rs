use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use crate::format::{ANCHOR, Anchor, Unreadable};

/// The file beside the engine's that says up to where events were acknowledged. It is never synced by itself: after a
/// power cut it may be older than the store, which is no harm, and never newer.
#[derive(Debug)]
pub(crate) struct AnchorFile {
    file: File,
    pub(crate) found: Found,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A new file, or an empty one.
    Nothing,
    Anchor(Anchor),
    Unreadable,
    Newer(u8),
}

impl AnchorFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::with_capacity(ANCHOR);
        file.read_to_end(&mut bytes)?;
        Ok(Self { file, found: read(&bytes) })
    }

    /// Notes what was made durable.
    pub(crate) fn note(&mut self, anchor: &Anchor) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&anchor.write())
    }

    /// As [`note`](Self::note), of a new store, or in place of one that could not be read.
    pub(crate) fn restore(&mut self, anchor: &Anchor) -> io::Result<()> {
        self.note(anchor)?;
        self.file.set_len(ANCHOR as u64)?;
        self.file.sync_all()
    }
}

pub(crate) fn read(bytes: &[u8]) -> Found {
    match Anchor::read(bytes) {
        Ok(anchor) => Found::Anchor(anchor),
        Err(Unreadable::Newer(version)) => Found::Newer(version),
        Err(Unreadable::Damaged) if bytes.is_empty() => Found::Nothing,
        Err(Unreadable::Damaged) => Found::Unreadable,
    }
}
