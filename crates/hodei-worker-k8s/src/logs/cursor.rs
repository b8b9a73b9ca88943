//! How far a reader has come, so that another attempt goes on there. Times alone do not say it: several lines may have one
//! time, and two outputs are not written in the order of their times. What is counted is how many lines were read whose
//! time is in the last two seconds: the cluster gives those of a time on in the order in which it gave them before.

use std::collections::BTreeMap;

use hodei_worker_core::{Error, ErrorKind, Result, Timestamp, provider::LogPosition};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The second from which on lines were read at all; `None` for all.
    from: Option<i64>,
    /// Lines read, by the second of their time; the last seconds alone.
    read: BTreeMap<i64, u64>,
}

impl Cursor {
    /// Before the first line of that time.
    pub(super) fn from(since: Option<Timestamp>) -> Self {
        Self { from: since.map(Timestamp::as_second), read: BTreeMap::new() }
    }

    /// Takes note of a line that was read.
    pub(super) fn pass(&mut self, time: Timestamp) {
        *self.read.entry(time.as_second()).or_default() += 1;
        while self.read.len() > 2 {
            self.read.pop_first();
        }
        // Seconds in which nothing was written count as well.
        if let Some(last) = self.read.last_key_value().map(|(last, _)| *last) {
            self.read.retain(|second, _| *second >= last - 1);
        }
    }

    pub(super) fn is_at_the_begin(&self) -> bool {
        self.read.is_empty()
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
        self.read.values().sum()
    }

    pub(super) fn position(&self, run: &str) -> LogPosition {
        let seconds: Vec<String> =
            self.read.iter().map(|(second, lines)| format!("{second}:{lines}")).collect();
        let begin = self.begin().map(|second| second.to_string()).unwrap_or_default();
        LogPosition::new(format!("{run}/{begin}/{}", seconds.join("+")))
    }

    /// Where a stored position is, in the output of this run.
    pub(super) fn after(position: &LogPosition, run: &str) -> Result<Self> {
        let wrong = || {
            Error::config("after", "is no position of a Kubernetes worker's output")
                .with_context("position", position)
        };
        let (of, rest) = position.as_str().split_once('/').ok_or_else(wrong)?;
        let (begin, seconds) = rest.split_once('/').ok_or_else(wrong)?;
        let from = if begin.is_empty() { None } else { Some(begin.parse().map_err(|_| wrong())?) };
        let mut read = BTreeMap::new();
        for part in seconds.split('+').filter(|part| !part.is_empty()) {
            let (second, lines) = part.split_once(':').ok_or_else(wrong)?;
            read.insert(second.parse().map_err(|_| wrong())?, lines.parse().map_err(|_| wrong())?);
        }
        if of != run {
            // A group's member has begun again since: what it wrote before is not shown any more.
            let pod = |run: &str| run.split('.').next().map(str::to_owned);
            if pod(of) == pod(run) {
                return Ok(Self::default());
            }
            return Err(Error::new(ErrorKind::Conflict, "the position is of another worker's output"));
        }
        Ok(Self { from, read })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-01-01T00:00:{text}Z").parse().unwrap()
    }

    #[test]
    fn k8_the_last_two_seconds_are_counted_whatever_their_order() {
        let mut cursor = Cursor::default();
        assert_eq!((cursor.since(), cursor.read_since()), (None, 0));
        for time in ["01.5", "02.1", "02.1", "03.0", "02.9"] {
            cursor.pass(at(time));
        }
        assert_eq!((cursor.since(), cursor.read_since()), (Some(at("02")), 4));
        cursor.pass(at("09.0"));
        assert_eq!((cursor.since(), cursor.read_since()), (Some(at("08")), 1));
    }

    #[test]
    fn k8_what_came_before_the_first_line_is_not_counted() {
        let mut cursor = Cursor::from(Some(at("02.5")));
        assert_eq!((cursor.since(), cursor.read_since()), (Some(at("02")), 0));
        cursor.pass(at("02.7"));
        assert_eq!((cursor.since(), cursor.read_since()), (Some(at("02")), 1));
        let back = Cursor::after(&cursor.position("u-1"), "u-1").unwrap();
        assert_eq!(back.since(), Some(at("02")));
        cursor.pass(at("05.0"));
        assert_eq!((cursor.since(), cursor.read_since()), (Some(at("04")), 1));
    }

    #[test]
    fn k8_a_position_is_read_back_and_is_of_one_pod() {
        let mut cursor = Cursor::default();
        for time in ["01.5", "02.1"] {
            cursor.pass(at(time));
        }
        let position = cursor.position("u-1");
        let back = Cursor::after(&position, "u-1").unwrap();
        assert_eq!((back.since(), back.read_since()), (cursor.since(), cursor.read_since()));
        assert_eq!(Cursor::after(&position, "u-2").unwrap_err().kind(), ErrorKind::Conflict);
        for bad in ["somewhere", "u-1/x", "u-1/x/", "u-1/1/1:x", "u-1/1/x"] {
            let error = Cursor::after(&LogPosition::new(bad), "u-1").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
        }
    }
}
