use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;

use super::{
    Credential, CredentialMetadata, CredentialProvider, CredentialVersion, DeleteCredentialOptions, Expect,
    RetrieveOptions, SecretKey, SecretMaterial, StoreOptions,
};
use crate::{
    clock::{self, Clock, Timestamp},
    error::{Error, ErrorKind, Result},
    provider::Operation,
};

/// Secrets in this process's memory, gone with it. For tests, and for hosts that bring their secrets along.
///
/// # Examples
/// ```
/// use hodei_worker_core::credential::{CredentialProvider, MemoryCredentialProvider, RetrieveOptions, SecretKey};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryCredentialProvider::new().with("db/password", "hunter2")?;
/// let found = store.retrieve_credential(&SecretKey::new("db/password")?, &RetrieveOptions::default()).await?;
/// assert_eq!(found.material.expose_str(), Some("hunter2"));
/// # Ok(()) }
/// ```
pub struct MemoryCredentialProvider {
    entries: Mutex<BTreeMap<SecretKey, Entry>>,
    /// Never goes back, so that a version that was deleted is not mistaken for a later one.
    last: AtomicU64,
    clock: Arc<dyn Clock>,
}

struct Entry {
    /// The newest last.
    versions: VecDeque<(u64, SecretMaterial)>,
    updated: Timestamp,
}

/// Older versions than these are forgotten.
const VERSIONS_KEPT: usize = 16;

impl MemoryCredentialProvider {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_clock(clock::system())
    }
    /// An empty store with a clock of its own.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { entries: Mutex::default(), last: AtomicU64::new(0), clock }
    }
    /// The store with another secret in it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the name is no key.
    pub fn with(self, name: &str, material: impl Into<SecretMaterial>) -> Result<Self> {
        let key = SecretKey::new(name).map_err(|error| Error::config("name", error.to_string()))?;
        self.put(&key, material.into(), &Expect::Any)?;
        Ok(self)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<SecretKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: &SecretKey, material: SecretMaterial, expected: &Expect) -> Result<CredentialVersion> {
        let updated = self.clock.now();
        let mut entries = self.entries();
        let newest = entries.get(key).and_then(Entry::newest);
        let as_expected = match expected {
            Expect::Any => true,
            Expect::Absent => newest.is_none(),
            Expect::Version(expected) => newest.is_some_and(|(number, _)| *expected == version(*number)),
        };
        if !as_expected {
            let error = Error::new(ErrorKind::Conflict, "another version has been stored meanwhile");
            return Err(error.with_operation(Operation::StoreCredential).with_context("key", key));
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let entry =
            entries.entry(key.clone()).or_insert_with(|| Entry { versions: VecDeque::new(), updated });
        entry.versions.push_back((number, material));
        if entry.versions.len() > VERSIONS_KEPT {
            entry.versions.pop_front();
        }
        entry.updated = updated;
        Ok(version(number))
    }
}

impl Entry {
    fn newest(&self) -> Option<&(u64, SecretMaterial)> {
        self.versions.back()
    }
}

fn version(number: u64) -> CredentialVersion {
    CredentialVersion::new(number.to_string())
}

impl Default for MemoryCredentialProvider {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryCredentialProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCredentialProvider")
            .field("credentials", &self.entries().len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for MemoryCredentialProvider {
    async fn store_credential(
        &self,
        key: &SecretKey,
        material: SecretMaterial,
        options: &StoreOptions,
    ) -> Result<CredentialVersion> {
        self.put(key, material, &options.expected)
    }

    async fn retrieve_credential(&self, key: &SecretKey, options: &RetrieveOptions) -> Result<Credential> {
        let entries = self.entries();
        let found = entries.get(key).and_then(|entry| {
            let (number, material) = match &options.version {
                None => entry.newest()?,
                Some(wanted) => entry.versions.iter().find(|(number, _)| version(*number) == *wanted)?,
            };
            Some(Credential::new(material.clone(), version(*number)))
        });
        found.ok_or_else(|| {
            let error = Error::new(ErrorKind::NotFound, "there is no such credential");
            let error = error.with_operation(Operation::RetrieveCredential).with_context("key", key);
            match &options.version {
                Some(version) => error.with_context("version", version),
                None => error,
            }
        })
    }

    async fn delete_credential(&self, key: &SecretKey, _: &DeleteCredentialOptions) -> Result<()> {
        self.entries().remove(key);
        Ok(())
    }

    async fn list_credentials(&self, prefix: &str) -> Result<Vec<CredentialMetadata>> {
        let entries = self.entries();
        let matching = entries.iter().filter(|(key, _)| key.as_str().starts_with(prefix));
        let told = matching.filter_map(|(key, entry)| {
            let (number, _) = entry.newest()?;
            Some(CredentialMetadata::new(key.clone(), version(*number), entry.updated))
        });
        Ok(told.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn c1_memory_keeps_versions_and_refuses_a_stale_writer() {
        let store = MemoryCredentialProvider::new();
        let key = SecretKey::new("a/b").unwrap();
        let first = store.store_credential(&key, "one".into(), &StoreOptions::default()).await.unwrap();
        store.store_credential(&key, "two".into(), &StoreOptions::expecting(first.clone())).await.unwrap();
        let error = store
            .store_credential(&key, "three".into(), &StoreOptions::expecting(first.clone()))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let old = store.retrieve_credential(&key, &RetrieveOptions::version(first)).await.unwrap();
        assert_eq!(old.material.expose_str(), Some("one"));
        assert_eq!(store.list_credentials("a/").await.unwrap().len(), 1);
        store.delete_credential(&key, &DeleteCredentialOptions::default()).await.unwrap();
        store.delete_credential(&key, &DeleteCredentialOptions::default()).await.unwrap();
        let error = store.retrieve_credential(&key, &RetrieveOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn c1_a_stale_writer_is_not_fooled_by_a_deletion() {
        let store = MemoryCredentialProvider::new();
        let key = SecretKey::new("a").unwrap();
        let first = store.store_credential(&key, "one".into(), &StoreOptions::new_only()).await.unwrap();
        let error = store.store_credential(&key, "two".into(), &StoreOptions::new_only()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        store.delete_credential(&key, &DeleteCredentialOptions::default()).await.unwrap();
        store.store_credential(&key, "other".into(), &StoreOptions::new_only()).await.unwrap();
        let error =
            store.store_credential(&key, "two".into(), &StoreOptions::expecting(first)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }

    #[test]
    fn c1_keys_cannot_climb() {
        for bad in ["", "/a", "a/", "a//b", "a/../b", ".", "a b", "a\n"] {
            assert!(SecretKey::new(bad).is_err(), "{bad}");
        }
    }
}
