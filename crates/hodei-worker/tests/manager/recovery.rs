//! Workers that fail and are brought back.

use std::sync::Arc;

use hodei_worker::{
    Capability, ErrorKind, WorkerState,
    lifecycle::{Escalation, RecoverySettings, Strategy},
    manager::{RemoveWorker, WorkerQuery},
    model::RestartPolicy,
    provider::WorkerFilter,
    quantity::HumanDuration,
    status::FailureClass,
};

use crate::bed::Bed;

crate::cases![
    l3_a_killed_worker_runs_again,
    l3_a_crash_loop_calls_a_person,
    l8_memory_is_raised_after_an_out_of_memory_kill,
    l8_a_worker_is_moved_to_another_provider,
];

async fn l3_a_killed_worker_runs_again(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let config = bed.sleeper("a").restart_policy(RestartPolicy::Always).build().unwrap();
    let id = &config.worker_id;
    manager.create_worker(&config).await.unwrap();
    let first = manager.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    bed.kill(&first).await;
    let run = first.run.clone();
    let second = manager
        .wait_for(id, move |worker| worker.state == Some(WorkerState::Running) && worker.run != run)
        .await
        .unwrap();
    assert_eq!(second.generation, first.generation);
    assert_eq!(second.recovery.unwrap().attempts, 1);
}

async fn l3_a_crash_loop_calls_a_person(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let mut recovery = RecoverySettings::default();
    recovery.backoff = HumanDuration::millis(10);
    recovery.max_attempts = 3;
    let restart = RestartPolicy::OnFailure { max_retries: None };
    let config = bed.script("a", "exit 3").restart_policy(restart).recovery(recovery).build().unwrap();
    let id = &config.worker_id;
    manager.create_worker(&config).await.unwrap();
    let given_up = manager.wait_for(id, |worker| worker.escalated().is_some()).await.unwrap();
    assert_eq!(given_up.state, Some(WorkerState::Failed));
    assert_eq!(given_up.escalated(), Some(Escalation::CrashLoop));
    assert_eq!(manager.workers(&WorkerQuery::escalated()).await.unwrap().len(), 1);
    manager.quiet().await.unwrap();
    // A person mends what was wrong and starts it: it is tried anew.
    manager.start_worker(id).await.unwrap();
    let position = given_up.position;
    let again = manager
        .wait_for(id, move |worker| worker.escalated().is_some() && worker.position > position)
        .await
        .unwrap();
    assert!(again.version > given_up.version + 3);
}

/// Takes memory until it gets no more.
const EAT: &str = "x=0123456789abcdef; while :; do x=$x$x; done";

async fn l8_memory_is_raised_after_an_out_of_memory_kill(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let mut recovery = RecoverySettings::default();
    recovery.backoff = HumanDuration::millis(10);
    recovery.memory_max = Some("24Mi".parse().unwrap());
    let restart = RestartPolicy::OnFailure { max_retries: Some(2) };
    let config =
        bed.script("a", EAT).memory_limit("16Mi").restart_policy(restart).recovery(recovery).build().unwrap();
    let id = &config.worker_id;
    let created = manager.create_worker(&config).await;
    if !bed.provider().await.get_capabilities().await.unwrap().supports(Capability::MemoryLimit) {
        // Nothing is run without the limit that it asks for.
        assert_eq!(created.unwrap_err().kind(), ErrorKind::Unsupported);
        return;
    }
    created.unwrap();
    let end = manager.wait_for(id, |worker| worker.escalated().is_some()).await.unwrap();
    assert_eq!(end.traits.memory_limit, Some("24Mi".parse().unwrap()), "{end:?}");
    let recovery = end.recovery.unwrap();
    assert_eq!(recovery.failure, Some(FailureClass::OutOfMemory));
    assert!(recovery.history.iter().any(|tried| tried.strategy == Strategy::Resize));
    assert!(end.generation.get() > 1);
}

async fn l8_a_worker_is_moved_to_another_provider(bed: Arc<Bed>) {
    let manager = bed.builder().await.provider(bed.provider_named("other").await).open().await.unwrap();
    let mut recovery = RecoverySettings::default();
    recovery.backoff = HumanDuration::millis(10);
    recovery.fail_over = true;
    // It fails where it is, whatever is tried there: a restart and a new creation, twice each.
    let restart = RestartPolicy::OnFailure { max_retries: Some(5) };
    let config = bed.script("a", "exit 3").restart_policy(restart).recovery(recovery).build().unwrap();
    let id = &config.worker_id;
    let first = manager.create_worker(&config).await.unwrap();
    let moved = manager.wait_for(id, move |worker| worker.provider != first.provider).await.unwrap();
    assert_eq!(moved.provider.as_str(), "other");
    manager.wait_for(id, |worker| worker.escalated().is_some()).await.unwrap();
    manager.quiet().await.unwrap();
    // Nothing of it is left where it was.
    let there = bed.provider().await.list_workers(&WorkerFilter::all()).await.unwrap().workers;
    let left: Vec<_> = there.iter().filter(|status| status.worker.id == *id).collect();
    assert!(left.is_empty(), "{left:?}");
    manager.remove_worker(id, &RemoveWorker::kill()).await.unwrap();
    manager.wait_until_gone(id).await.unwrap();
}
