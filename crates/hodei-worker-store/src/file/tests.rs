//! What does not add up although every row is whole.

mod failing;

use std::path::PathBuf;

use hodei_worker_core::store::{Batch, Expected};
use tempfile::TempDir;

use super::*;
use crate::{
    engine::{Table, Write, redb::RedbEngine},
    format::{FORMAT, MANIFEST, Manifest, Seal, StateRow},
};

type Store = FileStore<RedbEngine>;

fn entry(folder: &TempDir) -> PathBuf {
    folder.path().join(RedbEngine::ENTRY)
}

/// Six events of three workers, of which one has a snapshot and one is over; three values.
async fn filled() -> TempDir {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path(), FileSettings::default()).await.unwrap();
    for n in 0..6_u64 {
        let batch = Batch::new().append(format!("w{}", n % 3).parse().unwrap(), n / 3, ["x".into()]);
        store.append(batch.put(format!("k{}", n % 3), Expected::Any, n.to_string())).await.unwrap();
    }
    let batch = Batch::new().save("w0".parse().unwrap(), 2, "fold").forget("w1".parse().unwrap(), 2);
    store.append(batch).await.unwrap();
    folder
}

fn row(engine: &RedbEngine, table: Table, key: &[u8]) -> Vec<u8> {
    engine.get(table, key).unwrap().unwrap()
}

/// Writes to the engine what the store did not.
fn tamper(folder: &TempDir, change: impl FnOnce(&RedbEngine) -> Vec<(Table, Vec<u8>, Option<Vec<u8>>)>) {
    let engine = RedbEngine::open(&entry(folder), &FileSettings::default()).unwrap();
    let writes = change(&engine).into_iter().map(|(table, key, row)| Write { table, key, row });
    engine.commit(&writes.collect::<Vec<_>>()).unwrap();
}

async fn refused(folder: &TempDir, saying: &str) {
    let error = Store::open(folder.path(), FileSettings::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(saying), "`{saying}` is not said: {error}");
    let verification = Store::verify(folder.path()).await.unwrap();
    assert!(verification.findings.iter().any(|finding| finding.contains(saying)), "{verification}");
}

fn position(position: u64) -> Vec<u8> {
    position.to_be_bytes().to_vec()
}

#[tokio::test]
async fn l6_missing_rows_are_noticed() {
    for (table, key, saying) in [
        (Table::Log, position(1), "events 1 to 1 are missing"),
        (Table::Log, position(3), "events 3 to 3 are missing"),
        (Table::Log, position(6), "events 6 to 6 are missing"),
        (Table::State, b"k1".to_vec(), "it has 2 values, and wrote 3"),
        (Table::Snapshots, b"w0".to_vec(), "it has 0 snapshots, and wrote 1"),
        (Table::Over, b"w1".to_vec(), "it has 0 ends of streams, and wrote 1"),
        (Table::Meta, MANIFEST.to_vec(), "its manifest is missing"),
    ] {
        let folder = filled().await;
        tamper(&folder, |_| vec![(table, key, None)]);
        refused(&folder, saying).await;
    }
}

#[tokio::test]
async fn l6_rows_that_changed_places_are_noticed() {
    for (table, one, two) in
        [(Table::Log, position(1), position(4)), (Table::State, b"k0".to_vec(), b"k1".to_vec())]
    {
        let folder = filled().await;
        tamper(&folder, |engine| {
            let (first, second) = (row(engine, table, &one), row(engine, table, &two));
            vec![(table, one.clone(), Some(second)), (table, two.clone(), Some(first))]
        });
        refused(&folder, "is not what was written there").await;
    }
}

#[tokio::test]
async fn l6_rows_that_came_back_or_were_added_are_noticed() {
    let folder = filled().await;
    let stale = |engine: &RedbEngine| {
        let manifest = Manifest::read(&row(engine, Table::Meta, MANIFEST)).unwrap();
        StateRow { version: 1, value: b"0" }.write(Seal::of(&manifest.log), b"k0")
    };
    tamper(&folder, |engine| vec![(Table::State, b"k0".to_vec(), Some(stale(engine)))]);
    refused(&folder, "its values are not those that it wrote").await;
    let folder = filled().await;
    tamper(&folder, |engine| vec![(Table::Log, position(7), Some(row(engine, Table::Log, &position(6))))]);
    refused(&folder, "event 7 is beyond its log, 1 to 6").await;
}

#[tokio::test]
async fn l6_a_store_of_a_newer_format_is_refused() {
    let newer = |engine: &RedbEngine| {
        let mut body = row(engine, Table::Meta, MANIFEST);
        body.truncate(body.len() - 8);
        body[0] = FORMAT + 1;
        Seal::bare().close(Table::Meta, MANIFEST, body)
    };
    let of_a_row = |engine: &RedbEngine| {
        let manifest = Manifest::read(&row(engine, Table::Meta, MANIFEST)).unwrap();
        let key = position(6);
        let mut newer = row(engine, Table::Log, &key);
        // After the length of the event.
        newer.truncate(newer.len() - 8);
        newer[4] = FORMAT + 1;
        let event = Seal::of(&manifest.log).close(Table::Log, &key, newer.split_off(4));
        newer.extend(event);
        newer
    };
    let whole = filled().await;
    tamper(&whole, |engine| vec![(Table::Meta, MANIFEST.to_vec(), Some(newer(engine)))]);
    let rows = filled().await;
    tamper(&rows, |engine| vec![(Table::Log, position(6), Some(of_a_row(engine)))]);
    for folder in [whole, rows] {
        let error = Store::open(folder.path(), FileSettings::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(
            text.contains("format 2") && text.contains("format 1") && text.contains("newer version"),
            "{text}"
        );
    }
}

#[test]
fn l6_an_idle_worker_costs_little() {
    // One pointer to its name and its length, and its head; the table is at most half empty after it has grown.
    let entry = size_of::<(hodei_worker_core::model::WorkerId, index::Head)>();
    assert!(entry <= 40, "{entry} bytes");
}
