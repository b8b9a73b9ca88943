//! Which store it is, and under which keys its secrets are encrypted.

use hodei_worker_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::crypto::{self, Key};

/// The newest form of a store that this version knows.
pub(super) const FORM: u32 = 1;

/// What stands in a store in the clear. Whoever changes it makes a store that does not open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) form: u32,
    /// At random, of this store alone.
    pub(super) store: [u8; 16],
    /// What its keys are made with.
    pub(super) salt: [u8; 32],
    /// The keys in use, by their numbers; the last is the one that is written with. Several while all is encrypted anew.
    pub(super) ring: Vec<RingKey>,
}

/// A key, by what can be told of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RingKey {
    pub(super) id: u32,
    /// What only the key can be made into: tells another key from a damaged store.
    check: [u8; 16],
}

fn check(master: &Key, salt: &[u8]) -> [u8; 16] {
    let whole = crypto::derive(master.as_slice(), salt, &[b"hodei-credentials/check/1"]);
    let mut check = [0; 16];
    for (to, from) in check.iter_mut().zip(whole.iter()) {
        *to = *from;
    }
    check
}

impl Header {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { form: FORM, store: crypto::random()?, salt: crypto::random()?, ring: Vec::new() })
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Form {
            form: u32,
        }
        let damaged = |error| super::corrupt("the head of the store cannot be read").with_source(error);
        let Form { form } = serde_json::from_slice(bytes).map_err(damaged)?;
        if form > FORM {
            let message =
                format!("the store of credentials is of form {form}, and this version knows {FORM}");
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_help("open it by the version that wrote it, or a later one"));
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the head cannot be written").with_source(error)
        })
    }

    /// The number of this key, if the store is encrypted under it.
    pub(super) fn find(&self, master: &Key) -> Option<u32> {
        let check = check(master, &self.salt);
        let known = |one: &&RingKey| one.check.ct_eq(&check).into();
        self.ring.iter().find(known).map(|known| known.id)
    }

    /// Writes with this key from now on.
    pub(super) fn add(&mut self, master: &Key) -> u32 {
        let id = self.ring.last().map_or(1, |last| last.id + 1);
        self.ring.push(RingKey { id, check: check(master, &self.salt) });
        id
    }

    /// The key that is written with.
    pub(super) fn primary(&self) -> Result<u32> {
        let last = self.ring.last().map(|last| last.id);
        last.ok_or_else(|| super::corrupt("the store names no key"))
    }
}
