//! C1: a store that fails, a host that is killed, a disk that is full, a key that is changed.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

#[path = "simple_bed/mod.rs"]
mod bed;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use bed::{engine, get, key, master, open, put, settings};
use hodei_credentials::{Anchor, FileAnchor, MasterKey, SimpleCredentialProvider, SimpleSettings};
use hodei_worker_core::{
    Error, ErrorKind, Result,
    credential::{CredentialProvider as _, DeleteCredentialOptions, RetrieveOptions, StoreOptions},
    model::WorkerId,
    store::{
        Appended, Batch, Compaction, EventStore, LeaseStore, MemoryStore, Page, StateEntry, StateStore,
        StateValue, Store, StoreInfo, WorkerSnapshot,
    },
    testkit::{SmallDisk, polled},
};

/// A store that answers to so many writes, and to all others with an error: before it has written, or after.
#[derive(Debug)]
struct Failing {
    inner: MemoryStore,
    writes: AtomicI64,
    writes_all_the_same: bool,
}

impl Failing {
    fn after(writes: i64, writes_all_the_same: bool) -> Arc<Self> {
        Arc::new(Self { inner: MemoryStore::new(), writes: AtomicI64::new(writes), writes_all_the_same })
    }
    fn left(&self) -> i64 {
        self.writes.load(Ordering::SeqCst)
    }
    fn fail_after(&self, writes: i64) {
        self.writes.store(writes, Ordering::SeqCst);
    }
    fn mend(&self) {
        self.writes.store(i64::MAX, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventStore for Failing {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }
    async fn append(&self, batch: Batch) -> Result<Appended> {
        self.inner.append(batch).await
    }
    async fn read(&self, after: u64, limit: usize) -> Result<Page> {
        self.inner.read(after, limit).await
    }
    async fn read_stream(&self, worker: &WorkerId, after: u64, limit: usize) -> Result<Page> {
        self.inner.read_stream(worker, after, limit).await
    }
    async fn last_position(&self) -> Result<u64> {
        self.inner.last_position().await
    }
    async fn changed(&self, after: u64) -> Result<()> {
        self.inner.changed(after).await
    }
    async fn compact(&self, through: u64) -> Result<Compaction> {
        self.inner.compact(through).await
    }
    async fn snapshots(&self, after: Option<&WorkerId>, limit: usize) -> Result<Vec<WorkerSnapshot>> {
        self.inner.snapshots(after, limit).await
    }
}

#[async_trait]
impl StateStore for Failing {
    async fn get(&self, key: &str) -> Result<Option<StateValue>> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<StateEntry>> {
        self.inner.list(prefix, after, limit).await
    }
    async fn write(&self, batch: Batch) -> Result<()> {
        if self.writes.fetch_sub(1, Ordering::SeqCst) > 0 {
            return self.inner.write(batch).await;
        }
        if self.writes_all_the_same {
            self.inner.write(batch).await?;
        }
        Err(Error::new(ErrorKind::Unavailable, "the answer was lost"))
    }
}

impl Store for Failing {
    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }
}

#[tokio::test]
async fn c1_what_became_of_a_write_whose_answer_was_lost_is_looked_up() {
    for written in [false, true] {
        let store = Failing::after(2, written);
        let secrets = open(Arc::clone(&store) as Arc<dyn Store>).await.unwrap();
        let first = put(&secrets, "a", "first").await.unwrap();
        let expecting = StoreOptions::expecting(first.clone());
        let lost = secrets.store_credential(&key("a"), "second".into(), &expecting).await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Unavailable, "{lost}");
        store.mend();
        let again = secrets.store_credential(&key("a"), "second".into(), &expecting).await;
        match written {
            // It was stored: another one is the newest now.
            true => assert_eq!(again.unwrap_err().kind(), ErrorKind::Conflict),
            false => drop(again.unwrap()),
        }
        assert_eq!(get(&secrets, "a").await.unwrap(), "second");
        assert_eq!(secrets.list_versions(&key("a")).await.unwrap().len(), 2);
        secrets.verify().await.unwrap();
    }
}

