//! A credential as it stands in the store: a row that says what versions there are, and a record for each.

use std::collections::BTreeMap;

use bytes::Bytes;
use hodei_worker_core::{
    Error, ErrorKind, Result,
    credential::{CredentialKind, SecretKey, VersionLedger},
};
use serde::{Deserialize, Serialize};

use super::manifest::Sum;

/// What all names in the store begin with.
pub(super) const ROOM: &str = "credentials/";
pub(super) const HEADER: &str = "credentials/header";
pub(super) const MANIFEST: &str = "credentials/manifest";
const ROWS: &str = "credentials/c/";
const RECORDS: &str = "credentials/v/";

/// A place in the store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    Header,
    Manifest,
    Row(SecretKey),
    Record(SecretKey, u64),
}

impl Name {
    /// What that name is of. `None` for what this version does not know.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            HEADER => return Some(Self::Header),
            MANIFEST => return Some(Self::Manifest),
            _ => {}
        }
        if let Some(key) = text.strip_prefix(ROWS) {
            return SecretKey::new(key).ok().map(Self::Row);
        }
        let (key, number) = text.strip_prefix(RECORDS)?.rsplit_once('/')?;
        Some(Self::Record(SecretKey::new(key).ok()?, number.parse().ok()?))
    }
}

pub(super) fn row_name(key: &SecretKey) -> String {
    format!("{ROWS}{key}")
}

pub(super) fn record_name(key: &SecretKey, version: u64) -> String {
    format!("{RECORDS}{key}/{version}")
}

/// What stands in a credential's row. Not secret; bound into the manifest with all of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) ledger: VersionLedger,
    pub(super) versions: BTreeMap<u64, RowVersion>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RowVersion {
    pub(super) kind: CredentialKind,
    /// SHA-256 of its record.
    pub(super) digest: [u8; 32],
}

impl Row {
    pub(super) fn to_bytes(&self) -> Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the credential's row cannot be written").with_source(error)
        })
    }
}

/// A credential in memory: its row, and its records as they are in the store.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub(super) row: Row,
    pub(super) records: BTreeMap<u64, Bytes>,
    /// What it adds to the manifest.
    pub(super) weight: Sum,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // These are tests.
mod tests {
    use super::*;

    #[test]
    fn c1_names_in_the_store_are_told_apart() {
        let key = |name: &str| SecretKey::new(name).unwrap();
        for name in ["a", "a/1", "a/b/2/3"] {
            assert_eq!(Name::parse(&row_name(&key(name))), Some(Name::Row(key(name))));
            assert_eq!(Name::parse(&record_name(&key(name), 7)), Some(Name::Record(key(name), 7)));
        }
        assert_eq!(Name::parse(HEADER), Some(Name::Header));
        for unknown in ["credentials/x", "credentials/v/a", "credentials/v/a/b", "credentials/c/", "other"] {
            assert_eq!(Name::parse(unknown), None, "{unknown}");
        }
    }
}
