use super::{FORMAT, Seal, Unreadable, number};
use crate::engine::Table;

/// A value of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateRow<'a> {
    pub(crate) version: u64,
    pub(crate) value: &'a [u8],
}

/// The fold of a worker's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotRow<'a> {
    pub(crate) version: u64,
    pub(crate) position: u64,
    pub(crate) state: &'a [u8],
}

/// Where the stream of a forgotten worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverRow {
    pub(crate) position: u64,
}

fn body(numbers: &[u64], bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(1 + numbers.len() * 8 + bytes.len() + 8);
    body.push(FORMAT);
    for number in numbers {
        body.extend_from_slice(&number.to_le_bytes());
    }
    body.extend_from_slice(bytes);
    body
}

impl<'a> StateRow<'a> {
    pub(crate) fn write(&self, seal: Seal, key: &[u8]) -> Vec<u8> {
        seal.close(Table::State, key, body(&[self.version], self.value))
    }
    pub(crate) fn read(seal: Seal, key: &[u8], row: &'a [u8]) -> Result<Self, Unreadable> {
        let mut body = seal.open(Table::State, key, row)?;
        Ok(Self { version: number(&mut body)?, value: body })
    }
}

impl<'a> SnapshotRow<'a> {
    pub(crate) fn write(&self, seal: Seal, worker: &[u8]) -> Vec<u8> {
        seal.close(Table::Snapshots, worker, body(&[self.version, self.position], self.state))
    }
    pub(crate) fn read(seal: Seal, worker: &[u8], row: &'a [u8]) -> Result<Self, Unreadable> {
        let mut body = seal.open(Table::Snapshots, worker, row)?;
        Ok(Self { version: number(&mut body)?, position: number(&mut body)?, state: body })
    }
}

impl OverRow {
    pub(crate) fn write(&self, seal: Seal, worker: &[u8]) -> Vec<u8> {
        seal.close(Table::Over, worker, body(&[self.position], &[]))
    }
    pub(crate) fn read(seal: Seal, worker: &[u8], row: &[u8]) -> Result<Self, Unreadable> {
        let mut body = seal.open(Table::Over, worker, row)?;
        Ok(Self { position: number(&mut body)? })
    }
}
