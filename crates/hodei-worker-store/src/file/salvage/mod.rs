//! Saves what is whole of a store that does not add up into a new one.

mod find;
mod rebuild;

use std::{fs, path::Path};

use hodei_worker_core::{Error, ErrorKind, Result};

use self::find::Finds;
use super::{
    error::{self, guarded},
    folder::Folder,
    open, scan,
};
use crate::{FileSettings, Salvage, engine::Engine};

const DOING: &str = "cannot repair the store";

/// Never touches the original.
pub(crate) fn repair<E: Engine>(path: &Path, into: &Path) -> Result<Salvage> {
    let old = Folder::read(path)?;
    let settings = FileSettings::default();
    let new = Folder::take(into, &settings)?;
    let entry = into.join(E::ENTRY);
    if entry.exists() {
        let error = Error::new(ErrorKind::Config, "there is a store already where the repaired one is to be");
        return Err(error.with_context("store", into.display()).with_help("name a new folder"));
    }
    let finds = Finds::of::<E>(&old, into.join("original"), &settings)?;
    for move_all in [false, true] {
        let rebuilt = rebuild::rebuild(&finds, move_all);
        open::write_new::<E>(&new, &entry, &rebuilt.manifest, rebuilt.writes, &settings)?;
        let scan = guarded(|| scan::everything(&E::open(&entry, &settings)?, &rebuilt.manifest));
        let scan = scan.map_err(|fault| error::from_fault(into, DOING, fault))?;
        if scan.findings.found.is_empty() {
            return Ok(rebuilt.report);
        }
        let removed = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
        removed.map_err(|e| error::from_io(into, DOING, e))?;
    }
    Err(error::corrupt(path, "what is whole of it makes no store"))
}
