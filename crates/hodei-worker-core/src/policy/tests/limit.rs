use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::*;
use crate::{
    error::Retry,
    model::WorkerConfig,
    policy::{DeadlinePassed, LaneSettings, Limit, LimitSettings, RateSettings, With, within},
    provider::{CreateOptions, DeleteOptions, Lane, LogOptions, Operation, StopOptions},
};

fn config(n: usize) -> WorkerConfig {
    WorkerConfig::builder(format!("w-{n}")).command(["true"]).build().unwrap()
}

fn limit(settings: &LimitSettings, script: &Arc<Script>) -> Arc<With<Limit>> {
    let provider = script.provider();
    Arc::new(With::new(Limit::new(settings), provider))
}

fn one_read() -> LimitSettings {
    LimitSettings { reads: LaneSettings { at_once: 1, queue: 1 }, ..LimitSettings::default() }
}

#[tokio::test(start_paused = true)]
async fn p7_a_thousand_pulls_do_not_delay_a_kill() {
    let script = Script::new(vec![Step::Never; 256]);
    let provider = limit(&LimitSettings::default(), &script);
    let mut pulls = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let provider = Arc::clone(&provider);
        pulls.spawn(async move { provider.create_worker(&config(n), &CreateOptions::default()).await });
    }
    settle().await;
    assert_eq!(script.count(Operation::Create), 256);
    assert_eq!(provider.policy().waiting(Lane::Long), 744);
    let begun = Instant::now();
    provider.stop_worker(&worker("w-1"), &StopOptions::kill()).await.unwrap();
    provider.get_worker_status(&worker("w-1")).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    pulls.shutdown().await;
    assert_eq!(provider.policy().waiting(Lane::Long), 0);
    provider.create_worker(&config(1), &CreateOptions::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p7_a_full_queue_is_overload_and_nothing_was_sent() {
    let script = Script::new([Step::Never]);
    let provider = limit(&one_read(), &script);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let provider = Arc::clone(&provider);
        tasks.spawn(async move { provider.get_worker_status(&worker("a")).await });
    }
    settle().await;
    let error = provider.get_worker_status(&worker("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Overloaded, Retry::Safe { after: None }));
    assert_eq!(error.context_value("lane"), Some("reads"));
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn p7_the_queue_obeys_the_deadline() {
    let script = Script::new([Step::Never]);
    let provider = limit(&one_read(), &script);
    let other = Arc::clone(&provider);
    let holder = tokio::spawn(async move { other.get_worker_status(&worker("a")).await });
    settle().await;
    let begun = Instant::now();
    let error = within(3 * SECOND, provider.get_worker_status(&worker("a"))).await.unwrap_err();
    assert_eq!(begun.elapsed(), 3 * SECOND);
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Safe { after: None }));
    assert!(DeadlinePassed::caused(&error));
    assert_eq!(script.asked().len(), 1);
    holder.abort();
    let _ = holder.await;
    provider.get_worker_status(&worker("a")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p7_an_open_stream_holds_no_permit() {
    let script = Script::new([]);
    let settings =
        LimitSettings { streams: LaneSettings { at_once: 1, queue: 0 }, ..LimitSettings::default() };
    let provider = limit(&settings, &script);
    let _one = provider.worker_logs(&worker("a"), &LogOptions::following()).await.unwrap();
    let _two = provider.worker_logs(&worker("a"), &LogOptions::following()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p7_calls_per_second_are_bounded_and_a_kill_goes_first() {
    let script = Script::new([]);
    let settings =
        LimitSettings { rate: Some(RateSettings { per_second: 10, burst: 8 }), ..LimitSettings::default() };
    let provider = limit(&settings, &script);
    let begun = Instant::now();
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..26 {
        let provider = Arc::clone(&provider);
        reads.spawn(async move { provider.get_worker_status(&worker("a")).await });
    }
    settle().await;
    assert_eq!(script.asked().len(), 6, "a quarter of the burst is kept");
    provider.stop_worker(&worker("a"), &StopOptions::kill()).await.unwrap();
    provider.delete_worker(&worker("a"), &DeleteOptions::default()).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    while reads.join_next().await.is_some() {}
    // The two reserved tokens come back first, then twenty more reads at ten per second.
    let took = begun.elapsed().as_millis();
    assert!((2190..=2260).contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn p7_waiting_for_the_rate_obeys_the_deadline_and_takes_no_token() {
    let script = Script::new([]);
    let settings =
        LimitSettings { rate: Some(RateSettings { per_second: 1, burst: 2 }), ..LimitSettings::default() };
    let provider = limit(&settings, &script);
    provider.get_worker_status(&worker("a")).await.unwrap();
    for _ in 0..5 {
        let hurried = within(SECOND / 10, provider.get_worker_status(&worker("a"))).await;
        assert_eq!(hurried.unwrap_err().kind(), ErrorKind::Timeout);
    }
    within(SECOND, provider.get_worker_status(&worker("a"))).await.unwrap();
}
