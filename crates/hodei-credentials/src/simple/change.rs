//! A change of a store: worked out first, made durable as a whole, and only then known.

use std::sync::Arc;

use bytes::Bytes;
use hodei_worker_core::{
    Result,
    credential::{
        CredentialChange, CredentialContent, CredentialStage, CredentialVersion, DeleteCredentialOptions,
        MoveStageOptions, NewVersion, SecretKey, StoreOptions, VersionLedger, Which, check_content,
        not_found, token_is_taken,
    },
    store::{Batch, Expected},
};

use super::{
    entry::{Entry, MANIFEST, RowVersion, record_name, row_name},
    load::Book,
    manifest::Manifest,
    provider::Shared,
    record,
};

/// What a change comes to.
pub(super) struct Change {
    pub(super) key: SecretKey,
    pub(super) manifest: Manifest,
    /// `None`: deleted.
    pub(super) after: Option<Entry>,
    pub(super) batch: Batch,
    /// Whether those who watch have to know.
    pub(super) is_told: bool,
}

fn version(number: u64) -> CredentialVersion {
    CredentialVersion::new(number.to_string())
}

/// The entry's row, written, in the place of the one before.
pub(super) fn rewritten(book: &Book, key: &SecretKey, mut after: Entry, mut batch: Batch) -> Result<Change> {
    let before = book.entries.get(key);
    let row = after.row.to_bytes()?;
    after.weight = book.notary.weigh(key, &row);
    let manifest = book.manifest.changed(before.map(|before| before.weight), Some(after.weight));
    for gone in before.iter().flat_map(|before| before.records.keys()) {
        if !after.records.contains_key(gone) {
            batch = batch.remove(record_name(key, *gone), Expected::Any);
        }
    }
    let batch = batch.put(row_name(key), Expected::Any, row);
    let batch = batch.put(MANIFEST, Expected::Version(book.row), book.notary.seal(&manifest)?);
    Ok(Change { key: key.clone(), manifest, after: Some(after), batch, is_told: true })
}

/// A version that is stored; with no change where it is there by its token.
fn store(
    book: &Book,
    key: &SecretKey,
    content: &CredentialContent,
    options: &StoreOptions,
    now: hodei_worker_core::Timestamp,
) -> Result<(CredentialVersion, Option<Change>)> {
    let before = book.entries.get(key);
    if let Some(before) = before
        && let Some(number) = before.row.ledger.by_token(options.token.as_deref())
    {
        let is_same = read(book, key, before, number).is_ok_and(|known| known.is_same(content));
        return if is_same { Ok((version(number), None)) } else { Err(token_is_taken()) };
    }
    let mut after = before.cloned().unwrap_or_default();
    if before.is_none() {
        // Each number was a change, so that none of a credential that is no more comes again.
        after.row.ledger = VersionLedger::after(book.manifest.generation);
    }
    after.row.ledger.check(&options.expected)?;
    let mut new = NewVersion::current(now);
    (new.stage, new.expires, new.token) = (options.stage, options.expires, options.token.clone());
    let (number, forgotten) = after.row.ledger.add(new);
    for gone in forgotten {
        after.row.versions.remove(&gone);
        after.records.remove(&gone);
    }
    let (id, master) = book.primary()?;
    let place = record::Place { store: &book.header.store, key, version: number };
    let record = Bytes::from(record::seal(master, id, place, content)?);
    let told = RowVersion { kind: content.kind(), digest: crate::crypto::sha256(&record) };
    after.row.versions.insert(number, told);
    after.records.insert(number, record.clone());
    let batch = Batch::new().put(record_name(key, number), Expected::Any, record);
    Ok((version(number), Some(rewritten(book, key, after, batch)?)))
}

/// What a version says.
pub(super) fn read(book: &Book, key: &SecretKey, entry: &Entry, number: u64) -> Result<CredentialContent> {
    let place = record::Place { store: &book.header.store, key, version: number };
    let opened = entry.records.get(&number).and_then(|bytes| {
        let master = book.keys.get(&record::key_id(bytes)?)?;
        record::open(master, place, bytes)
    });
    opened.ok_or_else(|| {
        super::corrupt("the credential's version does not open under its key").with_context("version", number)
    })
}

