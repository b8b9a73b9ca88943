//! A store is read as a whole when it is opened, and what does not add up is not used.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use hodei_worker_core::{
    Error, ErrorKind, Result,
    credential::SecretKey,
    store::{Batch, Expected, StateValue, Store},
};

use super::{
    SimpleSettings,
    anchor::AnchorMark,
    corrupt,
    entry::{Entry, HEADER, MANIFEST, Name, ROOM, Row},
    header::Header,
    manifest::{Manifest, Notary},
    record,
};
use crate::crypto::{self, Key};

/// Rows that are read at once.
const PAGE: usize = 1000;

/// All that is known of a store.
pub(super) struct Book {
    pub(super) header: Header,
    /// By their numbers.
    pub(super) keys: BTreeMap<u32, Key>,
    pub(super) notary: Notary,
    pub(super) manifest: Manifest,
    pub(super) entries: BTreeMap<SecretKey, Entry>,
    /// How often the manifest's row was written, by the store: whoever else writes it is noticed.
    pub(super) row: u64,
}

impl Book {
    /// The key that is written with.
    pub(super) fn primary(&self) -> Result<(u32, &Key)> {
        let id = self.header.primary()?;
        let key = self.keys.get(&id).ok_or_else(|| corrupt("the store's own key is not known"))?;
        Ok((id, key))
    }
    pub(super) fn mark(&self) -> AnchorMark {
        AnchorMark {
            store: self.header.store,
            generation: self.manifest.generation,
            tag: self.notary.tag(&self.manifest),
        }
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Book").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("mark", &self.mark).finish_non_exhaustive()
    }
}

/// What there is in a store.
struct Contents {
    header: Option<Bytes>,
    manifest: Option<StateValue>,
    rows: BTreeMap<SecretKey, Bytes>,
    records: BTreeMap<(SecretKey, u64), Bytes>,
}

