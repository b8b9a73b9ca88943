use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use tokio::sync::Notify;

use super::{script::status, *};
use crate::{
    capability::ProviderCapabilities,
    policy::{Cache, CacheSettings, With},
    provider::{ExecOptions, Operation, StartOptions, WatchOptions},
    status::{WorkerObservation, WorkerPhase},
};

fn cache(script: &Arc<Script>) -> Arc<With<Cache>> {
    cached(script, &CacheSettings::default())
}

fn cached(script: &Arc<Script>, settings: &CacheSettings) -> Arc<With<Cache>> {
    let provider = script.provider();
    Arc::new(With::new(Cache::new(settings), provider))
}

async fn phase(provider: &Arc<With<Cache>>, name: &str) -> WorkerPhase {
    provider.get_worker_status(&worker(name)).await.unwrap().phase
}

#[tokio::test(start_paused = true)]
async fn p7_a_status_is_served_again_while_it_is_fresh() {
    let script = Script::new([]);
    let provider = cache(&script);
    let first = provider.get_worker_status(&worker("a")).await.unwrap();
    script.set_phase(WorkerPhase::Running);
    tokio::time::advance(Duration::from_millis(999)).await;
    let second = provider.get_worker_status(&worker("a")).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second), "the same, `as_of` included");
    assert_eq!(phase(&provider, "b").await, WorkerPhase::Running);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Running);
    assert_eq!(script.count(Operation::Status), 3);
}

#[tokio::test(start_paused = true)]
async fn p7_a_change_drops_what_is_known_before_and_after_it() {
    let script = Script::new([]);
    let provider = cache(&script);
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Created);

    let gate = Arc::new(Notify::new());
    script.then(Step::Until(Arc::clone(&gate)));
    let other = Arc::clone(&provider);
    let start = tokio::spawn(async move { other.start_worker(&worker("a"), &StartOptions::default()).await });
    settle().await;
    script.set_phase(WorkerPhase::Starting);
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Starting, "dropped before it");
    script.set_phase(WorkerPhase::Running);
    gate.notify_one();
    start.await.unwrap().unwrap();
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Running, "and after it");
}

#[tokio::test(start_paused = true)]
async fn p7_a_change_that_is_dropped_or_fails_drops_it_as_well() {
    let script = Script::new([]);
    let provider = cache(&script);
    script.then(Step::Never);
    let other = Arc::clone(&provider);
    let start = tokio::spawn(async move { other.start_worker(&worker("a"), &StartOptions::default()).await });
    settle().await;
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Created);
    script.set_phase(WorkerPhase::Running);
    start.abort();
    let _ = start.await;
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Running);

    script.set_phase(WorkerPhase::Exited);
    script.then(Step::Fail(unavailable()));
    provider.exec_in_worker(&worker("a"), &ExecOptions::new(["true"])).await.unwrap_err();
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Exited);
}

#[tokio::test(start_paused = true)]
async fn p7_a_read_that_began_before_a_change_is_not_remembered() {
    let script = Script::new([]);
    let provider = cache(&script);
    let gate = Arc::new(Notify::new());
    script.then(Step::Until(Arc::clone(&gate)));
    let other = Arc::clone(&provider);
    let read = tokio::spawn(async move { phase(&other, "a").await });
    settle().await;
    provider.start_worker(&worker("a"), &StartOptions::default()).await.unwrap();
    script.set_phase(WorkerPhase::Running);
    gate.notify_one();
    assert_eq!(read.await.unwrap(), WorkerPhase::Created, "what was the case when it was asked");
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Running);
}

#[tokio::test(start_paused = true)]
async fn p7_nobody_reads_an_older_status_than_a_watch_has_shown() {
    let script = Script::new([]);
    let provider = cache(&script);
    let source = script.set_watch();
    let mut watch = provider.watch_workers(&WatchOptions::default()).await.unwrap();
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Created);

    let exited = status(&worker("a"), WorkerPhase::Exited, 10);
    source.send(WorkerObservation::Applied(Arc::clone(&exited))).unwrap();
    watch.next().await.unwrap().unwrap();
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Exited);
    // An older listing that comes late says nothing.
    script.set_phase(WorkerPhase::Exited);
    source.send(WorkerObservation::Listed(status(&worker("a"), WorkerPhase::Exited, 9))).unwrap();
    watch.next().await.unwrap().unwrap();
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Exited);
    assert_eq!(script.count(Operation::Status), 1);
    // One that contradicts is not believed; the provider is asked.
    source.send(WorkerObservation::Listed(status(&worker("a"), WorkerPhase::Running, 9))).unwrap();
    watch.next().await.unwrap().unwrap();
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Exited);
    assert_eq!(script.count(Operation::Status), 2);
}

