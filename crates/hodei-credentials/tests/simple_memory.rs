//! C9: of a secret that was stored, read and let go of, nothing is left in the process's memory.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

#[path = "simple_bed/mod.rs"]
mod bed;

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    sync::Arc,
};

use bed::{key, open};
use hodei_worker_core::{
    credential::{
        CredentialContent, CredentialProvider as _, DeleteCredentialOptions, RetrieveOptions, SecretMaterial,
        StoreOptions,
    },
    store::{MemoryStore, Store},
};

const LENGTH: usize = 32;

/// A secret's bytes under a mask: as they are they stand nowhere in this test's own memory.
struct Masked {
    mask: [u8; LENGTH],
    bytes: [u8; LENGTH],
}

impl Masked {
    fn new() -> Self {
        let (mut mask, mut bytes) = ([0; LENGTH], [0; LENGTH]);
        for (mask, byte) in mask.iter_mut().zip(&mut bytes) {
            (*mask, *byte) = (fastrand::u8(..), fastrand::u8(..));
        }
        Self { mask, bytes }
    }
    fn byte(&self, n: usize) -> u8 {
        self.mask[n] ^ self.bytes[n]
    }
    fn secret(&self) -> SecretMaterial {
        let mut whole = Vec::with_capacity(LENGTH);
        whole.extend((0..LENGTH).map(|n| self.byte(n)));
        whole.into()
    }
    fn is_at(&self, place: &[u8]) -> bool {
        place.len() >= LENGTH && (0..LENGTH).all(|n| place[n] == self.byte(n))
    }
    /// How often it stands in the memory that this process can write to.
    fn count(&self) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut memory = std::fs::File::open("/proc/self/mem").unwrap();
        let mut found = 0;
        for line in
            maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")))
        {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            // The search's own buffer is of the size of a region, and not searched in itself: it would find what it has read.
            let mut region = vec![0; usize::try_from(to - from).unwrap()];
            memory.seek(SeekFrom::Start(from)).unwrap();
            if memory.read_exact(&mut region).is_ok() {
                found += (0..region.len()).filter(|n| self.is_at(&region[*n..])).count();
            }
            region.fill(0);
            std::hint::black_box(&region);
        }
        found
    }
}

#[tokio::test]
async fn c9_a_secret_that_was_let_go_of_is_overwritten() {
    let masked = Masked::new();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let secrets = open(store).await.unwrap();
    let kept = masked.secret();
    assert!(masked.count() >= 1, "the search finds nothing at all");
    drop(kept);
    assert_eq!(masked.count(), 0, "it is left where it was made");
    for kind in 0..2 {
        let content = match kind {
            0 => CredentialContent::opaque(masked.secret()),
            _ => CredentialContent::key_pair("public", masked.secret()),
        };
        secrets.store_credential(&key("a"), content, &StoreOptions::default()).await.ok();
    }
    assert_eq!(masked.count(), 0, "it is left after it was stored");
    for _ in 0..10 {
        let read = secrets.retrieve_credential(&key("a"), &RetrieveOptions::default()).await.unwrap();
        assert!(masked.is_at(read.secret().expose()), "it is another");
        let copy = read.clone();
        drop((read, copy));
    }
    assert_eq!(masked.count(), 0, "it is left after it was read");
    drop(secrets.export().unwrap());
    secrets.verify().await.unwrap();
    secrets.delete_credential(&key("a"), &DeleteCredentialOptions::default()).await.unwrap();
    drop(secrets);
    assert_eq!(masked.count(), 0, "it is left at the end");
}
