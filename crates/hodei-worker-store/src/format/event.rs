use super::{CHECKSUM, FORMAT, Seal, Unreadable, number, put_text, text};
use crate::engine::Table;

/// An event: whose, its version, a link to the stream's event before it, and what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventRow<'a> {
    pub(crate) worker: &'a str,
    pub(crate) version: u64,
    /// The position of the stream's event before this one; 0 for its first.
    pub(crate) back: u64,
    pub(crate) event: &'a [u8],
}

impl<'a> EventRow<'a> {
    pub(crate) fn write(&self, seal: Seal, position: u64) -> Vec<u8> {
        let length = 2 + self.worker.len() + 16 + self.event.len() + CHECKSUM;
        let mut body = Vec::with_capacity(length);
        body.push(FORMAT);
        put_text(&mut body, self.worker);
        body.extend_from_slice(&self.version.to_le_bytes());
        body.extend_from_slice(&self.back.to_le_bytes());
        body.extend_from_slice(self.event);
        seal.close(Table::Log, &position.to_be_bytes(), body)
    }

    pub(crate) fn read(seal: Seal, position: u64, row: &'a [u8]) -> Result<Self, Unreadable> {
        let mut body = seal.open(Table::Log, &position.to_be_bytes(), row)?;
        let worker = text(&mut body)?;
        let version = number(&mut body)?;
        let back = number(&mut body)?;
        Ok(Self { worker, version, back, event: body })
    }
}