#[tokio::test(start_paused = true)]
async fn p7_versions_decide_where_there_are_some() {
    let counted = |phase, second, count| {
        let mut status = status(&worker("a"), phase, second);
        let changed = Arc::make_mut(&mut status);
        changed.native_id = "native".to_owned();
        changed.version = Some(crate::status::Version::of_platform(count));
        WorkerObservation::Applied(status)
    };
    let script = Script::new([]);
    let provider = cache(&script);
    let source = script.set_watch();
    let mut watch = provider.watch_workers(&WatchOptions::default()).await.unwrap();
    phase(&provider, "a").await;
    let news = [
        (counted(WorkerPhase::Running, 10, 7), WorkerPhase::Running),
        // The clock has stepped back, and this is later all the same.
        (counted(WorkerPhase::Exited, 2, 8), WorkerPhase::Exited),
        // And this is not, whatever its time.
        (counted(WorkerPhase::Running, 20, 7), WorkerPhase::Exited),
    ];
    for (told, expected) in news {
        source.send(told).unwrap();
        watch.next().await.unwrap().unwrap();
        assert_eq!(phase(&provider, "a").await, expected);
    }
    assert_eq!(script.count(Operation::Status), 1);
}

#[tokio::test(start_paused = true)]
async fn p7_a_clock_that_steps_back_hides_no_change() {
    let script = Script::new([]);
    let provider = cache(&script);
    let source = script.set_watch();
    let mut watch = provider.watch_workers(&WatchOptions::default()).await.unwrap();
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Created);
    source.send(WorkerObservation::Applied(status(&worker("a"), WorkerPhase::Running, 1_000))).unwrap();
    watch.next().await.unwrap().unwrap();
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Running);

    script.set_phase(WorkerPhase::Exited);
    source.send(WorkerObservation::Applied(status(&worker("a"), WorkerPhase::Exited, 10))).unwrap();
    watch.next().await.unwrap().unwrap();
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Exited);
}

#[tokio::test(start_paused = true)]
async fn p7_of_reads_that_cross_the_later_one_is_remembered() {
    let script = Script::new([]);
    let provider = cache(&script);
    let gate = Arc::new(Notify::new());
    script.then(Step::Until(Arc::clone(&gate)));
    let other = Arc::clone(&provider);
    let early = tokio::spawn(async move { phase(&other, "a").await });
    settle().await;
    tokio::time::advance(Duration::from_millis(1)).await;
    script.set_phase(WorkerPhase::Running);
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Running);
    gate.notify_one();
    assert_eq!(early.await.unwrap(), WorkerPhase::Created, "what was the case when it was asked");
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Running);
    assert_eq!(script.count(Operation::Status), 2);
}

#[tokio::test(start_paused = true)]
async fn p7_a_slow_watch_does_not_bring_back_what_a_change_has_dropped() {
    let script = Script::new([]);
    let provider = cache(&script);
    let source = script.set_watch();
    let mut watch = provider.watch_workers(&WatchOptions::default()).await.unwrap();
    source.send(WorkerObservation::Applied(status(&worker("a"), WorkerPhase::Created, 0))).unwrap();
    provider.start_worker(&worker("a"), &StartOptions::default()).await.unwrap();
    watch.next().await.unwrap().unwrap();
    script.set_phase(WorkerPhase::Running);
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Running);
}

#[tokio::test(start_paused = true)]
async fn p7_what_passes_by_itself_and_errors_are_not_remembered() {
    let script = Script::new([Step::Fail(unavailable())]);
    let provider = cache(&script);
    provider.get_worker_status(&worker("a")).await.unwrap_err();
    script.set_phase(WorkerPhase::NotVisibleYet);
    assert_eq!(phase(&provider, "a").await, WorkerPhase::NotVisibleYet);
    script.set_phase(WorkerPhase::Created);
    assert_eq!(phase(&provider, "a").await, WorkerPhase::Created);
}

#[tokio::test(start_paused = true)]
async fn p7_the_cache_is_bounded() {
    let script = Script::new([]);
    let settings = CacheSettings { workers: 64, ..CacheSettings::default() };
    let provider = cached(&script, &settings);
    for n in 0..2000 {
        phase(&provider, &format!("w-{n}")).await;
    }
    assert!((32..=64).contains(&provider.policy().len()), "{}", provider.policy().len());
    assert!(!provider.policy().is_empty());
    let asked = script.asked().len();
    phase(&provider, "w-1999").await;
    assert_eq!(script.asked().len(), asked, "the newest stays");
}

#[tokio::test(start_paused = true)]
async fn p7_it_can_be_switched_off() {
    let script = Script::new([]);
    let settings = CacheSettings { status: Duration::ZERO.into(), ..CacheSettings::default() };
    let provider = cached(&script, &settings);
    for _ in 0..3 {
        phase(&provider, "a").await;
    }
    assert_eq!(script.count(Operation::Status), 3);
    assert!(provider.policy().is_empty());
}

#[tokio::test(start_paused = true)]
async fn p7_capabilities_are_remembered_for_a_while() {
    let script = Script::with_capabilities([], ProviderCapabilities::new("24.0"));
    let provider = cache(&script);
    for _ in 0..3 {
        assert_eq!(provider.get_capabilities().await.unwrap().version, "24.0");
    }
    assert_eq!(script.count(Operation::Capabilities), 1);
    tokio::time::advance(10 * SECOND).await;
    provider.get_capabilities().await.unwrap();
    assert_eq!(script.count(Operation::Capabilities), 2);
}
