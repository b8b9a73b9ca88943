//! Values by name.

use bytes::Bytes;
use hodei_worker_core::{
    Result,
    store::{StateEntry, StateValue},
};
use tokio_postgres::Row;

use super::{names::Names, read::get, request::count, seal};

/// The statements.
#[derive(Debug)]
pub(super) struct Sql {
    pub(super) get: String,
    pub(super) list: String,
}

impl Sql {
    pub(super) fn new(names: &Names) -> Self {
        let columns = "SELECT key, version, value, seal FROM {schema}.state";
        Self {
            get: names.fill(&format!("{columns} WHERE key = $1")),
            list: names
                .fill(&format!("{columns} WHERE key >= $1 AND key > $2 AND key < $3 ORDER BY key LIMIT $4")),
        }
    }
}

pub(super) fn entry(row: &Row) -> Result<StateEntry> {
    let (key, version, value): (&str, i64, &[u8]) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
    seal::check(&format!("value/{key}"), 0, version, value, get(row, 3)?)?;
    Ok(StateEntry::new(key, StateValue::new(count(version), Bytes::copy_from_slice(value))))
}

/// A text that comes after every key.
fn end() -> String {
    String::from(char::MAX).repeat(500 / char::MAX.len_utf8() + 1)
}

/// The first text, by its bytes, that comes after all keys that begin with `prefix`.
pub(super) fn end_of(prefix: &str) -> String {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // In UTF-8 the order of the bytes is that of the characters.
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            characters.push(next);
            return characters.into_iter().collect();
        }
    }
    end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l6_the_end_of_a_prefix_is_after_all_that_begin_with_it() {
        assert_eq!(end_of("a/"), "a0");
        assert_eq!(end_of("b\u{10ffff}"), "c");
        assert_eq!(end_of("\u{d7ff}"), "\u{e000}");
        assert!("a/\u{10ffff}" < end_of("a/").as_str());
        let last = String::from(char::MAX).repeat(125);
        for prefix in ["", &last[..4], &last] {
            assert!(last < end_of(prefix) && last.len() == 500);
        }
    }
}
