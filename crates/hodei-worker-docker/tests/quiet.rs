//! What reaches a log: not a secret, however much is logged. Its logger is the process's, so that it stands alone.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::sync::Mutex;

use common::on_engine;
use hodei_worker_core::{
    WorkerProvider as _,
    model::SecretReference,
    provider::{ExecOptions, StartOptions, WorkerFilter},
};
use hodei_worker_docker::DockerOptions;

struct Logger;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        LINES.lock().unwrap().push(format!("{} {}", record.target(), record.args()));
    }
    fn flush(&self) {}
}

#[tokio::test]
async fn d7_no_secret_is_logged() {
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    on_engine("quiet", |bench| async move {
        let secret = SecretReference::variable("db/password", "PASSWORD");
        let allowed = DockerOptions::default().allow_secret_variables();
        let config = bench.script("a", "sleep 1000").secret(secret).options(&allowed).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.status(&worker).await;
        bench.provider.list_workers(&WorkerFilter::all()).await.unwrap();
        let command = ExecOptions::new(["true"]).env("TOKEN", "exec-hunter2");
        bench.provider.exec_in_worker(&worker, &command).await.unwrap().collect().await.unwrap();
    })
    .await;
    let lines = LINES.lock().unwrap();
    assert!(
        lines.iter().any(|line| line.starts_with("bollard")),
        "nothing was logged, so that nothing is proven"
    );
    let told: Vec<_> = lines.iter().filter(|line| line.contains("hunter2")).collect();
    assert!(told.is_empty(), "{told:#?}");
}
