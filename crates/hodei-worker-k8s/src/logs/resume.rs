//! What of an output that was opened again has been read before, and whether something between is lost.
//!
//! A node rotates a worker's output by size, and the API shows the newest file alone. Where the first of the lines that
//! were counted comes again, it is the same file, and counting will do. Where it does not, the lines that were read end
//! somewhere in the older file or in this one; only the line that was read last tells. Nothing after it was read, and
//! everything before it was.

use jiff::SignedDuration;

use super::cursor::{Cursor, Key};

/// Lines of two outputs may be out of order by this time.
const SLACK: SignedDuration = SignedDuration::from_secs(1);

/// What is to be done with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    /// It was read before, and so was all that was held.
    Known,
    /// Later lines tell: it is to be held.
    Open,
    /// It is new, and so is all that was held; before that something may be lost.
    NewAfterGap,
}

/// Compares an output that was opened again with what has been read.
#[derive(Debug)]
pub(super) enum Resumption {
    /// No line has come yet.
    Begin { first: Key, last: Key, read: u64 },
    /// It is the same file: so many lines were read before.
    Counting(u64),
    /// It is another file: the line that was read last may be in it.
    Looking { last: Key },
}

impl Resumption {
    pub(super) fn of(cursor: &Cursor) -> Self {
        match (cursor.first(), cursor.last()) {
            (Some(first), Some(last)) => Self::Begin { first, last, read: cursor.read_since() },
            _ => Self::Counting(0),
        }
    }

    /// Judges the next line.
    pub(super) fn judge(&mut self, key: Key) -> Verdict {
        if let Self::Begin { first, last, read } = *self {
            *self = if key == first { Self::Counting(read) } else { Self::Looking { last } };
        }
        match *self {
            Self::Counting(0) => Verdict::New,
            Self::Counting(left) => {
                *self = Self::Counting(left - 1);
                Verdict::Known
            }
            Self::Looking { last } if key == last => {
                *self = Self::Counting(0);
                Verdict::Known
            }
            Self::Looking { last } if key.time.duration_since(last.time) > SLACK => {
                *self = Self::Counting(0);
                Verdict::NewAfterGap
            }
            Self::Looking { .. } | Self::Begin { .. } => Verdict::Open,
        }
    }

    /// Nothing more comes: whether what was read last has not come again, so that something may be lost.
    pub(super) fn ends_in_a_gap(&mut self) -> bool {
        let is_open = !matches!(self, Self::Counting(_));
        *self = Self::Counting(0);
        is_open
    }
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::Timestamp;

    use super::*;

    fn line(millis: i64, text: &str) -> Key {
        Key::of(Timestamp::from_millisecond(millis).unwrap(), text.as_bytes())
    }

    /// Several lines of one time, and two outputs that are out of order.
    fn output() -> Vec<Key> {
        let mut all = Vec::new();
        for n in 0..60_i64 {
            let now = 10_000 + n * 250;
            all.extend([line(now, "same"), line(now, "time"), line(now + 40, &format!("{n}"))]);
            all.push(line(now - 20, "late"));
        }
        all
    }

    /// Reads `output` up to `read`, and goes on when the node has begun a file at `rotated`: the lines that are read then,
    /// and whether a gap is told before them.
    fn go_on(output: &[Key], read: usize, rotated: usize) -> (Vec<Key>, bool) {
        let mut cursor = Cursor::default();
        for key in &output[..read] {
            cursor.pass(*key);
        }
        let since = cursor.since();
        let sent = output[rotated..].iter().filter(|key| since.is_none_or(|since| key.time >= since));
        let (mut resumption, mut held, mut new, mut gaps) =
            (Resumption::of(&cursor), Vec::new(), Vec::new(), 0);
        for key in sent {
            match resumption.judge(*key) {
                Verdict::New => new.push(*key),
                Verdict::Known => held.clear(),
                Verdict::Open => held.push(*key),
                Verdict::NewAfterGap => {
                    assert!(new.is_empty());
                    new.append(&mut held);
                    new.push(*key);
                    gaps += 1;
                }
            }
        }
        if resumption.ends_in_a_gap() {
            assert!(new.is_empty());
            new.append(&mut held);
            gaps += 1;
        }
        assert!(held.is_empty() && gaps <= 1);
        (new, gaps == 1)
    }

    #[test]
    fn k8_no_line_is_lost_or_repeated_and_what_is_rotated_away_is_a_gap() {
        let output = output();
        for read in 0..=output.len() {
            for rotated in 0..=output.len() {
                let (new, gap) = go_on(&output, read, rotated);
                let expected = &output[read.max(rotated)..];
                assert!(new == expected, "read {read}, rotated at {rotated}");
                // Nothing tells that nothing came between the last line that was read and the new file.
                assert_eq!(gap, read > 0 && rotated >= read, "read {read}, rotated at {rotated}");
            }
        }
    }

    #[test]
    fn k8_lines_of_the_same_second_are_not_taken_for_those_that_were_read() {
        // A hundred of one second: half are read, and the node begins a file after three quarters.
        let output: Vec<Key> = (0..100).map(|n| line(5_000 + n, "x")).collect();
        let (new, gap) = go_on(&output, 50, 75);
        assert!(gap);
        assert_eq!(new, &output[75..]);
    }

    #[test]
    fn k8_what_is_open_is_decided_by_a_later_line() {
        let mut cursor = Cursor::default();
        cursor.pass(line(1_000, "read"));
        let mut resumption = Resumption::of(&cursor);
        assert_eq!(resumption.judge(line(1_900, "a")), Verdict::Open);
        assert_eq!(resumption.judge(line(2_001, "b")), Verdict::NewAfterGap);
        assert_eq!(resumption.judge(line(2_001, "c")), Verdict::New);
        assert!(!resumption.ends_in_a_gap());
        // A reader of nothing has lost nothing.
        let mut resumption = Resumption::of(&Cursor::default());
        assert_eq!(resumption.judge(line(1, "a")), Verdict::New);
        assert!(!resumption.ends_in_a_gap());
    }

    #[test]
    fn k8_a_long_line_that_was_read_in_part_is_known_by_its_begin() {
        let long = "x".repeat(20_000);
        let whole = format!("{long}{long}\n");
        assert_eq!(line(1, &long), line(1, &whole));
        assert_eq!(line(1, "x"), line(1, "x\n"));
        assert_ne!(line(1, "x"), line(1, "y"));
    }
}
