//! D11: an engine that gives the users of its containers other numbers outside.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::os::unix::fs::MetadataExt as _;

use common::{on_other_engine, var};
use hodei_worker_core::{
    WorkerProvider as _,
    model::{Mount, SecretReference},
    provider::{LogOptions, StartOptions},
};

#[tokio::test]
async fn d11_remapped_users_are_told_and_root_inside_is_nobody_outside() {
    let host = var("HODEI_TEST_DOCKER_REMAPPED");
    on_other_engine("remap", host, |bench| async move {
        let version = &bench.provider.get_capabilities().await.unwrap().version;
        assert!(version.contains("users remapped"), "{version}");
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let secret = SecretReference::file("db/password", "/run/secrets/db");
        let config = bench
            .script("a", "id -u; touch /out/made; cat /run/secrets/db")
            .mount(Mount::bind(home.path().display().to_string(), "/out"))
            .secret(secret)
            .build()
            .unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.ended(&worker).await;
        assert_eq!(bench.text(&worker, &LogOptions::all()).await, "0\nplanted-hunter2");
        assert_eq!(home.path().join("made").metadata().unwrap().uid(), 1_879_048_192);
    })
    .await;
}
