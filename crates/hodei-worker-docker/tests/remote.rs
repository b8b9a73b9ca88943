//! D7: secrets on an engine that does not see our files: the same one, reached over the network.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use common::{on_engine_with, var};
use hodei_worker_core::{
    Capability, ErrorKind, WorkerProvider as _,
    credential::{CredentialProvider as _, MemoryCredentialProvider, SecretKey, StoreOptions},
    model::SecretReference,
    provider::{CreateOptions, DeleteOptions, LogOptions, StartOptions, WorkerFilter},
};
use hodei_worker_docker::{DockerOptions, DockerProvider, DockerSettings, TlsSettings};

fn far() -> DockerSettings {
    DockerSettings::at(var("HODEI_TEST_DOCKER_TLS"))
        .with_tls(TlsSettings::in_folder(var("HODEI_TEST_DOCKER_CERTS")))
}

#[tokio::test]
async fn d7_secrets_of_a_far_engine_lie_in_a_volume_of_the_workers() {
    on_engine_with("far", far(), |bench| async move {
        let capabilities = bench.provider.get_capabilities().await.unwrap();
        assert!(capabilities.reason(Capability::SecretFiles).unwrap().contains("volumes"));
        let options = DockerOptions::default().user("1000:1000");
        let script = "cat /run/secrets/db; stat -c ' %a %u' /run/secrets/db; stat -c '%a' /run/secrets; \
                      touch /run/secrets/x 2>/dev/null || echo closed";
        let secret = SecretReference::file("db/password", "/run/secrets/db");
        let config = bench.script("a", script).secret(secret).options(&options).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.ended(&worker).await;
        assert_eq!(bench.text(&worker, &LogOptions::all()).await, "planted-hunter2 400 1000\n500\nclosed\n");
        let inspected = bench.raw().inspect(&bench.status(&worker).await.native_id).await;
        assert!(!serde_json::to_string(&inspected).unwrap().contains("hunter2"));
        let volume = inspected.mounts.unwrap()[0].name.clone().unwrap();
        assert!(bench.raw().has_volume(&volume).await);
        // Kept are the user's volumes, never those of secrets.
        let keeping = DeleteOptions::keeping_volumes();
        bench.provider.delete_worker(&worker, &keeping).await.unwrap();
        assert!(!bench.raw().has_volume(&volume).await);
        assert!(bench.raw().helpers(&bench.installation).await.is_empty(), "a helper is left");
    })
    .await;
}

#[tokio::test]
async fn d7_a_far_secret_is_resolved_at_every_start() {
    on_engine_with("again", far(), |bench| async move {
        let store = std::sync::Arc::new(MemoryCredentialProvider::new().with("a/b", "first").unwrap());
        let context = common::context(&bench.installation).with_credentials(store.clone());
        let provider = DockerProvider::connect(far(), context).await.unwrap();
        let secret = SecretReference::file("a/b", "/keys/b");
        let config = bench.script("a", "cat /keys/b; echo").secret(secret).build().unwrap();
        let worker = provider.create_worker(&config, &CreateOptions::default()).await.unwrap().worker;
        provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let first = bench.ended(&worker).await.run.clone();
        store
            .store_credential(&SecretKey::new("a/b").unwrap(), "second".into(), &StoreOptions::default())
            .await
            .unwrap();
        provider.start_worker(&worker, &StartOptions::after(first.clone())).await.unwrap();
        bench.until(&worker, |status| status.phase.is_over() && status.run != first).await;
        assert_eq!(bench.text(&worker, &LogOptions::all()).await, "first\nsecond\n");
    })
    .await;
}

#[tokio::test]
async fn d7_a_far_secret_that_would_hide_other_files_is_refused() {
    on_engine_with("hide", far(), |bench| async move {
        let secret = SecretReference::file("db/password", "/etc/password");
        let config = bench.script("a", "true").secret(secret).build().unwrap();
        let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.context_value("field")),
            (ErrorKind::Config, Some("secrets[0].target"))
        );
        assert!(bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.is_empty());
    })
    .await;
}
