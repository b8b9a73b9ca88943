//! Engines up to 20.10 forget, with the log driver `local`, the line feed of lines that are longer than 16 KiB.

use bytes::{Bytes, BytesMut};
use hodei_worker_core::{Timestamp, provider::LogChunk};

/// A line is split into pieces of this size; the last one is shorter.
const PIECE: usize = 16 * 1024;

/// Gives long lines their line feeds back. A long line that the worker left without one, at its end, gets one too:
/// this the engine's log does not tell apart.
#[derive(Debug, Default)]
pub(super) struct Mender {
    active: bool,
    /// The time of a long line that has begun, by stream: all of its pieces carry it.
    long: [Option<Timestamp>; 2],
}

impl Mender {
    /// One that mends, or leaves everything as it is.
    pub(super) fn new(active: bool) -> Self {
        Self { active, ..Self::default() }
    }

    pub(super) fn mend(&mut self, chunk: LogChunk) -> LogChunk {
        if !self.active {
            return chunk;
        }
        let long = &mut self.long[chunk.stream as usize];
        let ended = chunk.bytes.ends_with(b"\n");
        let continues = *long == Some(chunk.time);
        if !ended && chunk.bytes.len() == PIECE {
            *long = Some(chunk.time);
            return chunk;
        }
        *long = None;
        if ended || !continues {
            return chunk;
        }
        let mut bytes = BytesMut::from(&chunk.bytes[..]);
        bytes.extend_from_slice(b"\n");
        LogChunk::new(chunk.time, chunk.stream, Bytes::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::provider::LogStream;

    use super::*;

    fn chunk(second: i64, length: usize, end: &str) -> LogChunk {
        let time = Timestamp::from_second(second).unwrap();
        LogChunk::new(time, LogStream::Stdout, "x".repeat(length) + end)
    }

    fn ends(chunks: &[LogChunk], active: bool) -> Vec<bool> {
        let mut mender = Mender::new(active);
        chunks.iter().map(|chunk| mender.mend(chunk.clone()).bytes.ends_with(b"\n")).collect()
    }

    #[test]
    fn d8_long_lines_get_their_line_feed_back() {
        let log = [
            chunk(1, PIECE, ""),
            chunk(1, PIECE, ""),
            chunk(1, 5, ""),
            chunk(2, PIECE, ""),
            chunk(2, 0, ""),
            chunk(3, 4, "\n"),
            // An open end of one run, and the next run.
            chunk(4, 5, ""),
            chunk(5, 5, ""),
            chunk(6, PIECE, ""),
            chunk(7, 5, ""),
        ];
        assert_eq!(ends(&log, true), [false, false, true, false, true, true, false, false, false, false]);
        assert_eq!(ends(&log, false), [false, false, false, false, false, true, false, false, false, false]);
    }
}
