//! Several hosts on one store: what one of them cannot understand, did not hear, or may not do.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hodei_worker::{
    ErrorKind, WorkerId, WorkerManager,
    manager::{RemoveWorker, Shutdown, Stray, WorkerQuery},
    store::{Batch, EventStore as _, Expected, Fence, HostId, LeaseId, Store},
    testkit::eventually,
};

use crate::{
    bed::{Bed, runs, sleeper},
    weak::{WeakStore, Weakness::Slow},
};

/// What a version writes that this one does not know.
const NEWER: &str = r#"{"v":99,"o":"running","n":"asleep","t":"2030-01-01T00:00:00Z","c":{}}"#;
const TERMINATED: &str = r#"{"v":1,"o":"running","t":"2030-01-01T00:00:00Z","c":"terminated"}"#;

fn id(name: &str) -> WorkerId {
    name.parse().unwrap()
}

/// The intent to create a worker, and its configuration, as a manager writes them down.
async fn creation(name: &str) -> (Bytes, Bytes) {
    let bed = Bed::new();
    let manager = bed.manager().await;
    manager.create_worker(&sleeper(name)).await.unwrap();
    let store = manager.store();
    let event = store.read(0, 1).await.unwrap().events.remove(0).event;
    let config = store.get(&format!("config/{name}")).await.unwrap().unwrap().value;
    manager.shutdown(Shutdown::Remove { grace: None }).await.unwrap();
    (event, config)
}

/// Waits until the host has heard of a worker.
async fn heard_of(manager: &WorkerManager, id: &WorkerId) {
    eventually(Duration::from_secs(60), || async {
        if manager.worker(id).await.unwrap().is_some() { Ok(()) } else { Err("nothing was heard of it") }
    })
    .await
    .unwrap();
}

/// A store with a host of a newer version.
struct Shared {
    bed: Bed,
    store: Arc<WeakStore>,
    newer: LeaseId,
}

impl Shared {
    async fn new() -> Self {
        let store = Arc::new(WeakStore::shared());
        let leases = store.leases().unwrap();
        let newer =
            leases.acquire(&HostId::new("newer").unwrap(), Duration::from_secs(3600)).await.unwrap().id;
        Self { bed: Bed::new(), store, newer }
    }

    async fn manager(&self) -> WorkerManager {
        let store: Arc<dyn Store> = Arc::<WeakStore>::clone(&self.store);
        let builder = WorkerManager::builder(store).provider(self.bed.provider("fake"));
        builder.settings(Bed::settings()).open().await.unwrap()
    }

    async fn write(&self, batch: Batch) {
        self.store.append(batch.fenced(Some(Fence::new(self.newer)))).await.unwrap();
    }

