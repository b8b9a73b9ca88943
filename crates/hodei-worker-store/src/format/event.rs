use super::{CHECKSUM, FORMAT, Seal, Unreadable, number, put_text, text};
use crate::engine::Table;

/// An event: whose, its version, a link to the stream's event before it, and what was written.
///
/// A row of the log holds one or more of them that follow each other, each with its length before it and its own checksum;
/// the key is the position of the first. Those of one commit share rows: what is written together takes few pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventRow<'a> {
    pub(crate) worker: &'a str,
    pub(crate) version: u64,
    /// The position of the stream's event before this one; 0 for its first.
    pub(crate) back: u64,
    pub(crate) event: &'a [u8],
}

/// The length before an event.
const LENGTH: usize = size_of::<u32>();

/// More than this does not go into one row with others: with what the engine adds, it fills a page of 8 KiB.
pub(crate) const ROW: usize = (8 << 10) - 64;

impl<'a> EventRow<'a> {
    /// What a row has around the worker's name and the event.
    pub(crate) const AROUND: usize = LENGTH + 2 + 16 + CHECKSUM;

    /// Adds it to a row, as the event of that position.
    pub(crate) fn add(&self, seal: Seal, position: u64, row: &mut Vec<u8>) {
        let length = Self::AROUND - LENGTH + self.worker.len() + self.event.len();
        row.reserve(LENGTH + length);
        row.extend_from_slice(&(length as u32).to_le_bytes());
        let begin = row.len();
        row.push(FORMAT);
        put_text(row, self.worker);
        row.extend_from_slice(&self.version.to_le_bytes());
        row.extend_from_slice(&self.back.to_le_bytes());
        row.extend_from_slice(self.event);
        let sum = seal.sum(Table::Log, &position.to_be_bytes(), &row[begin..]);
        row.extend_from_slice(&sum.to_le_bytes());
    }

    fn read(seal: Seal, position: u64, bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let mut body = seal.open(Table::Log, &position.to_be_bytes(), bytes)?;
        let worker = text(&mut body)?;
        let version = number(&mut body)?;
        let back = number(&mut body)?;
        Ok(Self { worker, version, back, event: body })
    }

    /// The events of a row that begins at that position, those before `from` left out. It ends with the first whose length
    /// makes no sense: what comes after that cannot be found.
    pub(crate) fn all(
        seal: Seal,
        begin: u64,
        from: u64,
        row: &'a [u8],
    ) -> impl Iterator<Item = (u64, Result<Self, Unreadable>)> {
        let read = move |(position, bytes): (u64, Result<&'a [u8], Unreadable>)| {
            (position, bytes.and_then(|bytes| Self::read(seal, position, bytes)))
        };
        (begin..).zip(Pieces::of(row)).skip_while(move |(position, _)| *position < from).map(read)
    }

    /// The events that check out of a row that is damaged, wherever they begin and end. Damage costs the event that it is
    /// in; a length alone costs none, since its event's checksum tells where that ends.
    pub(crate) fn salvaged(seal: Seal, begin: u64, row: &'a [u8]) -> Vec<(u64, Self)> {
        let (mut position, mut rest, mut found) = (begin, row, Vec::new());
        while let Some((lost, event, after)) = Self::next_whole(seal, position, rest) {
            found.push((position + lost, event));
            (position, rest) = (position + lost + 1, after);
        }
        found
    }

    /// The next event that checks out, how many are lost before it, and what comes after it.
    fn next_whole(seal: Seal, position: u64, rest: &'a [u8]) -> Option<(u64, Self, &'a [u8])> {
        let by_length = |lost: u64, from: usize| {
            let (event, after) = piece(rest.get(from..)?)?;
            Some((lost, Self::read(seal, position + lost, event).ok()?, after))
        };
        let by_checksum = || {
            // Every end is tried, which takes long in the few rows that hold one large event.
            let body = rest.get(LENGTH..).filter(|body| body.len() <= ROW)?;
            let mut ends = (Self::AROUND - LENGTH..=body.len()).map(|end| body.split_at(end));
            ends.find_map(|(event, after)| Some((0, Self::read(seal, position, event).ok()?, after)))
        };
        let beyond = || {
            let most = |from: usize| (from / Self::AROUND) as u64;
            (Self::AROUND..rest.len())
                .find_map(|from| (1..=most(from)).find_map(|lost| by_length(lost, from)))
        };
        by_length(0, 0).or_else(by_checksum).or_else(beyond)
    }

    /// The event at that position of a row that begins at `begin`, if it has one.
    pub(crate) fn at(
        seal: Seal,
        begin: u64,
        position: u64,
        row: &'a [u8],
    ) -> Option<Result<Self, Unreadable>> {
        let index = usize::try_from(position.checked_sub(begin)?).ok()?;
        let bytes = Pieces::of(row).nth(index)?;
        Some(bytes.and_then(|bytes| Self::read(seal, position, bytes)))
    }
}

/// The events of a row, each with its version and checksum.
pub(crate) struct Pieces<'a>(Option<&'a [u8]>);

impl<'a> Pieces<'a> {
    pub(crate) fn of(row: &'a [u8]) -> Self {
        Self(Some(row))
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<&'a [u8], Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.take()?;
        let Some((event, rest)) = piece(rest) else { return Some(Err(Unreadable::Damaged)) };
        self.0 = Some(rest).filter(|rest| !rest.is_empty());
        Some(Ok(event))
    }
}

/// The first event of a row, and the rest of the row.
fn piece(row: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = row.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}
