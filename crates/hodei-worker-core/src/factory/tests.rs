#![cfg(feature = "testkit")]

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{
    Capability, ErrorKind,
    model::WorkerRequirements,
    provider::WorkerProvider,
    testkit::{FakePlatform, FakeProvider, FakeSettings},
};

fn context() -> ConnectContext {
    ConnectContext::new("p".parse().unwrap(), "i".parse().unwrap())
}

fn factory() -> ProviderFactory {
    ProviderFactory::default().with::<FakeSettings>().with::<CloudSettings>()
}

fn config(settings: serde_json::Value) -> ProviderConfig {
    ProviderConfig::new("p".parse().unwrap(), "fake").with_settings(settings)
}

/// A type that is found, and never chosen by itself.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CloudSettings {
    region: String,
}

impl ProviderSettings for CloudSettings {
    const TYPE: &'static str = "cloud";
    type Provider = FakeProvider;
    fn validate(&self, problems: &mut crate::settings::Problems) {
        problems.require(!self.region.is_empty(), "region", "is required");
    }
    fn detect(environment: &Environment) -> Option<Detected<Self>> {
        let region = environment.var("CLOUD_REGION")?.to_owned();
        Some(Detected::new(Self { region }, "CLOUD_REGION is set").with_priority(99).listed_only())
    }
    async fn connect(self, context: ConnectContext) -> crate::Result<FakeProvider> {
        Ok(FakeProvider::new(FakePlatform::new(), context))
    }
}

#[tokio::test(start_paused = true)]
async fn p2_a_provider_is_waited_for_without_polling() {
    let handle = factory().create_provider(&config(json!({"connect_delay": "5s"})), &context()).unwrap();
    assert_eq!(handle.state().as_str(), "initializing");
    let provider = handle.ready().await.unwrap();
    assert_eq!(handle.state().as_str(), "ready");
    assert_eq!(provider.info().to_string(), "provider `p` (fake)");
}

#[tokio::test(start_paused = true)]
async fn p2_progress_is_told_on_the_way() {
    let handle = factory().create_provider(&config(json!({"connect_delay": "5s"})), &context()).unwrap();
    let mut changes = handle.subscribe();
    changes.changed().await.unwrap();
    let state = changes.borrow().clone();
    assert!(matches!(&state, ProviderState::Initializing(progress) if progress.percent == 50), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn p2_a_failed_initialisation_is_the_calls_error_and_can_be_tried_again() {
    let handle = factory()
        .create_provider(&config(json!({"connect_error": "the engine is down"})), &context())
        .unwrap();
    let error = handle.ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("the engine is down"), "{error}");
    assert_eq!(handle.provider().get_capabilities().await.unwrap_err().kind(), ErrorKind::Unavailable);
    handle.reconnect();
    assert_eq!(handle.state().as_str(), "initializing");
    assert!(handle.ready().await.is_err());
}

/// An engine that is down at first and comes up after some tries.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LateSettings {
    tries: u32,
}

