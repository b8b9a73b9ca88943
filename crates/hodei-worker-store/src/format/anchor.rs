use hodei_worker_core::model::LogId;

use super::{FORMAT, Seal, Unreadable, number, put_text, text};
use crate::engine::Table;

/// Its place in checksums: no table has this key.
const KEY: &[u8] = b"anchor";
/// It is written over in place, always as a whole.
pub(crate) const LENGTH: usize = 128;

/// What stands beside the engine's file: up to where events were acknowledged. An engine that falls back to an older
/// state, or was cut off, is found out by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) log: LogId,
    pub(crate) commits: u64,
    pub(crate) last: u64,
}

impl Anchor {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(LENGTH);
        body.push(FORMAT);
        put_text(&mut body, self.log.as_str());
        body.extend_from_slice(&self.commits.to_le_bytes());
        body.extend_from_slice(&self.last.to_le_bytes());
        body.resize(LENGTH - size_of::<u64>(), 0);
        Seal::bare().close(Table::Meta, KEY, body)
    }

    pub(crate) fn read(row: &[u8]) -> Result<Self, Unreadable> {
        let mut body = Seal::bare().open(Table::Meta, KEY, row)?;
        let log = LogId::new(text(&mut body)?).map_err(|_| Unreadable::Damaged)?;
        Ok(Self { log, commits: number(&mut body)?, last: number(&mut body)? })
    }
}
