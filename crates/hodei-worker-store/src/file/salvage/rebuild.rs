use std::collections::{BTreeMap, HashMap};

use super::find::Finds;
use crate::{
    Salvage,
    engine::{Table, Write},
    format::{EventRow, Manifest, OverRow, SnapshotRow, Tally},
};

/// What the new store is made of.
#[derive(Debug)]
pub(super) struct Rebuilt {
    pub(super) manifest: Manifest,
    pub(super) writes: Vec<Write>,
    pub(super) report: Salvage,
}

/// Events keep their places where none is missing, unless that does not add up either.
pub(super) fn rebuild(finds: &Finds, move_all: bool) -> Rebuilt {
    let mut report = Salvage::default();
    let missing = missing(finds);
    for (from, to) in &missing {
        report.lost.push(match from == to {
            true => format!("event {from}"),
            false => format!("events {from} to {to}"),
        });
    }
    let mut new = New::of(finds);
    if missing.is_empty() && !move_all {
        new.verbatim(finds);
    } else {
        report.moved = true;
        new.moved(finds, &mut report);
    }
    new.rows(Table::State, &finds.state);
    let manifest = &finds.manifest;
    for (what, had, has) in [
        ("values", manifest.state, new.manifest.state),
        ("snapshots", manifest.snapshots, tally(&finds.snapshots)),
    ] {
        if had.rows != has.rows {
            report.lost.push(format!("it had {} {what}, and {} were found", had.rows, has.rows));
        } else if had.digest != has.digest {
            report.lost.push(format!("some {what} are older than they were"));
        }
    }
    report.values = new.manifest.state.rows;
    report.snapshots = new.manifest.snapshots.rows;
    report.events = new.events;
    // Rows of one table stand together.
    new.writes.sort_by_key(|write| write.table);
    Rebuilt { manifest: new.manifest, writes: new.writes, report }
}

fn tally(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> Tally {
    let mut tally = Tally::default();
    rows.values().for_each(|row| tally.add(row));
    tally
}

/// Positions that should be there.
fn missing(finds: &Finds) -> Vec<(u64, u64)> {
    let mut missing = Vec::new();
    let mut next = finds.manifest.first;
    for position in finds.log.keys() {
        if *position > next {
            missing.push((next, position - 1));
        }
        next = position + 1;
    }
    if next <= finds.end {
        missing.push((next, finds.end));
    }
    missing
}

/// Whether the worker was forgotten after that event.
fn is_over(finds: &Finds, worker: &str, position: u64) -> bool {
    let row = finds.over.get(worker.as_bytes());
    let over = row.and_then(|row| OverRow::read(finds.seal, worker.as_bytes(), row).ok());
    over.is_some_and(|over| position <= over.position)
}

struct New {
    manifest: Manifest,
    writes: Vec<Write>,
    events: u64,
}

impl New {
    fn of(finds: &Finds) -> Self {
        let mut manifest = Manifest::new(finds.manifest.log.clone());
        manifest.commits = finds.manifest.commits + 1;
        Self { manifest, writes: Vec::new(), events: 0 }
    }

    fn set(&mut self, table: Table, key: Vec<u8>, row: Vec<u8>) {
        if let Some(tally) = self.manifest.tally(table) {
            tally.add(&row);
        }
        self.writes.push(Write { table, key, row: Some(row) });
    }
    fn rows(&mut self, table: Table, rows: &BTreeMap<Vec<u8>, Vec<u8>>) {
        for (key, row) in rows {
            self.set(table, key.clone(), row.clone());
        }
    }

    /// Nothing of the log is missing.
    fn verbatim(&mut self, finds: &Finds) {
        (self.manifest.first, self.manifest.last) = (finds.manifest.first, finds.end);
        for (position, row) in &finds.log {
            self.set(Table::Log, position.to_be_bytes().to_vec(), row.clone());
        }
        self.events = finds.log.len() as u64;
        self.rows(Table::Snapshots, &finds.snapshots);
        self.rows(Table::Over, &finds.over);
    }

    /// Events are missing: of each stream, what is whole goes on after the old log's end.
    fn moved(&mut self, finds: &Finds, report: &mut Salvage) {
        let end = finds.end;
        let mut last = end;
        // A worker that was forgotten may have begun anew.
        let mut births: HashMap<String, u64> = HashMap::new();
        for (position, row) in &finds.log {
            if let Some(Ok(event)) = EventRow::at(finds.seal, *position, *position, row)
                && event.version == 1
            {
                births.insert(event.worker.to_owned(), *position);
            }
        }
        // Snapshots cover what came before the new log's beginning.
        let mut chains: HashMap<String, (u64, u64)> = HashMap::new();
        for (key, row) in &finds.snapshots {
            let Ok(kept) = SnapshotRow::read(finds.seal, key, row) else { continue };
            let worker = String::from_utf8_lossy(key).into_owned();
            if is_over(finds, &worker, kept.position)
                || births.get(&worker).is_some_and(|birth| kept.position < *birth)
            {
                continue;
            }
            let moved = SnapshotRow { position: end, ..kept }.write(finds.seal, key);
            self.set(Table::Snapshots, key.clone(), moved);
            chains.insert(worker, (kept.version, end));
        }
        let mut broken: BTreeMap<String, u64> = BTreeMap::new();
        for (position, row) in &finds.log {
            let Some(Ok(event)) = EventRow::at(finds.seal, *position, *position, row) else { continue };
            let before_birth = births.get(event.worker).is_some_and(|birth| position < birth);
            if before_birth || is_over(finds, event.worker, *position) {
                continue;
            }
            let (version, back) = chains.get(event.worker).copied().unwrap_or((0, 0));
            if event.version <= version {
                continue;
            }
            if event.version != version + 1 {
                *broken.entry(event.worker.to_owned()).or_default() += 1;
                continue;
            }
            last += 1;
            let mut moved = Vec::new();
            EventRow { back, ..event }.add(finds.seal, last, &mut moved);
            self.set(Table::Log, last.to_be_bytes().to_vec(), moved);
            chains.insert(event.worker.to_owned(), (event.version, last));
            self.events += 1;
        }
        for (worker, events) in broken {
            report.lost.push(format!("{events} events of `{worker}`, which follow one that is missing"));
        }
        (self.manifest.first, self.manifest.last) = (end + 1, last);
    }
}
