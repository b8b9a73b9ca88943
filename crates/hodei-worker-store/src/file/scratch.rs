use std::{
    fs, io,
    ops::Deref,
    path::{Path, PathBuf},
};

use super::error::guarded;
use crate::{
    FileSettings,
    engine::{Engine, Outcome},
};

/// An engine that is opened without changing its file.
#[derive(Debug)]
pub(super) struct Trial<E> {
    engine: E,
    _scratch: Scratch,
}

impl<E: Engine> Trial<E> {
    /// With a folder for what it needs, which goes with it.
    pub(super) fn of(entry: &Path, scratch: PathBuf, settings: &FileSettings) -> Outcome<Self> {
        // A host that was killed may have left one.
        let scratch = Scratch(scratch);
        scratch.remove()?;
        let engine = guarded(|| E::try_out(entry, &scratch.0, settings))?;
        Ok(Self { engine, _scratch: scratch })
    }
    /// The name of a folder among temporary files.
    pub(super) fn temporary() -> PathBuf {
        std::env::temp_dir().join(format!("hodei-store-{}-{:08x}", std::process::id(), fastrand::u32(..)))
    }
}

impl<E> Deref for Trial<E> {
    type Target = E;
    fn deref(&self) -> &E {
        &self.engine
    }
}

#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(folder = %self.0.display(), %error, "a copy of a store was left");
        }
    }
}
