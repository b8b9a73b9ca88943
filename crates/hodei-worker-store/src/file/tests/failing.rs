//! An engine that fails when it is told to.

use std::{
    collections::HashMap,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use hodei_worker_core::{
    Retry,
    store::{Batch, Expected},
};
use tempfile::TempDir;

use super::*;
use crate::engine::{Fault, Outcome, Table, Visit, Write, redb::RedbEngine};

/// What fails next of an engine at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weakness {
    /// A commit, before anything is written.
    Commit,
    /// A commit whose last step fails: everything is written, and the disk did not take it.
    Sync,
    /// Reads, until it is opened anew.
    Reads,
}

static WEAKNESSES: Mutex<Option<HashMap<PathBuf, Weakness>>> = Mutex::new(None);

fn weaken(folder: &TempDir, weakness: Weakness) {
    let mut all = WEAKNESSES.lock().unwrap_or_else(PoisonError::into_inner);
    all.get_or_insert_default().insert(folder.path().join(RedbEngine::ENTRY), weakness);
}

#[derive(Debug)]
struct WeakEngine(RedbEngine, PathBuf);

impl WeakEngine {
    fn is(&self, weakness: Weakness) -> bool {
        let all = WEAKNESSES.lock().unwrap_or_else(PoisonError::into_inner);
        all.as_ref().and_then(|all| all.get(&self.1)) == Some(&weakness)
    }
    fn mend(path: &Path) {
        let mut all = WEAKNESSES.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_or_insert_default().remove(path);
    }
    fn reads(&self) -> Outcome<()> {
        if self.is(Weakness::Reads) { Err(failure()) } else { Ok(()) }
    }
}

fn failure() -> Fault {
    Fault::Io(io::Error::from_raw_os_error(5))
}

impl Engine for WeakEngine {
    const KIND: &'static str = RedbEngine::KIND;
    const ENTRY: &'static str = RedbEngine::ENTRY;

    fn open(path: &Path, settings: &FileSettings) -> Outcome<Self> {
        Self::mend(path);
        Ok(Self(RedbEngine::open(path, settings)?, path.to_owned()))
    }
    fn try_out(path: &Path, scratch: &Path, settings: &FileSettings) -> Outcome<Self> {
        Ok(Self(RedbEngine::try_out(path, scratch, settings)?, path.to_owned()))
    }
    fn get(&self, table: Table, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        self.reads().and_then(|()| self.0.get(table, key))
    }
    fn at_or_before(&self, table: Table, key: &[u8]) -> Outcome<Option<(Vec<u8>, Vec<u8>)>> {
        self.reads().and_then(|()| self.0.at_or_before(table, key))
    }
    fn range(&self, table: Table, from: Bound<&[u8]>, visit: &mut Visit<'_>) -> Outcome<()> {
        self.reads().and_then(|()| self.0.range(table, from, visit))
    }
    fn commit(&self, writes: &[Write]) -> Outcome<()> {
        if self.is(Weakness::Commit) {
            return Err(failure());
        }
        self.0.commit(writes)?;
        if self.is(Weakness::Sync) { Err(failure()) } else { Ok(()) }
    }
    fn shrink(&mut self) -> Outcome<()> {
        self.0.shrink()
    }
}

async fn store() -> (TempDir, FileStore<WeakEngine>) {
    let folder = TempDir::new().unwrap();
    let store = FileStore::open(folder.path(), FileSettings::default()).await.unwrap();
    (folder, store)
}

fn event(version: u64) -> Batch {
    Batch::new().append("w".parse().unwrap(), version, ["x".into()])
}

async fn count(store: &FileStore<WeakEngine>) -> usize {
    store.read(|shared| shared.log(0, 100)).await.unwrap().events.len()
}

