//! A version's content as bytes, encrypted under a key of its own and bound to its place.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Result,
    credential::{CredentialContent, CredentialKind, SecretKey, SecretMaterial},
};
use secrecy::zeroize::Zeroizing;

use crate::crypto::{self, Key, field};

/// The form of what is written here.
const FORM: u8 = 1;
const SALT: usize = 32;

/// Where a record belongs: it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) store: &'a [u8],
    pub(super) key: &'a SecretKey,
    pub(super) version: u64,
}

impl Place<'_> {
    fn bound_to(&self, head: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [self.store, self.key.as_str().as_bytes(), &self.version.to_be_bytes(), head] {
            field(&mut bytes, part);
        }
        bytes
    }
}

/// `form | key id | salt | nonce, ciphertext and tag`, encrypted under a key that is made of the master key for this record
/// alone.
pub(super) fn seal(
    master: &Key,
    key_id: u32,
    place: Place<'_>,
    content: &CredentialContent,
) -> Result<Vec<u8>> {
    let salt = crypto::random::<SALT>()?;
    let mut record = vec![FORM];
    record.extend_from_slice(&key_id.to_be_bytes());
    record.extend_from_slice(&salt);
    let key = crypto::derive(master.as_slice(), &salt, &[b"hodei-credentials/record/1"]);
    let sealed = crypto::seal(&key, &encode(content), &place.bound_to(&record))?;
    record.extend_from_slice(&sealed);
    Ok(record)
}

/// The key under which a record is encrypted. `None` for what is no record.
pub(super) fn key_id(record: &[u8]) -> Option<u32> {
    let (form, rest) = record.split_first()?;
    let (id, _) = rest.split_first_chunk::<4>()?;
    (*form == FORM).then(|| u32::from_be_bytes(*id))
}

/// The content, if the record was sealed for that place under that key and is as it was.
pub(super) fn open(master: &Key, place: Place<'_>, record: &[u8]) -> Option<CredentialContent> {
    let (head, sealed) = record.split_at_checked(1 + 4 + SALT)?;
    let salt = head.get(5..)?;
    let key = crypto::derive(master.as_slice(), salt, &[b"hodei-credentials/record/1"]);
    decode(&crypto::open(&key, sealed, &place.bound_to(head))?)
}

fn encode(content: &CredentialContent) -> Zeroizing<Vec<u8>> {
    let size = content.parts().map(|(name, part)| 8 + name.len() + part.expose().len()).sum::<usize>();
    // Of its whole size: one that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 64));
    field(&mut bytes, content.kind().as_str().as_bytes());
    for (name, part) in content.parts() {
        field(&mut bytes, name.as_bytes());
        field(&mut bytes, part.expose());
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<CredentialContent> {
    let mut next = || {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*size)).ok()?)?;
        bytes = rest;
        Some(field)
    };
    let kind = std::str::from_utf8(next()?).ok()?;
    let kind = CredentialKind::ALL.iter().copied().find(|known| known.as_str() == kind)?;
    let mut parts = BTreeMap::new();
    while let Some(name) = next() {
        let name = std::str::from_utf8(name).ok()?.to_owned();
        parts.insert(name, SecretMaterial::from(next()?.to_vec()));
    }
    CredentialContent::from_parts(kind, parts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // These are tests.
mod tests {
    use super::*;

    fn key(name: &str) -> SecretKey {
        SecretKey::new(name).unwrap()
    }

    #[test]
    fn c1_a_record_opens_in_its_place_alone_and_as_it_was() {
        let master = Key::new([7; 32]);
        let (name, other) = (key("a/b"), key("a"));
        let place = Place { store: b"store", key: &name, version: 3 };
        let content = CredentialContent::password("app", "hunter2").with("host", "db");
        let record = seal(&master, 9, place, &content).unwrap();
        assert_eq!(key_id(&record), Some(9));
        assert!(open(&master, place, &record).unwrap().is_same(&content));
        for elsewhere in [
            Place { key: &other, ..place },
            Place { version: 4, ..place },
            Place { store: b"other", ..place },
        ] {
            assert!(open(&master, elsewhere, &record).is_none(), "{elsewhere:?}");
        }
        assert!(open(&Key::new([8; 32]), place, &record).is_none());
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&master, place, &flipped).is_none(), "bit {bit}");
        }
        for length in 0..record.len() {
            assert!(open(&master, place, &record[..length]).is_none(), "cut off at {length}");
        }
        // No two are the same bytes, nor under the same key.
        assert_ne!(seal(&master, 9, place, &content).unwrap(), record);
        assert!(!record.windows(7).any(|part| part == b"hunter2"));
    }
}
