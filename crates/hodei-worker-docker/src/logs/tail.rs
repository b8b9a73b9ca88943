//! The last lines of a log. The engine's `tail` counts pieces, of both streams together.

use hodei_worker_core::provider::{LogChunk, LogOptions, LogStream};

/// What of the last frames of a log belongs to its last lines.
pub(super) struct Tail {
    /// By frame: whether it is meant.
    pub(super) meant: Vec<bool>,
    /// Whether all of these lines begin within the frames, for sure.
    pub(super) whole: bool,
}

/// Finds the last `lines` lines of the wanted streams among a log's last frames.
pub(super) fn of(frames: &[LogChunk], lines: u64, options: &LogOptions) -> Tail {
    let mut meant = vec![false; frames.len()];
    let mut found = 0;
    // The number of the line that each stream is in, counted from the end.
    let mut line: [Option<u64>; 2] = [None; 2];
    let mut passed = [false; 2];
    for (n, frame) in frames.iter().enumerate().rev() {
        let stream = frame.stream as usize;
        if !options.wants(frame.stream) {
            continue;
        }
        if frame.bytes.ends_with(b"\n") || line[stream].is_none() {
            found += 1;
            line[stream] = Some(found);
        }
        meant[n] = line[stream].is_some_and(|line| line <= lines);
        passed[stream] |= !meant[n];
    }
    let wanted = [LogStream::Stdout, LogStream::Stderr].into_iter().filter(|stream| options.wants(*stream));
    let whole =
        found > lines && wanted.map(|stream| stream as usize).all(|at| passed[at] || line[at].is_none());
    Tail { meant, whole }
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::Timestamp;

    use super::*;

    fn frames(texts: &[(LogStream, &str)]) -> Vec<LogChunk> {
        let each = texts.iter();
        each.map(|(stream, text)| LogChunk::new(Timestamp::UNIX_EPOCH, *stream, (*text).to_owned())).collect()
    }

    fn last(texts: &[(LogStream, &str)], lines: u64, options: &LogOptions) -> (String, bool) {
        let all = frames(texts);
        let tail = of(&all, lines, options);
        let meant = all.iter().zip(&tail.meant).filter(|(_, meant)| **meant);
        (meant.map(|(frame, _)| frame.text().into_owned()).collect::<Vec<_>>().join("|"), tail.whole)
    }

    use LogStream::{Stderr as E, Stdout as O};

    #[test]
    fn d8_the_last_lines_are_lines_not_pieces() {
        let log = [(O, "a\n"), (O, "b "), (O, "b\n"), (E, "x\n"), (O, "c "), (O, "c\n"), (O, "end")];
        let all = LogOptions::all();
        assert_eq!(last(&log, 1, &all).0, "end");
        assert_eq!(last(&log, 2, &all).0, "c |c|end");
        assert_eq!(last(&log, 3, &all), ("x|c |c|end".to_owned(), false));
        assert_eq!(last(&log, 4, &all).0, "b |b|x|c |c|end");
        assert_eq!(last(&log, 0, &all).0, "");
        assert_eq!(last(&log, 1, &LogOptions::all().only(E)).0, "x");
        assert_eq!(last(&log, 2, &LogOptions::all().only(O)), ("c |c|end".to_owned(), true));
    }

    #[test]
    fn d8_a_line_that_may_begin_earlier_is_not_whole() {
        assert!(!last(&[(O, "b\n"), (O, "c\n")], 2, &LogOptions::all()).1);
        assert!(last(&[(O, "a\n"), (O, "b\n"), (O, "c\n")], 2, &LogOptions::all()).1);
    }
}
