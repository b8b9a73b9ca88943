use std::{
    collections::VecDeque,
    ops::{Bound, ControlFlow},
    sync::{PoisonError, atomic::Ordering},
};

use bytes::Bytes;
use hodei_worker_core::{
    Result,
    model::WorkerId,
    store::{Page, StateEntry, StateValue, StoredEvent, WorkerSnapshot},
};

use super::{Shared, error};
use crate::{
    engine::{Engine, Fault, Outcome, Table},
    format::{EventRow, SnapshotRow, StateRow, Unreadable},
};

const READING: &str = "cannot read the store";

/// Where a row of the log begins.
fn begin(key: &[u8]) -> u64 {
    <[u8; 8]>::try_from(key).map_or(0, u64::from_be_bytes)
}

impl<E: Engine> Shared<E> {
    fn call<T>(&self, call: impl FnOnce(&E) -> Outcome<T>) -> Result<T> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let Some(engine) = engine.as_ref() else {
            // Opening it again failed the last time.
            self.failing.store(true, Ordering::Relaxed);
            return Err(error::closed());
        };
        error::guarded(|| call(engine)).map_err(|fault| {
            if matches!(fault, Fault::Io(_) | Fault::Broken(_)) {
                self.failing.store(true, Ordering::Relaxed);
            }
            error::from_fault(&self.place, READING, fault)
        })
    }

    /// Visits rows until one cannot be read, or the visitor has enough.
    fn visit(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut failed = None;
        self.call(|engine| {
            engine.range(table, from, &mut |key, row| match visit(key, row) {
                Ok(flow) => flow,
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            })
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn event(&self, position: u64, event: Result<EventRow<'_>, Unreadable>) -> Result<(StoredEvent, u64)> {
        let what = || format!("event {position}");
        let event = event.map_err(|why| error::unreadable(&self.place, &what(), why))?;
        let worker = self.index().share(event.worker);
        let worker =
            worker.ok_or_else(|| error::corrupt(&self.place, format!("{} is of no worker", what())))?;
        let bytes = Bytes::copy_from_slice(event.event);
        Ok((StoredEvent::new(position, worker, event.version, bytes), event.back))
    }

    /// The row of the log that would hold a position, and where it begins.
    fn log_row(&self, position: u64) -> Result<Option<(u64, Vec<u8>)>> {
        let found = self.call(|engine| engine.at_or_before(Table::Log, &position.to_be_bytes()))?;
        Ok(found.map(|(key, row)| (begin(&key), row)))
    }

    pub(crate) fn log(&self, after: u64, limit: usize) -> Result<Page> {
        let (first, last) = {
            let index = self.index();
            (index.first, index.last)
        };
        let mut page = Page::default();
        page.next = after;
        if limit > 0 && after < last {
            let from = (after + 1).max(first);
            page.compacted = after + 1 < first;
            self.log_from(from, last, limit, &mut page)?;
            match page.events.last() {
                Some(event) => page.next = event.position,
                // All of it was compacted away.
                None if first > last || self.index().first > last => page.next = last,
                None => {
                    return Err(error::corrupt(&self.place, format!("events {from} to {last} are missing")));
                }
            }
        }
        page.is_last = page.next >= last;
        Ok(page)
    }

    fn log_from(&self, from: u64, last: u64, limit: usize, page: &mut Page) -> Result<()> {
        let mut next = from;
        let row = self.log_row(from)?.map_or(from, |(begin, _)| begin);
        self.visit(Table::Log, Bound::Included(&row.to_be_bytes()), |key, row| {
            for (position, event) in EventRow::all(self.seal, begin(key), next, row) {
                if position > last {
                    return Ok(ControlFlow::Break(()));
                }
                if position != next {
                    // Unless it was compacted away just now, it is lost.
                    if page.events.is_empty() && next < self.index().first {
                        page.compacted = true;
                    } else {
                        return Err(error::corrupt(&self.place, format!("event {next} is missing")));
                    }
                }
                page.events.push(self.event(position, event)?.0);
                next = position + 1;
                if page.events.len() >= limit || next > last {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    pub(crate) fn stream(&self, worker: &WorkerId, after: u64, limit: usize) -> Result<Page> {
        let head = self.index().heads.get(worker).copied();
        let mut page = Page::default();
        page.next = after;
        let Some(head) = head.filter(|head| after < head.version && limit > 0) else {
            page.is_last = limit > 0 || head.is_none_or(|head| after >= head.version);
            return Ok(page);
        };
        let mut events = VecDeque::new();
        let (mut position, mut version) = (head.last, head.version);
        // Events of one commit are often of one worker, and in one row.
        let mut row = None;
        while version > after {
            if position < self.index().first {
                page.compacted = true;
                break;
            }
            if row.as_ref().is_none_or(|(begin, _)| *begin > position) {
                row = self.log_row(position)?;
            }
            let found = row.as_ref().and_then(|(begin, row)| EventRow::at(self.seal, *begin, position, row));
            let Some(found) = found else {
                // It may have been compacted away just now.
                if position < self.index().first {
                    page.compacted = true;
                    break;
                }
                let missing = format!("event {position} of `{worker}` is missing");
                return Err(error::corrupt(&self.place, missing));
            };
            let (event, back) = self.event(position, found)?;
            if event.worker != *worker || event.version != version {
                let wrong = format!("event {position} is not version {version} of `{worker}`");
                return Err(error::corrupt(&self.place, wrong));
            }
            events.push_front(event);
            events.truncate(limit);
            (position, version) = (back, version - 1);
        }
        page.events = events.into();
        page.next = page.events.last().map_or(head.version, |event| event.version);
        page.is_last = page.next >= head.version;
        Ok(page)
    }

    pub(crate) fn snapshots(&self, after: Option<&WorkerId>, limit: usize) -> Result<Vec<WorkerSnapshot>> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_str().as_bytes()));
        let mut snapshots = Vec::new();
        if limit == 0 {
            return Ok(snapshots);
        }
        self.visit(Table::Snapshots, from, |key, row| {
            let name = String::from_utf8_lossy(key);
            let what = || format!("the snapshot of `{name}`");
            let kept = SnapshotRow::read(self.seal, key, row);
            let kept = kept.map_err(|why| error::unreadable(&self.place, &what(), why))?;
            let worker = self.index().share(&name);
            let worker =
                worker.ok_or_else(|| error::corrupt(&self.place, format!("{} is of no worker", what())))?;
            let state = Bytes::copy_from_slice(kept.state);
            snapshots.push(WorkerSnapshot::new(worker, kept.version, kept.position, state));
            Ok(if snapshots.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(snapshots)
    }

    fn value(&self, key: &[u8], row: &[u8]) -> Result<StateValue> {
        let what = || format!("the value `{}`", String::from_utf8_lossy(key));
        let value = StateRow::read(self.seal, key, row);
        let value = value.map_err(|why| error::unreadable(&self.place, &what(), why))?;
        Ok(StateValue::new(value.version, Bytes::copy_from_slice(value.value)))
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<StateValue>> {
        let row = self.call(|engine| engine.get(Table::State, key.as_bytes()))?;
        row.map(|row| self.value(key.as_bytes(), &row)).transpose()
    }

    pub(crate) fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<StateEntry>> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.as_bytes()),
            _ => Bound::Included(prefix.as_bytes()),
        };
        let mut entries = Vec::new();
        if limit == 0 {
            return Ok(entries);
        }
        self.visit(Table::State, from, |key, row| {
            if !key.starts_with(prefix.as_bytes()) {
                return Ok(ControlFlow::Break(()));
            }
            entries.push(StateEntry::new(String::from_utf8_lossy(key), self.value(key, row)?));
            Ok(if entries.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(entries)
    }
}
