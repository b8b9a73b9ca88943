//! How output lies on disk: files `log.<number>`, the number counting up, each beginning with [`MAGIC`] and holding
//! records of a [`Header`] and the bytes. A file's name never changes its meaning: rotation begins the next number and
//! removes the lowest, so a reader that was outrun sees a number missing.

use std::path::{Path, PathBuf};

/// The first bytes of a file; the last one is the format's version.
pub(crate) const MAGIC: [u8; 8] = *b"hwlog\0\0\x01";

/// The size of an encoded [`Header`].
pub(crate) const HEADER: usize = 16;

/// No writer makes a longer record; a header that says otherwise is damaged.
pub(crate) const LONGEST: u32 = 1 << 20;

/// Marks the beginning of a record, so that damage is noticed.
const MARK: u8 = 0xA7;

/// What the bytes of a record are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stdout,
    Stderr,
    /// Output could not be written; the bytes say why.
    Gap,
}

/// Stands before the bytes of a record: nanoseconds since 1970 (8 bytes), length (4), mark, kind, flags, 0; numbers in
/// little-endian order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) time: i64,
    pub(crate) len: u32,
    pub(crate) kind: Kind,
    /// The bytes end with a line feed.
    pub(crate) ends_line: bool,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&self.time.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12] = MARK;
        bytes[13] = self.kind as u8;
        bytes[14] = u8::from(self.ends_line);
        bytes
    }

    /// `None` when this is no header.
    pub(crate) fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let [t0, t1, t2, t3, t4, t5, t6, t7, l0, l1, l2, l3, MARK, kind, flag, 0] = *bytes else {
            return None;
        };
        let kind = match kind {
            0 => Kind::Stdout,
            1 => Kind::Stderr,
            2 => Kind::Gap,
            _ => return None,
        };
        let ends_line = match flag {
            0 => false,
            1 => true,
            _ => return None,
        };
        let time = i64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        Some(Self { time, len: u32::from_le_bytes([l0, l1, l2, l3]), kind, ends_line })
    }
}

/// The file of that number.
pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("log.{number}"))
}

/// The numbers of the files in a folder, in order. Empty when there is none.
pub(crate) fn numbers(folder: &Path) -> std::io::Result<Vec<u64>> {
    let names = crate::files::names(folder)?;
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| name.strip_prefix("log.")?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_headers_are_read_back_and_damage_is_noticed() {
        let header = Header { time: -5, len: 70_000, kind: Kind::Stderr, ends_line: true };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for at in 12..HEADER {
            let mut damaged = bytes;
            damaged[at] ^= 0x55;
            assert_eq!(Header::decode(&damaged), None, "byte {at}");
        }
    }
}
