//! Engines from Docker 23 on leave out, without a word, what they cannot read of a damaged log: all of it up to now. So
//! its last frame is looked at before, which they read from the log's end, and must then come.

use std::time::Duration;

use hodei_worker_core::{Timestamp, provider::LogChunk};

use super::{position::Key, saved::key};

/// The engine tells its time in whole seconds, and looks at the log a little later.
const LATER: Duration = Duration::from_secs(2);

/// What the log held when a reader was about to begin.
#[derive(Debug)]
pub(super) struct Witness {
    last: Key,
    /// What is younger was written after this was looked at.
    until: Timestamp,
}

impl Witness {
    /// With the last frame of a log, and the engine's time when it was asked for.
    pub(super) fn new(last: &LogChunk, asked: Option<Timestamp>) -> Self {
        let until = asked.and_then(|asked| asked.checked_add(LATER).ok());
        Self { last: key(last), until: until.unwrap_or(Timestamp::MAX) }
    }

    /// Whether it would be among what was written at this time or later.
    pub(super) fn is_expected(&self, since: Timestamp) -> bool {
        self.last.0 >= since
    }

    /// Whether this is the frame that was to come.
    pub(super) fn is(&self, chunk: &LogChunk) -> bool {
        key(chunk) == self.last
    }

    /// Whether this comes after the frame that was to come, for sure: times are in order within a stream only.
    pub(super) fn is_missed_by(&self, chunk: &LogChunk) -> bool {
        let (time, stream, _) = self.last;
        chunk.time > self.until || (chunk.stream == stream && chunk.time > time)
    }
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::provider::LogStream::{self, Stderr, Stdout};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn chunk(second: i64, stream: LogStream) -> LogChunk {
        LogChunk::new(at(second), stream, "x\n")
    }

    #[test]
    fn d8_what_must_have_come_is_missed_only_for_sure() {
        let witness = Witness::new(&chunk(10, Stdout), Some(at(20)));
        assert!(witness.is(&chunk(10, Stdout)) && !witness.is(&chunk(10, Stderr)));
        assert!(witness.is_expected(at(10)) && !witness.is_expected(at(11)));
        assert!(witness.is_missed_by(&chunk(11, Stdout)));
        assert!(!witness.is_missed_by(&chunk(10, Stdout)));
        // A long line's pieces carry the time of the first, and the other stream goes on meanwhile.
        assert!(!witness.is_missed_by(&chunk(22, Stderr)));
        assert!(witness.is_missed_by(&chunk(23, Stderr)));
    }
}