thread_local! {
    static TRIES: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

impl ProviderSettings for LateSettings {
    const TYPE: &'static str = "late";
    type Provider = FakeProvider;
    async fn connect(self, context: ConnectContext) -> crate::Result<FakeProvider> {
        TRIES.set(TRIES.get() + 1);
        if TRIES.get() <= self.tries {
            let down = crate::Error::new(ErrorKind::Unavailable, "the engine is down");
            return Err(down.with_retry(crate::Retry::Safe { after: None }));
        }
        Ok(FakeProvider::new(FakePlatform::new(), context))
    }
}

fn late(tries: u32) -> ProviderHandle {
    let factory = ProviderFactory::default().with::<LateSettings>();
    let config = ProviderConfig::new("p".parse().unwrap(), "late").with_settings(json!({"tries": tries}));
    factory.create_provider(&config, &context()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn p2_an_engine_that_comes_up_later_is_reached_by_reconnecting() {
    let handle = late(1);
    handle.ready().await.unwrap_err();
    handle.reconnect();
    handle.ready().await.unwrap();
    assert_eq!((TRIES.get(), handle.state().as_str()), (2, "ready"));
}

#[tokio::test(start_paused = true)]
async fn p2_an_engine_that_comes_up_later_is_found_by_the_calls_after_it() {
    let handle = late(3);
    let settings = crate::policy::PolicySettings::default();
    let provider = crate::policy::Stack::standard(handle.clone(), &settings);
    assert_eq!(provider.get_capabilities().await.unwrap_err().kind(), ErrorKind::Unavailable);
    // Soon after a failure the calls fail at once, and say when it is worth while to come back.
    let error = provider.get_capabilities().await.unwrap_err();
    assert_eq!((error.kind(), TRIES.get()), (ErrorKind::Unavailable, 1));
    assert!(error.message().contains("the engine is down"), "{error}");
    for tries in [2, 3] {
        let after = provider.get_capabilities().await.unwrap_err().retry_after().unwrap();
        tokio::time::sleep(after).await;
        provider.get_capabilities().await.unwrap_err();
        assert_eq!(TRIES.get(), tries, "one try after each pause");
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    provider.get_capabilities().await.unwrap();
    assert_eq!((TRIES.get(), handle.state().as_str()), (4, "ready"));
}

/// A type whose connecting goes wrong without an error.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BrokenSettings {
    panics: bool,
}

impl ProviderSettings for BrokenSettings {
    const TYPE: &'static str = "broken";
    type Provider = FakeProvider;
    async fn connect(self, context: ConnectContext) -> crate::Result<FakeProvider> {
        assert!(!self.panics, "a bug of the provider");
        context.progress.report("waiting for nobody", 5);
        std::future::pending().await
    }
}

fn broken(panics: bool, context: &ConnectContext) -> ProviderHandle {
    let factory = ProviderFactory::default().with::<BrokenSettings>();
    let config = ProviderConfig::new("p".parse().unwrap(), "broken");
    factory.create_provider(&config.with_settings(json!({"panics": panics})), context).unwrap()
}

#[tokio::test(start_paused = true)]
async fn p2_an_initialisation_that_panics_has_failed() {
    let handle = broken(true, &context());
    for _ in 0..2 {
        let waited = tokio::time::timeout(Duration::from_secs(600), handle.ready()).await;
        let error = waited.expect("it ends").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected);
        assert!(error.to_string().contains("provider `p` (broken): the initialisation panicked"), "{error}");
        handle.reconnect();
    }
}

#[tokio::test(start_paused = true)]
async fn p2_an_initialisation_that_hangs_fails_in_time() {
    let begun = tokio::time::Instant::now();
    let error = broken(false, &context()).ready().await.unwrap_err();
    assert_eq!((error.kind(), begun.elapsed().as_secs()), (ErrorKind::Timeout, 120));
    assert!(error.to_string().contains("within 120s (last step: waiting for nobody)"), "{error}");
    let short = context().with_connect_timeout(Duration::from_secs(1));
    broken(false, &short).ready().await.unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), 121);
}

#[tokio::test]
async fn p2_an_initialisation_ends_with_the_last_handle() {
    let context = context();
    let held = std::sync::Arc::downgrade(&context.credentials);
    let handle = broken(false, &context);
    drop(context);
    let mut states = handle.subscribe();
    states.changed().await.unwrap();
    let other = handle.clone();
    drop(handle);
    tokio::task::yield_now().await;
    assert!(held.upgrade().is_some() && other.state().as_str() == "initializing");
    drop(other);
    states.changed().await.unwrap();
    assert_eq!(states.borrow().as_str(), "failed");
    assert!(states.changed().await.is_err(), "nobody is left");
    assert!(held.upgrade().is_none(), "and nothing is held");
}

#[tokio::test(start_paused = true)]
async fn p2_a_degraded_provider_works() {
    let handle =
        factory().create_provider(&config(json!({"degraded": "no logs today"})), &context()).unwrap();
    handle.ready().await.unwrap();
    let ProviderState::Degraded(capabilities) = handle.state() else { panic!("{:?}", handle.state()) };
    assert_eq!(capabilities.degraded.as_deref(), Some("no logs today"));
}

#[tokio::test]
async fn p2_wrong_settings_name_every_field() {
    let wrong = config(json!({"connect_dealy": "5s", "degraded": 3, "connect_error": ""}));
    let error = factory().create_provider(&wrong, &context()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("did you mean `connect_delay`?"), "{text}");
    assert!(text.contains("degraded: "), "{text}");
    assert!(text.contains("connect_error: must say something"), "{text}");
}

#[tokio::test]
async fn p2_an_unknown_type_names_what_exists() {
    let wrong = ProviderConfig::new("p".parse().unwrap(), "fkae");
    let text = factory().create_provider(&wrong, &context()).unwrap_err().to_string();
    assert!(text.contains("did you mean `fake`?") && text.contains("`cloud`, `fake`"), "{text}");
}

#[test]
fn p2_a_cloud_is_a_candidate_and_never_chosen() {
    let both = Environment::of([("CLOUD_REGION", "x"), ("HODEI_FAKE", "1")], "/nowhere");
    let detection = factory().detect_best_provider(&WorkerRequirements::default(), &both).unwrap();
    assert_eq!(
        (detection.chosen.provider_type, detection.chosen.reason.as_str()),
        ("fake", "HODEI_FAKE is set")
    );
    assert_eq!(detection.candidates.len(), 2);
    let cloud = Environment::of([("CLOUD_REGION", "x")], "/nowhere");
    let error = factory().detect_best_provider(&WorkerRequirements::default(), &cloud).unwrap_err();
    assert!(error.to_string().contains("candidates: cloud: chosen only where it is named"), "{error}");
}

/// A type that is always there, the last to be chosen, and can do little.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LastSettings {
    folder: Option<String>,
    limits: Option<std::collections::BTreeMap<String, u8>>,
}