async fn contents(store: &dyn Store) -> Result<Contents> {
    let mut all = Contents { header: None, manifest: None, rows: BTreeMap::new(), records: BTreeMap::new() };
    let mut after: Option<String> = None;
    loop {
        let page = store.list(ROOM, after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        for found in page {
            let name = Name::parse(&found.key);
            if name == Some(Name::Manifest) {
                all.manifest = Some(found.value);
                after = Some(found.key);
                continue;
            }
            let value = found.value.value;
            match name {
                Some(Name::Header) => all.header = Some(value),
                Some(Name::Manifest) => {}
                Some(Name::Row(key)) => drop(all.rows.insert(key, value)),
                Some(Name::Record(key, version)) => drop(all.records.insert((key, version), value)),
                None => {
                    return Err(corrupt("there is something in the store that this version does not know")
                        .with_context("name", &found.key));
                }
            }
            after = Some(found.key);
        }
        if is_last {
            return Ok(all);
        }
    }
}

/// Opens what is there, or makes it.
pub(super) async fn open(store: &dyn Store, settings: &SimpleSettings) -> Result<Book> {
    let found = contents(store).await?;
    let mut book = match (&found.header, &found.manifest) {
        (None, None) if found.rows.is_empty() && found.records.is_empty() => make(store, settings).await?,
        (Some(header), Some(manifest)) => known(header, manifest, settings, &BTreeMap::new())?,
        _ => return Err(corrupt("the head or the manifest of the store is missing")),
    };
    fill(&mut book, found)?;
    compare(&book, settings).await?;
    Ok(book)
}

/// Reads what is there anew: the store that is known, as it was or one change later. Makes nothing.
pub(super) async fn reopen(store: &dyn Store, settings: &SimpleSettings, before: &Known) -> Result<Book> {
    let found = contents(store).await?;
    let (Some(header), Some(manifest)) = (&found.header, &found.manifest) else {
        return Err(corrupt("the head or the manifest of the store is missing"));
    };
    let mut book = known(header, manifest, settings, &before.keys)?;
    fill(&mut book, found)?;
    let mark = book.mark();
    let same = mark.generation == before.mark.generation;
    let is_it = mark.store == before.mark.store
        && (same && book.manifest == before.manifest || mark.generation == before.mark.generation + 1);
    if mark.store == before.mark.store && mark.generation > before.mark.generation + 1 {
        let message =
            "something else changes the store of credentials, which one provider has to have for itself";
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    if !is_it {
        return Err(corrupt("the store of credentials is another than it was a moment ago")
            .with_context("changes", mark.generation)
            .with_context("changes before", before.mark.generation));
    }
    Ok(book)
}

/// What a store that is read anew has to be.
pub(super) struct Known {
    keys: BTreeMap<u32, Key>,
    mark: AnchorMark,
    manifest: Manifest,
}

impl Book {
    /// What it is known by. `more`: a key that it may be under meanwhile.
    pub(super) fn known(&self, more: Option<&Key>) -> Known {
        let mut keys = self.keys.clone();
        // Found by what it is made into, not by its number.
        if let Some(more) = more {
            keys.insert(u32::MAX, more.clone());
        }
        Known { keys, mark: self.mark(), manifest: self.manifest }
    }
}

async fn make(store: &dyn Store, settings: &SimpleSettings) -> Result<Book> {
    if let Some(anchor) = &settings.anchor
        && let Some(mark) = anchor.read().await?
    {
        return Err(corrupt("the store is empty, and its anchor says that it was changed before")
            .with_context("changes", mark.generation)
            .with_help("it was lost or exchanged: restore it, or give an anchor that is new"));
    }
    let mut header = Header::new()?;
    let key = settings.master_key.load(&header.salt)?;
    let id = header.add(&key);
    let written = header.to_bytes()?;
    let notary = Notary::new(&header, &written, &key);
    let manifest = Manifest { generation: 1, ..Manifest::default() };
    let batch = Batch::new().put(HEADER, Expected::Absent, written).put(
        MANIFEST,
        Expected::Absent,
        notary.seal(&manifest)?,
    );
    store.write(batch).await?;
    let keys = BTreeMap::from([(id, key)]);
    Ok(Book { header, keys, notary, manifest, entries: BTreeMap::new(), row: 1 })
}

fn known(
    written: &Bytes,
    manifest: &StateValue,
    settings: &SimpleSettings,
    before: &BTreeMap<u32, Key>,
) -> Result<Book> {
    let header = Header::read(written)?;
    let mut keys = BTreeMap::new();
    for key in before.values() {
        if let Some(id) = header.find(key) {
            keys.insert(id, key.clone());
        }
    }
    let is_missing = |keys: &BTreeMap<u32, Key>| header.ring.iter().any(|one| !keys.contains_key(&one.id));
    for source in std::iter::once(&settings.master_key).chain(&settings.former_keys) {
        if !is_missing(&keys) {
            break;
        }
        let key = source.load(&header.salt)?;
        if let Some(id) = header.find(&key) {
            keys.insert(id, key);
        }
    }
    if let Some(missing) = header.ring.iter().find(|one| !keys.contains_key(&one.id)) {
        let error = if keys.is_empty() {
            Error::new(
                ErrorKind::Unauthenticated,
                "the store of credentials is encrypted under another master key",
            )
            .with_help("give the key that it was made with; nothing can be read without it")
        } else {
            Error::new(
                ErrorKind::Unauthenticated,
                "the store of credentials is being encrypted anew, and one of its two master keys was not given",
            )
            .with_help("give both, the older by `former_keys`, until `rekey` has come to its end")
        };
        return Err(error.with_context("key", missing.id));
    }
    let primary = header.primary()?;
    let notary = match keys.get(&primary) {
        Some(key) => Notary::new(&header, written, key),
        None => return Err(corrupt("the store's own key is not known")),
    };
    let row = manifest.version;
    let manifest = notary.open(&manifest.value).ok_or_else(|| {
        corrupt("the head or the manifest of the store was changed by somebody without its key")
    })?;
    Ok(Book { header, keys, notary, manifest, entries: BTreeMap::new(), row })
}

/// Takes in rows and records, each of which the manifest has to know.
fn fill(book: &mut Book, found: Contents) -> Result<()> {
    let mut seen = Manifest { generation: book.manifest.generation, ..Manifest::default() };
    let mut records = found.records;
    for (key, bytes) in found.rows {
        let weight = book.notary.weigh(&key, &bytes);
        let row: Row = serde_json::from_slice(&bytes).map_err(|error| {
            corrupt("a credential's row cannot be read").with_context("key", &key).with_source(error)
        })?;
        let mut entry = Entry { weight, ..Entry::default() };
        for number in row.ledger.numbers() {
            let record = records.remove(&(key.clone(), number));
            let told = row.versions.get(&number).map(|version| version.digest);
            match record {
                Some(record) if told == Some(crypto::sha256(&record)) => {
                    drop(entry.records.insert(number, record))
                }
                Some(_) => return Err(of_version("a version was changed", &key, number)),
                None => return Err(of_version("a version is missing", &key, number)),
            }
        }
        entry.row = row;
        seen.count += 1;
        seen.sum = seen.changed(None, Some(weight)).sum;
        book.entries.insert(key, entry);
    }
    if let Some((key, number)) = records.keys().next() {
        return Err(of_version("there is a version that belongs to no credential", key, *number));
    }
    if seen != book.manifest {
        return Err(corrupt("credentials are missing in the store, or are others than were stored")
            .with_context("has", seen.count)
            .with_context("should have", book.manifest.count));
    }
    Ok(())
}

fn of_version(what: &str, key: &SecretKey, number: u64) -> Error {
    corrupt(format!("{what} in the store of credentials"))
        .with_context("key", key)
        .with_context("version", number)
}

/// Compares with what is kept apart.
async fn compare(book: &Book, settings: &SimpleSettings) -> Result<()> {
    let Some(anchor) = &settings.anchor else { return Ok(()) };
    let own = book.mark();
    let Some(kept) = anchor.read().await? else {
        // Of a store that has none yet: its first.
        return anchor.write(&own).await;
    };
    let wrong = |what: &'static str| {
        Err(corrupt(what)
            .with_context("changes of the store", own.generation)
            .with_context("changes by its anchor", kept.generation))
    };
    if kept.store != own.store {
        return wrong("the anchor is of another store of credentials");
    }
    match own.generation.checked_sub(kept.generation) {
        None => {
            wrong("the store of credentials is older than its anchor: it was put back to an earlier state")
        }
        Some(0) if kept.tag != own.tag => {
            wrong("the store of credentials has gone on in another way than its anchor says")
        }
        Some(0) => Ok(()),
        // Cut off between the two.
        Some(1) => anchor.write(&own).await,
        Some(_) => wrong("the anchor is older than the store of credentials by more than one change"),
    }
}

/// Whether every record opens; those that do not.
pub(super) fn closed(book: &Book) -> Vec<(SecretKey, u64)> {
    let mut closed = Vec::new();
    for (key, entry) in &book.entries {
        for (version, bytes) in &entry.records {
            let place = record::Place { store: &book.header.store, key, version: *version };
            let master = record::key_id(bytes).and_then(|id| book.keys.get(&id));
            if master.and_then(|master| record::open(master, place, bytes)).is_none() {
                closed.push((key.clone(), *version));
            }
        }
    }
    closed
}
