//! A worker's life under a manager, from its creation to its removal.

use std::sync::Arc;

use futures::StreamExt as _;
use hodei_worker::{
    ErrorKind, WorkerState,
    events::EventFilter,
    lifecycle::EventType,
    manager::{CreateWorker, RemoveWorker, Shutdown, StopWorker, WorkerQuery},
    status::ExitStatus,
};

use crate::bed::{Bed, within};

crate::cases![
    l1_a_worker_goes_through_its_states,
    l1_a_command_that_ends_stops_its_worker,
    l1_a_failed_command_is_a_failed_worker,
    l6_the_same_creation_again_is_none,
    l5_a_shutdown_removes_what_was_created,
    l1_a_stopped_worker_starts_again,
];

async fn l1_a_worker_goes_through_its_states(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let mut events = manager.events().subscribe(EventFilter::all());
    let config = bed.sleeper("a").build().unwrap();
    manager.create_worker(&config).await.unwrap();
    let id = &config.worker_id;
    let running = manager.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    assert!(running.run.is_some() && running.alive && running.pending.is_none());
    bed.ready(&running).await;
    manager.stop_worker(id, &StopWorker::within(within(10))).await.unwrap();
    let stopped = manager.wait_for_end(id).await.unwrap();
    assert_eq!(stopped.state, Some(WorkerState::Stopped));
    assert_eq!(stopped.end.unwrap().exit, Some(ExitStatus::Code(0)));
    manager.remove_worker(id, &RemoveWorker::default()).await.unwrap();
    manager.wait_until_gone(id).await.unwrap();
    assert!(manager.worker(id).await.unwrap().is_none());

    let mut types = Vec::new();
    let mut position = 0;
    while types.last() != Some(&EventType::Terminated) {
        let notice = events.next().await.unwrap();
        let event = notice.event().unwrap();
        assert!(event.event_id > position, "events come in the log's order");
        position = event.event_id;
        types.push(event.event_type());
    }
    use EventType as T;
    assert_eq!(
        types,
        [
            T::CreateIntended,
            T::Created,
            T::StartIntended,
            T::Started,
            T::GoalChanged,
            T::StopIntended,
            T::Stopped,
            T::GoalChanged,
            T::DeleteIntended,
            T::Terminated
        ]
    );
    manager.shutdown(Shutdown::HandOver).await.unwrap();
}

async fn l1_a_command_that_ends_stops_its_worker(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let config = bed.script("a", "exit 0").build().unwrap();
    manager.create_worker(&config).await.unwrap();
    let end = manager.wait_for_end(&config.worker_id).await.unwrap();
    assert_eq!(end.state, Some(WorkerState::Stopped));
    assert!(end.end.unwrap().is_success());
}

async fn l1_a_failed_command_is_a_failed_worker(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let config = bed.script("a", "exit 3").build().unwrap();
    manager.create_worker(&config).await.unwrap();
    let end = manager.wait_for_end(&config.worker_id).await.unwrap();
    assert_eq!(end.state, Some(WorkerState::Failed));
    assert_eq!(end.end.unwrap().exit, Some(ExitStatus::Code(3)));
}

async fn l6_the_same_creation_again_is_none(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let config = bed.sleeper("a").build().unwrap();
    let first = manager.create_worker(&config).await.unwrap();
    let again = manager.create_worker(&config).await.unwrap();
    assert_eq!((first.generation, again.generation), (again.generation, first.generation));
    assert_eq!(manager.workers(&WorkerQuery::all()).await.unwrap().len(), 1);
    let other = bed.sleeper("a").env("OTHER", "1").build().unwrap();
    assert_eq!(manager.create_worker(&other).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(manager.config(&config.worker_id).await.unwrap(), config);
}

async fn l1_a_stopped_worker_starts_again(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let config = bed.sleeper("a").build().unwrap();
    let id = &config.worker_id;
    manager.create_worker_with(&config, CreateWorker::default().stopped()).await.unwrap();
    manager.wait_for(id, |worker| worker.created).await.unwrap();
    manager.quiet().await.unwrap();
    assert_eq!(manager.worker(id).await.unwrap().unwrap().state, Some(WorkerState::Creating));
    manager.start_worker(id).await.unwrap();
    let first = manager.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    manager.stop_worker(id, &StopWorker::kill()).await.unwrap();
    manager.wait_for_end(id).await.unwrap();
    manager.start_worker(id).await.unwrap();
    let second = manager.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    assert_ne!(first.run, second.run);
}

async fn l5_a_shutdown_removes_what_was_created(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    for name in ["a", "b", "c"] {
        let config = bed.sleeper(name).build().unwrap();
        manager.create_worker(&config).await.unwrap();
        manager
            .wait_for(&config.worker_id, |worker| worker.state == Some(WorkerState::Running))
            .await
            .unwrap();
    }
    manager.shutdown(Shutdown::Remove { grace: Some(within(10)) }).await.unwrap();
    let provider = bed.provider().await;
    let left = provider.list_workers(&hodei_worker::provider::WorkerFilter::all()).await.unwrap().workers;
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        manager.create_worker(&bed.sleeper("d").build().unwrap()).await.unwrap_err().kind(),
        ErrorKind::Cancelled
    );
}
