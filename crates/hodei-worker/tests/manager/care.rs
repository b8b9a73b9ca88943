//! Health and jobs of managed workers.

use std::sync::Arc;

use hodei_worker::{
    ErrorKind, WorkerState,
    lifecycle::{Pending, RecoverySettings},
    manager::{RemoveWorker, StopWorker},
    model::{HealthCheckConfig, Probe, RestartPolicy},
    quantity::HumanDuration,
    status::FailureClass,
};

use crate::bed::{Bed, within};

crate::cases![
    l2_an_unhealthy_worker_is_restarted,
    l2_a_worker_runs_when_it_is_found_well,
    l5_a_drain_waits_for_jobs,
    l5_a_drain_ends_at_its_deadline,
    l5_a_worker_says_itself_that_it_is_busy,
];

fn check(command: &str) -> HealthCheckConfig {
    HealthCheckConfig::new(Probe::Command(vec!["sh".into(), "-c".into(), command.into()]))
        .every(HumanDuration::millis(200))
        .within(HumanDuration::millis(200))
}

async fn l2_a_worker_runs_when_it_is_found_well(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let config = bed.sleeper("a").health_check(check("true")).build().unwrap();
    let id = &config.worker_id;
    manager.create_worker(&config).await.unwrap();
    let running = manager.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    assert!(running.traits.checked);
}

async fn l2_an_unhealthy_worker_is_restarted(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let mut check = check("test ! -e /tmp/sick");
    check.failure_threshold = 2;
    let script = match bed.place {
        // Each run of a container has its own files, those of a process are everybody's.
        crate::bed::Place::Docker => "trap 'exit 0' TERM; sleep 0.5; touch /tmp/sick; sleep 1000 & wait $!",
        crate::bed::Place::Process => "trap 'exit 0' TERM; sleep 1000 & wait $!",
    };
    if bed.place == crate::bed::Place::Process {
        check.probe = Probe::Command(vec!["false".into()]);
    }
    let mut recovery = RecoverySettings::default();
    recovery.backoff = HumanDuration::millis(10);
    let config = bed
        .script("a", script)
        .restart_policy(RestartPolicy::Always)
        .recovery(recovery)
        .health_check(check)
        .build()
        .unwrap();
    let id = &config.worker_id;
    manager.create_worker(&config).await.unwrap();
    let again = manager
        .wait_for(id, |worker| {
            let failure = worker.recovery.as_ref().and_then(|recovery| recovery.failure);
            failure == Some(FailureClass::Unhealthy) && worker.earlier_run.is_some() && worker.alive
        })
        .await
        .unwrap();
    assert!(again.recovery.unwrap().attempts >= 1);
}

async fn l5_a_drain_waits_for_jobs(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let config = bed.sleeper("a").build().unwrap();
    let id = &config.worker_id;
    manager.create_worker(&config).await.unwrap();
    manager.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    let job = manager.begin_job(id, 0).await.unwrap();
    manager.stop_worker(id, &StopWorker::within(within(600))).await.unwrap();
    let draining =
        manager.wait_for(id, |worker| matches!(worker.pending, Some(Pending::Drain { .. }))).await.unwrap();
    assert!(draining.alive && draining.state == Some(WorkerState::Stopping));
    let refused = manager.begin_job(id, 0).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Conflict | ErrorKind::Overloaded), "{refused}");
    drop(job);
    let stopped = manager.wait_for_end(id).await.unwrap();
    assert_eq!(stopped.state, Some(WorkerState::Stopped));
    manager.start_worker(id).await.unwrap();
    manager.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    drop(manager.begin_job(id, 0).await.unwrap());
}

async fn l5_a_drain_ends_at_its_deadline(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let config = bed.script("a", "trap '' TERM; sleep 1000 & wait $!").build().unwrap();
    let id = &config.worker_id;
    manager.create_worker(&config).await.unwrap();
    manager.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    let _job = manager.begin_job(id, 0).await.unwrap();
    manager.remove_worker(id, &RemoveWorker::within(std::time::Duration::from_millis(300))).await.unwrap();
    manager.wait_until_gone(id).await.unwrap();
}

async fn l5_a_worker_says_itself_that_it_is_busy(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let script = "trap 'exit 0' TERM; echo ::hodei busy; while test ! -e /tmp/done-$WHO; do sleep 0.05; done; \
                  echo ::hodei idle; sleep 1000 & wait $!";
    let config = bed.script("a", script).env("WHO", bed.installation.to_string()).reports().build().unwrap();
    let id = &config.worker_id;
    manager.create_worker(&config).await.unwrap();
    let running = manager.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap();
    hodei_worker::testkit::eventually(within(20), || async {
        if manager.jobs().count(id) == 1 { Ok(()) } else { Err("it is not busy") }
    })
    .await
    .unwrap();
    manager.stop_worker(id, &StopWorker::within(within(600))).await.unwrap();
    manager.wait_for(id, |worker| matches!(worker.pending, Some(Pending::Drain { .. }))).await.unwrap();
    // From inside, where its files are.
    let provider = bed.provider().await;
    let done = format!("/tmp/done-{}", bed.installation);
    let options = hodei_worker::provider::ExecOptions::new(["touch", &done]);
    provider.exec_in_worker(&running.reference(), &options).await.unwrap().exit().await.unwrap();
    let stopped = manager.wait_for_end(id).await.unwrap();
    assert_eq!(stopped.state, Some(WorkerState::Stopped));
    let _ = std::fs::remove_file(done);
}
