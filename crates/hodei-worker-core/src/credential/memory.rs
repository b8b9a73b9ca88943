use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::{
    Credential, CredentialCapabilities, CredentialCapability, CredentialChange, CredentialContent,
    CredentialMetadata, CredentialProvider, CredentialStage, CredentialVersion, DeleteCredentialOptions,
    MoveStageOptions, NewVersion, RetrieveOptions, SecretKey, StoreOptions, VersionLedger, VersionMetadata,
    changes::Changes, ledger::version_name,
};
use crate::{
    clock::{self, Clock},
    error::{Error, Result},
    provider::{Operation, ProviderInfo},
};

/// Secrets in this process's memory, gone with it. For tests, and for hosts that bring their secrets along.
///
/// # Examples
/// ```
/// use hodei_worker_core::credential::{CredentialProvider, MemoryCredentialProvider, RetrieveOptions, SecretKey};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryCredentialProvider::new().with("db/password", "hunter2")?;
/// let found = store.retrieve_credential(&SecretKey::new("db/password")?, &RetrieveOptions::default()).await?;
/// assert_eq!(found.secret().expose_str(), Some("hunter2"));
/// # Ok(()) }
/// ```
pub struct MemoryCredentialProvider {
    info: ProviderInfo,
    state: Mutex<State>,
    changes: Changes,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<SecretKey, Entry>,
    /// Never goes back, so that a version that was deleted is not mistaken for a later one.
    last: u64,
}

#[derive(Default)]
struct Entry {
    ledger: VersionLedger,
    contents: BTreeMap<u64, CredentialContent>,
}

impl MemoryCredentialProvider {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_clock(clock::system())
    }
    /// An empty store with a clock of its own.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let info = ProviderInfo::new("memory", crate::model::ProviderName::of_ours("memory"));
        Self { info, state: Mutex::default(), changes: Changes::default(), clock }
    }
    /// The store with another secret in it.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) when the name is no key, or the content is not in the form of its kind.
    pub fn with(self, name: &str, content: impl Into<CredentialContent>) -> Result<Self> {
        let key = SecretKey::new(name).map_err(|error| Error::config("name", error.to_string()))?;
        self.put(&key, content.into(), &StoreOptions::default())?;
        Ok(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(
        &self,
        key: &SecretKey,
        content: CredentialContent,
        options: &StoreOptions,
    ) -> Result<CredentialVersion> {
        super::check_content(&content)?;
        let created = self.clock.now();
        let mut state = self.state();
        let last = state.last;
        if let Some(entry) = state.entries.get(key)
            && let Some(number) = entry.ledger.by_token(options.token.as_deref())
        {
            return match entry.contents.get(&number).is_some_and(|known| known.is_same(&content)) {
                true => Ok(version_name(number)),
                false => Err(super::token_is_taken()),
            };
        }
        let absent = VersionLedger::after(last);
        state.entries.get(key).map_or(&absent, |entry| &entry.ledger).check(&options.expected)?;
        let entry = state.entries.entry(key.clone()).or_default();
        if entry.ledger.is_empty() {
            entry.ledger = absent;
        }
        let new = NewVersion {
            created,
            expires: options.expires,
            token: options.token.clone(),
            stage: options.stage,
        };
        let (number, forgotten) = entry.ledger.add(new);
        entry.contents.insert(number, content);
        for number in forgotten {
            entry.contents.remove(&number);
        }
        state.last = state.last.max(number);
        drop(state);
        self.changes.tell(CredentialChange::Changed(key.clone()));
        Ok(version_name(number))
    }

    fn get(&self, key: &SecretKey, options: &RetrieveOptions) -> Result<Credential> {
        let state = self.state();
        let found = state.entries.get(key).and_then(|entry| {
            let number = entry.ledger.find(&options.which)?;
            let told = entry.ledger.metadata(number)?;
            let mut credential = Credential::new(entry.contents.get(&number)?.clone(), told.version);
            (credential.stages, credential.expires) = (told.stages, told.expires);
            Some(credential)
        });
        found.ok_or_else(|| super::not_found(&options.which))
    }

    fn remove(&self, key: &SecretKey, options: &DeleteCredentialOptions) -> Result<()> {
        let mut state = self.state();
        let Some(entry) = state.entries.get_mut(key) else { return Ok(()) };
        let change = match &options.version {
            None => {
                state.entries.remove(key);
                CredentialChange::Deleted(key.clone())
            }
            Some(version) => {
                if let Some(number) = entry.ledger.remove(version)? {
                    entry.contents.remove(&number);
                }
                CredentialChange::Changed(key.clone())
            }
        };
        drop(state);
        self.changes.tell(change);
        Ok(())
    }

    fn place(
        &self,
        key: &SecretKey,
        stage: CredentialStage,
        to: &CredentialVersion,
        options: &MoveStageOptions,
    ) -> Result<()> {
        let mut state = self.state();
        let Some(entry) = state.entries.get_mut(key) else {
            return Err(super::not_found(&super::Which::Version(to.clone())));
        };
        let Entry { ledger, contents } = entry;
        ledger.move_stage(stage, to, options.from.as_ref())?;
        let kept: Vec<u64> = ledger.numbers().collect();
        contents.retain(|number, _| kept.contains(number));
        drop(state);
        self.changes.tell(CredentialChange::Changed(key.clone()));
        Ok(())
    }
}

impl Default for MemoryCredentialProvider {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryCredentialProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCredentialProvider")
            .field("credentials", &self.state().entries.len())
            .finish_non_exhaustive()
    }
}

