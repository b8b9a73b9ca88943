//! How rows are written. Every row begins with the version of its format and ends with a checksum that is bound to the
//! store's log, the table and the key, so that no row passes for another. A reader takes its own version and older ones.

mod anchor;
mod event;
mod manifest;
mod rows;

pub(crate) use anchor::{Anchor, LENGTH as ANCHOR};
pub(crate) use event::{EventRow, Pieces, ROW};
pub(crate) use manifest::{MANIFEST, Manifest, Tally};
pub(crate) use rows::{OverRow, SnapshotRow, StateRow};

use hodei_worker_core::model::LogId;
use twox_hash::XxHash3_64;

use crate::engine::Table;

/// The version that is written.
pub(crate) const FORMAT: u8 = 1;
const CHECKSUM: usize = size_of::<u64>();

/// Why a row cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is not what was written there.
    Damaged,
    /// It was written by a newer version of the format.
    Newer(u8),
}

/// What binds rows to their store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal(u64);

impl Seal {
    /// Of the rows of that log.
    pub(crate) fn of(log: &LogId) -> Self {
        Self(XxHash3_64::oneshot(log.as_str().as_bytes()))
    }
    /// Of rows that stand before the log's identity is known.
    pub(crate) const fn bare() -> Self {
        Self(0)
    }

    fn sum(self, table: Table, key: &[u8], body: &[u8]) -> u64 {
        let place = XxHash3_64::oneshot_with_seed(self.0.wrapping_add(table as u64), key);
        XxHash3_64::oneshot_with_seed(place, body)
    }

    /// Ends a row with its checksum.
    pub(crate) fn close(self, table: Table, key: &[u8], mut body: Vec<u8>) -> Vec<u8> {
        let sum = self.sum(table, key, &body);
        body.extend_from_slice(&sum.to_le_bytes());
        body
    }

    /// The body of a row that is whole, without its version.
    pub(crate) fn open<'a>(self, table: Table, key: &[u8], row: &'a [u8]) -> Result<&'a [u8], Unreadable> {
        let (body, sum) = row.split_last_chunk::<CHECKSUM>().ok_or(Unreadable::Damaged)?;
        if self.sum(table, key, body) != u64::from_le_bytes(*sum) {
            return Err(Unreadable::Damaged);
        }
        match body.split_first() {
            Some((&version, _)) if version > FORMAT => Err(Unreadable::Newer(version)),
            Some((1.., body)) => Ok(body),
            _ => Err(Unreadable::Damaged),
        }
    }
}

/// A row's checksum, as it stands in the row.
pub(crate) fn sum_of(row: &[u8]) -> u64 {
    row.split_last_chunk::<CHECKSUM>().map_or(0, |(_, sum)| u64::from_le_bytes(*sum))
}

/// Takes a number from the front.
fn number(body: &mut &[u8]) -> Result<u64, Unreadable> {
    let (number, rest) = body.split_first_chunk().ok_or(Unreadable::Damaged)?;
    *body = rest;
    Ok(u64::from_le_bytes(*number))
}

/// Takes a text of up to 255 bytes from the front.
fn text<'a>(body: &mut &'a [u8]) -> Result<&'a str, Unreadable> {
    let (&length, rest) = body.split_first().ok_or(Unreadable::Damaged)?;
    let (text, rest) = rest.split_at_checked(usize::from(length)).ok_or(Unreadable::Damaged)?;
    *body = rest;
    std::str::from_utf8(text).map_err(|_| Unreadable::Damaged)
}

/// Adds a text of up to 255 bytes; identifiers have 40 at most.
fn put_text(body: &mut Vec<u8>, text: &str) {
    body.push(text.len() as u8);
    body.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