    /// Has the newer host create a worker, with these events after the first.
    async fn create(&self, name: &str, then: &[&'static str]) {
        let (event, config) = creation(name).await;
        let events = [event].into_iter().chain(then.iter().map(|event| Bytes::from(*event)));
        let batch = Batch::new().append(id(name), 0, events);
        self.write(batch.put(format!("config/{name}"), Expected::Any, config)).await;
    }

    /// An object as the newer host's provider has made it.
    async fn object(&self, name: &str, position: u64) {
        let log = self.store.info().log.clone();
        crate::strays::object_of(&self.bed, &sleeper(name), log, position).await;
    }
}

#[tokio::test(start_paused = true)]
async fn l6_a_worker_that_a_newer_version_wrote_is_left_alone_and_no_other() {
    let shared = Shared::new().await;
    shared.create("odd", &[NEWER]).await;
    shared.object("odd", 1).await;
    // One that has it in the log when it opens, and then one that hears of the next.
    let manager = shared.manager().await;
    manager.synced().await.unwrap();
    shared.create("odder", &[NEWER]).await;
    shared.object("odder", 3).await;
    let config = sleeper("a");
    manager.create_worker(&config).await.unwrap();
    manager.wait_for(&config.worker_id, runs).await.unwrap();
    for name in ["odd", "odder"] {
        let refused = manager.worker(&id(name)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
        assert_eq!(refused.context_value("worker"), Some(name));
        let refused = manager.create_worker(&sleeper(name)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
        let refused = manager.remove_worker(&id(name), &RemoveWorker::kill()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    }
    // Longer than any sweep waits.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let found = manager.strays().await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|one| one.reason == Stray::Unreadable && one.is_quarantined()), "{found:?}");
    assert_eq!(shared.bed.platform.len(), 3);
    let listed = manager.workers(&WorkerQuery::all()).await.unwrap();
    assert_eq!(listed.iter().map(|worker| worker.id.as_str()).collect::<Vec<_>>(), ["a"]);
    // When the other has removed it, its name is free.
    shared.write(Batch::new().append(id("odd"), 2, [TERMINATED.into()]).forget(id("odd"), 3)).await;
    let again = sleeper("odd");
    while let Err(error) = manager.create_worker(&again).await {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    manager.wait_for(&again.worker_id, runs).await.unwrap();
    manager.shutdown(Shutdown::Remove { grace: None }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn l6_a_host_that_is_gone_is_taken_over_but_for_what_cannot_be_understood() {
    let shared = Shared::new().await;
    let manager = shared.manager().await;
    manager.synced().await.unwrap();
    shared.create("odd", &[NEWER]).await;
    shared.create("plain", &[]).await;
    shared.store.leases().unwrap().release(shared.newer).await.unwrap();
    // What the other host had only intended is done.
    heard_of(&manager, &id("plain")).await;
    manager.wait_for(&id("plain"), runs).await.unwrap();
    let refused = manager.stop_worker(&id("odd"), &Default::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert_eq!(shared.bed.platform.len(), 1);
    manager.shutdown(Shutdown::Remove { grace: None }).await.unwrap();
    assert!(shared.bed.platform.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l6_a_creation_that_meets_what_cannot_be_understood_is_answered() {
    let shared = Shared::new().await;
    let manager = shared.manager().await;
    manager.synced().await.unwrap();
    shared.store.writes([Slow(Duration::from_secs(1))]);
    let config = sleeper("odd");
    let (created, ()) = tokio::join!(manager.create_worker(&config), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        shared.create("odd", &[NEWER]).await;
    });
    assert_eq!(created.unwrap_err().kind(), ErrorKind::Unsupported);
    let refused = manager.worker(&id("odd")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert!(shared.bed.platform.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l6_workers_are_cared_for_although_nobody_heard_that_they_were_taken_over() {
    let shared = Shared::new().await;
    let manager = shared.manager().await;
    manager.synced().await.unwrap();
    for n in 0..3 {
        shared.create(&format!("plain-{n}"), &[]).await;
    }
    shared.store.lose_take_over();
    shared.store.leases().unwrap().release(shared.newer).await.unwrap();
    for n in 0..3 {
        let id = id(&format!("plain-{n}"));
        heard_of(&manager, &id).await;
        let cared_for = tokio::time::timeout(Duration::from_secs(600), manager.wait_for(&id, runs));
        cared_for.await.expect("nobody cares for it").unwrap();
    }
    manager.shutdown(Shutdown::Remove { grace: None }).await.unwrap();
    assert!(shared.bed.platform.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l5_a_worker_gets_its_jobs_from_the_host_that_answers_for_it() {
    let shared = Shared::new().await;
    let manager = shared.manager().await;
    shared.create("theirs", &[]).await;
    heard_of(&manager, &id("theirs")).await;
    let refused = manager.begin_job(&id("theirs"), 0).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    assert_eq!(manager.degradation().choose(None, 0).unwrap_err().kind(), ErrorKind::Overloaded);
    let ours = sleeper("ours");
    manager.create_worker(&ours).await.unwrap();
    manager.wait_for(&ours.worker_id, runs).await.unwrap();
    assert_eq!(manager.degradation().choose(None, 0).unwrap(), ours.worker_id);
    drop(manager.begin_job(&ours.worker_id, 0).await.unwrap());
    // With the worker comes the right.
    shared.store.leases().unwrap().release(shared.newer).await.unwrap();
    manager.wait_for(&id("theirs"), runs).await.unwrap();
    drop(manager.begin_job(&id("theirs"), 0).await.unwrap());
    manager.shutdown(Shutdown::Remove { grace: None }).await.unwrap();
}
