//! C1: what somebody does to a store who has it and not its key is found when it is opened.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

#[path = "simple_bed/mod.rs"]
mod bed;

use std::{path::Path, sync::Arc};

use bed::{copy, engine, get, key, open, put, settings};
use bytes::Bytes;
use hodei_credentials::{
    Anchor, FileAnchor, HostAnchor, MasterKey, SimpleCredentialProvider, SimpleSettings,
};
use hodei_worker_core::{
    ErrorKind,
    credential::{CredentialProvider as _, DeleteCredentialOptions, StoreOptions},
    store::{Batch, Expected, MemoryStore, StateStore as _, Store},
};

/// Rows of a store, by their names.
async fn rows(store: &dyn Store) -> Vec<(String, Bytes)> {
    let all = store.list("", None, 10_000).await.unwrap();
    all.into_iter().map(|entry| (entry.key, entry.value.value)).collect()
}

async fn store_of(rows: &[(String, Bytes)]) -> Arc<dyn Store> {
    let store = MemoryStore::new();
    let all = rows
        .iter()
        .fold(Batch::new(), |batch, (name, value)| batch.put(name.clone(), Expected::Absent, value.clone()));
    store.write(all).await.unwrap();
    Arc::new(store)
}

/// A store with some credentials and their versions, and its rows after each change.
async fn filled() -> Vec<Vec<(String, Bytes)>> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let secrets = open(Arc::clone(&store)).await.unwrap();
    let mut states = vec![rows(&*store).await];
    for n in 0..4 {
        for name in ["a", "a/b", "c"] {
            put(&secrets, name, &format!("hunter2-{name}-{n}")).await.unwrap();
            states.push(rows(&*store).await);
        }
    }
    let pending = StoreOptions::pending().with_token("t");
    secrets.store_credential(&key("c"), "next".into(), &pending).await.unwrap();
    secrets.delete_credential(&key("a/b"), &DeleteCredentialOptions::default()).await.unwrap();
    states.push(rows(&*store).await);
    states
}

async fn refused(rows: &[(String, Bytes)], what: &str) {
    match open(store_of(rows).await).await {
        Ok(_) => panic!("{what}: it was opened"),
        Err(error) => {
            let kinds = [ErrorKind::Corrupt, ErrorKind::Unauthenticated, ErrorKind::Unsupported];
            assert!(kinds.contains(&error.kind()), "{what}: {error:?}");
        }
    }
}

#[tokio::test]
async fn c1_whatever_is_changed_in_a_store_is_found() {
    let states = filled().await;
    let newest = states.last().unwrap();
    let whole = open(store_of(newest).await).await.unwrap();
    assert_eq!(get(&whole, "a").await.unwrap(), "hunter2-a-3");
    let mut rng = fastrand::Rng::with_seed(7);
    for (n, (name, value)) in newest.iter().enumerate() {
        let with = |value: Option<Bytes>| {
            let mut rows = newest.clone();
            match value {
                Some(value) => rows[n].1 = value,
                None => drop(rows.remove(n)),
            }
            rows
        };
        refused(&with(None), &format!("{name} removed")).await;
        // All of a short row, and as many of a long one.
        for n in 0..(value.len() * 8).min(4000) {
            let mut flipped = value.to_vec();
            let bit = if value.len() * 8 <= 4000 { n } else { rng.usize(..flipped.len() * 8) };
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused(&with(Some(flipped.into())), &format!("{name}: bit {bit}")).await;
        }
        for _ in 0..10 {
            let length = rng.usize(..value.len());
            refused(&with(Some(value.slice(..length))), &format!("{name} cut off at {length}")).await;
        }
        // Another row's value, and what stood there before.
        for (other, theirs) in newest.iter().filter(|(_, theirs)| theirs != value) {
            refused(&with(Some(theirs.clone())), &format!("{other} in the place of {name}")).await;
        }
        for state in &states {
            let before = state.iter().find(|(known, _)| known == name).filter(|(_, before)| before != value);
            if let Some((_, before)) = before {
                refused(&with(Some(before.clone())), &format!("{name} of before")).await;
            }
        }
    }
}

