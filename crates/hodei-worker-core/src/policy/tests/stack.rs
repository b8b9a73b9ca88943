use std::sync::Arc;

use tokio::time::Instant;

use super::*;
use crate::{
    capability::{Capability, ProviderCapabilities},
    factory::{ConnectContext, ProviderHandle},
    model::WorkerConfig,
    policy::{BreakerState, LaneSettings, RetryPolicy, Stack, within},
    provider::{CreateOptions, Operation, StartOptions},
};

async fn stack(script: &Arc<Script>, settings: &PolicySettings) -> Stack {
    let context = ConnectContext::new("here".parse().unwrap(), "test".parse().unwrap());
    Stack::new(ProviderHandle::of(script.provider(), context).await.unwrap(), settings)
}

#[tokio::test]
async fn p6_the_layers_stand_in_their_one_order() {
    let script = Script::new([]);
    let nested = format!("{:?}", stack(&script, &PolicySettings::default()).await.provider());
    let found: Vec<&str> = nested
        .split("policy: ")
        .skip(1)
        .map(|text| text.split(|c: char| !c.is_alphanumeric()).next().unwrap())
        .collect();
    assert_eq!(found, Stack::ORDER);

    let nested = format!("{:?}", Stack::standard(script, &PolicySettings::default()));
    assert!(!nested.contains("policy: Ready"), "a provider that is there needs no gate");
}

#[tokio::test(start_paused = true)]
async fn p6_a_failing_call_meets_every_layer_in_turn() {
    let script = Script::new([]);
    let stack = stack(&script, &PolicySettings::default()).await;
    for _ in 0..4 {
        script.then(Step::Fail(unavailable()));
    }
    let error = stack.provider().start_worker(&worker("a"), &StartOptions::default()).await.unwrap_err();
    assert_eq!(error.operation(), Some(Operation::Start));
    assert_eq!(error.worker(), Some(&worker("a")));
    assert_eq!(error.provider(), Some(script.info()));
    let text = error.to_string();
    assert_eq!(
        text,
        "cannot start worker `a#1` on provider `here` (script): the engine does not answer (attempts: 4)"
    );
    assert_eq!(script.count(Operation::Start), 4);

    script.then(Step::Fail(unavailable()));
    let (provider, options) = (stack.provider(), StartOptions::default());
    within(SECOND, provider.start_worker(&worker("a"), &options)).await.unwrap_err();
    assert_eq!(stack.breaker().state(), BreakerState::Open, "each attempt was counted");
}

#[tokio::test(start_paused = true)]
async fn p6_no_permit_is_held_while_a_retry_waits() {
    let limited = Error::new(ErrorKind::RateLimited, "slow down");
    let limited = limited.with_retry(crate::Retry::Safe { after: Some(10 * SECOND) });
    let script = Script::new([]);
    let mut settings = PolicySettings::default();
    settings.limits.long = LaneSettings { at_once: 1, queue: 0 };
    let provider = stack(&script, &settings).await.provider();
    script.then(Step::Fail(limited));
    let other = Arc::clone(&provider);
    let waiting =
        tokio::spawn(async move { other.start_worker(&worker("a"), &StartOptions::default()).await });
    settle().await;
    provider.start_worker(&worker("b"), &StartOptions::default()).await.unwrap();
    assert!(!waiting.is_finished());
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn p6_what_our_own_queue_refuses_costs_no_repetitions() {
    let script = Script::new([]);
    let mut settings = PolicySettings::default();
    settings.limits.long = LaneSettings { at_once: 1, queue: 0 };
    settings.retry.budget.retries = 3;
    settings.retry.budget.per_call = 0.0;
    let provider = stack(&script, &settings).await.provider();
    script.then(Step::Takes(SECOND));
    let other = Arc::clone(&provider);
    let busy = tokio::spawn(async move { other.start_worker(&worker("a"), &StartOptions::default()).await });
    settle().await;
    let begun = Instant::now();
    for _ in 0..100 {
        let error = provider.start_worker(&worker("b"), &StartOptions::default()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Overloaded, crate::Retry::Safe { after: None })
        );
    }
    assert_eq!(begun.elapsed(), std::time::Duration::ZERO);
    busy.await.unwrap().unwrap();
    // The repetitions are there for whom they are meant.
    script.then(Step::Fail(unavailable()));
    provider.get_worker_status(&worker("a")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p6_an_open_breaker_is_waited_for_only_within_the_deadline() {
    let script = Script::new([]);
    let mut settings = PolicySettings::default();
    settings.breaker.failures = 1;
    settings.retry.attempts = 2;
    let stack = stack(&script, &settings).await;
    script.then(Step::Fail(unavailable()));
    let begun = Instant::now();
    let call = stack.provider();
    let error = within(2 * SECOND, call.get_worker_status(&worker("a"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() < 2 * SECOND);
    assert_eq!(stack.breaker().state(), BreakerState::Open);
    // With time enough, the retry comes when it has reopened, and closes it.
    stack.provider().get_worker_status(&worker("a")).await.unwrap();
    assert!(begun.elapsed() >= 5 * SECOND);
    assert_eq!(stack.breaker().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn p6_one_providers_outage_does_not_touch_another() {
    let (down, up) = (Script::new([]), Script::new([]));
    let mut settings = PolicySettings::default();
    settings.limits.reads = LaneSettings { at_once: 1, queue: 0 };
    let (down_stack, up_stack) = (stack(&down, &settings).await, stack(&up, &settings).await);
    down.then(Step::Never);
    let hanging = down_stack.provider();
    let hanging = tokio::spawn(async move { hanging.get_worker_status(&worker("a")).await });
    settle().await;
    let begun = Instant::now();
    up_stack.provider().get_worker_status(&worker("a")).await.unwrap();
    assert_eq!(begun.elapsed(), std::time::Duration::ZERO);
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn p3_a_refused_worker_costs_no_attempt() {
    let capabilities = ProviderCapabilities::new("1").without(Capability::Images, "no engine");
    let script = Script::with_capabilities([], capabilities);
    let stack = stack(&script, &PolicySettings::default()).await;
    let config = WorkerConfig::builder("a").image("busybox:1.36").build().unwrap();
    for _ in 0..3 {
        let error = stack.provider().create_worker(&config, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.operation(), Some(Operation::Create));
    }
    // Once by the handle, once by the requirement.
    assert_eq!(script.asked(), [Operation::Capabilities; 2]);
}

/// What the documentation calls wrong, is.
#[tokio::test(start_paused = true)]
async fn p6_a_limit_around_retries_keeps_its_permit_through_the_wait() {
    let script = Script::new([Step::Fail(unavailable())]);
    let mut settings = PolicySettings::default();
    settings.limits.reads = LaneSettings { at_once: 1, queue: 0 };
    let inner = layered(RetryPolicy::new(&settings.retry), &script);
    let wrong = crate::policy::Limit::new(&settings.limits).layer(inner);
    let other = Arc::clone(&wrong);
    let waiting = tokio::spawn(async move { other.get_worker_status(&worker("a")).await });
    settle().await;
    let error = wrong.get_worker_status(&worker("b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    waiting.await.unwrap().unwrap();
}
