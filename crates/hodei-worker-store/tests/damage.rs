//! Damaged files: found out, and what is whole is saved.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod common;

use std::{fs, path::Path};

use common::{Engine, fast_folder, folder, log, say, worker};
use hodei_worker_core::{
    ErrorKind,
    store::{Batch, Expected},
    testkit::stores::{FolderSubject as _, damage},
};

#[tokio::test(flavor = "multi_thread")]
async fn l6_flipped_bits_and_truncations_are_detected_or_harmless() {
    for engine in Engine::ALL {
        let folder = fast_folder();
        let seed = fastrand::u64(..);
        let report = damage(&engine, folder.path(), 300, seed).await.unwrap();
        println!("{}: {report}", engine.name());
        assert!(report.missed.is_empty(), "{}: {report}", engine.name());
        // Most of a small store's file is free: about one in six of sled's hits something, more of redb's.
        assert!(report.detected > 20, "{}: {report}", engine.name());
    }
}

/// A hundred events of ten workers, closed.
async fn filled(engine: Engine, path: &Path) {
    let store = engine.open(path).await.unwrap();
    for n in 0..100 {
        say(&store, &format!("w{}", n % 10), n / 10, &format!("event {n} {}", "x".repeat(400)))
            .await
            .unwrap();
    }
    store.write(Batch::new().put("a", Expected::Any, "1").put("b", Expected::Any, "2")).await.unwrap();
}

#[tokio::test]
async fn l6_an_older_state_of_the_file_is_refused() {
    for engine in Engine::ALL {
        let (old, new) = (folder(), folder());
        filled(engine, old.path()).await;
        copy_all(old.path(), new.path());
        let store = engine.open(new.path()).await.unwrap();
        say(&store, "late", 0, "acknowledged").await.unwrap();
        drop(store);
        replace(&engine.entry(old.path()), &engine.entry(new.path()));
        let error = engine.open(new.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        assert!(text.contains("events 101 to 101") && text.contains("`repair`"), "{text}");
        let verification = engine.verify(new.path()).await.unwrap();
        assert!(!verification.is_sound(), "{verification}");
    }
}

#[tokio::test]
async fn l6_a_lost_value_is_found_by_the_number_of_commits() {
    for engine in Engine::ALL {
        let (old, new) = (folder(), folder());
        filled(engine, old.path()).await;
        copy_all(old.path(), new.path());
        let store = engine.open(new.path()).await.unwrap();
        store.write(Batch::new().put("late", Expected::Any, "acknowledged")).await.unwrap();
        drop(store);
        replace(&engine.entry(old.path()), &engine.entry(new.path()));
        let error = engine.open(new.path()).await.unwrap_err();
        assert!(error.to_string().contains("1 commits that were acknowledged are missing"), "{error}");
    }
}

#[tokio::test]
async fn l6_an_unreadable_anchor_alone_is_mended() {
    for engine in Engine::ALL {
        for bytes in [vec![], vec![0; 128], vec![7; 50], vec![7; 500]] {
            let folder = folder();
            filled(engine, folder.path()).await;
            let anchor = folder.path().join("anchor");
            let good = fs::read(&anchor).unwrap();
            fs::write(&anchor, bytes).unwrap();
            assert!(engine.verify(folder.path()).await.unwrap().is_sound());
            let store = engine.open(folder.path()).await.unwrap();
            assert_eq!(log(&store).await.len(), 100);
            assert_eq!(fs::read(&anchor).unwrap(), good);
        }
    }
}

#[tokio::test]
async fn l6_an_anchor_of_another_store_is_refused() {
    for engine in Engine::ALL {
        let (one, two) = (folder(), folder());
        filled(engine, one.path()).await;
        filled(engine, two.path()).await;
        fs::copy(one.path().join("anchor"), two.path().join("anchor")).unwrap();
        let error = engine.open(two.path()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("another store"), "{error}");
    }
}

#[tokio::test]
async fn l6_a_file_that_is_gone_or_empty_is_refused() {
    for engine in Engine::ALL {
        let folder = folder();
        filled(engine, folder.path()).await;
        let data = engine.data(folder.path());
        fs::write(&data, "").unwrap();
        let error = engine.open(folder.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let entry = engine.entry(folder.path());
        if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) }.unwrap();
        let error = engine.open(folder.path()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("is missing"), "{error}");
        let verification = engine.verify(folder.path()).await.unwrap();
        assert_eq!(verification.findings.len(), 1, "{verification}");
    }
}

