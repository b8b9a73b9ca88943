use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, RwLock, atomic::AtomicBool},
};

use hodei_worker_core::{Error, ErrorKind, Result, model::LogId, store::StoreInfo};
use tokio::sync::{mpsc, watch};

use super::{
    FileStore, Shared,
    anchor::{AnchorFile, Found},
    error,
    folder::Folder,
    scan::{self, Scan},
    scratch::Trial,
    writer::Writer,
};
use crate::{
    FileSettings,
    engine::{Engine, Table, Write},
    format::{Anchor, MANIFEST, Manifest, Seal},
};

const OPENING: &str = "cannot open the store";

pub(super) fn open<E: Engine>(path: &Path, settings: &FileSettings) -> Result<FileStore<E>> {
    let folder = Folder::take(path, settings)?;
    let entry = path.join(E::ENTRY);
    let mut anchor = folder.anchor()?;
    if !entry.exists() {
        create::<E>(&folder, &entry, &anchor, settings)?;
    }
    let failed = |fault| error::from_fault(path, OPENING, fault);
    let (manifest, scan) = {
        let trial = Trial::<E>::of(&entry, path.join("opening"), settings).map_err(failed)?;
        read(path, &*trial, &anchor.found)?
    };
    let mut engine = error::guarded(|| E::open(&entry, settings)).map_err(failed)?;
    if whole_manifest(path, &engine)? != manifest {
        return Err(error::corrupt(path, "it changed while it was opened"));
    }
    let shrunk = error::guarded(|| engine.shrink());
    shrunk.map_err(|fault| error::from_fault(path, "cannot give back the store's free space", fault))?;
    let known = Anchor { log: manifest.log.clone(), commits: manifest.commits, last: manifest.last };
    if anchor.found != Found::Anchor(known.clone()) {
        if anchor.found == Found::Unreadable {
            tracing::warn!(store = %path.display(), "the store's anchor could not be read, and is written anew");
        }
        let restored = anchor.restore(&known).and_then(|()| folder.sync());
        restored.map_err(|e| error::from_io(path, "cannot write the store's anchor", e))?;
    }
    start(folder, anchor, engine, manifest, scan, settings)
}

/// Reads all of it, and refuses what does not add up.
fn read<E: Engine>(path: &Path, engine: &E, anchor: &Found) -> Result<(Manifest, Scan)> {
    let manifest = whole_manifest(path, engine)?;
    compare(path, anchor, &manifest)?;
    let scan =
        scan::everything(engine, &manifest).map_err(|fault| error::from_fault(path, OPENING, fault))?;
    refuse(path, &scan)?;
    Ok((manifest, scan))
}

/// Makes an empty store, under another name until it is whole.
fn create<E: Engine>(
    folder: &Folder,
    entry: &Path,
    anchor: &AnchorFile,
    settings: &FileSettings,
) -> Result<()> {
    let path = &folder.path;
    if anchor.found != Found::Nothing {
        return Err(error::corrupt(path, format!("`{}` is missing in it", E::ENTRY)));
    }
    if !settings.create {
        let missing =
            Error::new(ErrorKind::NotFound, "there is no store").with_context("store", path.display());
        return Err(missing.with_help("is the path right? the setting `create` makes a new one"));
    }
    write_new::<E>(folder, entry, &Manifest::new(LogId::random()), Vec::new(), settings)
}

/// Makes an engine's file with these rows, under another name until it is whole.
pub(super) fn write_new<E: Engine>(
    folder: &Folder,
    entry: &Path,
    manifest: &Manifest,
    mut writes: Vec<Write>,
    settings: &FileSettings,
) -> Result<()> {
    let path = &folder.path;
    let making = "cannot make the store";
    let new = unfinished(entry);
    let left = if new.is_dir() { fs::remove_dir_all(&new) } else { fs::remove_file(&new) };
    if let Err(e) = left
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error::from_io(path, making, e));
    }
    writes.push(Write { table: Table::Meta, key: MANIFEST.to_vec(), row: Some(manifest.write()) });
    let written = error::guarded(|| E::open(&new, settings)?.commit(&writes));
    written.map_err(|fault| error::from_fault(path, making, fault))?;
    let named = fs::rename(&new, entry).and_then(|()| folder.sync());
    named.map_err(|e| error::from_io(path, making, e))
}

fn unfinished(entry: &Path) -> PathBuf {
    entry.with_extension("new")
}

fn whole_manifest<E: Engine>(path: &Path, engine: &E) -> Result<Manifest> {
    let found = scan::manifest(engine).map_err(|fault| error::from_fault(path, OPENING, fault))?;
    let found = found.ok_or_else(|| error::corrupt(path, "its manifest is missing"))?;
    found.map_err(|why| error::unreadable(path, "its manifest", why))
}

/// Whether all that was acknowledged is there.
fn compare(path: &Path, found: &Found, manifest: &Manifest) -> Result<()> {
    match found {
        Found::Newer(version) => Err(error::newer(path, *version)),
        Found::Nothing | Found::Unreadable => Ok(()),
        Found::Anchor(anchor) => match missing(anchor, manifest) {
            Some(what) => Err(error::corrupt(path, what)),
            None => Ok(()),
        },
    }
}

/// What was acknowledged, by the anchor, and is not there.
pub(super) fn missing(anchor: &Anchor, manifest: &Manifest) -> Option<String> {
    if anchor.log != manifest.log {
        return Some("its anchor is of another store".to_owned());
    }
    if anchor.last > manifest.last {
        return Some(format!(
            "events {} to {}, which were acknowledged, are missing",
            manifest.last + 1,
            anchor.last
        ));
    }
    let lost = anchor.commits.checked_sub(manifest.commits).filter(|lost| *lost > 0);
    lost.map(|lost| format!("{lost} commits that were acknowledged are missing"))
}

fn refuse(path: &Path, scan: &Scan) -> Result<()> {
    let Some(first) = scan.findings.found.first() else { return Ok(()) };
    if let Some(version) = scan.findings.newer {
        return Err(error::newer(path, version));
    }
    let others = scan.findings.found.len() as u64 - 1 + scan.findings.more;
    Err(error::corrupt(
        path,
        match others {
            0 => first.clone(),
            others => format!("{first}, and {others} more"),
        },
    ))
}

fn start<E: Engine>(
    folder: Folder,
    anchor: AnchorFile,
    engine: E,
    manifest: Manifest,
    scan: Scan,
    settings: &FileSettings,
) -> Result<FileStore<E>> {
    let place = folder.path.clone();
    let shared = Arc::new(Shared {
        info: StoreInfo::new(E::KIND, manifest.log.clone(), place.display().to_string()),
        place: place.clone(),
        seal: Seal::of(&manifest.log),
        engine: RwLock::new(Some(engine)),
        last: watch::Sender::new(manifest.last),
        index: RwLock::new(scan.index),
        failing: AtomicBool::new(false),
    });
    let (inbox, receiver) = mpsc::channel(settings.queue.max(1));
    let writer = Writer {
        shared: Arc::clone(&shared),
        folder,
        anchor,
        manifest,
        settings: settings.clone(),
        inbox: receiver,
        unknown: None,
        lost: None,
        crowd: 0,
    };
    let thread = std::thread::Builder::new().name(format!("hodei-{}", E::KIND)).spawn(move || writer.run());
    let thread = thread.map_err(|e| error::from_io(&place, "cannot start the store's writer", e))?;
    Ok(FileStore { shared, inbox: Some(inbox), writer: Some(thread) })
}
