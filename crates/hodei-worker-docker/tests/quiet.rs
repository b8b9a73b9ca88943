//! What reaches a log: not a secret, however much is logged. Its logger is the process's, so that it stands alone.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use common::{capture, on_engine_with, proxy::Proxy, socket};
use hodei_worker_core::{
    WorkerConfig, WorkerProvider as _,
    model::SecretReference,
    provider::{CreateOptions, ExecOptions, StartOptions, WorkerFilter},
};
use hodei_worker_docker::{DockerOptions, DockerSettings};

#[tokio::test]
async fn d7_no_secret_is_logged() {
    capture::start();
    let proxy = Proxy::unix(socket());
    on_engine_with("quiet", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let secret = SecretReference::variable("db/shown", "PASSWORD");
        let allowed = DockerOptions::default().allow_secret_variables();
        let config = bench.script("a", "sleep 1000").secret(secret).options(&allowed).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.status(&worker).await;
        bench.provider.list_workers(&WorkerFilter::all()).await.unwrap();
        // What is refused is told with its causes, and nothing of it is the secret.
        let mut told = vec![format!("{:?}", bench.provider)];
        for status in [400, 500] {
            proxy.plan("/containers/create", status, r#"{"message":"so it is"}"#);
            let id = format!("b-{status}");
            let mut spec = config.to_spec();
            spec.worker_id = id.parse().unwrap();
            let other = WorkerConfig::new(spec).unwrap();
            let error = bench.provider.create_worker(&other, &CreateOptions::default()).await.unwrap_err();
            told.push(format!("{error:?} {error:#}"));
            proxy.plan("/exec", status, r#"{"message":"so it is"}"#);
            let command = ExecOptions::new(["true"]).env("TOKEN", "exec-hunter2");
            let error = bench.provider.exec_in_worker(&worker, &command).await.err().unwrap();
            told.push(format!("{error:?} {error:#}"));
        }
        told.into_iter().for_each(capture::add);
        let command = ExecOptions::new(["true"]).env("TOKEN", "exec-hunter2");
        bench.provider.exec_in_worker(&worker, &command).await.unwrap().collect().await.unwrap();
    })
    .await;
    capture::assert_silent_about(&["hunter2"]);
}