#[tokio::test]
async fn l6_a_sound_store_is_verified_and_repaired_into_the_same() {
    for engine in Engine::ALL {
        let (old, new) = (folder(), folder());
        filled(engine, old.path()).await;
        let verification = engine.verify(old.path()).await.unwrap();
        assert!(verification.is_sound() && verification.notes.is_empty(), "{verification}");
        assert_eq!((verification.events, verification.workers), (100, 10));
        let before = fs::read(engine.data(old.path())).unwrap();
        let salvage = engine.repair(old.path(), new.path()).await.unwrap();
        assert!(salvage.is_whole() && !salvage.moved, "{salvage}");
        assert_eq!((salvage.events, salvage.values, salvage.snapshots), (100, 2, 0));
        assert!(fs::read(engine.data(old.path())).unwrap() == before, "the original was touched");
        let (old, new) = (engine.open(old.path()).await.unwrap(), engine.open(new.path()).await.unwrap());
        assert_eq!(old.info().log, new.info().log);
        assert_eq!(old.read(0, 1000).await.unwrap(), new.read(0, 1000).await.unwrap());
        assert_eq!(old.list("", None, 9).await.unwrap(), new.list("", None, 9).await.unwrap());
        say(&new, "w0", 10, "goes on").await.unwrap();
    }
}

#[tokio::test]
async fn l6_a_repaired_store_has_what_is_whole() {
    for engine in [Engine::Redb] {
        let (old, new) = (folder(), folder());
        filled(engine, old.path()).await;
        // The page of some event in the middle, wherever copies of it are.
        let data = engine.data(old.path());
        let mut bytes = fs::read(&data).unwrap();
        let needle = b"event 55 ";
        let places: Vec<_> =
            (0..bytes.len() - needle.len()).filter(|at| bytes[*at..].starts_with(needle)).collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at] ^= 1;
        }
        fs::write(&data, &bytes).unwrap();
        let verification = engine.verify(old.path()).await.unwrap();
        assert!(!verification.is_sound(), "{verification}");
        assert_eq!(engine.open(old.path()).await.unwrap_err().kind(), ErrorKind::Corrupt);
        let salvage = engine.repair(old.path(), new.path()).await.unwrap();
        println!("{salvage}");
        assert!(salvage.moved && !salvage.is_whole(), "{salvage}");
        // The lost one, version 6 of `w5`, and the four that follow it.
        assert_eq!((salvage.events, salvage.values), (95, 2), "{salvage}");
        assert!(salvage.lost.iter().any(|lost| lost == "event 56"), "{salvage}");
        let store = engine.open(new.path()).await.unwrap();
        let page = store.read(0, 1000).await.unwrap();
        assert!(page.compacted && page.events[0].position == 101, "{:?}", page.events[0]);
        assert_eq!(store.read_stream(&worker("w5"), 0, 100).await.unwrap().events.len(), 5);
        assert_eq!(store.read_stream(&worker("w6"), 0, 100).await.unwrap().events.len(), 10);
        say(&store, "w5", 5, "goes on").await.unwrap();
    }
}

/// redb goes on with the commit before, where the newest cannot be read.
#[tokio::test]
async fn l6_a_commit_that_the_engine_gave_up_is_refused_and_saved() {
    let (old, cut, new) = (folder(), folder(), folder());
    filled(Engine::Redb, old.path()).await;
    let store = Engine::Redb.open(old.path()).await.unwrap();
    let batch = Batch::new().append(worker("w3"), 10, ["late".into()]).put("a", Expected::Version(1), "late");
    store.append(batch).await.unwrap();
    copy_all(old.path(), cut.path());
    // Its header names the newest of two commits.
    let data = Engine::Redb.data(cut.path());
    let mut bytes = fs::read(&data).unwrap();
    let newest = 64 + 128 * usize::from(bytes[9] & 1);
    bytes[newest + 20] ^= 1;
    fs::write(&data, bytes).unwrap();
    let error = Engine::Redb.open(cut.path()).await.unwrap_err();
    assert!(error.to_string().contains("events 101 to 101"), "{error}");
    let salvage = Engine::Redb.repair(cut.path(), new.path()).await.unwrap();
    assert!(salvage.is_whole() && !salvage.moved, "{salvage}");
    let saved = Engine::Redb.open(new.path()).await.unwrap();
    assert_eq!(saved.read(0, 1000).await.unwrap(), store.read(0, 1000).await.unwrap());
    assert_eq!(saved.list("", None, 9).await.unwrap(), store.list("", None, 9).await.unwrap());
}

#[tokio::test]
async fn l6_a_store_is_not_repaired_into_another() {
    for engine in Engine::ALL {
        let (old, new) = (folder(), folder());
        filled(engine, old.path()).await;
        filled(engine, new.path()).await;
        let error = engine.repair(old.path(), new.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(log(&engine.open(new.path()).await.unwrap()).await.len(), 100);
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        replace(&entry.path(), &to.join(entry.file_name()));
    }
}

fn replace(from: &Path, to: &Path) {
    if from.is_dir() {
        let _ = fs::remove_dir_all(to);
        fs::create_dir_all(to).unwrap();
        copy_all(from, to);
    } else {
        fs::copy(from, to).unwrap();
    }
}
