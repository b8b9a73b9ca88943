//! Waiting for a worker: what is waited for, and for how long.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used)] // A test, all of it.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, pin_mut, poll};
use hodei_worker_core::{
    ConnectContext, ErrorKind, WorkerConfig, WorkerPhase, WorkerProvider as _, WorkerProviderExt as _,
    WorkerRef,
    policy::{DeadlinePassed, within},
    provider::{ExecOptions, LogOptions, StartOptions, StopOptions, WatchOptions},
    quantity::ByteSize,
    testkit::{FakePlatform, FakeProvider, FakeSubject, Program, Subject as _},
};

async fn running() -> (Arc<FakeProvider>, WorkerRef) {
    let context = ConnectContext::new("p".parse().unwrap(), "i".parse().unwrap());
    let provider = Arc::new(FakeProvider::new(FakePlatform::new(), context));
    let command = FakeSubject::new().command(&Program::ObeyTerm(7));
    let config = WorkerConfig::builder("a").command(command).build().unwrap();
    let worker = provider.run_worker(&config).await.unwrap().worker;
    (provider, worker)
}

/// Lets every task run until all of them wait.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn p1_a_wait_obeys_the_deadline_of_its_caller() {
    let (provider, worker) = running().await;
    let begun = tokio::time::Instant::now();
    let waiting = within(Duration::from_secs(10), provider.wait_for_exit(&worker));
    let waited = tokio::time::timeout(Duration::from_secs(3600), waiting).await.expect("it ends");
    let error = waited.unwrap_err();
    assert_eq!((error.kind(), begun.elapsed().as_secs()), (ErrorKind::Timeout, 10));
    assert!(DeadlinePassed::caused(&error), "{error:?}");
    assert_eq!(error.worker(), Some(&worker));
}

#[tokio::test(start_paused = true)]
async fn p1_the_end_of_a_run_is_not_missed_when_it_was_started_again_unseen() {
    let (provider, worker) = running().await;
    let waiting = provider.wait_for_exit(&worker);
    pin_mut!(waiting);
    // It reads the picture and waits.
    for _ in 0..50 {
        assert!(poll!(waiting.as_mut()).is_pending());
        settle().await;
    }
    provider.restart_worker(&worker, &StopOptions::kill()).await.unwrap();
    settle().await;
    let end = tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it ends").unwrap();
    assert_eq!(end.phase, WorkerPhase::Running, "the status of the later run");
    assert!(end.exit.is_none());
}

#[tokio::test(start_paused = true)]
async fn p1_a_worker_that_has_not_run_yet_is_waited_for_through_its_first_run() {
    let (provider, _) = running().await;
    let command = FakeSubject::new().command(&Program::ObeyTerm(7));
    let config = WorkerConfig::builder("b").command(command).build().unwrap();
    let worker = provider.create_worker(&config, &Default::default()).await.unwrap().worker;
    let waiting = provider.wait_for_exit(&worker);
    pin_mut!(waiting);
    for _ in 0..50 {
        assert!(poll!(waiting.as_mut()).is_pending());
        settle().await;
    }
    provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
    settle().await;
    assert!(waiting.as_mut().now_or_never().is_none(), "it runs");
    provider.stop_worker(&worker, &StopOptions::within(Duration::from_secs(5))).await.unwrap();
    let end = waiting.await.unwrap();
    assert_eq!((end.phase, end.exit.map(|exit| exit.shell_code())), (WorkerPhase::Exited, Some(7)));
    // A watch that stays open costs nothing of this.
    let mut watch = provider.watch_workers(&WatchOptions::default()).await.unwrap();
    assert!(watch.next().await.is_some());
}

#[tokio::test]
async fn p1_what_is_collected_has_an_end_and_no_holes() {
    let (provider, worker) = running().await;
    let error = provider.collect_logs(&worker, &LogOptions::following()).await.unwrap_err();
    assert_eq!((error.kind(), error.worker()), (ErrorKind::Config, Some(&worker)));

    let flood = ExecOptions::new(FakeSubject::new().command(&Program::Flood(4096)));
    let session = provider.exec_in_worker(&worker, &flood).await.unwrap();
    assert_eq!(session.collect_up_to(ByteSize::new(4096)).await.unwrap().stdout.len(), 4096);
    let session = provider.exec_in_worker(&worker, &flood).await.unwrap();
    assert_eq!(session.collect_up_to(ByteSize::new(4095)).await.unwrap_err().kind(), ErrorKind::Config);
}
