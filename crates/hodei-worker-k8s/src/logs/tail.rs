use std::collections::VecDeque;

use hodei_worker_core::provider::LogItem;

/// The last lines of an output that is read to its end, and what is lost between them.
#[derive(Debug, Default)]
pub(super) struct Tail {
    items: VecDeque<LogItem>,
    lines: u64,
}

impl Tail {
    /// Keeps `most` lines.
    pub(super) fn push(&mut self, item: LogItem, most: u64) {
        self.lines += u64::from(item.chunk().is_some());
        self.items.push_back(item);
        while self.lines > most
            && let Some(first) = self.items.pop_front()
        {
            self.lines -= u64::from(first.chunk().is_some());
        }
    }

    pub(super) fn into_items(self) -> VecDeque<LogItem> {
        self.items
    }
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::{
        Timestamp,
        provider::{LogChunk, LogStream},
    };

    use super::*;

    #[test]
    fn k8_a_gap_is_no_line_and_goes_with_what_was_before_it() {
        let line = |text: &str| {
            LogItem::Chunk(LogChunk::new(Timestamp::UNIX_EPOCH, LogStream::Stdout, text.to_owned()))
        };
        let gap = || LogItem::Gap { reason: "so it is".to_owned() };
        let mut tail = Tail::default();
        for item in [line("a"), gap(), line("b"), line("c")] {
            tail.push(item, 2);
        }
        assert_eq!(tail.into_items(), [gap(), line("b"), line("c")]);
        let mut tail = Tail::default();
        for item in [line("a"), gap(), line("b"), line("c")] {
            tail.push(item, 1);
        }
        assert_eq!(tail.into_items(), [line("c")]);
    }
}
