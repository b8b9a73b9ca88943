use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::*;
use crate::{
    capability::ProviderCapabilities,
    error::Retry,
    factory::{ConnectContext, InitProgress, ProviderHandle, ProviderState},
    model::WorkerConfig,
    policy::{DeadlinePassed, within},
    provider::{CreateOptions, Operation},
};

fn gated(
    script: &Arc<Script>,
    state: ProviderState,
) -> (Arc<dyn WorkerProvider>, watch::Sender<ProviderState>) {
    let context = ConnectContext::new("here".parse().unwrap(), "test".parse().unwrap());
    let (handle, sender) = ProviderHandle::in_state(script.provider(), context, state);
    (handle.provider(), sender)
}

async fn create(provider: &Arc<dyn WorkerProvider>) -> crate::Result<()> {
    let config = WorkerConfig::builder("a").command(["true"]).build()?;
    provider.create_worker(&config, &CreateOptions::default()).await.map(|_| ())
}

fn initializing() -> ProviderState {
    ProviderState::Initializing(InitProgress::new("negotiating", 40))
}

#[tokio::test(start_paused = true)]
async fn p2_an_uninitialised_provider_refuses_at_once() {
    let script = Script::new([]);
    let (provider, _state) = gated(&script, ProviderState::Uninitialized);
    let begun = Instant::now();
    let error = create(&provider).await.unwrap_err();
    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Unavailable, Duration::ZERO));
    assert!(script.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn p2_a_call_waits_for_the_initialisation() {
    let script = Script::new([]);
    let (provider, state) = gated(&script, initializing());
    let call = tokio::spawn(async move { create(&provider).await });
    settle().await;
    state.send_replace(ProviderState::Initializing(InitProgress::new("listing", 80)));
    settle().await;
    assert!(script.asked().is_empty() && !call.is_finished());
    let degraded = ProviderState::Degraded(Arc::new(ProviderCapabilities::new("1")));
    state.send_replace(degraded);
    call.await.unwrap().unwrap();
    assert_eq!(script.asked(), [Operation::Create]);
}

#[tokio::test(start_paused = true)]
async fn p2_it_waits_up_to_the_deadline() {
    let script = Script::new([]);
    let (provider, _state) = gated(&script, initializing());
    for (own, limit) in [(false, 60), (true, 3)] {
        let begun = Instant::now();
        let call = create(&provider);
        let error = if own { within(3 * SECOND, call).await } else { call.await }.unwrap_err();
        assert_eq!(begun.elapsed(), limit * SECOND);
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Safe { after: None }));
        assert!(error.message().contains("negotiating, 40 %"), "{error}");
        assert!(DeadlinePassed::caused(&error));
    }
    assert!(script.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn p2_ready_and_degraded_providers_work() {
    let capabilities = Arc::new(ProviderCapabilities::new("1"));
    for state in [ProviderState::Ready(Arc::clone(&capabilities)), ProviderState::Degraded(capabilities)] {
        let script = Script::new([]);
        let (provider, _state) = gated(&script, state);
        create(&provider).await.unwrap();
        assert_eq!(script.asked(), [Operation::Create]);
    }
}

#[tokio::test(start_paused = true)]
async fn p2_a_failed_provider_returns_its_initialisation_error() {
    let script = Script::new([]);
    let failure = Error::new(ErrorKind::PermissionDenied, "the socket refuses us");
    let (provider, state) = gated(&script, initializing());
    let waiting = Arc::clone(&provider);
    let waiting = tokio::spawn(async move { create(&waiting).await });
    settle().await;
    state.send_replace(ProviderState::Failed(failure));
    for error in [waiting.await.unwrap().unwrap_err(), create(&provider).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.message(), "the socket refuses us");
    }
    assert!(script.asked().is_empty());
}
