//! Two managers that share a fleet, on a PostgreSQL of the test's own schema.

use std::{sync::Arc, time::Duration};

use hodei_worker::{
    WorkerManager, WorkerState,
    lifecycle::Worker,
    manager::{ManagerSettings, RemoveWorker, Shutdown, StopWorker, WorkerQuery},
    model::RestartPolicy,
    quantity::HumanDuration,
    store::Store,
    stores::{PostgresSettings, PostgresStore},
};

use crate::bed::{Bed, within};

crate::cases![
    l6_another_host_takes_over_from_one_that_is_gone,
    l6_a_fleet_is_one_view_for_all_hosts,
    l6_a_command_reaches_the_host_that_answers,
    l6_a_host_that_hands_over_leaves_at_once,
];

async fn store(bed: &Bed) -> Arc<dyn Store> {
    let url = std::env::var("HODEI_TEST_POSTGRES").expect("the part is there");
    Arc::new(PostgresStore::connect(PostgresSettings::at(url).in_schema(schema(bed))).await.unwrap())
}

fn schema(bed: &Bed) -> String {
    format!("t_{}", bed.installation)
}

/// Removes the case's schema, if it has one.
pub(crate) async fn clean(bed: &Bed) {
    let Ok(url) = std::env::var("HODEI_TEST_POSTGRES") else { return };
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", schema(bed))).await.unwrap();
    drop(client);
    let _ = connection.await;
}

async fn host(bed: &Bed) -> WorkerManager {
    let mut settings: ManagerSettings = Bed::settings();
    settings.lease = HumanDuration::secs(2);
    WorkerManager::builder(store(bed).await)
        .provider(bed.provider().await)
        .settings(settings)
        .open()
        .await
        .unwrap()
}

fn runs(worker: &Worker) -> bool {
    worker.state == Some(WorkerState::Running)
}

async fn seen(manager: &WorkerManager, id: &hodei_worker::WorkerId) -> Worker {
    hodei_worker::testkit::eventually(within(20), || async {
        manager.worker(id).await.unwrap().ok_or("it is not seen")
    })
    .await
    .unwrap()
}

async fn l6_a_fleet_is_one_view_for_all_hosts(bed: Arc<Bed>) {
    let (first, second) = (host(&bed).await, host(&bed).await);
    for (manager, name) in [(&first, "a"), (&second, "b")] {
        manager.create_worker(&bed.sleeper(name).build().unwrap()).await.unwrap();
    }
    for manager in [&first, &second] {
        for name in ["a", "b"] {
            let id = name.parse().unwrap();
            seen(manager, &id).await;
            manager.wait_for(&id, runs).await.unwrap();
        }
        assert!(manager.strays().await.unwrap().is_empty());
    }
    // A host that leaves ends its own workers, and leaves those of others alone.
    let before = second.worker(&"b".parse().unwrap()).await.unwrap();
    first.shutdown(Shutdown::Remove { grace: Some(Duration::ZERO) }).await.unwrap();
    second.wait_until_gone(&"a".parse().unwrap()).await.unwrap();
    assert_eq!(second.worker(&"b".parse().unwrap()).await.unwrap(), before);
    second.shutdown(Shutdown::HandOver).await.unwrap();
}

async fn l6_another_host_takes_over_from_one_that_is_gone(bed: Arc<Bed>) {
    let first = host(&bed).await;
    let config = bed.sleeper("a").restart_policy(RestartPolicy::Always).build().unwrap();
    let id = &config.worker_id;
    first.create_worker(&config).await.unwrap();
    let before = first.wait_for(id, runs).await.unwrap();
    let second = host(&bed).await;
    seen(&second, id).await;
    // As if it had been killed: nobody renews its lease any more.
    drop(first);
    let taken = second.wait_for(id, |worker| worker.owner_epoch > 0).await.unwrap();
    assert_eq!((taken.run.as_ref(), taken.generation), (before.run.as_ref(), before.generation));
    // It answers for it now: what fails is brought back.
    bed.kill(&taken).await;
    let run = taken.run.clone();
    second.wait_for(id, move |worker| runs(worker) && worker.run != run).await.unwrap();
}

async fn l6_a_command_reaches_the_host_that_answers(bed: Arc<Bed>) {
    let (first, second) = (host(&bed).await, host(&bed).await);
    let config = bed.sleeper("a").build().unwrap();
    let id = &config.worker_id;
    first.create_worker(&config).await.unwrap();
    first.wait_for(id, runs).await.unwrap();
    seen(&second, id).await;
    second.stop_worker(id, &StopWorker::within(within(10))).await.unwrap();
    let stopped = first.wait_for_end(id).await.unwrap();
    assert_eq!(stopped.state, Some(WorkerState::Stopped));
    second.start_worker(id).await.unwrap();
    first.wait_for(id, runs).await.unwrap();
    second.remove_worker(id, &RemoveWorker::kill()).await.unwrap();
    second.wait_until_gone(id).await.unwrap();
}

async fn l6_a_host_that_hands_over_leaves_at_once(bed: Arc<Bed>) {
    let first = host(&bed).await;
    for name in ["a", "b", "c"] {
        let config = bed.sleeper(name).build().unwrap();
        first.create_worker(&config).await.unwrap();
        first.wait_for(&config.worker_id, runs).await.unwrap();
    }
    first.shutdown(Shutdown::HandOver).await.unwrap();
    let second = host(&bed).await;
    for worker in second.workers(&WorkerQuery::all()).await.unwrap() {
        second.wait_for(&worker.id, |worker| worker.owner_epoch > 0).await.unwrap();
    }
    second.shutdown(Shutdown::Remove { grace: Some(Duration::ZERO) }).await.unwrap();
}
