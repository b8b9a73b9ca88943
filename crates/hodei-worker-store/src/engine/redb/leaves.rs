use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use crate::engine::Outcome;

const PAGE: usize = 4096;
const LEAF: u8 = 1;
/// More than any page of ours: redb's largest is 4 GiB.
const LARGEST: usize = 1 << 28;

/// Visits the pairs of all pages that look like leaves: a type, the number of pairs, the ends of their keys, the ends of
/// their values, keys and values.
pub(super) fn visit(path: &Path, visit: &mut dyn FnMut(&[u8], &[u8])) -> Outcome<()> {
    let mut file = File::open(path)?;
    let pages = file.metadata()?.len() / PAGE as u64;
    let mut page = Vec::new();
    for number in 1..pages {
        read(&mut file, number, PAGE, &mut page)?;
        let Some(end) = end(&page) else { continue };
        if end > PAGE {
            read(&mut file, number, end, &mut page)?;
        }
        pairs(&page, visit);
    }
    Ok(())
}

fn read(file: &mut File, number: u64, length: usize, page: &mut Vec<u8>) -> Outcome<()> {
    page.clear();
    file.seek(SeekFrom::Start(number * PAGE as u64))?;
    file.take(length as u64).read_to_end(page)?;
    Ok(())
}

fn count(page: &[u8]) -> Option<usize> {
    let count = page.get(2..4)?;
    (page.first() == Some(&LEAF)).then(|| usize::from(u16::from_le_bytes([count[0], count[1]])))
}

fn offset(page: &[u8], index: usize) -> Option<usize> {
    let bytes = page.get(4 + 4 * index..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

/// Where the last value ends.
fn end(page: &[u8]) -> Option<usize> {
    let count = count(page).filter(|count| *count > 0)?;
    offset(page, 2 * count - 1).filter(|end| (8..LARGEST).contains(end))
}

fn pairs(page: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) {
    let Some(count) = count(page) else { return };
    let start = 4 + 8 * count;
    let values = count.checked_sub(1).and_then(|last| offset(page, last));
    for pair in 0..count {
        let begin = |index: usize, first: Option<usize>| match pair {
            0 => first,
            _ => offset(page, index - 1),
        };
        let key = begin(pair, Some(start)).zip(offset(page, pair));
        let value = begin(count + pair, values).zip(offset(page, count + pair));
        let bytes = |(from, to): (usize, usize)| page.get(from..to);
        if let (Some(key), Some(value)) = (key.and_then(bytes), value.and_then(bytes)) {
            visit(key, value);
        }
    }
}
