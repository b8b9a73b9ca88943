//! Looking after a store: whether all of it opens, all of it at once, and all of it under another key.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use hodei_worker_core::{
    Error, ErrorKind, Result,
    credential::{CredentialContent, SecretKey, VersionMetadata},
    store::{Batch, Expected},
};

use super::{
    MasterKey, SimpleCredentialProvider,
    change::{self, Change},
    entry::{HEADER, MANIFEST, record_name},
    load,
    manifest::{Manifest, Notary},
    provider::Shared,
    record,
};

/// What a look at all of a store came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimpleVerification {
    /// How many credentials there are.
    pub credentials: usize,
    /// How many versions they have.
    pub versions: usize,
    /// How often the store was changed.
    pub generation: u64,
}

/// A credential with all its versions. Never printed.
#[derive(Debug)]
#[non_exhaustive]
pub struct ExportedCredential {
    /// Its key.
    pub key: SecretKey,
    /// Its versions, the oldest first.
    pub versions: Vec<ExportedVersion>,
}

/// A version with what it says.
#[non_exhaustive]
pub struct ExportedVersion {
    /// What is told of it.
    pub metadata: VersionMetadata,
    /// What it says.
    pub content: CredentialContent,
}

impl fmt::Debug for ExportedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportedVersion").field("metadata", &self.metadata).finish_non_exhaustive()
    }
}

impl SimpleCredentialProvider {
    /// Reads all of the store anew, and opens every version.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) with the first that does not add up.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(secrets: hodei_credentials::SimpleCredentialProvider) -> hodei_worker_core::Result<()> {
    /// let found = secrets.verify().await?;
    /// println!("{} credentials with {} versions", found.credentials, found.versions);
    /// # Ok(()) }
    /// ```
    pub async fn verify(&self) -> Result<SimpleVerification> {
        let shared = &self.0;
        // Nobody writes meanwhile.
        let mut writer = shared.writer.lock().await;
        shared.ready(&mut writer).await?;
        let known = shared.book().known(None);
        let book = load::reopen(&*shared.store, &shared.settings, &known).await?;
        if book.manifest != shared.book().manifest {
            return Err(super::corrupt("the store of credentials is another than it was a moment ago"));
        }
        if let Some((key, version)) = load::closed(&book).into_iter().next() {
            return Err(super::corrupt("a version does not open under its key")
                .with_context("key", key)
                .with_context("version", version));
        }
        Ok(SimpleVerification {
            credentials: book.entries.len(),
            versions: book.entries.values().map(|entry| entry.records.len()).sum(),
            generation: book.manifest.generation,
        })
    }

    /// All credentials with all their versions, decrypted: to be kept elsewhere.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) when one does not open.
    ///
    /// # Examples
    /// ```no_run
    /// # fn example(secrets: hodei_credentials::SimpleCredentialProvider) -> hodei_worker_core::Result<()> {
    /// for credential in secrets.export()? {
    ///     println!("{} has {} versions", credential.key, credential.versions.len());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn export(&self) -> Result<Vec<ExportedCredential>> {
        let book = self.0.book();
        let mut all = Vec::with_capacity(book.entries.len());
        for (key, entry) in &book.entries {
            let ledger = &entry.row.ledger;
            let mut versions = Vec::new();
            for metadata in ledger.numbers().filter_map(|number| Some((number, ledger.metadata(number)?))) {
                let (number, metadata) = metadata;
                versions
                    .push(ExportedVersion { metadata, content: change::read(&book, key, entry, number)? });
            }
            all.push(ExportedCredential { key: key.clone(), versions });
        }
        Ok(all)
    }

    /// Encrypts all of the store under another key, credential by credential, while it is used. Cut off, it is gone on with
    /// by another call, with both keys given until it has come to its end; from then on the former key opens nothing of it.
    ///
    /// # Errors
    /// As a store of a credential; [`Config`](ErrorKind::Config) for a key that cannot be read.
    ///
    /// # Cancel safety
    /// When dropped, some credentials are under the new key and the others under the old one. Repeat it.
    ///
    /// # Examples
    /// ```no_run
    /// # use hodei_credentials::MasterKey;
    /// # async fn example(secrets: hodei_credentials::SimpleCredentialProvider) -> hodei_worker_core::Result<()> {
    /// let new = MasterKey::generate("/etc/my-app/master.key.new")?;
    /// secrets.rekey(&new).await
    /// # }
    /// ```
    pub async fn rekey(&self, new: &MasterKey) -> Result<()> {
        let shared = &self.0;
        let _alone = shared.rekeying.lock().await;
        let new_id = shared.begin_rekey(new).await?;
        let keys: Vec<SecretKey> = shared.book().entries.keys().cloned().collect();
        for key in keys {
            shared.reencrypt(&key, new_id).await?;
        }
        shared.end_rekey(new_id).await
    }
}

