//! How far a reader has come, so that another attempt goes on there. Times alone do not say it: several lines may have one
//! time, and two outputs are not written in the order of their times. What is counted is how many lines were read whose
//! time is in the last two seconds: the cluster gives those of a time on in the order in which it gave them before.
//!
//! It gives them out of the newest of a worker's log files, though. So the first line that is counted and the last are
//! remembered as well: where the first does not come again, the node has begun another file.

use std::collections::BTreeMap;

use hodei_worker_core::{Error, ErrorKind, Result, Timestamp, provider::LogPosition};

/// What tells one line from the others, in every build. A long line may have been read in part: its begin is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) time: Timestamp,
    begin: u64,
}

impl Key {
    pub(super) fn of(time: Timestamp, text: &[u8]) -> Self {
        let begin = &text[..text.len().min(64)];
        let begin = begin.strip_suffix(b"\n").unwrap_or(begin);
        Self { time, begin: twox_hash::XxHash3_64::oneshot(begin) }
    }

    fn save(self) -> String {
        format!("{}.{:x}", self.time.as_nanosecond(), self.begin)
    }

    fn restore(text: &str) -> Option<Self> {
        let (time, begin) = text.split_once('.')?;
        let time = Timestamp::from_nanosecond(time.parse().ok()?).ok()?;
        Some(Self { time, begin: u64::from_str_radix(begin, 16).ok()? })
    }
}

/// Lines that were read of one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Second {
    lines: u64,
    first: Key,
    /// The place of the first among all that were read.
    place: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The second from which on lines were read at all; `None` for all.
    from: Option<i64>,
    /// Lines read, by the second of their time; the last seconds alone.
    read: BTreeMap<i64, Second>,
    last: Option<Key>,
    /// Lines read in all.
    places: u64,
}

impl Cursor {
    /// Before the first line of that time.
    pub(super) fn from(since: Option<Timestamp>) -> Self {
        Self { from: since.map(Timestamp::as_second), ..Self::default() }
    }

    /// Takes note of a line that was read.
    pub(super) fn pass(&mut self, key: Key) {
        let new = Second { lines: 0, first: key, place: self.places };
        self.read.entry(key.time.as_second()).or_insert(new).lines += 1;
        self.places += 1;
        self.last = Some(key);
        // Seconds in which nothing was written count as well.
        if let Some(last) = self.read.last_key_value().map(|(last, _)| *last) {
            while self.read.first_key_value().is_some_and(|(first, _)| *first < last - 1) {
                self.read.pop_first();
            }
        }
    }

    /// What was counted is not there any more: counting begins anew with what is.
    pub(super) fn lose(&mut self) {
        *self = Self { from: self.begin().or(self.from), places: self.places, ..Self::default() };
    }

    /// Whether nothing was read.
    pub(super) fn is_at_the_begin(&self) -> bool {
        self.places == 0
    }

    /// The second from which on all lines are counted.
    fn begin(&self) -> Option<i64> {
        let (last, _) = self.read.last_key_value()?;
        // What was not read was not counted.
        Some(self.from.map_or(last - 1, |from| from.max(last - 1)))
    }

