//! D7: secrets in containers, by a real engine.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::time::Duration;

use common::on_engine;
use hodei_worker_core::{
    ErrorKind, WorkerProvider as _,
    model::{SecretReference, SecretTarget},
    provider::{CreateOptions, DeleteOptions, LogOptions, StartOptions, WorkerFilter},
};
use hodei_worker_docker::DockerOptions;

#[tokio::test]
async fn d7_secrets_are_files_that_inspect_does_not_show() {
    on_engine("secret", |bench| async move {
        let secret = SecretReference::file("db/password", "/run/secrets/db");
        let script = "cat /run/secrets/db; stat -c ' %a' /run/secrets/db";
        let config = bench.script("a", script).secret(secret).build().unwrap();
        let worker = bench.create(&config).await;
        bench.stranger().await.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.ended(&worker).await;
        assert_eq!(bench.text(&worker, &LogOptions::all()).await, "planted-hunter2 400\n");
        let inspected = bench.raw().inspect(&bench.status(&worker).await.native_id).await;
        assert!(!serde_json::to_string(&inspected).unwrap().contains("hunter2"));
        let mounts = inspected.mounts.unwrap_or_default();
        let source = mounts.into_iter().find(|mount| mount.destination.as_deref() == Some("/run/secrets/db"));
        let source = source.and_then(|mount| mount.source).unwrap();
        assert!(std::path::Path::new(&source).exists());
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        assert!(!std::path::Path::new(&source).exists(), "{source} is left");
        // Somebody removes a container past us; after a while its files are nobody's.
        let secret = SecretReference::file("db/password", "/run/secrets/db");
        let config = bench.script("b", "sleep 1000").secret(secret).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let id = bench.status(&worker).await.native_id.clone();
        let source = bench.raw().inspect(&id).await.mounts.unwrap_or_default()[0].source.clone().unwrap();
        let folder = std::path::Path::new(&source).parent().unwrap();
        let old = folder.metadata().unwrap().modified().unwrap() - Duration::from_secs(3600);
        std::fs::File::open(folder).unwrap().set_modified(old).unwrap();
        bench.stranger().await;
        assert!(folder.exists());
        bench.raw().remove(&id).await;
        bench.stranger().await;
        assert!(!folder.exists(), "{} is left", folder.display());
    })
    .await;
}

#[tokio::test]
async fn d7_a_missing_secret_or_an_open_variable_is_refused_before_anything_exists() {
    on_engine("nosecret", |bench| async move {
        let missing = SecretReference::file("no/such", "/run/secrets/db");
        let open = SecretReference::variable("db/shown", "PASSWORD");
        for (secret, kind) in [(missing, ErrorKind::Config), (open.clone(), ErrorKind::Config)] {
            let config = bench.script("a", "true").secret(secret).build().unwrap();
            let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
        assert!(bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.is_empty());
        assert!(matches!(open.target, SecretTarget::Variable { .. }));
        let allowed = DockerOptions::default().allow_secret_variables();
        let config = bench.script("a", "echo $PASSWORD").secret(open).options(&allowed).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.ended(&worker).await;
        assert_eq!(bench.text(&worker, &LogOptions::all()).await, "shown-hunter2\n");
    })
    .await;
}
