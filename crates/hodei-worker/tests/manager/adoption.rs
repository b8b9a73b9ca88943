//! A manager that comes back, to what its predecessor left.

use std::sync::Arc;

use hodei_worker::{
    WorkerPhase, WorkerState,
    manager::{CreateWorker, RemoveWorker, Shutdown, Stray, WorkerManager},
    provider::{CreateOptions, WorkerFilter},
    store::MemoryStore,
};

use crate::bed::Bed;

crate::cases![
    l6_a_running_worker_is_adopted,
    l6_what_ended_meanwhile_is_seen,
    l6_what_vanished_meanwhile_is_seen,
    l6_an_object_of_another_log_is_left_alone,
];

async fn l6_a_running_worker_is_adopted(bed: Arc<Bed>) {
    let first = bed.manager().await;
    let config = bed.sleeper("a").build().unwrap();
    let id = &config.worker_id;
    first.create_worker(&config).await.unwrap();
    let known = first.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    drop(first);
    let second = bed.manager().await;
    let adopted = second.worker(id).await.unwrap().unwrap();
    assert_eq!(adopted, known);
    second.remove_worker(id, &RemoveWorker::kill()).await.unwrap();
    second.wait_until_gone(id).await.unwrap();
    assert!(second.strays().await.unwrap().is_empty());
}

async fn l6_what_ended_meanwhile_is_seen(bed: Arc<Bed>) {
    let first = bed.manager().await;
    let config = bed.sleeper("a").build().unwrap();
    let id = &config.worker_id;
    first.create_worker(&config).await.unwrap();
    let known = first.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    first.shutdown(Shutdown::HandOver).await.unwrap();
    drop(first);
    bed.kill(&known).await;
    let second = bed.manager().await;
    let end = second.wait_for_end(id).await.unwrap();
    assert_eq!(end.state, Some(WorkerState::Failed), "{end:?}");
}

async fn l6_what_vanished_meanwhile_is_seen(bed: Arc<Bed>) {
    let first = bed.manager().await;
    let config = bed.sleeper("a").build().unwrap();
    let id = &config.worker_id;
    first.create_worker(&config).await.unwrap();
    let known = first.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    drop(first);
    bed.provider().await.delete_worker(&known.reference(), &Default::default()).await.unwrap();
    let second = bed.manager().await;
    let end = second.wait_for_end(id).await.unwrap();
    assert_eq!(end.state, Some(WorkerState::Failed), "{end:?}");
    assert!(!end.created && end.end.unwrap().gone);
}

async fn l6_an_object_of_another_log_is_left_alone(bed: Arc<Bed>) {
    let other = WorkerManager::builder(Arc::new(MemoryStore::new()))
        .provider(bed.provider().await)
        .open()
        .await
        .unwrap();
    let config = bed.sleeper("a").build().unwrap();
    other.create_worker(&config).await.unwrap();
    other.wait_for(&config.worker_id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    drop(other);
    // One that nobody wrote down.
    let without = bed.sleeper("b").build().unwrap();
    bed.provider().await.create_worker(&without, &CreateOptions::default()).await.unwrap();

    let ours = bed.manager().await;
    let known = bed.sleeper("c").build().unwrap();
    ours.create_worker_with(&known, CreateWorker::default()).await.unwrap();
    ours.wait_for(&known.worker_id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    let mut reasons: Vec<_> = ours.strays().await.unwrap().into_iter().map(|found| found.reason).collect();
    reasons.sort_by_key(|reason| format!("{reason:?}"));
    assert_eq!(reasons, [Stray::OtherLog, Stray::WithoutLog]);
    ours.shutdown(Shutdown::Remove { grace: Some(std::time::Duration::ZERO) }).await.unwrap();
    let left = bed.provider().await.list_workers(&WorkerFilter::all()).await.unwrap().workers;
    let phases: Vec<_> = left.iter().map(|status| (status.worker.id.as_str(), status.phase)).collect();
    assert_eq!(phases, [("a", WorkerPhase::Running), ("b", WorkerPhase::Created)]);
}