/// An error says what was being done, and to which credential.
fn about<T>(result: Result<T>, operation: Operation, key: &SecretKey) -> Result<T> {
    result.map_err(|error| error.with_operation(operation).with_context("key", key))
}

#[async_trait]
impl CredentialProvider for MemoryCredentialProvider {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    async fn get_credential_capabilities(&self) -> Result<Arc<CredentialCapabilities>> {
        use CredentialCapability as C;
        let all = CredentialCapabilities::new(env!("CARGO_PKG_VERSION")).with([
            C::Store,
            C::Versions,
            C::Stages,
            C::CompareAndSet,
            C::Tokens,
            C::DeleteVersion,
            C::Binary,
            C::Expiry,
            C::List,
            C::Watch,
        ]);
        Ok(Arc::new(all))
    }

    async fn store_credential(
        &self,
        key: &SecretKey,
        content: CredentialContent,
        options: &StoreOptions,
    ) -> Result<CredentialVersion> {
        about(self.put(key, content, options), Operation::StoreCredential, key)
    }

    async fn retrieve_credential(&self, key: &SecretKey, options: &RetrieveOptions) -> Result<Credential> {
        about(self.get(key, options), Operation::RetrieveCredential, key)
    }

    async fn delete_credential(&self, key: &SecretKey, options: &DeleteCredentialOptions) -> Result<()> {
        about(self.remove(key, options), Operation::DeleteCredential, key)
    }

    async fn list_credentials(&self, prefix: &str) -> Result<Vec<CredentialMetadata>> {
        let state = self.state();
        let matching = state.entries.iter().filter(|(key, _)| key.as_str().starts_with(prefix));
        let told = matching.filter_map(|(key, entry)| {
            let (number, updated) = entry.ledger.newest()?;
            let mut told = CredentialMetadata::new(key.clone(), version_name(number), updated);
            told.kind = entry.contents.get(&number).map(CredentialContent::kind);
            Some(told)
        });
        Ok(told.collect())
    }

    async fn list_versions(&self, key: &SecretKey) -> Result<Vec<VersionMetadata>> {
        let state = self.state();
        let ledger = state.entries.get(key).map(|entry| &entry.ledger);
        let all = ledger.into_iter().flat_map(|ledger| {
            ledger.numbers().filter_map(|number| ledger.metadata(number)).collect::<Vec<_>>()
        });
        Ok(all.collect())
    }

    async fn move_stage(
        &self,
        key: &SecretKey,
        stage: CredentialStage,
        to: &CredentialVersion,
        options: &MoveStageOptions,
    ) -> Result<()> {
        about(self.place(key, stage, to, options), Operation::MoveStage, key)
    }

    async fn watch_credentials(&self, prefix: &str) -> Result<BoxStream<'static, Result<CredentialChange>>> {
        Ok(self.changes.watch(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn c1_a_stale_writer_is_not_fooled_by_a_deletion() {
        let store = MemoryCredentialProvider::new();
        let key = SecretKey::new("a").unwrap();
        let first = store.store_credential(&key, "one".into(), &StoreOptions::new_only()).await.unwrap();
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
