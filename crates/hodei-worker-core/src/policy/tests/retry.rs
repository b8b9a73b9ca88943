use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::*;
use crate::{
    error::Retry,
    policy::{Backoff, Budget, BudgetSettings, RetryPolicy, RetrySettings, With, within},
    provider::{ExecOptions, Operation, StartOptions},
};

fn settings(attempts: u32) -> RetrySettings {
    RetrySettings { attempts, ..RetrySettings::default() }
}

fn failures(error: &Error, n: usize) -> Arc<Script> {
    Script::new(vec![Step::Fail(error.clone()); n])
}

#[tokio::test(start_paused = true)]
async fn p6_what_may_be_repeated_is_until_it_works() {
    let script = failures(&unavailable(), 3);
    let provider = layered(RetryPolicy::new(&settings(4)), &script);
    provider.start_worker(&worker("a"), &StartOptions::default()).await.unwrap();
    assert_eq!(script.asked(), [Operation::Start; 4]);
}

#[tokio::test(start_paused = true)]
async fn p6_what_must_not_be_repeated_is_not() {
    let unknown = Error::new(ErrorKind::Timeout, "no answer").with_retry(Retry::IfIdempotent);
    let never = Error::new(ErrorKind::NotFound, "no such image");
    let exhausted = unavailable().with_retry(Retry::Exhausted);

    let script = failures(&unknown, 1);
    let provider = layered(RetryPolicy::new(&settings(4)), &script);
    let error = provider.exec_in_worker(&worker("a"), &ExecOptions::new(["true"])).await.unwrap_err();
    assert_eq!((error.retry(), script.asked().len()), (Retry::IfIdempotent, 1));

    for (error, asked) in [(unknown, 2), (never, 1), (exhausted, 1)] {
        let script = failures(&error, 1);
        let provider = layered(RetryPolicy::new(&settings(4)), &script);
        let _ = provider.start_worker(&worker("a"), &StartOptions::default()).await;
        assert_eq!(script.asked().len(), asked, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn p6_it_gives_up_for_good() {
    let script = failures(&unavailable(), 10);
    let inner = layered(RetryPolicy::new(&settings(3)), &script);
    // A second layer by mistake must not multiply.
    let provider = RetryPolicy::new(&settings(3)).layer(inner);
    let error = provider.get_worker_status(&worker("a")).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Exhausted);
    assert_eq!(error.context_value("attempts"), Some("3"));
    assert_eq!(script.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn p6_retry_after_is_the_least_wait() {
    let asked = Duration::from_secs(7);
    let limited =
        Error::new(ErrorKind::RateLimited, "slow down").with_retry(Retry::Safe { after: Some(asked) });
    let script = failures(&limited, 2);
    let provider = layered(RetryPolicy::new(&settings(4)), &script);
    provider.get_worker_status(&worker("a")).await.unwrap();
    let pauses = script.pauses();
    assert_eq!(pauses.len(), 2);
    assert!(pauses.iter().all(|pause| *pause >= asked && *pause < asked + SECOND), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn p6_it_never_waits_past_the_deadline() {
    let asked = Duration::from_secs(30);
    let limited =
        Error::new(ErrorKind::RateLimited, "slow down").with_retry(Retry::Safe { after: Some(asked) });
    let script = failures(&limited, 1);
    let provider = layered(RetryPolicy::new(&settings(4)), &script);
    let begun = Instant::now();
    let error = within(10 * SECOND, provider.get_worker_status(&worker("a"))).await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::ZERO, "it must not wait for nothing");
    assert_eq!(error.retry_after(), Some(asked), "its caller may come back later");
    assert_eq!(script.asked().len(), 1);
}

#[test]
fn p6_the_wait_is_full_jitter_below_a_growing_ceiling() {
    let settings = RetrySettings::default();
    let backoff = Backoff::seeded(&settings, 7);
    let ceilings: Vec<u128> = (1..=9).map(|failed| backoff.ceiling(failed).as_millis()).collect();
    assert_eq!(ceilings, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
    assert_eq!(backoff.ceiling(u32::MAX), settings.most.get());

    let waits: Vec<Duration> = (0..2000).map(|_| backoff.wait(3)).collect();
    assert!(waits.iter().all(|wait| *wait < backoff.ceiling(3)));
    let mean = waits.iter().sum::<Duration>() / 2000;
    assert!((350..450).contains(&mean.as_millis()), "half of 800 ms on average, not {mean:?}");
    assert!(waits.iter().any(|wait| wait.as_millis() < 40), "full jitter reaches down to nothing");

    let again = Backoff::seeded(&settings, 7);
    assert_eq!((0..2000).map(|_| again.wait(3)).collect::<Vec<_>>(), waits);
}

#[tokio::test(start_paused = true)]
async fn p6_retries_do_not_multiply_the_load_on_a_provider_that_is_down() {
    let script = failures(&unavailable(), 100_000);
    let mut settings = settings(4);
    settings.budget.per_second = 0.0;
    let provider = script.provider();
    let provider = With::new(RetryPolicy::new(&settings), provider);
    for _ in 0..1000 {
        provider.get_worker_status(&worker("a")).await.unwrap_err();
    }
    // 50 in reserve and a fifth of each call, instead of three for each.
    let asked = script.asked().len();
    assert!((1240..=1250).contains(&asked), "{asked}");
    assert_eq!(provider.policy().budget().left(), 0);
    let error = provider.get_worker_status(&worker("a")).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Exhausted);
    assert!(error.context_value("not repeated").is_some(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn p6_the_budget_comes_back_with_time_and_is_bounded() {
    let budget = Budget::new(&BudgetSettings { retries: 2, per_call: 0.5, per_second: 1.0 });
    assert!(budget.withdraw() && budget.withdraw() && !budget.withdraw());
    budget.deposit();
    assert!(!budget.withdraw(), "half a retry is none");
    budget.deposit();
    assert!(budget.withdraw());
    tokio::time::advance(Duration::from_millis(1500)).await;
    assert!(budget.withdraw() && !budget.withdraw());
    tokio::time::advance(Duration::from_millis(500)).await;
    assert!(budget.withdraw(), "the half second before counts");
    tokio::time::advance(1000 * SECOND).await;
    assert!(budget.withdraw() && budget.withdraw() && !budget.withdraw());
}

#[tokio::test(start_paused = true)]
async fn p6_a_call_may_be_dropped_while_it_waits() {
    let script = failures(&unavailable(), 1);
    let provider = layered(RetryPolicy::seeded(&settings(4), 1), &script);
    let call = Arc::clone(&provider);
    let task = tokio::spawn(async move { call.get_worker_status(&worker("a")).await });
    settle().await;
    assert_eq!(script.asked().len(), 1);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    provider.get_worker_status(&worker("a")).await.unwrap();
    assert_eq!(script.asked().len(), 2);
}