#[tokio::test]
async fn c1_what_is_added_to_a_store_is_found() {
    let states = filled().await;
    let newest = states.last().unwrap();
    for state in &states {
        for row in state.iter().filter(|(name, _)| !newest.iter().any(|(known, _)| known == name)) {
            let mut rows = newest.clone();
            rows.push(row.clone());
            refused(&rows, &format!("{} is back", row.0)).await;
        }
    }
    for name in ["credentials/v/a/99", "credentials/c/new", "credentials/else"] {
        let mut rows = newest.clone();
        rows.push((name.to_owned(), rows[0].1.clone()));
        refused(&rows, name).await;
    }
}

#[tokio::test]
async fn c1_rows_of_another_store_of_the_same_key_are_found() {
    let (ours, theirs) = (filled().await, filled().await);
    let (ours, theirs) = (ours.last().unwrap(), theirs.last().unwrap());
    for n in 0..ours.len() {
        let mut rows = ours.clone();
        rows[n] = theirs[n].clone();
        refused(&rows, &rows[n].0.clone()).await;
    }
}

#[tokio::test]
async fn c1_another_key_is_told_from_damage() {
    let states = filled().await;
    let store = store_of(states.last().unwrap()).await;
    let another = SimpleSettings::new(MasterKey::Given(vec![8; 32].into()));
    let refused = SimpleCredentialProvider::open(store, another).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{refused}");
}

/// The store as it was after each change, and the mark that its anchor had then.
async fn history(which: &str, folder: &Path) -> usize {
    let (path, mark) = (folder.join("store"), folder.join("anchor"));
    for n in 0..6 {
        let anchor: Arc<dyn Anchor> = Arc::new(FileAnchor::new(&mark));
        let store = engine(which, &path).await.unwrap();
        let secrets = SimpleCredentialProvider::open(store, settings(Some(anchor))).await.unwrap();
        put(&secrets, "a", &format!("hunter2-{n}")).await.unwrap();
        drop(secrets);
        copy(&path, &folder.join(format!("store-{n}")));
        std::fs::copy(&mark, folder.join(format!("anchor-{n}"))).unwrap();
    }
    6
}

async fn opened(which: &str, folder: &Path, store: &Path, anchor: &Path) -> Result<String, ErrorKind> {
    let (own, mark) = (folder.join("tried"), folder.join("tried-anchor"));
    std::fs::remove_dir_all(&own).ok();
    copy(store, &own);
    std::fs::copy(anchor, &mark).unwrap();
    let anchor: Arc<dyn Anchor> = Arc::new(FileAnchor::new(&mark));
    let store = engine(which, &own).await.unwrap();
    match SimpleCredentialProvider::open(store, settings(Some(anchor))).await {
        Ok(secrets) => Ok(get(&secrets, "a").await.unwrap()),
        Err(error) => Err(error.kind()),
    }
}

#[tokio::test]
async fn c1_a_store_that_was_put_back_is_known_by_its_anchor() {
    for which in ["redb", "sled"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let count = history(which, folder).await;
        for store in 0..count {
            for anchor in 0..count {
                let (at, mark) =
                    (folder.join(format!("store-{store}")), folder.join(format!("anchor-{anchor}")));
                let outcome = opened(which, folder, &at, &mark).await;
                // The anchor may be one change behind: a host that was cut off between the two.
                let expected = match store {
                    _ if store == anchor || store == anchor + 1 => Ok(format!("hunter2-{store}")),
                    _ => Err(ErrorKind::Corrupt),
                };
                assert_eq!(outcome, expected, "{which}: store of {store}, anchor of {anchor}");
            }
        }
    }
}

#[tokio::test]
async fn c1_an_empty_store_in_the_place_of_one_that_was_used_is_known_by_its_anchor() {
    let anchor = Arc::new(HostAnchor::default());
    let secrets = settings(Some(Arc::clone(&anchor) as Arc<dyn Anchor>));
    let first = SimpleCredentialProvider::open(Arc::new(MemoryStore::new()), secrets.clone()).await.unwrap();
    put(&first, "a", "hunter2").await.unwrap();
    let kept = anchor.mark().unwrap();
    assert_eq!(kept.generation, 2);
    let refused = SimpleCredentialProvider::open(Arc::new(MemoryStore::new()), secrets).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
}
