use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::{Bound, ControlFlow},
    path::PathBuf,
};

use hodei_worker_core::Result;

use super::super::{
    anchor::Found,
    error::{self, guarded},
    folder::Folder,
    scan,
    scratch::Trial,
};
use crate::{
    FileSettings,
    engine::{Engine, Table},
    format::{Anchor, EventRow, MANIFEST, Manifest, OverRow, Seal, SnapshotRow, StateRow},
};

/// How old a row is that checks out.
type Age = fn(Seal, &[u8], &[u8]) -> Option<u64>;

/// The rows that check out, whatever there is beside them.
#[derive(Debug)]
pub(super) struct Finds {
    pub(super) seal: Seal,
    /// The newest manifest; an empty one where none was found.
    pub(super) manifest: Manifest,
    /// The last position that is known to have been given.
    pub(super) end: u64,
    pub(super) log: BTreeMap<u64, Vec<u8>>,
    pub(super) state: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) snapshots: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) over: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Finds {
    pub(super) fn of<E: Engine>(old: &Folder, scratch: PathBuf, settings: &FileSettings) -> Result<Self> {
        let anchor = match old.found()? {
            Found::Anchor(anchor) => Some(anchor),
            Found::Newer(version) => return Err(error::newer(&old.path, version)),
            Found::Nothing | Found::Unreadable => None,
        };
        let entry = &*old.path.join(E::ENTRY);
        let mut newest: Option<Manifest> = None;
        let mut note = |found: Manifest| {
            if newest.as_ref().is_none_or(|known| known.commits < found.commits) {
                newest = Some(found);
            }
        };
        let _ = guarded(|| {
            E::remnants(entry, &mut |key, row| {
                if key == MANIFEST
                    && let Ok(found) = Manifest::read(row)
                {
                    note(found);
                }
            })
        });
        let mut remnants = Vec::new();
        let log =
            newest.as_ref().map(|found| &found.log).or(anchor.as_ref().map(|anchor| &anchor.log)).cloned();
        if let Some(seal) = log.as_ref().map(Seal::of) {
            let _ = guarded(|| {
                E::remnants(entry, &mut |key, row| {
                    let table = [Table::State, Table::Snapshots, Table::Over]
                        .into_iter()
                        .find(|table| seal.open(*table, key, row).is_ok());
                    let table = table.or_else(|| is_of_the_log(seal, key, row).then_some(Table::Log));
                    if let Some(table) = table {
                        remnants.push((table, key.to_vec(), row.to_vec()));
                    }
                })
            });
        }
        let engine = Trial::<E>::of(entry, scratch, settings);
        let kept =
            engine.as_ref().ok().and_then(|engine| scan::manifest(&**engine).ok()?.and_then(Result::ok));
        let newest = match (newest, kept.clone()) {
            (Some(found), Some(kept)) if kept.commits >= found.commits => Some(kept),
            (found, kept) => found.or(kept),
        };
        let log = newest
            .as_ref()
            .map(|found| found.log.clone())
            .or(anchor.as_ref().map(|anchor| anchor.log.clone()));
        let Some(log) = log else {
            return Err(error::corrupt(&old.path, "nothing of it can be read"));
        };
        let mut finds = Self::empty(newest.unwrap_or_else(|| Manifest::new(log)), anchor.as_ref());
        if let Ok(engine) = &engine {
            finds.engine(&**engine);
        }
        // An engine that opened, and has all that was acknowledged, knows best: remnants may be what was removed.
        let knows_all = kept.is_some_and(|kept| kept.commits >= finds.manifest.commits);
        for (table, key, row) in remnants {
            if table == Table::Log || !knows_all {
                finds.add(table, &key, &row);
            }
        }
        let end = finds.log.last_key_value().map_or(0, |(position, _)| *position);
        finds.end = finds.end.max(end);
        Ok(finds)
    }

    fn empty(manifest: Manifest, anchor: Option<&Anchor>) -> Self {
        Self {
            seal: Seal::of(&manifest.log),
            end: manifest.last.max(anchor.map_or(0, |anchor| anchor.last)),
            manifest,
            log: BTreeMap::new(),
            state: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            over: BTreeMap::new(),
        }
    }

    /// What the engine still has, up to where it fails.
    fn engine<E: Engine>(&mut self, engine: &E) {
        for table in [Table::Log, Table::State, Table::Snapshots, Table::Over] {
            let _ = guarded(|| {
                engine.range(table, Bound::Unbounded, &mut |key, row| {
                    self.add(table, key, row);
                    ControlFlow::Continue(())
                })
            });
        }
    }

    /// Keeps a row that checks out; of several, the newest.
    fn add(&mut self, table: Table, key: &[u8], row: &[u8]) {
        let seal = self.seal;
        let (rows, age): (_, Age) = match table {
            Table::Log => {
                let Ok(begin) = <[u8; 8]>::try_from(key).map(u64::from_be_bytes) else { return };
                for (position, event) in EventRow::salvaged(seal, begin, row) {
                    if position < self.manifest.first {
                        continue;
                    }
                    self.log.entry(position).or_insert_with(|| {
                        let mut row = Vec::new();
                        event.add(seal, position, &mut row);
                        row
                    });
                }
                return;
            }
            Table::State => {
                (&mut self.state, |seal, key, row| Some(StateRow::read(seal, key, row).ok()?.version))
            }
            Table::Snapshots => {
                (&mut self.snapshots, |seal, key, row| Some(SnapshotRow::read(seal, key, row).ok()?.position))
            }
            Table::Over => {
                (&mut self.over, |seal, key, row| Some(OverRow::read(seal, key, row).ok()?.position))
            }
            Table::Meta => return,
        };
        let Some(found) = age(seal, key, row) else { return };
        match rows.entry(key.to_vec()) {
            Entry::Vacant(entry) => drop(entry.insert(row.to_vec())),
            Entry::Occupied(mut entry) => {
                if age(seal, key, entry.get()).is_none_or(|known| known < found) {
                    entry.insert(row.to_vec());
                }
            }
        }
    }
}

/// Whether it is a row of the log of which something can be read.
fn is_of_the_log(seal: Seal, key: &[u8], row: &[u8]) -> bool {
    <[u8; 8]>::try_from(key)
        .is_ok_and(|key| EventRow::all(seal, u64::from_be_bytes(key), 0, row).any(|(_, event)| event.is_ok()))
}
