use std::sync::PoisonError;

use hodei_worker_core::{Result, Retry};

use super::{Changes, Engine, Fault, Manifest, Writer, error};
use crate::file::scan;

impl<E: Engine> Writer<E> {
    /// A commit failed: the engine is opened anew, and tells whether it was written after all.
    pub(super) fn failed(&mut self, fault: Fault, manifest: Manifest, changes: Changes) -> Result<()> {
        let commits = manifest.commits;
        self.unknown = Some((manifest, changes));
        let failure = self.fault(fault);
        tracing::warn!(error = %failure, "a commit of the store failed");
        match self.revive() {
            Ok(()) if self.manifest.commits == commits => Ok(()),
            Ok(()) => Err(failure),
            // It may have been written.
            Err(_) => Err(failure.with_retry(Retry::IfIdempotent)),
        }
    }

    /// Opens the engine again after a failure, and finds out what became of the commit that failed.
    pub(super) fn revive(&mut self) -> Result<()> {
        if self.unknown.is_none() {
            return Ok(());
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
        match self.unknown.take() {
            _ if found.as_ref() == Some(&self.manifest) => Ok(()),
            Some((manifest, changes)) if found.as_ref() == Some(&manifest) => {
                self.done(manifest, changes);
                Ok(())
            }
            unknown => {
                // Nothing may be written to what is neither.
                self.unknown = unknown;
                *self.shared.engine.write().unwrap_or_else(PoisonError::into_inner) = None;
                Err(error::corrupt(
                    &self.folder.path,
                    "after a failed commit it is neither as before nor as after it",
                ))
            }
        }
    }
}