#[tokio::test]
async fn c1_all_of_a_store_comes_under_another_key_while_it_is_used() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let secrets = open(Arc::clone(&store)).await.unwrap();
    for n in 0..20 {
        put(&secrets, &format!("k{n}"), "old").await.unwrap();
    }
    let new = MasterKey::Given(vec![9; 32].into());
    secrets.rekey(&new).await.unwrap();
    put(&secrets, "k0", "new").await.unwrap();
    // It was opened with the former key, and knows the new one.
    assert_eq!(secrets.verify().await.unwrap().credentials, 20);
    drop(secrets);
    let former = SimpleCredentialProvider::open(Arc::clone(&store), settings(None)).await.unwrap_err();
    assert_eq!(former.kind(), ErrorKind::Unauthenticated, "{former}");
    let secrets = SimpleCredentialProvider::open(store, SimpleSettings::new(new)).await.unwrap();
    assert_eq!(
        (get(&secrets, "k0").await.unwrap(), get(&secrets, "k19").await.unwrap()),
        ("new".into(), "old".into())
    );
    assert_eq!(secrets.verify().await.unwrap().credentials, 20);
}

#[tokio::test]
async fn c1_a_change_of_the_key_that_is_cut_off_anywhere_is_gone_on_with() {
    let new = || MasterKey::Given(vec![9; 32].into());
    for writes in 0..12 {
        for written in [false, true] {
            // Its making, and five credentials.
            let store = Failing::after(6 + writes, written);
            let secrets = open(Arc::clone(&store) as Arc<dyn Store>).await.unwrap();
            for n in 0..5 {
                put(&secrets, &format!("k{n}"), "old").await.unwrap();
            }
            let cut_off = secrets.rekey(&new()).await.is_err();
            drop(secrets);
            store.mend();
            let both = SimpleSettings::new(master()).former_key(new());
            let shared = Arc::clone(&store) as Arc<dyn Store>;
            let secrets = SimpleCredentialProvider::open(Arc::clone(&shared), both).await.unwrap();
            assert_eq!(get(&secrets, "k4").await.unwrap(), "old");
            secrets.rekey(&new()).await.unwrap();
            drop(secrets);
            let secrets = SimpleCredentialProvider::open(shared, SimpleSettings::new(new())).await.unwrap();
            assert_eq!(secrets.verify().await.unwrap().versions, 5, "{writes}, {written}, {cut_off}");
        }
    }
}

#[tokio::test]
async fn c1_a_store_whose_key_was_changed_recovers_from_a_write_that_failed() {
    let store = Failing::after(4, true);
    let secrets = open(Arc::clone(&store) as Arc<dyn Store>).await.unwrap();
    put(&secrets, "a", "first").await.unwrap();
    let new = MasterKey::Given(vec![9; 32].into());
    // The first of its writes is done, and is not answered: it is repeated in the same process.
    assert!(store.left() == 2 && secrets.rekey(&new).await.is_err());
    store.mend();
    secrets.rekey(&new).await.unwrap();
    store.fail_after(0);
    put(&secrets, "a", "second").await.unwrap_err();
    store.mend();
    put(&secrets, "a", "third").await.unwrap();
    assert_eq!(secrets.list_versions(&key("a")).await.unwrap().len(), 3);
    secrets.verify().await.unwrap();
    drop(secrets);
    let secrets = SimpleCredentialProvider::open(store, SimpleSettings::new(new)).await.unwrap();
    assert_eq!(get(&secrets, "a").await.unwrap(), "third");
}

