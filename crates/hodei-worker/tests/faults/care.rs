//! Strategies that need more than a restart, end to end.

use std::sync::Arc;

use hodei_worker::{
    ConnectContext, WorkerManager, WorkerState,
    lifecycle::{Escalation, RecoverySettings, Strategy},
    manager::Shutdown,
    model::RestartPolicy,
    provider::Operation,
    quantity::{ByteSize, HumanDuration},
    status::FailureClass,
    store::MemoryStore,
    testkit::{FakePlatform, FakeProvider, Fault, Program},
};

use crate::bed::{Bed, program, runs};

fn recovery() -> RecoverySettings {
    let mut recovery = RecoverySettings::default();
    recovery.backoff = HumanDuration::millis(10);
    recovery
}

#[tokio::test(start_paused = true)]
async fn l8_memory_is_raised_up_to_its_limit_and_no_further() {
    let bed = Bed::new();
    let manager = bed.manager().await;
    let mut recovery = recovery();
    recovery.memory_max = Some("256Mi".parse().unwrap());
    let config = program("a", &Program::Eat)
        .memory_limit("100Mi")
        .restart_policy(RestartPolicy::OnFailure { max_retries: None })
        .recovery(recovery)
        .build()
        .unwrap();
    manager.create_worker(&config).await.unwrap();
    let end = manager.wait_for(&config.worker_id, |worker| worker.escalated().is_some()).await.unwrap();
    assert_eq!(end.traits.memory_limit, Some("256Mi".parse::<ByteSize>().unwrap()));
    let recovery = end.recovery.unwrap();
    assert_eq!(recovery.failure, Some(FailureClass::OutOfMemory));
    assert_eq!(recovery.escalated, Some(Escalation::CrashLoop));
    let resized = recovery.history.iter().filter(|tried| tried.strategy == Strategy::Resize).count();
    assert_eq!(resized, 3, "150, 225 and 256 MiB");
    assert_eq!(bed.platform.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn l8_a_worker_is_moved_away_from_where_there_is_no_room() {
    let (full, roomy) = (FakePlatform::new(), FakePlatform::new());
    let provider = |platform: &FakePlatform, name: &str| {
        let context = ConnectContext::new(name.parse().unwrap(), "faults".parse().unwrap());
        Arc::new(FakeProvider::new(platform.clone(), context))
    };
    let error = hodei_worker::Error::new(hodei_worker::ErrorKind::Capacity, "no room");
    for _ in 0..100 {
        full.inject(Operation::Create, Fault::Fail(error.clone()));
    }
    let manager = WorkerManager::builder(Arc::new(MemoryStore::new()))
        .provider(provider(&full, "full"))
        .provider(provider(&roomy, "roomy"))
        .open()
        .await
        .unwrap();
    let mut recovery = recovery();
    recovery.fail_over = true;
    let config = program("a", &Program::ObeyTerm(0))
        .restart_policy(RestartPolicy::Always)
        .recovery(recovery)
        .build()
        .unwrap();
    let first = manager.create_worker(&config).await.unwrap();
    assert_eq!(first.provider.as_str(), "full");
    let moved = manager.wait_for(&config.worker_id, runs).await.unwrap();
    assert_eq!(moved.provider.as_str(), "roomy");
    assert!(moved.generation > first.generation);
    assert_eq!((full.len(), roomy.len()), (0, 1));
    manager.shutdown(Shutdown::Stop { grace: None }).await.unwrap();
    let _ = WorkerState::Stopped;
}
