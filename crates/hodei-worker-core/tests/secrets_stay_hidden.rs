//! Formats and serialises what could hold a secret, with one planted, and looks for it.

#![allow(clippy::unwrap_used)]

use std::{fmt::Debug, sync::Arc};

use hodei_worker_core::{
    ConnectContext, CredentialProvider, Error, ErrorKind, ErrorReport, ProviderConfig, WorkerConfig,
    credential::{
        self, Credential, CredentialContent, CredentialMetadata, CredentialVersion, MemoryCredentialProvider,
        RetrieveOptions, SecretKey, SecretMaterial, StoreOptions,
    },
    model::{ContainerImage, ResourceRequirements, ScalingConfiguration, SecretReference, WorkerMetadata},
    policy::PolicySettings,
    provider::ExecOptions,
    settings::read,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const PLANTED: &str = "hunter2-the-password";

/// Looks for the secret as text, and as the bytes that a derived `Debug` prints.
#[track_caller]
fn look(text: &str) {
    let bytes = format!("{:?}", PLANTED.as_bytes());
    let bytes = bytes.trim_matches(['[', ']']);
    assert!(!text.contains("hunter2"), "the secret shows: {text}");
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!flat.contains(bytes), "the secret's bytes show: {text}");
}

#[track_caller]
fn debugged(value: &impl Debug) {
    look(&format!("{value:?}"));
    look(&format!("{value:#?}"));
}

#[track_caller]
fn serialised(value: &impl Serialize) {
    look(&serde_json::to_string(value).unwrap());
}

#[track_caller]
fn told(error: &Error) {
    debugged(error);
    look(&error.to_string());
    look(&format!("{error:#}"));
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        look(&format!("{error} {error:#} {error:?} {error:#?}"));
        cause = error.source();
    }
    let report = error.report();
    debugged(&report);
    serialised(&report);
    told_again(report);
}

#[track_caller]
fn told_again(report: ErrorReport) {
    let error = Error::from(report);
    look(&format!("{error} {error:#} {error:?}"));
}

#[test]
fn p1_the_search_finds_what_is_there() {
    let found = |text: String| std::panic::catch_unwind(move || look(&text)).is_err();
    assert!(found(format!("a {PLANTED} b")));
    assert!(found(format!("{:?}", PLANTED.as_bytes())));
    assert!(found(format!("{:#?}", PLANTED.as_bytes()).replace(",\n]", "\n]")));
}

#[tokio::test]
async fn p1_credentials_and_their_stores_do_not_show_them() {
    debugged(&SecretMaterial::from(PLANTED));
    debugged(&SecretMaterial::from(PLANTED.as_bytes().to_vec()));
    debugged(&CredentialContent::password("app", PLANTED));
    debugged(&Credential::new(PLANTED, CredentialVersion::new("1")));

    let key = SecretKey::new("db/password").unwrap();
    let store = Arc::new(MemoryCredentialProvider::new().with("db/password", PLANTED).unwrap());
    debugged(&store);
    debugged(&store.list_credentials("").await.unwrap());
    serialised(&store.list_credentials("").await.unwrap());
    debugged(&store.retrieve_credential(&key, &RetrieveOptions::default()).await.unwrap());
    let metadata: CredentialMetadata = store.list_credentials("").await.unwrap().remove(0);
    serialised(&metadata);

    let stale = StoreOptions::expecting(CredentialVersion::new("7"));
    told(&store.store_credential(&key, PLANTED.into(), &stale).await.unwrap_err());
    let missing = RetrieveOptions::version(CredentialVersion::new("9"));
    told(&store.retrieve_credential(&key, &missing).await.unwrap_err());

    let context = ConnectContext::new("local".parse().unwrap(), "here".parse().unwrap());
    debugged(&context.with_credentials(store));
}

#[tokio::test]
async fn p1_configurations_hold_references() {
    let store = MemoryCredentialProvider::new().with("db/password", PLANTED).unwrap();
    let reference = SecretReference::file("db/password", "/run/password");
    let credential = credential::resolve(&store, &reference).await.unwrap();
    debugged(&credential);
    assert_eq!(credential.material.expose_str(), Some(PLANTED));
    let config = WorkerConfig::builder("a")
        .command(["true"])
        .secret(reference.clone())
        .secret(SecretReference::variable("db/password", "PASSWORD"))
        .build()
        .unwrap();
    debugged(&reference);
    serialised(&reference);
    debugged(&config);
    serialised(&config);
    debugged(&config.to_spec());
}

