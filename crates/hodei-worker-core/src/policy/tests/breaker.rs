use std::sync::Arc;

use super::*;
use crate::{
    error::Retry,
    policy::{Breaker, BreakerSettings, BreakerState, within},
    provider::{Operation, StartOptions, StopOptions, WorkerFilter},
};

fn breaker(script: &Arc<Script>) -> (Breaker, Arc<dyn WorkerProvider>) {
    let breaker = Breaker::new(&BreakerSettings::default(), script.info());
    (breaker.clone(), layered(breaker, script))
}

async fn opened(script: &Arc<Script>) -> (Breaker, Arc<dyn WorkerProvider>) {
    let (breaker, provider) = breaker(script);
    for _ in 0..5 {
        assert_eq!(breaker.state(), BreakerState::Closed);
        script.then(Step::Fail(unavailable()));
        provider.start_worker(&worker("a"), &StartOptions::default()).await.unwrap_err();
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    (breaker, provider)
}

async fn start(provider: &Arc<dyn WorkerProvider>) -> crate::Result<()> {
    provider.start_worker(&worker("a"), &StartOptions::default()).await
}

#[tokio::test(start_paused = true)]
async fn p6_breaker_opens_after_failures_and_says_when_it_reopens() {
    let script = Script::new([]);
    let (_, provider) = opened(&script).await;
    tokio::time::advance(2 * SECOND).await;
    let error = start(&provider).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.retry_after(), Some(3 * SECOND));
    assert_eq!(script.asked().len(), 5, "it is not asked while the breaker is open");
}

