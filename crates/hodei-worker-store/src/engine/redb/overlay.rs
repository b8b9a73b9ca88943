use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

const PAGE: u64 = 4096;

/// A file as it is, with what is written kept in memory.
#[derive(Debug)]
pub(super) struct Overlay(Mutex<Inner>);

struct Inner {
    file: File,
    length: u64,
    /// Up to where the file shows through.
    shown: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Overlay {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self(Mutex::new(Inner { file, length, shown: length, pages: BTreeMap::new() })))
    }
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Reads what the file shows, and zeros beyond.
    fn below(&mut self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let shown = self.shown.saturating_sub(offset).min(out.len() as u64) as usize;
        let (shown, beyond) = out.split_at_mut(shown);
        beyond.fill(0);
        if !shown.is_empty() {
            self.file.seek(SeekFrom::Start(offset))?;
            self.file.read_exact(shown)?;
        }
        Ok(())
    }

    /// Calls with each page that a range touches, where in it the range is, and where in the range the page is.
    fn each(
        &mut self,
        offset: u64,
        length: usize,
        mut act: impl FnMut(&mut Self, u64, usize, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        if offset + length as u64 > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let inside = (at % PAGE) as usize;
            let part = (PAGE as usize - inside).min(length - done);
            act(self, at / PAGE, inside, done..done + part)?;
            done += part;
        }
        Ok(())
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let length = out.len();
        self.inner().each(offset, length, |inner, page, inside, range| {
            let at = offset + range.start as u64;
            let out = &mut out[range];
            match inner.pages.get(&page) {
                Some(bytes) => out.copy_from_slice(&bytes[inside..inside + out.len()]),
                None => inner.below(at, out)?,
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner().each(offset, data.len(), |inner, page, inside, range| {
            let mut bytes = match inner.pages.remove(&page) {
                Some(bytes) => bytes,
                None => {
                    let mut bytes = vec![0; PAGE as usize];
                    inner.below(page * PAGE, &mut bytes)?;
                    bytes
                }
            };
            bytes[inside..inside + range.len()].copy_from_slice(&data[range]);
            inner.pages.insert(page, bytes);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut inner = self.inner();
        inner.length = length;
        inner.shown = inner.shown.min(length);
        drop(inner.pages.split_off(&length.div_ceil(PAGE)));
        if let Some(last) = inner.pages.get_mut(&(length / PAGE)) {
            last[(length % PAGE) as usize..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
