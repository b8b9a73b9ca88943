//! Where a reader of a log stands, so that it can be opened again without losing or repeating anything.
//!
//! The engine resumes by time only, inclusively, and times are not in order: the pieces of a long line carry the time
//! of the first, while the other stream goes on. But what it sends from a time on is the log in its one order, with all
//! that is older left out. So it is enough to count: of the frames from a chosen time on, that many have been read.

use std::time::Duration;

use hodei_worker_core::{
    Timestamp,
    provider::{LogChunk, LogStream},
};

use super::saved::key;

/// Frames may be out of order by this time, beside the pieces of long lines.
const SLACK: Duration = Duration::from_secs(5);

/// What tells one frame from the others.
pub(super) type Key = (Timestamp, LogStream, u64);

/// A time to resume from, and what has been read since.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) from: Timestamp,
    /// The first frame from that time on, once there is one.
    pub(super) first: Option<Key>,
    /// Frames from that time on that were read.
    pub(super) read: u64,
}

impl Mark {
    fn new(from: Timestamp) -> Self {
        Self { from, first: None, read: 0 }
    }
    fn note(&mut self, key: Key) {
        if key.0 >= self.from {
            self.first.get_or_insert(key);
            self.read += 1;
        }
    }
}

/// Where a reader stands.
#[derive(Debug, Clone)]
pub(super) struct Position {
    /// Old enough that nothing older can come.
    pub(super) mark: Mark,
    /// Takes its place when it is old enough.
    pub(super) next: Option<Mark>,
    pub(super) newest: Timestamp,
    pub(super) last: Option<Key>,
    /// The times of lines whose end has not been seen yet, by stream.
    pub(super) open: [Option<Timestamp>; 2],
}

/// What is to be done with a frame of a stream that was opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new.
    New,
    /// It has been read before.
    Known,
    /// It is new, and something before it is missing.
    NewAfterGap,
}

impl Position {
    /// At the beginning of what was written from this time on.
    pub(super) fn new(from: Timestamp) -> Self {
        Self { mark: Mark::new(from), next: None, newest: from, last: None, open: [None; 2] }
    }

    /// The time from which to read again.
    pub(super) fn resume_from(&self) -> Timestamp {
        self.mark.from
    }

    /// Takes note of a frame that was read.
    pub(super) fn note(&mut self, chunk: &LogChunk) {
        let key = key(chunk);
        self.mark.note(key);
        if let Some(next) = &mut self.next {
            next.note(key);
        }
        self.last = Some(key);
        self.newest = self.newest.max(chunk.time);
        self.open[chunk.stream as usize] = (!chunk.bytes.ends_with(b"\n")).then_some(chunk.time);
        self.advance();
    }

    fn advance(&mut self) {
        let Some(next) = &self.next else {
            // No frame that was read is newer, so that its count begins with nothing.
            let after = self.newest.checked_add(Duration::from_nanos(1));
            self.next = after.ok().map(Mark::new);
            return;
        };
        let old = next.from.checked_add(SLACK).is_ok_and(|old| self.newest >= old);
        let settled = self.open.iter().flatten().all(|time| *time >= next.from);
        if old
            && settled
            && let Some(next) = self.next.take()
        {
            self.mark = next;
        }
    }
}

/// Compares a stream that was opened again with what has been read.
#[derive(Debug)]
pub(super) struct Resumption {
    mark: Mark,
    last: Option<Key>,
    found: bool,
    left: u64,
    lost: bool,
}

impl Resumption {
    pub(super) fn of(position: &Position) -> Self {
        let mark = position.mark.clone();
        Self { left: mark.read, found: mark.first.is_none(), last: position.last, lost: false, mark }
    }

    /// For a stream that begins beyond a gap that was told already.
    pub(super) fn after_loss(position: &Position) -> Self {
        Self { lost: true, ..Self::of(position) }
    }

