//! D7: secrets on an engine that does not see our files: the same one, reached over the network.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::collections::HashMap;

use bollard::models::{ContainerConfig, VolumeCreateRequest};
use common::{Bench, on_engine_with, var};
use hodei_worker_core::{
    Capability, ErrorKind, WorkerConfig, WorkerProvider as _,
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
        let store =
            std::sync::Arc::new(MemoryCredentialProvider::new().with("a/b", "planted-first").unwrap());
        let known = std::sync::Arc::clone(&store);
        let context = common::context(&bench.installation).with_credentials(known);
        let provider = DockerProvider::connect(far(), context).await.unwrap();
        let secret = SecretReference::file("a/b", "/keys/b");
        let config = bench.script("a", "cat /keys/b; echo").secret(secret).build().unwrap();
        let worker = provider.create_worker(&config, &CreateOptions::default()).await.unwrap().worker;
        provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let first = bench.ended(&worker).await.run.clone();
        store
            .store_credential(
                &SecretKey::new("a/b").unwrap(),
                "planted-second".into(),
                &StoreOptions::default(),
            )
            .await
            .unwrap();
        provider.start_worker(&worker, &StartOptions::after(first.clone())).await.unwrap();
        bench.until(&worker, |status| status.phase.is_over() && status.run != first).await;
        assert_eq!(bench.text(&worker, &LogOptions::all()).await, "planted-first\nplanted-second\n");
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

fn with_secret(bench: &Bench, id: &str) -> WorkerConfig {
    bench.script(id, "true").secret(SecretReference::file("db/password", "/keys/db")).build().unwrap()
}

#[tokio::test]
async fn d7_writing_secrets_leaves_nothing_of_what_the_image_declares() {
    on_engine_with("declared", far(), |bench| async move {
        let raw = bench.raw();
        let source = raw.sleeper(&format!("{}-source", bench.installation)).await;
        let declared =
            ContainerConfig { volumes: Some(vec!["/declared".to_owned()]), ..ContainerConfig::default() };
        let image = raw.commit_with(&source, &format!("{}-declared", bench.installation), declared).await;
        raw.remove(&source).await;
        let before = raw.nameless_volumes().await;
        let secret = SecretReference::file("db/password", "/keys/db");
        let config =
            WorkerConfig::builder("a").image(&*image).command(["true"]).secret(secret).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.ended(&worker).await;
        let mounts = raw.inspect(&bench.status(&worker).await.native_id).await.mounts.unwrap();
        assert!(mounts.iter().any(|mount| mount.destination.as_deref() == Some("/declared")), "{mounts:?}");
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        let after = raw.nameless_volumes().await;
        raw.remove_image(&image).await;
        assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
    })
    .await;
}

#[tokio::test]
async fn d7_secrets_are_not_written_into_a_volume_that_is_somebody_elses() {
    on_engine_with("others", far(), |bench| async move {
        let others = format!("hodei.{}.a.1.secrets.0", bench.installation);
        bench.raw().create_volume(&others).await;
        let worker = bench.create(&with_secret(&bench, "a")).await;
        let error = bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap_err();
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        let kept = bench.raw().has_volume(&others).await;
        bench.raw().remove_volume(&others).await;
        assert_eq!(
            (error.kind(), error.context_value("volume")),
            (ErrorKind::Conflict, Some(others.as_str()))
        );
        assert!(kept, "it is not ours to remove");
    })
    .await;
}

#[tokio::test]
async fn d7_volumes_of_secrets_go_when_their_worker_does_not_exist() {
    on_engine_with("swept", far(), |bench| async move {
        let kept = bench.create(&with_secret(&bench, "kept")).await;
        let name = |worker: &str| format!("hodei.{}.{worker}.1.secrets.0", bench.installation);
        let labels = [
            ("hodei-worker/installation", bench.installation.to_string()),
            ("hodei-worker/id", "gone".to_owned()),
            ("hodei-worker/generation", "1".to_owned()),
        ];
        let labels: HashMap<_, _> =
            labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let request = VolumeCreateRequest {
            name: Some(name("gone")),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        };
        bench.raw().0.create_volume(request).await.unwrap();
        assert!(bench.raw().has_volume(&name("kept")).await && bench.raw().has_volume(&name("gone")).await);
        Bench::connect(far(), &bench.installation).await.unwrap();
        assert!(bench.raw().has_volume(&name("kept")).await && !bench.raw().has_volume(&name("gone")).await);
        bench.provider.delete_worker(&kept, &DeleteOptions::default()).await.unwrap();
        assert!(!bench.raw().has_volume(&name("kept")).await);
    })
    .await;
}

#[tokio::test]
async fn d7_a_dropped_start_leaves_no_helper() {
    on_engine_with("dropped", far(), |bench| async move {
        let worker = bench.create(&with_secret(&bench, "a")).await;
        let seen = async { while bench.raw().helpers(&bench.installation).await.is_empty() {} };
        let options = StartOptions::default();
        let start = bench.provider.start_worker(&worker, &options);
        // Where the start is done first there is nothing to drop, and nothing may be left either.
        tokio::select! {
            () = seen => {}
            started = start => started.unwrap(),
        }
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        assert!(bench.raw().helpers(&bench.installation).await.is_empty(), "a helper is left");
        assert!(!bench.raw().has_volume(&format!("hodei.{}.a.1.secrets.0", bench.installation)).await);
    })
    .await;
}