#[tokio::test]
async fn c1_a_change_of_the_key_that_is_given_up_anywhere_leaves_a_store_that_goes_on() {
    let new = || MasterKey::Given(vec![9; 32].into());
    for polls in 0..40 {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let secrets = open(Arc::clone(&store)).await.unwrap();
        for n in 0..3 {
            put(&secrets, &format!("k{n}"), "old").await.unwrap();
        }
        let is_over = polled(Box::pin(secrets.rekey(&new())), polls).await.is_some();
        put(&secrets, "k0", "new").await.unwrap();
        secrets.rekey(&new()).await.unwrap();
        drop(secrets);
        let secrets = SimpleCredentialProvider::open(store, SimpleSettings::new(new())).await.unwrap();
        assert_eq!(get(&secrets, "k0").await.unwrap(), "new", "{polls}, {is_over}");
        secrets.verify().await.unwrap();
    }
}

#[tokio::test]
async fn c1_two_changes_of_the_key_at_once_come_one_after_the_other() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let secrets = open(Arc::clone(&store)).await.unwrap();
    put(&secrets, "a", "first").await.unwrap();
    let keys = [9, 10].map(|byte| MasterKey::Given(vec![byte; 32].into()));
    let (one, other) = tokio::join!(secrets.rekey(&keys[0]), secrets.rekey(&keys[1]));
    one.unwrap();
    other.unwrap();
    drop(secrets);
    let [_, last] = keys;
    let secrets = SimpleCredentialProvider::open(store, SimpleSettings::new(last)).await.unwrap();
    assert_eq!(get(&secrets, "a").await.unwrap(), "first");
}

#[tokio::test]
async fn c1_two_providers_of_one_store_do_not_write_over_each_other() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (one, other) = (open(Arc::clone(&store)).await.unwrap(), open(Arc::clone(&store)).await.unwrap());
    put(&one, "a", "first").await.unwrap();
    let refused = put(&other, "b", "second").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    // It has seen the other's by then.
    put(&other, "b", "second").await.unwrap();
    let whole = open(store).await.unwrap();
    assert_eq!(whole.verify().await.unwrap().credentials, 2);
}

#[tokio::test]
async fn c1_no_version_comes_twice_though_its_credential_was_deleted() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let secrets = open(Arc::clone(&store)).await.unwrap();
    let first = put(&secrets, "a", "first").await.unwrap();
    secrets.delete_credential(&key("a"), &DeleteCredentialOptions::default()).await.unwrap();
    drop(secrets);
    let secrets = open(store).await.unwrap();
    let again = put(&secrets, "a", "another").await.unwrap();
    assert_ne!(first, again);
    let stale = secrets.store_credential(&key("a"), "x".into(), &StoreOptions::expecting(first)).await;
    assert_eq!(stale.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn c1_all_versions_are_exported_and_nothing_shows_them() {
    let secrets = open(Arc::new(MemoryStore::new())).await.unwrap();
    put(&secrets, "a", "first-hunter2").await.unwrap();
    put(&secrets, "a", "second-hunter2").await.unwrap();
    let all = secrets.export().unwrap();
    let texts: Vec<_> =
        all[0].versions.iter().map(|version| version.content.secret().expose_str().unwrap()).collect();
    assert_eq!(texts, ["first-hunter2", "second-hunter2"]);
    assert!(!format!("{all:?} {secrets:?}").contains("hunter2"));
}

/// An anchor that cannot be written now and then.
#[derive(Debug)]
struct Stuck(hodei_credentials::HostAnchor, std::sync::atomic::AtomicBool);

#[async_trait]
impl Anchor for Stuck {
    async fn read(&self) -> Result<Option<hodei_credentials::AnchorMark>> {
        self.0.read().await
    }
    async fn write(&self, mark: &hodei_credentials::AnchorMark) -> Result<()> {
        match self.1.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Unavailable, "its disk is gone")),
            false => self.0.write(mark).await,
        }
    }
}

