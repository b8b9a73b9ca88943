use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use hodei_worker_core::{
    Clock, Error, ErrorKind, Operation, ProviderInfo, Result, clock,
    credential::{
        Changes, Credential, CredentialCapabilities, CredentialCapability, CredentialChange,
        CredentialContent, CredentialMetadata, CredentialProvider, CredentialStage, CredentialVersion,
        DeleteCredentialOptions, MoveStageOptions, RetrieveOptions, SecretKey, StoreOptions, VersionMetadata,
        not_found,
    },
    provider::BoxStream,
    store::{Batch, Store},
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    SimpleSettings, change,
    load::{self, Book, Known},
};
use crate::crypto::Key;

/// Secrets in a store of the host's own, on redb or sled: each encrypted under a key of its own by AES-256-GCM and bound to
/// its name and version, all of them behind one sealed manifest, so that what is missing, changed, exchanged or put back to
/// an earlier state is known when the store is opened. Names, times and stages are not secret.
///
/// All of it is in memory, encrypted: a read costs a decryption, a change one commit. One host has the store. Clones share
/// everything.
///
/// # Examples
/// ```no_run
/// use std::sync::Arc;
/// use hodei_credentials::{MasterKey, SimpleCredentialProvider, SimpleSettings};
/// use hodei_worker_core::credential::{CredentialProvider as _, SecretKey, StoreOptions};
/// use hodei_worker_store::{FileSettings, RedbStore};
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedbStore::open("/var/lib/my-app/secrets", FileSettings::default()).await?;
/// let settings = SimpleSettings::new(MasterKey::File("/etc/my-app/master.key".into()));
/// let secrets = SimpleCredentialProvider::open(Arc::new(store), settings).await?;
/// secrets.store_credential(&SecretKey::new("db/password")?, "hunter2".into(), &StoreOptions::default()).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct SimpleCredentialProvider(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    info: ProviderInfo,
    pub(super) store: Arc<dyn Store>,
    pub(super) settings: SimpleSettings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) changes: Changes,
    book: RwLock<Book>,
    /// Held by who changes something, one at a time.
    pub(super) writer: Arc<Mutex<Writer>>,
    /// Held by who puts all of it under another key.
    pub(super) rekeying: Mutex<()>,
}

/// What who writes has to know.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// A write was begun whose end was not taken in: the store, which is known by this, is read anew before the next.
    pub(super) unsure: Option<Known>,
    /// The anchor does not have the last change yet.
    pub(super) is_ahead: bool,
}

impl SimpleCredentialProvider {
    /// Opens the secrets in that store, or makes a room for them in it. All of it is read and checked.
    ///
    /// # Errors
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) for another master key, [`Config`](ErrorKind::Config) and
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) for one that cannot be read; [`Corrupt`](ErrorKind::Corrupt) when
    /// something is missing, changed or older than its anchor says, and nothing is used then;
    /// [`Unsupported`](ErrorKind::Unsupported) for a store that a newer version wrote, or that several hosts share.
    ///
    /// # Cancel safety
    /// When dropped, an empty room may have been made.
    pub async fn open(store: Arc<dyn Store>, settings: SimpleSettings) -> Result<Self> {
        Self::open_with_clock(store, settings, clock::system()).await
    }

    /// As [`open`](Self::open), with a clock of its own.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    /// As [`open`](Self::open).
    pub async fn open_with_clock(
        store: Arc<dyn Store>,
        settings: SimpleSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        if store.leases().is_some() {
            let message =
                "a store that several hosts share cannot keep these secrets: each host has them in memory";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let name = match &settings.name {
            Some(name) => name.clone(),
            None => "simple".parse()?,
        };
        let book = load::open(&*store, &settings).await?;
        Ok(Self(Arc::new(Shared {
            info: ProviderInfo::new("simple", name),
            store,
            settings,
            clock,
            changes: Changes::default(),
            book: RwLock::new(book),
            writer: Arc::default(),
            rekeying: Mutex::default(),
        })))
    }
}