    /// The time from which on is to be read, again where something was read before.
    pub(super) fn since(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.begin().or(self.from)?).ok()
    }

    /// How many lines from then on were read.
    pub(super) fn read_since(&self) -> u64 {
        self.read.values().map(|second| second.lines).sum()
    }

    /// The first line of those, in the order in which they were read.
    pub(super) fn first(&self) -> Option<Key> {
        self.read.values().min_by_key(|second| second.place).map(|second| second.first)
    }

    /// The line that was read last.
    pub(super) fn last(&self) -> Option<Key> {
        self.last
    }

    pub(super) fn position(&self, run: &str) -> LogPosition {
        // In the order of their first lines.
        let mut seconds: Vec<_> = self.read.iter().collect();
        seconds.sort_by_key(|(_, second)| second.place);
        let seconds: Vec<String> = seconds
            .iter()
            .map(|(at, second)| format!("{at}:{}:{}", second.lines, second.first.save()))
            .collect();
        let begin = self.begin().map(|second| second.to_string()).unwrap_or_default();
        let last = self.last.map(Key::save).unwrap_or_default();
        LogPosition::new(format!("{run}/{begin}/{}/{last}", seconds.join("+")))
    }

    /// Where a stored position is, in the output of this run.
    pub(super) fn after(position: &LogPosition, run: &str) -> Result<Self> {
        let wrong = || {
            Error::config("after", "is no position of a Kubernetes worker's output")
                .with_context("position", position)
        };
        let (of, rest) = position.as_str().split_once('/').ok_or_else(wrong)?;
        let cursor = Self::restore(rest).ok_or_else(wrong)?;
        if of != run {
            // A group's member has begun again since: what it wrote before is not shown any more.
            let pod = |run: &str| run.split('.').next().map(str::to_owned);
            if pod(of) == pod(run) {
                return Ok(Self::default());
            }
            return Err(Error::new(ErrorKind::Conflict, "the position is of another worker's output"));
        }
        Ok(cursor)
    }

    fn restore(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (begin, seconds, last) = (parts.next()?, parts.next()?, parts.next()?);
        let mut cursor = Self::default();
        if !begin.is_empty() {
            cursor.from = Some(begin.parse().ok()?);
        }
        if !last.is_empty() {
            cursor.last = Some(Key::restore(last)?);
        }
        for part in seconds.split('+').filter(|part| !part.is_empty()) {
            let mut parts = part.splitn(3, ':');
            let (at, lines, first) = (parts.next()?, parts.next()?, parts.next()?);
            let second =
                Second { lines: lines.parse().ok()?, first: Key::restore(first)?, place: cursor.places };
            cursor.read.insert(at.parse().ok()?, second);
            cursor.places += 1;
        }
        // What is counted has a last line.
        (parts.next().is_none() && cursor.read.is_empty() == cursor.last.is_none()).then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-01-01T00:00:{text}Z").parse().unwrap()
    }

    fn key(text: &str) -> Key {
        Key::of(at(text), b"line\n")
    }

    #[test]
    fn k8_the_last_two_seconds_are_counted_whatever_their_order() {
        let mut cursor = Cursor::default();
        assert_eq!((cursor.since(), cursor.read_since()), (None, 0));
        for time in ["01.5", "02.1", "02.1", "03.0", "02.9"] {
            cursor.pass(key(time));
        }
        assert_eq!((cursor.since(), cursor.read_since()), (Some(at("02")), 4));
        assert_eq!((cursor.first(), cursor.last()), (Some(key("02.1")), Some(key("02.9"))));
        cursor.pass(key("09.0"));
        assert_eq!((cursor.since(), cursor.read_since()), (Some(at("08")), 1));
        assert_eq!((cursor.first(), cursor.last()), (Some(key("09.0")), Some(key("09.0"))));
    }

    #[test]
    fn k8_the_first_of_two_seconds_is_the_one_that_came_first() {
        let mut cursor = Cursor::default();
        for time in ["02.0", "01.9"] {
            cursor.pass(key(time));
        }
        assert_eq!((cursor.since(), cursor.first()), (Some(at("01")), Some(key("02.0"))));
        let back = Cursor::after(&cursor.position("u-1"), "u-1").unwrap();
        assert_eq!((back.first(), back.last()), (cursor.first(), cursor.last()));
    }

    #[test]
    fn k8_what_came_before_the_first_line_is_not_counted() {
        let mut cursor = Cursor::from(Some(at("02.5")));
        assert_eq!((cursor.since(), cursor.read_since()), (Some(at("02")), 0));
        cursor.pass(key("02.7"));
        assert_eq!((cursor.since(), cursor.read_since()), (Some(at("02")), 1));
        let back = Cursor::after(&cursor.position("u-1"), "u-1").unwrap();
        assert_eq!(back.since(), Some(at("02")));
        cursor.pass(key("05.0"));
        assert_eq!((cursor.since(), cursor.read_since()), (Some(at("04")), 1));
        cursor.lose();
        assert_eq!((cursor.since(), cursor.read_since(), cursor.first()), (Some(at("04")), 0, None));
    }

    #[test]
    fn k8_a_position_is_read_back_and_is_of_one_pod() {
        let mut cursor = Cursor::default();
        for time in ["01.5", "02.1"] {
            cursor.pass(key(time));
        }
        let position = cursor.position("u-1");
        // It may have been stored by another build.
        assert_eq!(
            position.as_str(),
            "u-1/1767225601/1767225601:1:1767225601500000000.34e39687b247d12b+\
             1767225602:1:1767225602100000000.34e39687b247d12b/1767225602100000000.34e39687b247d12b"
        );
        let back = Cursor::after(&position, "u-1").unwrap();
        assert_eq!((back.since(), back.read_since()), (cursor.since(), cursor.read_since()));
        assert_eq!(back.position("u-1"), position);
        assert_eq!(Cursor::after(&position, "u-2").unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(Cursor::after(&Cursor::default().position("u-1"), "u-1").unwrap(), Cursor::default());
        for bad in ["somewhere", "u-1/x", "u-1/x/", "u-1/1/1:x/", "u-1/1/x/", "u-1/1/1:1/", "u-1/1//1.1/x"] {
            let error = Cursor::after(&LogPosition::new(bad), "u-1").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
        }
    }
}
