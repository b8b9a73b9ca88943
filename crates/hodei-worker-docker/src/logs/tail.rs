//! The last lines of a log, of what passes through. The engine's own `tail` counts pieces, of both streams together.

use std::collections::VecDeque;

use bytes::Bytes;
use hodei_worker_core::provider::{LogChunk, LogItem, LogOptions, LogStream};

/// More is not kept, however long the lines are: what is beyond is told as a gap.
const MOST_HELD: usize = 256 << 20;
/// What a frame takes beside its bytes and its position.
const FRAME: usize = 144;

/// Keeps the last lines, in the log's order.
pub(super) struct Ring {
    lines: u64,
    wanted: [bool; 2],
    most_held: usize,
    held: usize,
    /// Frames that have come so far.
    frames: u64,
    /// Lines that have ended so far.
    ended: u64,
    /// Whole lines, by their ends.
    whole: VecDeque<Line>,
    /// The line that each stream is in.
    open: [Line; 2],
    seen: [bool; 2],
    /// Streams of which a line was let go.
    passed: [bool; 2],
    /// The newest line that was let go for want of room.
    cut: Option<u64>,
    /// Where the engine could not read its log, and why.
    trouble: Option<(u64, String)>,
}

#[derive(Default)]
struct Line {
    stream: usize,
    /// Each with its place in the log.
    frames: VecDeque<(u64, LogChunk)>,
    /// Whether its beginning was let go.
    cut: bool,
}

impl Line {
    fn end(&self) -> u64 {
        self.frames.back().map_or(0, |(place, _)| *place)
    }
    fn size(&self) -> usize {
        self.frames.iter().map(|(_, chunk)| size(chunk)).sum()
    }
}

/// How many of so many lines are too many.
fn surplus(count: usize, lines: u64) -> usize {
    count.saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX))
}

fn size(chunk: &LogChunk) -> usize {
    chunk.bytes.len() + FRAME + chunk.position.as_ref().map_or(0, |position| position.as_str().len())
}

impl Ring {
    /// For so many lines of the streams that are wanted.
    pub(super) fn new(lines: u64, options: &LogOptions) -> Self {
        Self {
            lines,
            wanted: [options.wants(LogStream::Stdout), options.wants(LogStream::Stderr)],
            most_held: MOST_HELD,
            held: 0,
            frames: 0,
            ended: 0,
            whole: VecDeque::new(),
            open: [Line::default(), Line { stream: 1, ..Line::default() }],
            seen: [false; 2],
            passed: [false; 2],
            cut: None,
            trouble: None,
        }
    }

    /// The next frame.
    pub(super) fn push(&mut self, chunk: &LogChunk) {
        let (at, place) = (chunk.stream as usize, self.frames);
        self.frames += 1;
        if !self.wanted[at] || self.lines == 0 {
            return;
        }
        self.seen[at] = true;
        // A copy: a frame that stays must not keep its neighbours of the same network buffer.
        let bytes = Bytes::copy_from_slice(&chunk.bytes);
        self.held += size(chunk);
        let mut kept = LogChunk::new(chunk.time, chunk.stream, bytes);
        kept.position.clone_from(&chunk.position);
        self.open[at].frames.push_back((place, kept));
        if chunk.bytes.ends_with(b"\n") {
            self.ended += 1;
            let next = Line { stream: at, ..Line::default() };
            self.whole.push_back(std::mem::replace(&mut self.open[at], next));
            if self.whole.len() as u64 > self.lines {
                self.let_go();
            }
        }
        while self.held > self.most_held {
            let longer = usize::from(self.open[1].frames.len() > self.open[0].frames.len());
            let line = self.whole.front_mut().unwrap_or(&mut self.open[longer]);
            let Some((_, first)) = line.frames.pop_front() else { return };
            self.held -= size(&first);
            line.cut = true;
            if self.whole.front().is_some_and(|line| line.frames.is_empty()) {
                self.cut = Some(self.ended - self.whole.len() as u64);
                self.let_go();
            }
        }
    }

    fn let_go(&mut self) {
        if let Some(line) = self.whole.pop_front() {
            self.held -= line.size();
            self.passed[line.stream] = true;
        }
    }

    /// The engine cannot read its log after so many frames.
    pub(super) fn trouble_at(&mut self, frames: u64, reason: String) {
        self.trouble = Some((frames, reason));
    }
    /// Why it could not, if so.
    pub(super) fn troubled(&self) -> Option<&str> {
        self.trouble.as_ref().map(|(_, reason)| reason.as_str())
    }

    /// Whether all of the last lines have begun within what has come, for sure.
    pub(super) fn is_sure(&self) -> bool {
        let open = self.open.iter().filter(|line| !line.frames.is_empty());
        let mut all: Vec<&Line> = self.whole.iter().chain(open).collect();
        all.sort_by_key(|line| line.end());
        let mut passed = self.passed;
        for line in &all[..surplus(all.len(), self.lines)] {
            passed[line.stream] = true;
        }
        let each = passed.iter().zip(self.seen).all(|(passed, seen)| *passed || !seen);
        self.lines == 0 || (each && passed != [false; 2])
    }