    /// Judges the next frame.
    pub(super) fn judge(&mut self, chunk: &LogChunk) -> Verdict {
        let key = key(chunk);
        if self.lost {
            // Counting is of no use any more; by time alone nothing is repeated.
            return if self.last.is_some_and(|last| key.0 <= last.0) { Verdict::Known } else { Verdict::New };
        }
        if !self.found {
            if self.mark.first == Some(key) {
                self.found = true;
            } else if self.last == Some(key) {
                // What we count from was rotated away, but nothing that was not read.
                (self.found, self.left) = (true, 0);
                return Verdict::Known;
            } else if self.last.is_some_and(|last| key.0 > last.0) {
                // The log was rotated beyond the place where we stood.
                self.lost = true;
                return Verdict::NewAfterGap;
            } else {
                return Verdict::Known;
            }
        }
        if self.left == 0 {
            return Verdict::New;
        }
        self.left -= 1;
        Verdict::Known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(nanos: i64, stream: LogStream, text: &str) -> LogChunk {
        let time = Timestamp::from_nanosecond(i128::from(nanos)).unwrap();
        LogChunk::new(time, stream, text.to_owned())
    }

    /// A log with everything that is hard: equal times, equal lines, long lines between others, late times.
    fn log() -> Vec<LogChunk> {
        use LogStream::{Stderr, Stdout};
        let second = 1_000_000_000;
        let mut all = Vec::new();
        for n in 0..40_i64 {
            let now = n * second / 2;
            all.push(chunk(now, Stdout, "same\n"));
            all.push(chunk(now, Stdout, "same\n"));
            all.push(chunk(now + 5, Stdout, "begin "));
            all.push(chunk(now + 7, Stderr, &format!("error {n}\n")));
            all.push(chunk(now + 5, Stdout, "middle "));
            all.push(chunk(now + 6, Stderr, "late\n"));
            all.push(chunk(now + 5, Stdout, "end\n"));
        }
        // A line that goes on for longer than the slack.
        for n in 0..30_i64 {
            all.push(chunk(20 * second, Stdout, "piece "));
            all.push(chunk((21 + n) * second, Stderr, "meanwhile\n"));
        }
        all.push(chunk(20 * second, Stdout, "end\n"));
        all.push(chunk(60 * second, Stdout, "last\n"));
        all
    }

    /// What the engine sends: all from that time on, in the log's order.
    fn sent(log: &[LogChunk], from: Timestamp) -> Vec<LogChunk> {
        log.iter().filter(|chunk| chunk.time >= from).cloned().collect()
    }

    #[test]
    fn d8_a_log_opened_again_anywhere_repeats_and_loses_nothing() {
        let log = log();
        for first in 0..log.len() {
            let mut position = Position::new(Timestamp::UNIX_EPOCH);
            let mut read: Vec<LogChunk> = log[..first].to_vec();
            read.iter().for_each(|chunk| position.note(chunk));
            // Broken twice, the second time soon after.
            for stop in [first + 3, log.len()] {
                // By another host, which has nothing but the text.
                position = Position::restore(&position.save("c").unwrap(), "c").unwrap();
                let mut resumption = Resumption::of(&position);
                for chunk in sent(&log, position.resume_from()) {
                    if read.len() >= stop {
                        break;
                    }
                    match resumption.judge(&chunk) {
                        Verdict::Known => {}
                        verdict => {
                            assert_eq!(verdict, Verdict::New);
                            position.note(&chunk);
                            read.push(chunk);
                        }
                    }
                }
            }
            assert_eq!(read, log, "broken after {first}");
        }
    }

    #[test]
    fn d8_little_is_read_again() {
        let log = log();
        let mut position = Position::new(Timestamp::UNIX_EPOCH);
        log.iter().for_each(|chunk| position.note(chunk));
        assert!(sent(&log, position.resume_from()).len() < 100, "{position:?}");
    }

    #[test]
    fn d8_a_reader_that_began_in_the_middle_resumes() {
        let log = log();
        let all = sent(&log, log[log.len() - 20].time);
        for first in 1..all.len() {
            let mut position = Position::new(all[0].time);
            let mut read = all[..first].to_vec();
            read.iter().for_each(|chunk| position.note(chunk));
            let mut resumption = Resumption::of(&position);
            for chunk in sent(&log, position.resume_from()) {
                if resumption.judge(&chunk) != Verdict::Known {
                    read.push(chunk);
                }
            }
            assert_eq!(read.len(), all.len(), "broken after {first}");
            assert!(read == all, "broken after {first}");
        }
    }

    #[test]
    fn d8_a_log_that_was_rotated_away_is_a_gap() {
        let log = log();
        let mut position = Position::new(Timestamp::UNIX_EPOCH);
        log[..50].iter().for_each(|chunk| position.note(chunk));
        let mut resumption = Resumption::of(&position);
        let verdicts: Vec<_> = log[200..].iter().map(|chunk| resumption.judge(chunk)).collect();
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::NewAfterGap).count(), 1);
        assert_eq!(verdicts[0], Verdict::NewAfterGap);
        assert!(verdicts[1..].iter().all(|verdict| *verdict == Verdict::New));
    }
}
