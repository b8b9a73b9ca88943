//! Workers that fail and are brought back.

use std::sync::Arc;

use hodei_worker::{
    WorkerState,
    lifecycle::{Escalation, RecoverySettings},
    manager::WorkerQuery,
    model::RestartPolicy,
    quantity::HumanDuration,
};

use crate::bed::Bed;

crate::cases![l3_a_killed_worker_runs_again, l3_a_crash_loop_calls_a_person];

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