    /// The last lines.
    pub(super) fn finish(self) -> Vec<LogItem> {
        let Self { whole, open, lines, cut, trouble, ended, .. } = self;
        let open = open.into_iter().filter(|line| !line.frames.is_empty());
        let mut all: Vec<Line> = whole.into_iter().chain(open).collect();
        all.sort_by_key(Line::end);
        all.drain(..surplus(all.len(), lines));
        let count = all.len() as u64;
        let is_cut =
            all.iter().any(|line| line.cut) || (count < lines && cut.is_some_and(|cut| ended - cut <= lines));
        let mut frames: Vec<(u64, LogChunk)> = all.into_iter().flat_map(|line| line.frames).collect();
        frames.sort_by_key(|(place, _)| *place);
        let first = frames.first().map_or(0, |(place, _)| *place);
        let mut items: Vec<LogItem> = Vec::with_capacity(frames.len() + 2);
        if is_cut {
            let reason =
                format!("the last lines are longer than {} MiB, of which the end is told", MOST_HELD >> 20);
            items.push(LogItem::Gap { reason });
        }
        let mut trouble = trouble.filter(|(place, _)| lines > 0 && (count < lines || *place > first));
        for (place, chunk) in frames {
            if trouble.as_ref().is_some_and(|(trouble, _)| *trouble <= place)
                && let Some((_, reason)) = trouble.take()
            {
                items.push(LogItem::Gap { reason });
            }
            items.push(LogItem::Chunk(chunk));
        }
        items.extend(trouble.map(|(_, reason)| LogItem::Gap { reason }));
        items
    }
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::Timestamp;

    use super::*;

    fn ring(texts: &[(LogStream, &str)], lines: u64, options: &LogOptions) -> Ring {
        let mut ring = Ring::new(lines, options);
        for (stream, text) in texts {
            ring.push(&LogChunk::new(Timestamp::UNIX_EPOCH, *stream, (*text).to_owned()));
        }
        ring
    }

    fn shown(ring: Ring) -> String {
        let items = ring.finish().into_iter().map(|item| match item {
            LogItem::Chunk(chunk) => chunk.text().into_owned(),
            _ => "GAP".to_owned(),
        });
        items.collect::<Vec<_>>().join("|")
    }

    fn last(texts: &[(LogStream, &str)], lines: u64, options: &LogOptions) -> (String, bool) {
        let ring = ring(texts, lines, options);
        let sure = ring.is_sure();
        (shown(ring), sure)
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
        assert_eq!(last(&log, 0, &all), (String::new(), true));
        assert_eq!(last(&log, 1, &LogOptions::all().only(E)).0, "x");
        assert_eq!(last(&log, 2, &LogOptions::all().only(O)), ("c |c|end".to_owned(), true));
        // An open line of long ago is not among the last.
        let open = [(O, "old"), (E, "x\n"), (E, "y\n"), (E, "z\n")];
        assert_eq!(last(&open, 2, &all), ("y|z".to_owned(), true));
        assert_eq!(last(&open, 4, &all), ("old|x|y|z".to_owned(), false));
    }

    #[test]
    fn d8_a_line_that_may_begin_earlier_is_not_sure() {
        assert!(!last(&[(O, "b\n"), (O, "c\n")], 2, &LogOptions::all()).1);
        assert!(last(&[(O, "a\n"), (O, "b\n"), (O, "c\n")], 2, &LogOptions::all()).1);
    }

    #[test]
    fn d8_what_is_kept_for_few_lines_is_little() {
        let mut ring = Ring::new(3, &LogOptions::all().only(E));
        ring.push(&LogChunk::new(Timestamp::UNIX_EPOCH, E, "first\n"));
        let long = LogChunk::new(Timestamp::UNIX_EPOCH, O, vec![b'x'; 16 << 10]);
        (0..10_000).for_each(|_| ring.push(&long));
        assert!(ring.held < 1000 && !ring.is_sure());
        assert_eq!(shown(ring), "first");
    }

    #[test]
    fn d8_lines_without_an_end_are_cut_and_that_is_told() {
        let long = LogChunk::new(Timestamp::UNIX_EPOCH, O, vec![b'x'; 1000]);
        let end = LogChunk::new(Timestamp::UNIX_EPOCH, O, "end\n");
        let mut ring = Ring::new(2, &LogOptions::all());
        ring.most_held = 3500;
        (0..100).for_each(|_| ring.push(&long));
        assert!(ring.held <= 3500);
        ring.push(&end);
        assert!(shown(ring).starts_with("GAP|x"));
        // Nobody misses what is not among the last lines.
        let mut ring = Ring::new(2, &LogOptions::all());
        ring.most_held = 3500;
        (0..100).for_each(|_| ring.push(&long));
        (0..3).for_each(|_| ring.push(&end));
        assert_eq!(shown(ring), "end|end");
        let mut ring = Ring::new(50, &LogOptions::all());
        ring.most_held = 1000;
        (0..100).for_each(|_| ring.push(&end));
        assert!(shown(ring).starts_with("GAP|end|end"));
    }

    #[test]
    fn d8_a_damage_among_the_last_lines_is_told_at_its_place() {
        let all = LogOptions::all();
        let mut some = ring(&[(O, "a\n"), (O, "b\n")], 2, &all);
        some.trouble_at(2, "so it is".to_owned());
        some.push(&LogChunk::new(Timestamp::UNIX_EPOCH, O, "c\n"));
        assert_eq!(shown(some), "b|GAP|c");
        let mut none = ring(&[], 2, &all);
        none.trouble_at(0, "so it is".to_owned());
        assert_eq!(shown(none), "GAP");
        let mut old = ring(&[(O, "a\n")], 2, &all);
        old.trouble_at(1, "so it is".to_owned());
        ["b\n", "c\n"].iter().for_each(|text| old.push(&LogChunk::new(Timestamp::UNIX_EPOCH, O, *text)));
        assert_eq!(shown(old), "b|c");
    }
}