impl ProviderSettings for LastSettings {
    const TYPE: &'static str = "last";
    type Provider = FakeProvider;
    fn detect(_: &Environment) -> Option<Detected<Self>> {
        let found = Detected::new(Self::default(), "it is always there").with_priority(i32::MIN);
        Some(found.lacking([Capability::Images, Capability::Volumes]))
    }
    async fn connect(self, context: ConnectContext) -> crate::Result<FakeProvider> {
        Ok(FakeProvider::new(FakePlatform::new(), context))
    }
}

#[test]
fn p2_the_lowest_priority_is_the_last() {
    let all = Environment::of([("CLOUD_REGION", "x"), ("HODEI_FAKE", "1")], "/nowhere");
    let found = factory().with::<LastSettings>().candidates(&all);
    assert_eq!(found.iter().map(|one| one.provider_type).collect::<Vec<_>>(), ["fake", "last", "cloud"]);
}

#[test]
fn p2_what_lacks_a_requirement_is_not_chosen() {
    let factory = factory().with::<LastSettings>();
    let images = WorkerRequirements::capabilities([Capability::Logs, Capability::Images]);
    let both = Environment::of([("HODEI_FAKE", "1")], "/nowhere");
    assert_eq!(factory.detect_best_provider(&images, &both).unwrap().chosen.provider_type, "fake");

    let bare = Environment::of([("CLOUD_REGION", "x")], "/nowhere");
    let logs = WorkerRequirements::capabilities([Capability::Logs]);
    assert_eq!(factory.detect_best_provider(&logs, &bare).unwrap().chosen.provider_type, "last");
    let error = factory.detect_best_provider(&images, &bare).unwrap_err().to_string();
    assert!(error.contains("last: lacks `images`; cloud: chosen only where it is named"), "{error}");
}

#[tokio::test]
async fn p2_a_detected_provider_says_why_it_was_chosen() {
    let environment = Environment::of([("CLOUD_REGION", "x"), ("HODEI_FAKE", "1")], "/nowhere");
    for settings in [json!(null), json!({})] {
        let config = ProviderConfig::detected("p".parse().unwrap()).with_settings(settings);
        let handle = factory().create_provider_in(&config, &context(), &environment).unwrap();
        let detection = handle.detection().unwrap();
        assert_eq!(detection.chosen.reason, "HODEI_FAKE is set");
        assert_eq!(detection.candidates.len(), 2);
        assert_eq!(handle.info().provider_type.as_str(), "fake");
        factory().validate_in(&config, &environment).unwrap();
        let error = factory().validate_in(&config, &Environment::default()).unwrap_err();
        assert!(error.to_string().contains("no provider was found here"), "{error}");
    }
    let named = factory().create_provider_in(&config(json!({})), &context(), &environment).unwrap();
    assert!(named.detection().is_none());
}

#[test]
fn p2_settings_that_fit_nothing_are_judged_as_the_nearest_type() {
    let factory = factory().with::<LastSettings>();
    let judged = |settings| {
        let config = ProviderConfig::detected("p".parse().unwrap()).with_settings(settings);
        factory.validate(&config).unwrap_err()
    };
    let error = judged(json!({"connect_dealy": "5s", "connect_error": ""}));
    assert_eq!(error.problems().unwrap().len(), 2);
    assert!(error.to_string().contains("did you mean `connect_delay`?"), "{error}");
    assert!(error.to_string().contains("type: fake"), "{error}");
    assert!(judged(json!({"region": ""})).to_string().contains("region: is required"));
    // More is wrong with it than as another type's, to which all of it would be unknown.
    let error = judged(json!({"folder": 1, "limits": {"a": "x", "b": "y", "c": "z"}}));
    assert!(error.to_string().contains("limits.a") && error.to_string().contains("`last`"), "{error}");
    // Like nothing: each is told.
    let error = judged(json!({"nothing": "like it"})).to_string();
    assert!(error.contains("as `fake`: ") && error.contains("as `last`: "), "{error}");
}

#[tokio::test]
async fn p2_settings_alone_tell_the_type() {
    let mut untyped = config(json!({"region": "x"}));
    untyped.provider_type = None;
    let handle = factory().create_provider(&untyped, &context()).unwrap();
    assert_eq!(handle.info().provider_type.as_str(), "cloud");
    untyped.settings = json!({"nothing": "like it"});
    assert_eq!(factory().validate(&untyped).unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn p2_a_provider_that_is_there_needs_no_waiting() {
    let provider = std::sync::Arc::new(FakeProvider::new(FakePlatform::new(), context()));
    let handle = ProviderHandle::of(provider, context()).await.unwrap();
    let ready = tokio::time::timeout(Duration::ZERO, handle.ready()).await.unwrap().unwrap();
    assert!(ready.get_capabilities().await.unwrap().supports(Capability::Logs));
}