fn delete(book: &Book, key: &SecretKey, options: &DeleteCredentialOptions) -> Result<Option<Change>> {
    let Some(before) = book.entries.get(key) else { return Ok(None) };
    let Some(one) = &options.version else {
        let manifest = book.manifest.changed(Some(before.weight), None);
        let mut batch = Batch::new().remove(row_name(key), Expected::Any);
        for number in before.records.keys() {
            batch = batch.remove(record_name(key, *number), Expected::Any);
        }
        let batch = batch.put(MANIFEST, Expected::Version(book.row), book.notary.seal(&manifest)?);
        return Ok(Some(Change { key: key.clone(), manifest, after: None, batch, is_told: true }));
    };
    let mut after = before.clone();
    let Some(gone) = after.row.ledger.remove(one)? else { return Ok(None) };
    after.row.versions.remove(&gone);
    after.records.remove(&gone);
    rewritten(book, key, after, Batch::new()).map(Some)
}

fn move_stage(
    book: &Book,
    key: &SecretKey,
    stage: CredentialStage,
    to: &CredentialVersion,
    options: &MoveStageOptions,
) -> Result<Option<Change>> {
    let Some(before) = book.entries.get(key) else {
        return Err(not_found(&Which::Version(to.clone())));
    };
    let mut after = before.clone();
    after.row.ledger.move_stage(stage, to, options.from.as_ref())?;
    if after.row.ledger == before.row.ledger {
        return Ok(None);
    }
    let kept: Vec<u64> = after.row.ledger.numbers().collect();
    after.row.versions.retain(|number, _| kept.contains(number));
    after.records.retain(|number, _| kept.contains(number));
    rewritten(book, key, after, Batch::new()).map(Some)
}

impl Shared {
    pub(super) async fn store(
        self: &Arc<Self>,
        key: &SecretKey,
        content: CredentialContent,
        options: &StoreOptions,
    ) -> Result<CredentialVersion> {
        check_content(&content)?;
        let (key, options, now) = (key.clone(), options.clone(), self.clock.now());
        self.change(move |book| store(book, &key, &content, &options, now)).await
    }

    pub(super) async fn delete(
        self: &Arc<Self>,
        key: &SecretKey,
        options: &DeleteCredentialOptions,
    ) -> Result<()> {
        let (key, options) = (key.clone(), options.clone());
        self.change(move |book| Ok(((), delete(book, &key, &options)?))).await
    }

    pub(super) async fn place(
        self: &Arc<Self>,
        key: &SecretKey,
        stage: CredentialStage,
        to: &CredentialVersion,
        options: &MoveStageOptions,
    ) -> Result<()> {
        let (key, to, options) = (key.clone(), to.clone(), options.clone());
        self.change(move |book| Ok(((), move_stage(book, &key, stage, &to, &options)?))).await
    }

    /// Works out a change, makes it durable and takes it in. It goes on when the caller does not wait any more.
    pub(super) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        work_out: impl FnOnce(&Book) -> Result<(T, Option<Change>)> + Send + 'static,
    ) -> Result<T> {
        self.alone(|shared, mut writer| async move {
            let (outcome, change) = work_out(&shared.book())?;
            let Some(change) = change else { return Ok(outcome) };
            let Change { key, manifest, after, batch, is_told } = change;
            shared.write(&mut writer, batch, None).await?;
            let told = match after.is_some() {
                true => CredentialChange::Changed(key.clone()),
                false => CredentialChange::Deleted(key.clone()),
            };
            {
                let mut book = shared.book_mut();
                book.manifest = manifest;
                book.row += 1;
                match after {
                    Some(after) => drop(book.entries.insert(key, after)),
                    None => drop(book.entries.remove(&key)),
                }
            }
            writer.unsure = None;
            if is_told {
                shared.changes.tell(told);
            }
            shared.anchor(&mut writer).await;
            Ok(outcome)
        })
        .await
    }
}
