use tokio::time::Instant;

use super::*;
use crate::{
    error::Retry,
    model::WorkerConfig,
    policy::{Call, Context, DeadlinePassed, Timeout, TimeoutSettings, current_deadline, until, within},
    provider::{CreateOptions, Operation, StopOptions},
};

#[tokio::test(start_paused = true)]
async fn p6_a_stop_is_not_cut_within_its_grace() {
    let script = Script::new([Step::Takes(85 * SECOND), Step::Never, Step::Never]);
    let provider = layered(Timeout::new(&TimeoutSettings::default()), &script);
    let grace = StopOptions::within(60 * SECOND);
    provider.stop_worker(&worker("a"), &grace).await.unwrap();

    for (options, limit) in [(grace, 90), (StopOptions::kill(), 30)] {
        let begun = Instant::now();
        let error = provider.stop_worker(&worker("a"), &options).await.unwrap_err();
        assert_eq!(begun.elapsed(), limit * SECOND);
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::IfIdempotent));
        assert!(!DeadlinePassed::caused(&error));
        assert!(error.message().contains("the outcome is unknown"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn p6_each_operation_has_its_own_expectation() {
    let settings = TimeoutSettings::default();
    let script = Script::new([]);
    let attempt = |operation| settings.attempt(&Call::new(operation, script.info())).as_secs();
    assert_eq!(attempt(Operation::Create), 630);
    assert_eq!(attempt(Operation::Start), 90);
    assert_eq!(attempt(Operation::Stop), 330);
    assert_eq!(attempt(Operation::Status), 30);
    let forever = Call::new(Operation::Stop, script.info()).expected(Some(std::time::Duration::MAX));
    assert_eq!(settings.deadline(&forever), std::time::Duration::MAX);

    script.then(Step::Takes(SECOND));
    let provider = layered(Context::new(&settings), &script);
    let provider = Timeout::new(&settings).layer(provider);
    provider.stop_worker(&worker("a"), &StopOptions::within(std::time::Duration::MAX)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p6_the_callers_deadline_cuts_an_attempt_and_is_told_apart() {
    let script = Script::new([Step::Never]);
    let provider = layered(Timeout::new(&TimeoutSettings::default()), &script);
    let begun = Instant::now();
    let config = WorkerConfig::builder("a").command(["true"]).build().unwrap();
    let options = CreateOptions::default();
    let error = within(2 * SECOND, provider.create_worker(&config, &options)).await.unwrap_err();
    assert_eq!(begun.elapsed(), 2 * SECOND);
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::IfIdempotent));
    assert!(DeadlinePassed::caused(&error));
}

#[tokio::test(start_paused = true)]
async fn p6_nothing_is_sent_when_the_deadline_has_passed() {
    let script = Script::new([]);
    let provider = layered(Context::new(&TimeoutSettings::default()), &script);
    let (worker, options) = (worker("a"), StopOptions::kill());
    let error = until(Instant::now(), provider.stop_worker(&worker, &options)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Safe { after: None }));
    assert_eq!((error.operation(), error.worker()), (Some(Operation::Kill), Some(&worker)));
    assert!(script.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn p6_the_nearer_deadline_counts() {
    let now = Instant::now();
    let seen = within(10 * SECOND, async {
        let wider = within(20 * SECOND, async { current_deadline() }).await;
        let nearer = until(now + SECOND, async { current_deadline() }).await;
        (wider, nearer, current_deadline())
    });
    assert_eq!(seen.await, (Some(now + 10 * SECOND), Some(now + SECOND), Some(now + 10 * SECOND)));
    assert_eq!(current_deadline(), None);
}

#[tokio::test(start_paused = true)]
async fn p6_a_grace_that_a_stop_would_not_get_is_refused_when_the_worker_is_created() {
    let mut settings = TimeoutSettings::default();
    let script = Script::new([]);
    let config = WorkerConfig::builder("a").command(["true"]).stop_grace("10m").build().unwrap();
    let create = async |settings: &TimeoutSettings| {
        let provider = layered(Context::new(settings), &script);
        provider.create_worker(&config, &CreateOptions::default()).await
    };
    let error = create(&settings).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Config, Some(Operation::Create)));
    let text = format!("{error:#}");
    for part in ["stop_grace", "10m", "timeouts.stop", "5m"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(script.asked().is_empty());
    settings.stop = (600 * SECOND).into();
    create(&settings).await.unwrap();
}