impl Shared {
    pub(super) fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn book_mut(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something that changes the store, alone, and to its end: what has begun goes on when the caller does not wait
    /// any more; what is only waiting for its turn does not begin then.
    pub(super) async fn alone<T, Fut>(
        self: &Arc<Self>,
        act: impl FnOnce(Arc<Self>, OwnedMutexGuard<Writer>) -> Fut + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T>> + Send,
    {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        let shared = Arc::clone(self);
        let done = tokio::spawn(async move {
            shared.ready(&mut writer).await?;
            act(shared, writer).await
        });
        done.await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Unexpected, "the change broke off in this process").with_source(error))
        })
    }

    /// Writes. Whatever comes between this and the moment in which it is taken in, the store is read anew before the next.
    pub(super) async fn write(&self, writer: &mut Writer, batch: Batch, more: Option<&Key>) -> Result<()> {
        writer.unsure = Some(self.book().known(more));
        self.store.write(batch).await
    }

    /// Makes up for what went wrong before.
    pub(super) async fn ready(&self, writer: &mut Writer) -> Result<()> {
        if let Some(known) = &writer.unsure {
            let book = load::reopen(&*self.store, &self.settings, known).await?;
            let changed = book.manifest.generation != self.book().manifest.generation;
            *self.book_mut() = book;
            writer.unsure = None;
            // What was written is not anchored yet.
            writer.is_ahead |= changed;
            self.changes.tell(CredentialChange::Lost);
        }
        if writer.is_ahead {
            self.anchor(writer).await;
            if writer.is_ahead {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "the anchor of the store of credentials cannot be written: nothing more is stored until it can",
                ));
            }
        }
        Ok(())
    }

    /// Keeps the last change apart. What was stored is stored; the next change waits until this has worked.
    pub(super) async fn anchor(&self, writer: &mut Writer) {
        let Some(anchor) = &self.settings.anchor else {
            writer.is_ahead = false;
            return;
        };
        let mark = self.book().mark();
        writer.is_ahead = true;
        writer.is_ahead = match anchor.write(&mark).await {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!(%error, "the anchor of a store of credentials was not written");
                true
            }
        };
    }

    fn get(&self, key: &SecretKey, options: &RetrieveOptions) -> Result<Credential> {
        let book = self.book();
        let found = book.entries.get(key).and_then(|entry| {
            let number = entry.row.ledger.find(&options.which)?;
            Some((entry, number, entry.row.ledger.metadata(number)?))
        });
        let Some((entry, number, told)) = found else { return Err(not_found(&options.which)) };
        let mut credential = Credential::new(change::read(&book, key, entry, number)?, told.version);
        (credential.stages, credential.expires) = (told.stages, told.expires);
        Ok(credential)
    }

    fn about<T>(&self, result: Result<T>, operation: Operation, key: Option<&SecretKey>) -> Result<T> {
        result.map_err(|error| {
            let error = error.with_operation(operation).with_provider(&self.info);
            match key {
                Some(key) => error.with_context("key", key),
                None => error,
            }
        })
    }
}

#[async_trait]
impl CredentialProvider for SimpleCredentialProvider {
    fn info(&self) -> &ProviderInfo {
        &self.0.info
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
        Ok(Arc::new(all.without(C::Rotation, "it knows no system whose log-ins it could change")))
    }

    async fn store_credential(
        &self,
        key: &SecretKey,
        content: CredentialContent,
        options: &StoreOptions,
    ) -> Result<CredentialVersion> {
        let stored = self.0.store(key, content, options).await;
        self.0.about(stored, Operation::StoreCredential, Some(key))
    }

    async fn retrieve_credential(&self, key: &SecretKey, options: &RetrieveOptions) -> Result<Credential> {
        self.0.about(self.0.get(key, options), Operation::RetrieveCredential, Some(key))
    }

    async fn delete_credential(&self, key: &SecretKey, options: &DeleteCredentialOptions) -> Result<()> {
        let deleted = self.0.delete(key, options).await;
        self.0.about(deleted, Operation::DeleteCredential, Some(key))
    }

    async fn list_credentials(&self, prefix: &str) -> Result<Vec<CredentialMetadata>> {
        let book = self.0.book();
        let matching = book.entries.iter().filter(|(key, _)| key.as_str().starts_with(prefix));
        let told = matching.filter_map(|(key, entry)| {
            let (number, updated) = entry.row.ledger.newest()?;
            let version = CredentialVersion::new(number.to_string());
            let mut told = CredentialMetadata::new(key.clone(), version, updated);
            told.kind = entry.row.versions.get(&number).map(|version| version.kind);
            Some(told)
        });
        Ok(told.collect())
    }

    async fn list_versions(&self, key: &SecretKey) -> Result<Vec<VersionMetadata>> {
        let book = self.0.book();
        let Some(entry) = book.entries.get(key) else { return Ok(Vec::new()) };
        let ledger = &entry.row.ledger;
        Ok(ledger.numbers().filter_map(|number| ledger.metadata(number)).collect())
    }

    async fn move_stage(
        &self,
        key: &SecretKey,
        stage: CredentialStage,
        to: &CredentialVersion,
        options: &MoveStageOptions,
    ) -> Result<()> {
        let moved = self.0.place(key, stage, to, options).await;
        self.0.about(moved, Operation::MoveStage, Some(key))
    }

    async fn watch_credentials(&self, prefix: &str) -> Result<BoxStream<'static, Result<CredentialChange>>> {
        Ok(self.0.changes.watch(prefix))
    }
}
