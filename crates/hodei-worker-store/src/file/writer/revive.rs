use std::sync::{PoisonError, atomic::Ordering};

use hodei_worker_core::{Error, ErrorKind, Result, Retry};

use super::{Engine, Fault, Manifest, Writer, error};
use crate::file::scan;

impl<E: Engine> Writer<E> {
    /// A commit failed: the engine is opened anew, and tells what became of it.
    pub(super) fn failed(&mut self, fault: Fault, manifest: Manifest) -> Result<()> {
        self.unknown = Some(manifest);
        let failure = self.fault(fault);
        tracing::warn!(error = %failure, "a commit of the store failed");
        match self.revive() {
            Ok(()) => Err(failure),
            // It may have been written.
            Err(_) => Err(failure.with_retry(Retry::IfIdempotent)),
        }
    }

    /// Opens the engine again after a failure, and finds out what became of the commit that failed, if one did.
    pub(super) fn revive(&mut self) -> Result<()> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        let has_failed = self.shared.failing.swap(false, Ordering::Relaxed);
        if self.unknown.is_none() {
            if !has_failed {
                return Ok(());
            }
            // A reader met it: nothing was to be written.
            self.unknown = Some(self.manifest.clone());
        }
        let path = self.folder.path.join(E::ENTRY);
        let doing = "the store's engine cannot be opened again after a failure";
        let found = {
            let mut slot = self.shared.engine.write().unwrap_or_else(PoisonError::into_inner);
            let closing = error::guarded(|| {
                drop(slot.take());
                Ok(())
            });
            drop(closing);
            let opened = error::guarded(|| E::open(&path, &self.settings));
            let engine = opened.map_err(|fault| error::from_fault(&self.folder.path, doing, fault))?;
            let found = scan::manifest(&engine);
            let found = found.map_err(|fault| error::from_fault(&self.folder.path, doing, fault))?;
            *slot = Some(engine);
            found.and_then(Result::ok)
        };
        if found.as_ref() == Some(&self.manifest) {
            self.unknown = None;
            return Ok(());
        }
        // Nothing may be written to what is neither, nor to what may be in the system's memory alone.
        *self.shared.engine.write().unwrap_or_else(PoisonError::into_inner) = None;
        let is_written = found.is_some() && found == self.unknown;
        let error = if is_written { self.unsynced() } else { self.torn() };
        tracing::error!(%error, "the store takes nothing any more");
        // What comes later is not even tried.
        self.lost = Some(error.clone().with_retry(Retry::Never));
        Err(error)
    }

    fn torn(&self) -> Error {
        error::corrupt(&self.folder.path, "after a failed commit it is neither as before nor as after it")
    }

    /// The commit came as far as its last step, which failed. The system forgets after that what it could not bring to the
    /// disk: a later attempt would succeed and bring nothing.
    fn unsynced(&self) -> Error {
        Error::new(ErrorKind::Unavailable, "the disk has failed to keep what the store wrote")
            .with_context("store", self.folder.path.display())
            .with_retry(Retry::IfIdempotent)
            .with_help("look into the system's log and at the disk, end this host, and `verify` the store")
    }
}
