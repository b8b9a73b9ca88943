use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use hodei_worker_core::{
    Result,
    model::WorkerId,
    store::{Appended, Batch, SnapshotWrite, StateWrite, StreamWrite},
};

use super::{
    checks,
    index::{Head, Index},
    rows::Rows,
};
use crate::{
    engine::{Engine, Table, Write},
    format::{EventRow, MANIFEST, Manifest, OverRow, SnapshotRow, StateRow},
};

/// Batches that are written by one commit. Each is checked against the store as those before it leave it; one that is
/// refused changes nothing.
#[derive(Debug)]
pub(crate) struct Group<'a, E> {
    pub(super) rows: Rows<'a, E>,
    pub(super) index: &'a Index,
    pub(crate) manifest: Manifest,
    /// Heads as they will be; `None` for those that go.
    heads: HashMap<WorkerId, Option<Head>>,
    over: HashMap<WorkerId, Option<u64>>,
    /// Bytes to be written.
    pub(crate) size: usize,
}

/// What a commit changes in the index.
#[derive(Debug)]
pub(crate) struct Changes {
    heads: HashMap<WorkerId, Option<Head>>,
    over: HashMap<WorkerId, Option<u64>>,
    first: u64,
    last: u64,
}

impl<'a, E: Engine> Group<'a, E> {
    pub(crate) fn new(rows: Rows<'a, E>, index: &'a Index, manifest: &Manifest) -> Self {
        let mut manifest = manifest.clone();
        manifest.commits += 1;
        Self { rows, index, manifest, heads: HashMap::new(), over: HashMap::new(), size: 0 }
    }

    /// The worker's head, as the batches before leave it.
    pub(super) fn head(&self, worker: &WorkerId) -> Option<Head> {
        match self.heads.get(worker) {
            Some(head) => *head,
            None => self.index.heads.get(worker).copied(),
        }
    }

    /// Whether a batch is as the store has it. Gives the versions that its values have.
    pub(crate) fn check(&self, batch: &Batch) -> Result<Vec<u64>> {
        checks::versions(self, batch)?;
        checks::snapshots(self, batch)?;
        checks::values(self, batch)
    }

    /// Adds a batch that was checked. After a failure the group is of no use any more.
    pub(crate) fn add(&mut self, batch: &Batch, values: Vec<u64>) -> Result<Appended> {
        let mut appended = Appended::default();
        for stream in &batch.streams {
            appended.first.push(self.manifest.last + 1);
            self.events(stream);
            appended.last = self.manifest.last;
        }
        for (write, version) in batch.state.iter().zip(values) {
            self.value(write, version)?;
        }
        for snapshot in &batch.snapshots {
            match snapshot {
                SnapshotWrite::Save { worker, version, state } => self.save(worker, *version, state)?,
                SnapshotWrite::Forget { worker, .. } => self.forget(worker)?,
            }
        }
        Ok(appended)
    }

    fn events(&mut self, stream: &StreamWrite) {
        let none = Head { version: 0, last: 0, covered: 0 };
        let mut head = self.head(&stream.worker).unwrap_or(none);
        for event in &stream.events {
            self.manifest.last += 1;
            let version = head.version + 1;
            let row = EventRow { worker: stream.worker.as_str(), version, back: head.last, event };
            self.size += self.rows.append(&row);
            head = Head { version, last: self.manifest.last, covered: head.covered };
        }
        self.heads.insert(stream.worker.clone(), Some(head));
    }

    fn value(&mut self, write: &StateWrite, version: u64) -> Result<()> {
        let key = write.key.as_bytes();
        let row = write
            .value
            .as_ref()
            .map(|value| StateRow { version: version + 1, value }.write(self.rows.seal, key));
        self.set(Table::State, key, row)
    }

    fn save(&mut self, worker: &WorkerId, version: u64, state: &Bytes) -> Result<()> {
        let Some(head) = self.head(worker) else { return Ok(()) };
        let position = self.position(worker, head, version)?;
        let key = worker.as_str().as_bytes();
        let row = SnapshotRow { version, position, state }.write(self.rows.seal, key);
        self.set(Table::Snapshots, key, Some(row))?;
        self.heads.insert(worker.clone(), Some(Head { covered: position, ..head }));
        Ok(())
    }

    /// The position of a version that was not compacted away, or is the snapshot's.
    fn position(&self, worker: &WorkerId, head: Head, version: u64) -> Result<u64> {
        if version == head.version {
            return Ok(head.last);
        }
        if let Some((kept, position)) = self.rows.snapshot(worker)?
            && kept == version
        {
            return Ok(position);
        }
        let mut position = head.last;
        for _ in version..head.version {
            position = self.rows.event(position)?.back;
        }
        Ok(position)
    }

    fn forget(&mut self, worker: &WorkerId) -> Result<()> {
        let Some(head) = self.head(worker) else { return Ok(()) };
        let key = worker.as_str().as_bytes();
        self.set(Table::Snapshots, key, None)?;
        self.heads.insert(worker.clone(), None);
        // Where nothing of it is left in the log, nothing has to be remembered.
        if head.last >= self.index.first {
            let row = OverRow { position: head.last }.write(self.rows.seal, key);
            self.set(Table::Over, key, Some(row))?;
            self.over.insert(worker.clone(), Some(head.last));
        }
        Ok(())
    }

    fn set(&mut self, table: Table, key: &[u8], row: Option<Vec<u8>>) -> Result<()> {
        let old = self.rows.get(table, key)?;
        if let Some(tally) = self.manifest.tally(table) {
            if let Some(old) = &old {
                tally.take(old);
            }
            if let Some(row) = &row {
                tally.add(row);
            }
        }
        self.size += key.len() + row.as_ref().map_or(0, Vec::len);
        if row.is_some() || old.is_some() {
            self.rows.set(table, key, row);
        }
        Ok(())
    }

    /// Removes the events before that position, which something covers, and what was remembered because of them.
    pub(crate) fn remove_before(&mut self, first: u64) -> Result<()> {
        for begin in self.rows.log_before(self.manifest.first, first)? {
            self.rows.set(Table::Log, &begin.to_be_bytes(), None);
        }
        self.manifest.first = first;
        for (worker, over) in &self.index.over {
            if *over < first {
                self.set(Table::Over, worker.as_str().as_bytes(), None)?;
                self.over.insert(worker.clone(), None);
            }
        }
        Ok(())
    }

    /// Whether there is nothing to write. Where the log begins is written although its first row stays for the others in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.manifest.first == self.index.first
    }

    /// What is to be written, the manifest with it, and what changes in the index then.
    pub(crate) fn finish(self) -> (Vec<Write>, Manifest, Changes) {
        let mut writes = self.rows.into_writes();
        writes.push(Write { table: Table::Meta, key: MANIFEST.to_vec(), row: Some(self.manifest.write()) });
        let changes = Changes {
            heads: self.heads,
            over: self.over,
            first: self.manifest.first,
            last: self.manifest.last,
        };
        (writes, self.manifest, changes)
    }
}

impl Changes {
    pub(crate) fn apply(self, index: &mut Index) {
        for (worker, head) in self.heads {
            match head {
                Some(head) => drop(index.heads.insert(worker, head)),
                None => drop(index.heads.remove(&worker)),
            }
        }
        for (worker, over) in self.over {
            match over {
                Some(over) => drop(index.over.insert(worker, over)),
                None => drop(index.over.remove(&worker)),
            }
        }
        (index.first, index.last) = (self.first, self.last);
    }
}

/// Rows that are set, by table and key; `None` for those that go.
pub(super) type Staged = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;
