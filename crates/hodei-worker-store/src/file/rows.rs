use std::path::Path;

use hodei_worker_core::{Result, model::WorkerId};

use super::{error, group::Staged};
use crate::{
    engine::{Engine, Table, Write},
    format::{EventRow, Seal, SnapshotRow, StateRow},
};

/// An engine's rows, and those on top of them that are to be written.
#[derive(Debug)]
pub(crate) struct Rows<'a, E> {
    engine: &'a E,
    place: &'a Path,
    pub(super) seal: Seal,
    /// The first of the events to be written, which follow one by one.
    first: u64,
    events: Vec<Vec<u8>>,
    staged: Staged,
}

/// What links an event to its stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) back: u64,
}

impl<'a, E: Engine> Rows<'a, E> {
    /// Of a store whose log ends before `first`.
    pub(crate) fn new(engine: &'a E, place: &'a Path, seal: Seal, first: u64) -> Self {
        Self { engine, place, seal, first, events: Vec::new(), staged: Staged::new() }
    }

    pub(super) fn append(&mut self, position: u64, row: Vec<u8>) {
        debug_assert_eq!(position, self.first + self.events.len() as u64);
        self.events.push(row);
    }
    pub(super) fn set(&mut self, table: Table, key: &[u8], row: Option<Vec<u8>>) {
        self.staged.insert((table, key.to_vec()), row);
    }
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.staged.is_empty()
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        // Most commits have events alone, and most keys are looked up in an empty map.
        if !self.staged.is_empty()
            && let Some(row) = self.staged.get(&(table, key.to_vec()))
        {
            return Ok(row.clone());
        }
        let row = error::guarded(|| self.engine.get(table, key));
        row.map_err(|fault| error::from_fault(self.place, "cannot read the store", fault))
    }

    pub(super) fn value_version(&self, key: &str) -> Result<Option<u64>> {
        let Some(row) = self.get(Table::State, key.as_bytes())? else { return Ok(None) };
        match StateRow::read(self.seal, key.as_bytes(), &row) {
            Ok(row) => Ok(Some(row.version)),
            Err(why) => Err(error::unreadable(self.place, &format!("the value `{key}`"), why)),
        }
    }

    /// The version and the position that a worker's snapshot covers.
    pub(super) fn snapshot(&self, worker: &WorkerId) -> Result<Option<(u64, u64)>> {
        let key = worker.as_str().as_bytes();
        let Some(row) = self.get(Table::Snapshots, key)? else { return Ok(None) };
        match SnapshotRow::read(self.seal, key, &row) {
            Ok(row) => Ok(Some((row.version, row.position))),
            Err(why) => Err(error::unreadable(self.place, &format!("the snapshot of `{worker}`"), why)),
        }
    }

    pub(super) fn event(&self, position: u64) -> Result<Link> {
        let staged = position.checked_sub(self.first).and_then(|index| self.events.get(index as usize));
        let row = match staged {
            Some(row) => Some(row.clone()),
            None => self.get(Table::Log, &position.to_be_bytes())?,
        };
        let missing = || error::corrupt(self.place, format!("event {position} is missing"));
        let row = row.ok_or_else(missing)?;
        match EventRow::read(self.seal, position, &row) {
            Ok(event) => Ok(Link { back: event.back }),
            Err(why) => Err(error::unreadable(self.place, &format!("event {position}"), why)),
        }
    }

    pub(super) fn into_writes(self) -> Vec<Write> {
        let events = (self.first..).zip(self.events).map(|(position, row)| Write {
            table: Table::Log,
            key: position.to_be_bytes().to_vec(),
            row: Some(row),
        });
        let staged = self.staged.into_iter().map(|((table, key), row)| Write { table, key, row });
        events.chain(staged).collect()
    }
}