#[tokio::test(start_paused = true)]
async fn p6_breaker_counts_only_outages_in_a_row() {
    let script = Script::new([]);
    let (breaker, provider) = breaker(&script);
    for _ in 0..20 {
        script.then(Step::Fail(Error::new(ErrorKind::NotFound, "no such worker")));
        start(&provider).await.unwrap_err();
    }
    for _ in 0..20 {
        for _ in 0..4 {
            script.then(Step::Fail(Error::new(ErrorKind::Timeout, "no answer")));
            start(&provider).await.unwrap_err();
        }
        start(&provider).await.unwrap();
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn p6_an_answer_from_memory_proves_nothing() {
    let script = Script::new([]);
    let (breaker, provider) = breaker(&script);
    for _ in 0..5 {
        script.then(Step::Fail(unavailable()));
        start(&provider).await.unwrap_err();
        let _ = provider.get_capabilities().await;
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn p6_our_own_queue_and_hurry_are_no_failures_of_the_provider() {
    let script = Script::new(vec![Step::Never; 20]);
    let settings = plain();
    let inner = layered(crate::policy::Timeout::new(&settings.timeouts), &script);
    let mut limits = settings.limits.clone();
    limits.reads.at_once = 1;
    let breaker = Breaker::new(&BreakerSettings::default(), script.info());
    let provider = breaker.clone().layer(crate::policy::Limit::new(&limits).layer(inner));
    for _ in 0..10 {
        let first = worker("a");
        let (one, two) = tokio::join!(
            within(SECOND, provider.get_worker_status(&first)),
            within(SECOND, provider.get_worker_status(&first)),
        );
        assert_eq!(one.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(two.unwrap_err().kind(), ErrorKind::Timeout);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    for _ in 0..5 {
        let error = provider.get_worker_status(&worker("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }
    assert_eq!(breaker.state(), BreakerState::Open, "the provider's own slowness counts");
}

#[tokio::test(start_paused = true)]
async fn p6_half_open_lets_one_read_through_and_closes_on_its_answer() {
    let script = Script::new([]);
    let (breaker, provider) = opened(&script).await;
    tokio::time::advance(5 * SECOND).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);

    let gate = Arc::new(tokio::sync::Notify::new());
    script.then(Step::Until(Arc::clone(&gate)));
    let probe = Arc::clone(&provider);
    let probe = tokio::spawn(async move { probe.get_worker_status(&worker("a")).await });
    settle().await;
    let error = provider.get_worker_status(&worker("b")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(SECOND)));
    assert_eq!(start(&provider).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(script.count(Operation::Status), 1, "one probe at once");

    gate.notify_one();
    probe.await.unwrap().unwrap();
    assert_eq!(breaker.state(), BreakerState::Closed);
    start(&provider).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p6_a_failed_probe_opens_it_for_twice_as_long() {
    let script = Script::new([]);
    let (breaker, provider) = opened(&script).await;
    for open in [5, 10, 20, 40, 60, 60] {
        tokio::time::advance(open * SECOND - std::time::Duration::from_millis(1)).await;
        assert_eq!(breaker.state(), BreakerState::Open, "{open}");
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        script.then(Step::Fail(unavailable()));
        provider.list_workers(&WorkerFilter::all()).await.unwrap_err();
    }
    tokio::time::advance(60 * SECOND).await;
    provider.list_workers(&WorkerFilter::all()).await.unwrap();
    assert_eq!(breaker.state(), BreakerState::Closed);
    opened(&script).await;
}

#[tokio::test(start_paused = true)]
async fn p6_a_dropped_probe_gives_its_place_back() {
    let script = Script::new([]);
    let (breaker, provider) = opened(&script).await;
    tokio::time::advance(5 * SECOND).await;
    script.then(Step::Never);
    let probe = Arc::clone(&provider);
    let probe = tokio::spawn(async move { probe.get_worker_status(&worker("a")).await });
    settle().await;
    provider.get_worker_status(&worker("a")).await.unwrap_err();
    probe.abort();
    let _ = probe.await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    provider.get_worker_status(&worker("a")).await.unwrap();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn p6_a_change_is_no_probe_but_is_preceded_by_one() {
    let script = Script::new([]);
    let (breaker, provider) = opened(&script).await;
    tokio::time::advance(5 * SECOND).await;
    script.then(Step::Fail(unavailable()));
    let error = start(&provider).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(script.asked()[5..], [Operation::Status], "only the read was sent");
    assert_eq!(breaker.state(), BreakerState::Open);

    tokio::time::advance(10 * SECOND).await;
    start(&provider).await.unwrap();
    assert_eq!(script.asked()[6..], [Operation::Status, Operation::Start]);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn p6_late_news_of_an_earlier_time_changes_nothing() {
    let script = Script::new([]);
    let (breaker, provider) = breaker(&script);
    let gate = Arc::new(tokio::sync::Notify::new());
    script.then(Step::Until(Arc::clone(&gate)));
    let old = Arc::clone(&provider);
    let old = tokio::spawn(async move { old.get_worker_status(&worker("old")).await });
    settle().await;
    for _ in 0..5 {
        script.then(Step::Fail(unavailable()));
        start(&provider).await.unwrap_err();
    }
    // It is half-open, and a probe is under way, when the old call gets its answer.
    tokio::time::advance(5 * SECOND).await;
    script.then(Step::Never);
    let probe = Arc::clone(&provider);
    let probe = tokio::spawn(async move { probe.get_worker_status(&worker("a")).await });
    settle().await;
    gate.notify_one();
    old.await.unwrap().unwrap();
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    probe.abort();
}

#[tokio::test(start_paused = true)]
async fn p6_stops_that_take_too_long_are_no_outage() {
    let slow = || Error::new(ErrorKind::Timeout, "the grace was longer").with_retry(Retry::IfIdempotent);
    let script = Script::new((0..10).map(|_| Step::Fail(slow())));
    let breaker = Breaker::new(&BreakerSettings::default(), script.info());
    let provider = layered(breaker.clone(), &script);
    for _ in 0..10 {
        provider.stop_worker(&worker("a"), &StopOptions::default()).await.unwrap_err();
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}