#[tokio::test]
async fn c1_nothing_is_stored_that_an_anchor_could_be_two_changes_behind_of() {
    let anchor = Arc::new(Stuck(hodei_credentials::HostAnchor::default(), false.into()));
    let shared = Arc::clone(&anchor) as Arc<dyn Anchor>;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let secrets =
        SimpleCredentialProvider::open(Arc::clone(&store), settings(Some(Arc::clone(&shared)))).await;
    let secrets = secrets.unwrap();
    put(&secrets, "a", "first").await.unwrap();
    anchor.1.store(true, Ordering::SeqCst);
    // This one is stored; the next has to wait.
    put(&secrets, "a", "second").await.unwrap();
    let refused = put(&secrets, "a", "third").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert_eq!(get(&secrets, "a").await.unwrap(), "second");
    anchor.1.store(false, Ordering::SeqCst);
    put(&secrets, "a", "third").await.unwrap();
    drop(secrets);
    let secrets = SimpleCredentialProvider::open(store, settings(Some(shared))).await.unwrap();
    assert_eq!(get(&secrets, "a").await.unwrap(), "third");
}

#[tokio::test]
async fn c1_one_process_has_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let first = engine("redb", &path).await.unwrap();
    let refused = engine("redb", &path).await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    drop(first);
}

#[tokio::test]
async fn c1_a_full_disk_leaves_the_credential_as_it_was() {
    for which in ["redb", "sled"] {
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(&folder.path().join("disk"), 48 << 20).unwrap();
        let disk = disk.expect("only root can make a small disk");
        let store = engine(which, &disk.path().join("store")).await.unwrap();
        let secrets = open(store).await.unwrap();
        put(&secrets, "a", "first").await.unwrap();
        disk.fill().unwrap();
        let large = "x".repeat(200_000);
        // A little room may be left in the files that are there.
        let mut stored = 0;
        let full = loop {
            match put(&secrets, "b", &large).await {
                Ok(_) if stored < 500 => stored += 1,
                Ok(_) => panic!("{which}: the disk is never full"),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::Capacity, "{which}: {full:?}");
        assert_eq!(get(&secrets, "a").await.unwrap(), "first");
        disk.empty().unwrap();
        put(&secrets, "a", "second").await.unwrap();
        assert_eq!(get(&secrets, "a").await.unwrap(), "second", "{which}");
        secrets.verify().await.unwrap();
    }
}

/// Set for the host that is killed: its folder.
const FOLDER: &str = "HODEI_TEST_SIMPLE_FOLDER";
const ROUNDS: usize = 12;

/// Stores one version after the other, and says which were.
async fn host(folder: &str) {
    let anchor: Arc<dyn Anchor> = Arc::new(FileAnchor::new(format!("{folder}/anchor")));
    let store = engine("redb", std::path::Path::new(&format!("{folder}/store"))).await.unwrap();
    let secrets = SimpleCredentialProvider::open(store, settings(Some(anchor))).await.unwrap();
    for n in 0.. {
        let name = format!("k{}", n % 7);
        let version = put(&secrets, &name, &format!("text-{n}")).await.unwrap();
        println!("stored {name} {version}");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn c1_a_host_that_is_killed_loses_nothing_that_it_was_told_is_stored() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return host(&folder).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for _ in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "c1_a_host_that_is_killed_loses_nothing_that_it_was_told_is_stored",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let enough = fastrand::usize(1..40);
        let mut told: Vec<(String, String)> = Vec::new();
        for line in output.lines() {
            let Ok(line) = line else { break };
            let Some((_, stored)) = line.split_once("stored ") else { continue };
            let (name, version) = stored.split_once(' ').unwrap();
            told.push((name.to_owned(), version.to_owned()));
            if told.len() == enough {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(!told.is_empty());
        acknowledged += told.len();
        let anchor: Arc<dyn Anchor> = Arc::new(FileAnchor::new(folder.path().join("anchor")));
        let store = engine("redb", &folder.path().join("store")).await.unwrap();
        let secrets = SimpleCredentialProvider::open(store, settings(Some(anchor))).await.unwrap();
        secrets.verify().await.unwrap();
        for (name, version) in told.iter().rev().take(7) {
            let wanted =
                RetrieveOptions::version(hodei_worker_core::credential::CredentialVersion::new(version));
            secrets.retrieve_credential(&key(name), &wanted).await.unwrap();
        }
    }
    println!("{acknowledged} versions stored in {ROUNDS} hosts that were killed");
}
