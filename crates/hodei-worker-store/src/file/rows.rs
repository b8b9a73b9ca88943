use std::{
    ops::{Bound, ControlFlow},
    path::Path,
};

use hodei_worker_core::{Result, model::WorkerId};

use super::{error, group::Staged};
use crate::{
    engine::{Engine, Table, Write},
    format::{EventRow, Pieces, ROW, Seal, SnapshotRow, StateRow},
};

/// An engine's rows, and those on top of them that are to be written.
#[derive(Debug)]
pub(crate) struct Rows<'a, E> {
    engine: &'a E,
    place: &'a Path,
    pub(super) seal: Seal,
    /// The first of the events to be written, which follow one by one.
    first: u64,
    /// The rows that hold them, with the position at which each begins.
    events: Vec<(u64, Vec<u8>)>,
    /// The position after the last of them.
    next: u64,
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
        Self { engine, place, seal, first, events: Vec::new(), next: first, staged: Staged::new() }
    }

    /// Adds the next event. Returns its size.
    pub(super) fn append(&mut self, event: &EventRow<'_>) -> usize {
        let size = event.event.len() + event.worker.len();
        if self.events.last().is_none_or(|(_, row)| row.len() + size > ROW - EventRow::AROUND) {
            self.events.push((self.next, Vec::new()));
        }
        if let Some((_, row)) = self.events.last_mut() {
            event.add(self.seal, self.next, row);
        }
        self.next += 1;
        size + EventRow::AROUND
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
        let read;
        let row = if position >= self.first {
            let after = self.events.partition_point(|(begin, _)| *begin <= position);
            after.checked_sub(1).map(|index| (self.events[index].0, &*self.events[index].1))
        } else {
            read = self.log_row(position)?;
            read.as_ref().map(|(begin, row)| (*begin, &**row))
        };
        match row.and_then(|(begin, row)| EventRow::at(self.seal, begin, position, row)) {
            Some(Ok(event)) => Ok(Link { back: event.back }),
            Some(Err(why)) => Err(error::unreadable(self.place, &format!("event {position}"), why)),
            None => Err(error::corrupt(self.place, format!("event {position} is missing"))),
        }
    }

    /// The row of the log that holds a position, and where it begins.
    fn log_row(&self, position: u64) -> Result<Option<(u64, Vec<u8>)>> {
        let row = error::guarded(|| self.engine.at_or_before(Table::Log, &position.to_be_bytes()));
        let row = row.map_err(|fault| error::from_fault(self.place, "cannot read the store", fault))?;
        Ok(row.map(|(key, row)| (at(&key), row)))
    }

    /// Where those rows of the log begin that end before a position.
    pub(super) fn log_before(&self, from: u64, end: u64) -> Result<Vec<u64>> {
        let first = self.log_row(from)?.map_or(from, |(begin, _)| begin);
        let mut begins = Vec::new();
        let reading = error::guarded(|| {
            self.engine.range(Table::Log, Bound::Included(&first.to_be_bytes()), &mut |key, row| {
                let begin = at(key);
                if begin + Pieces::of(row).count() as u64 > end {
                    return ControlFlow::Break(());
                }
                begins.push(begin);
                ControlFlow::Continue(())
            })
        });
        reading.map_err(|fault| error::from_fault(self.place, "cannot read the store", fault))?;
        Ok(begins)
    }

    pub(super) fn into_writes(self) -> Vec<Write> {
        let events = self.events.into_iter().map(|(begin, row)| Write {
            table: Table::Log,
            key: begin.to_be_bytes().to_vec(),
            row: Some(row),
        });
        let staged = self.staged.into_iter().map(|((table, key), row)| Write { table, key, row });
        events.chain(staged).collect()
    }
}

/// The position that a key of the log stands for; none, where it is no key of the log.
fn at(key: &[u8]) -> u64 {
    <[u8; 8]>::try_from(key).map_or(0, u64::from_be_bytes)
}