#[tokio::test]
async fn p1_the_environment_of_a_command_does_not_show() {
    let options = ExecOptions::new(["psql"]).env("PGPASSWORD", PLANTED);
    debugged(&options);
    assert!(format!("{options:?}").contains("PGPASSWORD"), "{options:?}");
    let store = MemoryCredentialProvider::new().with("db/password", PLANTED).unwrap();
    let options = ExecOptions::new(["psql"]).secret(SecretReference::variable("db/password", "PGPASSWORD"));
    let resolved = options.resolved(&store).await.unwrap();
    assert_eq!(resolved.environment, [("PGPASSWORD".to_owned(), PLANTED.to_owned())]);
    debugged(&resolved);
    let file = ExecOptions::new(["psql"]).secret(SecretReference::file("db/password", "/run/a"));
    told(&file.resolved(&store).await.unwrap_err());
}

#[derive(serde::Deserialize)]
#[allow(dead_code)]
struct Holder {
    resources: ResourceRequirements,
    metadata: WorkerMetadata,
    scaling: ScalingConfiguration,
}

/// The value with the secret in place of each of its parts, one after the other.
fn misplaced(value: &Value) -> Vec<Value> {
    let secret = json!(PLANTED);
    let mut all = vec![secret.clone(), json!([secret]), json!({"file": secret})];
    match value {
        Value::Object(map) => {
            for (key, part) in map {
                for wrong in misplaced(part) {
                    let mut map = map.clone();
                    map.insert(key.clone(), wrong);
                    all.push(Value::Object(map));
                }
            }
        }
        Value::Array(items) => {
            for (n, part) in items.iter().enumerate() {
                for wrong in misplaced(part) {
                    let mut items = items.clone();
                    items[n] = wrong;
                    all.push(Value::Array(items));
                }
            }
        }
        _ => {}
    }
    all
}

#[track_caller]
fn all_hidden<T: DeserializeOwned>(value: &Value) {
    let mut refused = 0;
    for wrong in misplaced(value) {
        let problems = read::<T>(&wrong).problems;
        if !problems.is_empty() {
            refused += 1;
            debugged(&problems);
            serialised(&problems);
            told(&Error::from(problems));
        }
    }
    assert!(refused > 5, "only {refused} were refused");
}

#[test]
fn p1_a_secret_in_the_wrong_place_is_not_repeated() {
    // Names, free text and quantities are repeated, since their readers need them; what takes a secret's place is
    // a reference, and beside it stand lists, objects, numbers and choices.
    all_hidden::<Vec<SecretReference>>(&json!([
        {"name": "db", "version": "1", "target": {"file": {"path": "/run/a"}}},
        {"name": "db", "target": {"variable": {"name": "PASSWORD"}}},
    ]));
    all_hidden::<Holder>(
        &json!({"resources": {"pids_limit": 3}, "metadata": {"priority": 1}, "scaling": {"max": 2}}),
    );
    for wrong in [
        json!({"worker_id": "a", "command": ["true"], "environment": PLANTED}),
        json!({"worker_id": "a", "command": ["true"], "secrets": {"db": PLANTED}}),
        json!({"worker_id": "a", "command": ["true"], "secrets": [{"name": "db", "value": PLANTED, "target": PLANTED}]}),
        json!({"worker_id": "a", "command": ["true"], "restart_policy": PLANTED, "ports": [PLANTED]}),
        json!({"worker_id": "a", "command": ["true"], "secrets": [
            {"name": "db", "target": {"variable": {"name": format!("PASSWORD={PLANTED}")}}},
        ]}),
    ] {
        told(&WorkerConfig::from_value(&wrong).unwrap_err());
        let error = serde_json::from_value::<WorkerConfig>(wrong).unwrap_err();
        look(&format!("{error} {error:?}"));
    }
    told(
        &ProviderConfig::from_value(&json!({"name": "a", "type": [PLANTED], "pasword": PLANTED}))
            .unwrap_err(),
    );
    let parsed = read::<PolicySettings>(&json!({"retry": PLANTED, "breaker": [PLANTED], "token": PLANTED}));
    assert_eq!(parsed.problems.len(), 3, "{}", parsed.problems);
    debugged(&parsed.problems);
}

#[test]
fn p1_a_registrys_password_in_an_images_name_is_not_repeated() {
    for text in [
        format!("https://user:{PLANTED}@registry.example/a:1"),
        format!("user:{PLANTED}@registry.example/a:1"),
    ] {
        let error = text.parse::<ContainerImage>().unwrap_err();
        look(&format!("{error} {error:?}"));
        told(&WorkerConfig::builder("a").image(text.as_str()).build().unwrap_err());
    }
}

#[test]
fn p1_errors_show_their_sources_and_those_hold_no_secret() {
    let parsed = read::<Vec<SecretReference>>(&json!([PLANTED]));
    let error = Error::new(ErrorKind::Config, "the settings are wrong")
        .with_context("file", "settings.json")
        .with_source(parsed.problems);
    told(&error);
    assert!(format!("{error:#}").contains("[0]: a string, expected"), "{error:#}");
}
