//! Lines of a worker's output that are meant for its host.

/// What a worker says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Busy,
    Idle,
    Heartbeat,
}

impl Said {
    /// What a line says, without its line feed.
    fn of(line: &[u8]) -> Option<Self> {
        match line.strip_suffix(b"\r").unwrap_or(line) {
            b"::hodei busy" => Some(Self::Busy),
            b"::hodei idle" => Some(Self::Idle),
            b"::hodei heartbeat" => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// Longer than any line that says something, its carriage return included.
const LONGEST: usize = 24;

/// Puts pieces of output together to lines. It keeps no more of a line than it takes to know that it says nothing.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// The next piece: what the lines say that end in it.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.begun.is_empty() {
                said.extend(Said::of(line));
            } else {
                self.keep(line);
                said.extend(Said::of(&self.begun));
                self.begun.clear();
            }
            bytes = rest;
        }
        self.keep(bytes);
        said
    }

    /// Some output was lost: what has begun is no line.
    pub(super) fn lose(&mut self) {
        // Longer than anything that says something, until its end comes.
        self.begun = vec![b'?'; LONGEST];
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LONGEST.saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&part[..part.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pieces: &[&str]) -> Vec<Said> {
        let mut lines = Lines::default();
        pieces.iter().flat_map(|piece| lines.feed(piece.as_bytes())).collect()
    }

    #[test]
    fn l5_only_a_line_that_is_exactly_that_says_something() {
        use Said::{Busy, Heartbeat, Idle};
        assert_eq!(said(&["::hodei busy\n::hodei idle\r\n::hodei heartbeat\n"]), [Busy, Idle, Heartbeat]);
        for other in [
            " ::hodei busy\n",
            "::hodei busy \n",
            "::hodei  busy\n",
            "::hodei BUSY\n",
            "::hodei busy",
            "x::hodei busy\n",
            "::hodei busy\0\n",
            "::hodei heartbeats\n",
            "::hodei busy\r\r\n",
            "\r::hodei busy\n",
            "::hodei\n",
            "::hodei heartbeat and so much more that it goes on and on\n",
        ] {
            assert_eq!(said(&[other]), [], "{other:?}");
        }
    }

    #[test]
    fn l5_a_line_may_come_in_pieces() {
        let text =
            "noise without end ".repeat(10) + "\n::hodei busy\n\n\r\n::hodei heartbeat\r\n::hodei idle\n";
        let expected = [Said::Busy, Said::Heartbeat, Said::Idle];
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let pieces = text.as_bytes().chunks(size);
            let said: Vec<_> = pieces.flat_map(|piece| lines.feed(piece)).collect();
            assert_eq!(said, expected, "{size}");
            assert!(lines.begun.capacity() <= 2 * LONGEST);
        }
    }

    #[test]
    fn l5_what_follows_a_gap_is_no_line() {
        let mut lines = Lines::default();
        lines.lose();
        assert_eq!(lines.feed(b"::hodei busy\n::hodei idle\n"), [Said::Idle]);
    }
}
