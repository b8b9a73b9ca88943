//! What is kept apart from a store, so that an older one in its place is known.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use hodei_worker_core::{Error, ErrorKind, Result};

/// The newest state of a store that was seen: which store, how often it was changed, and a digest that only its key makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorMark {
    /// Which store.
    pub store: [u8; 16],
    /// How often it was changed.
    pub generation: u64,
    /// What it had then.
    pub tag: [u8; 32],
}

const SIZE: usize = 16 + 8 + 32;

impl AnchorMark {
    /// The mark as bytes, to be kept.
    pub fn to_bytes(&self) -> [u8; 56] {
        let mut bytes = [0; SIZE];
        let parts = self.store.iter().chain(&self.tag);
        let (ids, generation) = bytes.split_at_mut(48);
        for (to, from) in ids.iter_mut().zip(parts) {
            *to = *from;
        }
        generation.copy_from_slice(&self.generation.to_be_bytes());
        bytes
    }
    /// The mark of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (store, rest) = bytes.split_first_chunk::<16>()?;
        let (tag, rest) = rest.split_first_chunk::<32>()?;
        let generation = u64::from_be_bytes(rest.try_into().ok()?);
        Some(Self { store: *store, generation, tag: *tag })
    }
}

/// A place apart from the store that keeps its mark: on another disk, in a keyring, or wherever the host keeps things. Who
/// can put back an older store must not be able to put back an older mark.
#[async_trait]
pub trait Anchor: fmt::Debug + Send + Sync + 'static {
    /// The mark that was written last; `None` where none was.
    ///
    /// # Errors
    /// Where that cannot be told: then the store is not opened.
    async fn read(&self) -> Result<Option<AnchorMark>>;
    /// Keeps this mark in the place of the last, durably.
    ///
    /// # Errors
    /// Where it was not kept: then nothing more is stored until it is.
    async fn write(&self, mark: &AnchorMark) -> Result<()>;
}

/// A mark in a file, of two places that are written in turn: one is always whole.
///
/// # Examples
/// ```
/// use hodei_credentials::FileAnchor;
/// let anchor = FileAnchor::new("/mnt/other-disk/my-app.anchor");
/// ```
#[derive(Debug)]
pub struct FileAnchor(PathBuf);

/// Each place: the mark and a digest of it.
const SLOT: usize = 4096;

impl FileAnchor {
    /// In that file, which is made with the first mark. Its folder has to be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn error(&self, done: &str, error: std::io::Error) -> Error {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            std::io::ErrorKind::StorageFull => ErrorKind::Capacity,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("the anchor of the store of credentials cannot be {done}"))
            .with_context("file", self.0.display())
            .with_source(error)
    }
}

fn slots(path: &Path) -> std::io::Result<Vec<Option<AnchorMark>>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let whole = |slot: &[u8]| {
        let (mark, rest) = slot.split_at_checked(SIZE)?;
        let digest = rest.get(..32)?;
        (crate::crypto::sha256(mark) == digest).then(|| AnchorMark::from_bytes(mark)).flatten()
    };
    Ok(bytes.chunks(SLOT).map(whole).collect())
}

#[async_trait]
impl Anchor for FileAnchor {
    async fn read(&self) -> Result<Option<AnchorMark>> {
        let path = self.0.clone();
        let read = tokio::task::spawn_blocking(move || slots(&path)).await;
        let slots = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let slots = slots.map_err(|error| self.error("read", error))?;
        let is_there = !slots.is_empty();
        let newest = slots.into_iter().flatten().max_by_key(|mark| mark.generation);
        if newest.is_none() && is_there {
            return Err(super::corrupt("the anchor of the store of credentials holds no mark")
                .with_context("file", self.0.display()));
        }
        Ok(newest)
    }

    async fn write(&self, mark: &AnchorMark) -> Result<()> {
        let (path, mark) = (self.0.clone(), *mark);
        let written = tokio::task::spawn_blocking(move || {
            use std::io::{Seek as _, SeekFrom, Write as _};
            let is_new = !path.exists();
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(false);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&path)?;
            if is_new {
                file.write_all(&[0; 2 * SLOT])?;
            }
            let bytes = mark.to_bytes();
            file.seek(SeekFrom::Start((mark.generation % 2) * SLOT as u64))?;
            file.write_all(&[bytes.as_slice(), &crate::crypto::sha256(&bytes)].concat())?;
            file.sync_data()?;
            match path.parent().filter(|_| is_new && cfg!(unix)) {
                Some(folder) => {
                    file.sync_all()?;
                    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                    std::fs::File::open(folder)?.sync_all()
                }
                None => Ok(()),
            }
        });
        let written = written.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        written.map_err(|error| self.error("written", error))
    }
}

/// A mark in this process's memory: for hosts that keep it elsewhere themselves, and bring it along when they open the store.
#[derive(Debug, Default)]
pub struct HostAnchor(Mutex<Option<AnchorMark>>);

impl HostAnchor {
    /// The mark that the host has kept; none for a store that is new.
    pub fn new(mark: Option<AnchorMark>) -> Self {
        Self(Mutex::new(mark))
    }
    /// The mark as it is now.
    pub fn mark(&self) -> Option<AnchorMark> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Anchor for HostAnchor {
    async fn read(&self) -> Result<Option<AnchorMark>> {
        Ok(self.mark())
    }
    async fn write(&self, mark: &AnchorMark) -> Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(*mark);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // These are tests.
mod tests {
    use super::*;

    #[tokio::test]
    async fn c1_a_mark_is_read_as_it_was_written_and_survives_a_write_that_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchor");
        let anchor = FileAnchor::new(&path);
        assert_eq!(anchor.read().await.unwrap(), None);
        let mark = |generation| AnchorMark { store: [1; 16], generation, tag: [generation as u8; 32] };
        for generation in 1..=5 {
            anchor.write(&mark(generation)).await.unwrap();
            assert_eq!(anchor.read().await.unwrap(), Some(mark(generation)));
        }
        // The newest is half written.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[SLOT + 20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(anchor.read().await.unwrap(), Some(mark(4)));
        std::fs::write(&path, vec![0; 2 * SLOT]).unwrap();
        assert_eq!(anchor.read().await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
