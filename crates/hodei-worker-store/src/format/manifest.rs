use hodei_worker_core::model::LogId;

use super::{FORMAT, Seal, Unreadable, number, put_text, sum_of, text};
use crate::engine::Table;

/// The key of the manifest in the table of its own.
pub(crate) const MANIFEST: &[u8] = b"manifest";

/// What the store holds, written with each commit: rows that went missing, came back or changed places do not add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) log: LogId,
    /// How many commits there were.
    pub(crate) commits: u64,
    /// The first position that was not compacted away.
    pub(crate) first: u64,
    /// The last position.
    pub(crate) last: u64,
    pub(crate) state: Tally,
    pub(crate) snapshots: Tally,
    pub(crate) over: Tally,
}

/// How many rows a table has, and the sum of their checksums, which does not depend on their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    pub(crate) digest: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, row: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.digest = self.digest.wrapping_add(sum_of(row));
    }
    pub(crate) fn take(&mut self, row: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(sum_of(row));
    }
}

impl Manifest {
    /// Of an empty store.
    pub(crate) fn new(log: LogId) -> Self {
        let none = Tally::default();
        Self { log, commits: 0, first: 1, last: 0, state: none, snapshots: none, over: none }
    }

    /// The count of a table that is counted.
    pub(crate) fn tally(&mut self, table: Table) -> Option<&mut Tally> {
        match table {
            Table::State => Some(&mut self.state),
            Table::Snapshots => Some(&mut self.snapshots),
            Table::Over => Some(&mut self.over),
            Table::Log | Table::Meta => None,
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(160);
        body.push(FORMAT);
        put_text(&mut body, self.log.as_str());
        let tallies = [self.state, self.snapshots, self.over];
        let numbers = tallies.iter().flat_map(|tally| [tally.rows, tally.digest]);
        for number in [self.commits, self.first, self.last].into_iter().chain(numbers) {
            body.extend_from_slice(&number.to_le_bytes());
        }
        Seal::bare().close(Table::Meta, MANIFEST, body)
    }

    pub(crate) fn read(row: &[u8]) -> Result<Self, Unreadable> {
        let mut body = Seal::bare().open(Table::Meta, MANIFEST, row)?;
        let log = LogId::new(text(&mut body)?).map_err(|_| Unreadable::Damaged)?;
        let mut next = || number(&mut body);
        let (commits, first, last) = (next()?, next()?, next()?);
        let mut tally = || Ok::<_, Unreadable>(Tally { rows: next()?, digest: next()? });
        let (state, snapshots, over) = (tally()?, tally()?, tally()?);
        Ok(Self { log, commits, first, last, state, snapshots, over })
    }
}
