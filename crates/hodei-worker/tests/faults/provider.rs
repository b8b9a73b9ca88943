//! A provider that answers late, twice, out of order or never, or is not there.

use std::{sync::Arc, time::Duration};

use hodei_worker::{
    ErrorKind, WorkerState,
    lifecycle::Escalation,
    manager::{RemoveWorker, Shutdown, StopWorker, Sweep, WorkerQuery},
    policy::{PolicySettings, Stack},
    provider::Operation,
    testkit::{Fault, Program},
};

use crate::{
    bed::{Bed, away, lost, program, runs, sleeper},
    repeater::Repeater,
};

#[tokio::test(start_paused = true)]
async fn l6_a_late_answer_is_waited_for() {
    let bed = Bed::new();
    for operation in [Operation::Create, Operation::Start, Operation::Delete] {
        bed.platform.inject(operation, Fault::Delay(Duration::from_secs(600)));
    }
    let manager = bed.manager().await;
    let config = sleeper("a");
    manager.create_worker(&config).await.unwrap();
    manager.wait_for(&config.worker_id, runs).await.unwrap();
    assert_eq!(bed.platform.calls(Operation::Create), 1);
    manager.remove_worker(&config.worker_id, &RemoveWorker::kill()).await.unwrap();
    manager.wait_until_gone(&config.worker_id).await.unwrap();
    assert!(bed.platform.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l6_a_lost_answer_makes_no_double_and_no_orphan() {
    let bed = Bed::new();
    for operation in [Operation::Create, Operation::Start, Operation::Stop, Operation::Delete] {
        bed.platform.inject(operation, Fault::LoseAnswer(lost()));
        bed.platform.inject(operation, Fault::LoseAnswer(lost()));
    }
    let manager = bed.manager().await;
    let config = program("a", &Program::Exit(0)).build().unwrap();
    manager.create_worker(&config).await.unwrap();
    let end = manager.wait_for_end(&config.worker_id).await.unwrap();
    assert_eq!(end.state, Some(WorkerState::Stopped));
    assert!(end.earlier_run.is_none(), "a finished job has run twice: {end:?}");
    assert_eq!(bed.platform.len(), 1);
    manager.remove_worker(&config.worker_id, &RemoveWorker::default()).await.unwrap();
    manager.wait_until_gone(&config.worker_id).await.unwrap();
    assert!(bed.platform.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l6_what_is_never_answered_can_be_removed() {
    for operation in [Operation::Create, Operation::Start] {
        let bed = Bed::new();
        bed.platform.inject(operation, Fault::Hang);
        let manager = bed.manager().await;
        let config = sleeper("a");
        let id = &config.worker_id;
        manager.create_worker(&config).await.unwrap();
        while bed.platform.calls(operation) == 0 {
            tokio::task::yield_now().await;
        }
        manager.remove_worker(id, &RemoveWorker::kill()).await.unwrap();
        manager.wait_until_gone(id).await.unwrap();
        assert!(bed.platform.is_empty(), "after a {operation:?} without an answer");
    }
}

#[tokio::test(start_paused = true)]
async fn l6_what_is_never_answered_times_out_and_is_done_again() {
    let bed = Bed::new();
    for operation in [Operation::Create, Operation::Start, Operation::Delete] {
        bed.platform.inject(operation, Fault::Hang);
    }
    let provider = Stack::standard(bed.provider("fake"), &PolicySettings::default());
    let manager = bed.manager_with(provider, Bed::settings()).await;
    let config = sleeper("a");
    manager.create_worker(&config).await.unwrap();
    let running = manager.wait_for(&config.worker_id, runs).await.unwrap();
    assert!(running.earlier_run.is_none());
    manager.shutdown(Shutdown::Remove { grace: None }).await.unwrap();
    assert!(bed.platform.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l6_news_that_come_twice_and_out_of_order_count_once() {
    let bed = Bed::new();
    let manager = bed.manager_with(Arc::new(Repeater::new(bed.provider("fake"))), Bed::settings()).await;
    let config = sleeper("a");
    let id = &config.worker_id;
    manager.create_worker(&config).await.unwrap();
    let mut known = manager.wait_for(id, runs).await.unwrap();
    for attempts in 1..=4 {
        bed.platform.kill(&bed.installation, &known.reference());
        let (run, generation) = (known.run.clone(), known.generation);
        known = manager
            .wait_for(id, move |worker| {
                runs(worker) && (worker.run != run || worker.generation != generation)
            })
            .await
            .unwrap();
        manager.quiet().await.unwrap();
        let settled = manager.worker(id).await.unwrap().unwrap();
        assert_eq!((&settled.run, settled.recovery.unwrap().attempts), (&known.run, attempts));
    }
    assert_eq!(bed.platform.len(), 1);
    manager.stop_worker(id, &StopWorker::default()).await.unwrap();
    let end = manager.wait_for_end(id).await.unwrap();
    assert_eq!(end.state, Some(WorkerState::Stopped));
    // A new worker of that name is not buried by what is told of the old one.
    manager.remove_worker(id, &RemoveWorker::default()).await.unwrap();
    manager.wait_until_gone(id).await.unwrap();
    manager.create_worker(&config).await.unwrap();
    let again = manager.wait_for(id, runs).await.unwrap();
    assert!(again.generation > end.generation);
    manager.quiet().await.unwrap();
    assert_eq!(manager.worker(id).await.unwrap(), Some(again));
}

#[tokio::test(start_paused = true)]
async fn l6_a_provider_that_panics_takes_nobody_with_it() {
    let bed = Bed::new();
    let provider = Arc::new(Repeater::new(bed.provider("fake")));
    let manager = bed.manager_with(Arc::clone(&provider) as _, Bed::settings()).await;
    let config = sleeper("a");
    let id = &config.worker_id;
    provider.panics(2);
    manager.create_worker(&config).await.unwrap();
    manager.wait_for(id, runs).await.unwrap();
    assert!(provider.has_panicked());
    provider.panics(2);
    manager.stop_worker(id, &StopWorker::default()).await.unwrap();
    assert_eq!(manager.wait_for_end(id).await.unwrap().state, Some(WorkerState::Stopped));
    manager.start_worker(id).await.unwrap();
    manager.wait_for(id, runs).await.unwrap();
    assert!(provider.has_panicked());
    manager.shutdown(Shutdown::Remove { grace: None }).await.unwrap();
    assert!(bed.platform.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l3_a_removal_that_is_always_refused_is_told_to_a_person() {
    let bed = Bed::new();
    let manager = bed.manager().await;
    let config = sleeper("a");
    let id = &config.worker_id;
    manager.create_worker(&config).await.unwrap();
    manager.wait_for(id, runs).await.unwrap();
    for _ in 0..20 {
        let refused = hodei_worker::Error::new(ErrorKind::PermissionDenied, "you may not");
        bed.platform.inject(Operation::Delete, Fault::Fail(refused));
    }
    manager.remove_worker(id, &RemoveWorker::kill()).await.unwrap();
    let told = manager.wait_for(id, |worker| worker.escalated().is_some()).await.unwrap();
    assert_eq!(told.escalated(), Some(Escalation::Refused));
    let listed = manager.workers(&WorkerQuery::escalated()).await.unwrap();
    assert_eq!(listed.len(), 1);
    // It is not left behind when it is possible again.
    manager.wait_until_gone(id).await.unwrap();
    assert!(bed.platform.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l6_a_provider_that_is_away_at_the_start_is_waited_for() {
    let bed = Bed::new();
    let first = bed.manager().await;
    let (stays, dies) = (sleeper("stays"), sleeper("dies"));
    for config in [&stays, &dies] {
        first.create_worker(config).await.unwrap();
    }
    let known = first.wait_for(&stays.worker_id, runs).await.unwrap();
    let victim = first.wait_for(&dies.worker_id, runs).await.unwrap();
    drop(first);
    bed.platform.kill(&bed.installation, &victim.reference());
    for operation in [Operation::Capabilities, Operation::Watch, Operation::Status] {
        for _ in 0..5 {
            bed.platform.inject(operation, Fault::Fail(away()));
        }
    }
    let second = bed.manager().await;
    // Until it is back its workers are as they were: an outage is no failure of theirs.
    for config in [&stays, &dies] {
        let worker = second.worker(&config.worker_id).await.unwrap().unwrap();
        assert_eq!((worker.state, worker.alive), (Some(WorkerState::Running), true));
    }
    let refused = second.create_worker(&sleeper("new")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    second.synced().await.unwrap();
    let run = victim.run.clone();
    let healed =
        second.wait_for(&dies.worker_id, move |worker| runs(worker) && worker.run != run).await.unwrap();
    assert_eq!(healed.recovery.unwrap().attempts, 1);
    assert_eq!(second.worker(&stays.worker_id).await.unwrap(), Some(known));
    second.create_worker(&sleeper("new")).await.unwrap();
    second.wait_for(&"new".parse().unwrap(), runs).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn l6_an_outage_is_never_a_failure_of_the_worker() {
    let bed = Bed::new();
    let manager = bed.manager().await;
    for _ in 0..30 {
        bed.platform.inject(Operation::Create, Fault::Fail(away()));
    }
    let config = sleeper("a");
    manager.create_worker(&config).await.unwrap();
    let running = manager.wait_for(&config.worker_id, runs).await.unwrap();
    assert!(running.recovery.is_none_or(|recovery| recovery.attempts == 0));
}

#[tokio::test(start_paused = true)]
async fn l6_a_dry_sweep_removes_nothing() {
    let bed = Bed::new();
    let first = bed.manager().await;
    let config = sleeper("a");
    first.create_worker(&config).await.unwrap();
    first.wait_for(&config.worker_id, runs).await.unwrap();
    // Removed, as far as anybody knows; the object comes back, as from a paused engine.
    first.remove_worker(&config.worker_id, &RemoveWorker::kill()).await.unwrap();
    first.wait_until_gone(&config.worker_id).await.unwrap();
    first.shutdown(Shutdown::HandOver).await.unwrap();
    let mark = hodei_worker::model::IntentMark {
        log: hodei_worker::store::EventStore::info(&*bed.store).log.clone(),
        position: 1,
    };
    let options = hodei_worker::provider::CreateOptions::default().with_intent(mark);
    hodei_worker::WorkerProvider::create_worker(&*bed.provider("fake"), &config, &options).await.unwrap();

    let mut settings = Bed::settings();
    settings.sweep = Sweep::DryRun;
    let second = bed.manager_with(bed.provider("fake"), settings).await;
    second.synced().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let found = second.strays().await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(!found[0].is_quarantined(), "{found:?}");
    assert_eq!(bed.platform.len(), 1);
    second.shutdown(Shutdown::HandOver).await.unwrap();

    let third = bed.manager().await;
    third.synced().await.unwrap();
    while !bed.platform.is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    while !third.strays().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