impl Shared {
    /// Writes with that key from now on. Its number.
    async fn begin_rekey(self: &Arc<Self>, new: &MasterKey) -> Result<u32> {
        let salt = self.book().header.salt;
        let (new, loading) = (new.clone(), "the master key was not loaded");
        let loaded = tokio::task::spawn_blocking(move || new.load(&salt)).await;
        let master = loaded
            .unwrap_or_else(|error| Err(Error::new(ErrorKind::Unexpected, loading).with_source(error)))?;
        self.alone(|shared, mut writer| async move {
            let (header, id, notary, manifest, weights, batch) = {
                let book = shared.book();
                let mut header = book.header.clone();
                if let Some(known) = header.find(&master) {
                    return match known == header.primary()? {
                        true => Ok(known),
                        false => Err(Error::new(
                            ErrorKind::Conflict,
                            "the store is being encrypted under another key, and this is one of before",
                        )),
                    };
                }
                let id = header.add(&master);
                let written = header.to_bytes()?;
                let notary = Notary::new(&header, &written, &master);
                // Rows weigh otherwise under another key.
                let mut manifest = Manifest::default();
                let mut weights = Vec::with_capacity(book.entries.len());
                for (key, entry) in &book.entries {
                    let weight = notary.weigh(key, &entry.row.to_bytes()?);
                    manifest = manifest.changed(None, Some(weight));
                    weights.push((key.clone(), weight));
                }
                manifest.generation = book.manifest.generation + 1;
                let sealed = notary.seal(&manifest)?;
                let batch = Batch::new().put(HEADER, Expected::Any, written);
                let batch = batch.put(MANIFEST, Expected::Version(book.row), sealed);
                (header, id, notary, manifest, weights, batch)
            };
            shared.write(&mut writer, batch, Some(&master)).await?;
            {
                let mut book = shared.book_mut();
                for (key, weight) in weights {
                    if let Some(entry) = book.entries.get_mut(&key) {
                        entry.weight = weight;
                    }
                }
                book.keys.insert(id, master);
                book.row += 1;
                (book.header, book.notary, book.manifest) = (header, notary, manifest);
            }
            writer.unsure = None;
            shared.anchor(&mut writer).await;
            Ok(id)
        })
        .await
    }

    /// Puts a credential's records under that key.
    async fn reencrypt(self: &Arc<Self>, key: &SecretKey, id: u32) -> Result<()> {
        let key = key.clone();
        self.change(move |book| {
            let Some(before) = book.entries.get(&key) else { return Ok(((), None)) };
            if before.records.values().all(|bytes| record::key_id(bytes) == Some(id)) {
                return Ok(((), None));
            }
            let (id, master) = book.primary()?;
            let (mut after, mut batch) = (before.clone(), Batch::new());
            for number in before.records.keys() {
                let content = change::read(book, &key, before, *number)?;
                let place = record::Place { store: &book.header.store, key: &key, version: *number };
                let bytes = Bytes::from(record::seal(master, id, place, &content)?);
                if let Some(told) = after.row.versions.get_mut(number) {
                    told.digest = crate::crypto::sha256(&bytes);
                }
                after.records.insert(*number, bytes.clone());
                batch = batch.put(record_name(&key, *number), Expected::Any, bytes);
            }
            // It says what it said.
            let change = Change { is_told: false, ..change::rewritten(book, &key, after, batch)? };
            Ok(((), Some(change)))
        })
        .await
    }

    /// Forgets all keys but that one.
    async fn end_rekey(self: &Arc<Self>, id: u32) -> Result<()> {
        self.alone(move |shared, mut writer| async move {
            let (header, notary, manifest, batch) = {
                let book = shared.book();
                let (primary, master) = book.primary()?;
                let under_another = |bytes: &Bytes| record::key_id(bytes) != Some(id);
                if primary != id
                    || book.entries.values().any(|entry| entry.records.values().any(under_another))
                {
                    let message = "a credential is under another key still: repeat it";
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
                if book.header.ring.len() == 1 {
                    return Ok(());
                }
                let mut header = book.header.clone();
                header.ring.retain(|one| one.id == id);
                let written = header.to_bytes()?;
                let notary = Notary::new(&header, &written, master);
                let manifest = Manifest { generation: book.manifest.generation + 1, ..book.manifest };
                let sealed = notary.seal(&manifest)?;
                let batch = Batch::new().put(HEADER, Expected::Any, written);
                let batch = batch.put(MANIFEST, Expected::Version(book.row), sealed);
                (header, notary, manifest, batch)
            };
            shared.write(&mut writer, batch, None).await?;
            {
                let mut book = shared.book_mut();
                book.keys.retain(|known, _| *known == id);
                book.row += 1;
                (book.header, book.notary, book.manifest) = (header, notary, manifest);
            }
            writer.unsure = None;
            shared.anchor(&mut writer).await;
            Ok(())
        })
        .await
    }
}
