//! A log that another has open, that a newer version wrote, or that was damaged.

use std::{path::Path, sync::Arc};

use hodei_worker::{
    Error, ErrorKind, WorkerManager,
    manager::{Shutdown, WorkerQuery},
    store::{Batch, EventStore as _, MemoryStore, Store},
    stores::{FileSettings, RedbStore},
    testkit::SmallDisk,
};

use crate::bed::{Bed, runs, sleeper};

async fn open(bed: &Bed, store: Arc<dyn Store>) -> Result<WorkerManager, Error> {
    WorkerManager::builder(store).provider(bed.provider("fake")).open().await
}

async fn redb(folder: &Path) -> Result<Arc<dyn Store>, Error> {
    Ok(Arc::new(RedbStore::open(folder, FileSettings::default()).await?))
}

#[tokio::test]
async fn l6_one_log_has_one_host() {
    let (bed, folder) = (Bed::new(), tempfile::tempdir().unwrap());
    let manager = open(&bed, redb(folder.path()).await.unwrap()).await.unwrap();
    let config = sleeper("a");
    manager.create_worker(&config).await.unwrap();
    manager.wait_for(&config.worker_id, runs).await.unwrap();
    let refused = redb(folder.path()).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    manager.quiet().await.unwrap();
    let known = manager.worker(&config.worker_id).await.unwrap();
    manager.shutdown(Shutdown::HandOver).await.unwrap();
    drop(manager);
    // When it has ended, the next may have it at once.
    for _ in 0..20 {
        let next = open(&bed, redb(folder.path()).await.unwrap()).await.unwrap();
        assert_eq!(next.worker(&config.worker_id).await.unwrap(), known);
        next.synced().await.unwrap();
        next.shutdown(Shutdown::HandOver).await.unwrap();
    }
}

#[tokio::test]
async fn l6_a_log_of_a_newer_version_is_refused() {
    let bed = Bed::new();
    let store = Arc::new(MemoryStore::new());
    let event = r#"{"v":99,"o":null,"n":"creating","t":"2030-01-01T00:00:00Z","c":{}}"#;
    store.append(Batch::new().append("a".parse().unwrap(), 0, [event.into()])).await.unwrap();
    let refused = open(&bed, store).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert!(refused.to_string().contains("99"), "{refused}");
}

#[tokio::test]
async fn l6_a_log_with_a_hole_is_refused_with_the_way_out() {
    let bed = Bed::new();
    let manager = bed.manager().await;
    let config = sleeper("a");
    manager.create_worker(&config).await.unwrap();
    manager.wait_for(&config.worker_id, runs).await.unwrap();
    manager.shutdown(Shutdown::HandOver).await.unwrap();
    let events = bed.store.read(0, 100).await.unwrap().events;
    let torn = Arc::new(MemoryStore::new());
    let kept = events.iter().enumerate().filter(|(n, _)| *n != 0).map(|(_, stored)| stored.event.clone());
    torn.append(Batch::new().append(config.worker_id.clone(), 0, kept)).await.unwrap();
    let refused = open(&bed, torn).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    assert!(refused.help().is_some_and(|help| help.contains("repair")), "{refused}");
}

#[tokio::test]
async fn l6_a_flipped_bit_is_refused_and_what_is_whole_is_saved() {
    let (bed, folder) = (Bed::new(), tempfile::tempdir().unwrap());
    let place = folder.path().join("log");
    let manager = open(&bed, redb(&place).await.unwrap()).await.unwrap();
    for n in 0..20 {
        let config = sleeper(&format!("w{n}"));
        manager.create_worker(&config).await.unwrap();
        manager.wait_for(&config.worker_id, runs).await.unwrap();
    }
    manager.shutdown(Shutdown::HandOver).await.unwrap();
    drop(manager);
    flip(&place);
    let refused = redb(&place).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    assert!(refused.help().is_some_and(|help| help.contains("repair")), "{refused}");
    let saved = folder.path().join("saved");
    let salvage = RedbStore::repair(&place, &saved).await.unwrap();
    assert!(!salvage.is_whole(), "{salvage}");
    // A manager opens what was saved: workers whose events are missing are found as strays, none is removed.
    let next = open(&bed, redb(&saved).await.unwrap()).await.unwrap();
    next.synced().await.unwrap();
    // What it asks about them is answered: nothing is made a second time beside what runs.
    next.quiet().await.unwrap();
    assert_eq!(bed.platform.len(), 20);
    for worker in next.workers(&WorkerQuery::all()).await.unwrap() {
        assert!(runs(&worker) && worker.generation.get() == 1, "{worker:?}");
    }
}