#[tokio::test]
async fn l6_a_commit_that_failed_before_it_wrote_is_none() {
    let (folder, store) = store().await;
    store.append(event(0)).await.unwrap();
    weaken(&folder, Weakness::Commit);
    let error = store.append(event(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_ne!(error.retry(), Retry::IfIdempotent);
    assert_eq!(count(&store).await, 1);
    store.append(event(1)).await.unwrap();
    assert_eq!(count(&store).await, 2);
}

#[tokio::test]
async fn l6_what_the_disk_failed_to_take_is_never_acknowledged() {
    let (folder, store) = store().await;
    store.append(event(0)).await.unwrap();
    weaken(&folder, Weakness::Sync);
    let error = store.append(event(1)).await.unwrap_err();
    assert_eq!(error.retry(), Retry::IfIdempotent, "{error}");
    // It is there when the engine is opened anew, and may be in the system's memory alone.
    for _ in 0..2 {
        let error = store.append(event(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Never));
        assert!(error.help().is_some_and(|help| help.contains("verify")), "{error}");
    }
    assert_eq!(store.last_position(), 1);
    drop(store);
    let verification = FileStore::<WeakEngine>::verify(folder.path()).await.unwrap();
    assert!(verification.is_sound(), "{verification}");
}

#[tokio::test]
async fn l6_an_engine_that_failed_a_reader_is_opened_anew() {
    let (folder, store) = store().await;
    store.append(event(0).put("k", Expected::Any, "v")).await.unwrap();
    weaken(&folder, Weakness::Reads);
    assert_eq!(count(&store).await, 1);
    // A writer that has to read.
    weaken(&folder, Weakness::Reads);
    let error = store.append(event(1).put("k", Expected::Version(1), "w")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    store.append(event(1).put("k", Expected::Version(1), "w")).await.unwrap();
    assert_eq!(count(&store).await, 2);
}

#[tokio::test]
async fn l6_a_damaged_value_is_the_trouble_of_who_writes_it() {
    let (folder, store) = store().await;
    store.append(event(0).put("k", Expected::Any, "v")).await.unwrap();
    drop(store);
    let engine = RedbEngine::open(&folder.path().join(RedbEngine::ENTRY), &FileSettings::default()).unwrap();
    let mut row = engine.get(Table::State, b"k").unwrap().unwrap();
    row[3] ^= 1;
    drop(engine);
    let store = FileStore::<WeakEngine>::open(folder.path(), FileSettings::default()).await.unwrap();
    let damage = Write { table: Table::State, key: b"k".to_vec(), row: Some(row) };
    store
        .read(move |shared| {
            let engine = shared.engine.read().unwrap();
            let write = Write { table: damage.table, key: damage.key.clone(), row: damage.row.clone() };
            engine.as_ref().unwrap().0.commit(&[write]).unwrap();
            Ok(())
        })
        .await
        .unwrap();
    let (theirs, ours) =
        tokio::join!(store.append(Batch::new().put("k", Expected::Version(1), "w")), store.append(event(1)));
    assert_eq!(theirs.unwrap_err().kind(), ErrorKind::Corrupt);
    ours.unwrap();
}

#[tokio::test]
async fn l6_a_copy_without_a_lock_can_be_verified_and_repaired() {
    let (folder, store) = store().await;
    store.append(event(0)).await.unwrap();
    drop(store);
    let copy = TempDir::new().unwrap();
    std::fs::copy(folder.path().join(RedbEngine::ENTRY), copy.path().join(RedbEngine::ENTRY)).unwrap();
    let verification = FileStore::<RedbEngine>::verify(copy.path()).await.unwrap();
    assert!(verification.is_sound() && verification.notes.len() == 1, "{verification}");
    let names = std::fs::read_dir(copy.path()).unwrap().count();
    assert_eq!(names, 1, "nothing is made in it");
    let saved = TempDir::new().unwrap();
    let into = saved.path().join("saved");
    let salvage = FileStore::<RedbEngine>::repair(copy.path(), &into).await.unwrap();
    assert!(salvage.is_whole(), "{salvage}");
    FileStore::<RedbEngine>::open(&into, FileSettings::default()).await.unwrap();
}
