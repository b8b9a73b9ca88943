//! Objects of ours that the log does not explain: what cannot be proven to be ours to remove is left alone.

use std::time::Duration;

use hodei_worker::{
    WorkerConfig, WorkerManager, WorkerProvider as _,
    lifecycle::Worker,
    manager::{Found, Shutdown, Stray},
    model::{IntentMark, LogId},
    provider::{CreateOptions, DeleteOptions},
    store::EventStore as _,
};

use crate::bed::{Bed, runs, sleeper};

/// Makes an object as a manager on this log would have, for an intent at that position.
async fn object(bed: &Bed, config: &WorkerConfig, position: u64) {
    object_of(bed, config, bed.store.info().log.clone(), position).await;
}

/// As [`object`], on that log.
pub(crate) async fn object_of(bed: &Bed, config: &WorkerConfig, log: LogId, position: u64) {
    let mark = IntentMark { log, position };
    let options = CreateOptions::default().with_intent(mark);
    bed.provider("fake").create_worker(config, &options).await.unwrap();
}

/// A worker that runs, and whose manager has handed it over.
async fn left(bed: &Bed, id: &str) -> (WorkerConfig, Worker) {
    let manager = bed.manager().await;
    let config = sleeper(id);
    manager.create_worker(&config).await.unwrap();
    let known = manager.wait_for(&config.worker_id, runs).await.unwrap();
    manager.shutdown(Shutdown::HandOver).await.unwrap();
    (config, known)
}

/// What is found after longer than any sweep waits.
async fn found(manager: &WorkerManager) -> Vec<Found> {
    manager.synced().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    manager.strays().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn l6_an_object_that_names_an_intent_of_something_else_is_left_alone() {
    let bed = Bed::new();
    left(&bed, "other").await;
    // The first position is the other worker's creation; the second is no creation at all.
    object(&bed, &sleeper("a"), 1).await;
    object(&bed, &sleeper("b"), 2).await;
    let second = bed.manager().await;
    let found = found(&second).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|one| one.reason == Stray::Unproven && one.is_quarantined()), "{found:?}");
    assert_eq!(bed.platform.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn l6_an_object_in_the_place_of_a_worker_is_not_taken_for_it() {
    let bed = Bed::new();
    let (config, known) = left(&bed, "a").await;
    bed.provider("fake").delete_worker(&known.reference(), &DeleteOptions::default()).await.unwrap();
    object(&bed, &config, known.intent + 1).await;
    let second = bed.manager().await;
    // Its own object is gone: it is brought back, beside the one that is not its own.
    let healed = second
        .wait_for(&config.worker_id, move |worker| runs(worker) && worker.generation > known.generation)
        .await
        .unwrap();
    let found = found(&second).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].is_quarantined(), "{found:?}");
    assert_eq!(bed.platform.len(), 2);
    let later = second.worker(&config.worker_id).await.unwrap().unwrap();
    assert_eq!((later.state, later.generation, later.run), (healed.state, healed.generation, healed.run));
}

#[tokio::test(start_paused = true)]
async fn l6_workers_of_a_provider_that_was_renamed_are_left_alone() {
    let bed = Bed::new();
    let (config, known) = left(&bed, "a").await;
    let second = bed.manager_with(bed.provider("renamed"), Bed::settings()).await;
    let found = found(&second).await;
    assert_eq!(found.iter().map(|one| one.reason).collect::<Vec<_>>(), [Stray::OtherProvider]);
    assert_eq!(bed.platform.len(), 1);
    second.shutdown(Shutdown::HandOver).await.unwrap();
    // Under its old name it is as it was.
    let third = bed.manager().await;
    third.synced().await.unwrap();
    assert_eq!(third.worker(&config.worker_id).await.unwrap(), Some(known));
    assert!(third.strays().await.unwrap().is_empty());
}
