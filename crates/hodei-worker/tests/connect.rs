//! Connecting: what is checked before, and how long it may take.

#![allow(clippy::unwrap_used)] // A test, all of it.

use std::time::Duration;

use hodei_worker::{
    ConnectContext, ErrorKind, ProviderSettings, Result,
    policy::{PolicySettings, Stack},
};
use serde::{Deserialize, Serialize};

fn context() -> ConnectContext {
    ConnectContext::new("here".parse().unwrap(), "test".parse().unwrap())
}

/// A provider that is never reached.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Silent {}

impl ProviderSettings for Silent {
    const TYPE: &'static str = "silent";
    type Provider = hodei_worker::process::ProcessProvider;
    async fn connect(self, _: ConnectContext) -> Result<Self::Provider> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn p2_connecting_ends_in_the_time_that_the_host_gives() {
    let connecting =
        hodei_worker::connect(Silent::default(), context().with_connect_timeout(Duration::from_secs(2)));
    let begun = tokio::time::Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(3600), connecting).await.expect("it ends");
    let error = ended.unwrap_err();
    assert_eq!((error.kind(), begun.elapsed().as_secs()), (ErrorKind::Timeout, 2));
    assert!(error.is_retryable());
    assert!(error.to_string().contains("provider `here` (silent)"), "{error}");
}

#[tokio::test]
async fn p5_open_refuses_wrong_policies_and_settings_together() {
    let policies: PolicySettings = serde_json::from_value(serde_json::json!({
        "timeouts": {"margin": "0"}, "retry": {"attempts": 0},
    }))
    .unwrap();
    let config = hodei_worker::ProviderConfig::new("here".parse().unwrap(), "process");
    let wrong = config.clone().with_settings(serde_json::json!({"no_such_setting": 1}));
    let paths = |error: hodei_worker::Error| -> Vec<String> {
        error.problems().unwrap().iter().map(|problem| problem.path.clone()).collect()
    };
    let error = hodei_worker::open(&config, &context(), &policies).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(paths(error), ["policies.retry.attempts", "policies.timeouts.margin"]);
    let found = paths(hodei_worker::open(&wrong, &context(), &policies).unwrap_err());
    assert_eq!(found.len(), 3, "{found:?}");
    // The policies of a host that builds its stack itself are its own affair.
    let handle = hodei_worker::factory().create_provider(&config, &context()).unwrap();
    drop(Stack::standard(handle, &policies));
}

#[test]
fn p5_options_of_every_provider_of_the_factory_are_known() {
    let factory = hodei_worker::factory().with::<Silent>();
    let with = |provider: &str, options: serde_json::Value| {
        let data = serde_json::json!({"worker_id": "a", "command": ["true"], "options": {provider: options}});
        hodei_worker::WorkerConfig::from_value_with(&data, &factory.rules())
    };
    for provider in factory.types() {
        with(provider, serde_json::json!({})).unwrap();
        let error = with(provider, serde_json::json!({"no_such_option": 1})).unwrap_err();
        assert!(error.to_string().contains(&format!("options.{provider}")), "{error}");
    }
    assert!(with("k8s", serde_json::json!({})).is_err());
}