#[tokio::test]
async fn l6_on_a_full_disk_commands_are_refused_and_nothing_acknowledged_is_lost() {
    let (bed, folder) = (Bed::new(), tempfile::tempdir().unwrap());
    let disk = SmallDisk::mount(&folder.path().join("disk"), 16 << 20).unwrap();
    let disk = disk.expect("only root can mount a small disk: run this test as root");
    let place = disk.path().join("log");
    let manager = open(&bed, redb(&place).await.unwrap()).await.unwrap();
    let mut created = 0;
    for _ in 0..3 {
        disk.fill().unwrap();
        let refused = loop {
            match manager.create_worker(&sleeper(&format!("w{created}"))).await {
                Ok(_) => created += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), ErrorKind::Capacity, "{refused}");
        assert!(refused.help().is_some() || refused.to_string().contains("room"), "{refused}");
        disk.empty().unwrap();
        // There is room again: what happened meanwhile is written, and commands are carried out.
        for n in 0..created {
            manager.wait_for(&format!("w{n}").parse().unwrap(), runs).await.unwrap();
        }
        manager.create_worker(&sleeper(&format!("w{created}"))).await.unwrap();
        created += 1;
    }
    for n in 0..created {
        manager.wait_for(&format!("w{n}").parse().unwrap(), runs).await.unwrap();
    }
    manager.quiet().await.unwrap();
    assert_eq!(bed.platform.len(), created);
    let before = manager.workers(&WorkerQuery::all()).await.unwrap();
    manager.shutdown(Shutdown::HandOver).await.unwrap();
    drop(manager);
    let next = open(&bed, redb(&place).await.unwrap()).await.unwrap();
    assert_eq!(next.workers(&WorkerQuery::all()).await.unwrap(), before);
    next.shutdown(Shutdown::HandOver).await.unwrap();
}

#[tokio::test]
async fn l6_a_folder_that_cannot_be_written_is_refused_before_anything_is_begun() {
    let (bed, folder) = (Bed::new(), tempfile::tempdir().unwrap());
    let disk = SmallDisk::mount(&folder.path().join("disk"), 16 << 20).unwrap();
    let disk = disk.expect("only root can mount a small disk: run this test as root");
    let place = disk.path().join("log");
    let manager = open(&bed, redb(&place).await.unwrap()).await.unwrap();
    let config = sleeper("a");
    manager.create_worker(&config).await.unwrap();
    manager.wait_for(&config.worker_id, runs).await.unwrap();
    manager.shutdown(Shutdown::HandOver).await.unwrap();
    drop(manager);
    disk.read_only(true).unwrap();
    let refused = redb(&place).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    assert!(refused.to_string().contains(&place.display().to_string()), "{refused}");
    disk.read_only(false).unwrap();
    let next = open(&bed, redb(&place).await.unwrap()).await.unwrap();
    next.wait_for(&config.worker_id, runs).await.unwrap();
    assert_eq!(bed.platform.len(), 1);
    next.shutdown(Shutdown::HandOver).await.unwrap();
}

/// Changes one byte of an event.
fn flip(folder: &Path) {
    let wanted = b"create_intended";
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(mut bytes) = std::fs::read(&path) else { continue };
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted) {
            bytes[at] ^= 1;
            std::fs::write(path, bytes).unwrap();
            return;
        }
    }
    panic!("no file of the store has an event");
}
