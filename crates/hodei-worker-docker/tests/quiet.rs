//! What reaches a log: not a secret, however much is logged. Its logger is the process's, so that it stands alone.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::sync::Mutex;

use common::{on_engine_with, proxy::Proxy, socket};
use hodei_worker_core::{
    WorkerConfig, WorkerProvider as _,
    model::SecretReference,
    provider::{CreateOptions, ExecOptions, StartOptions, WorkerFilter},
};
use hodei_worker_docker::{DockerOptions, DockerSettings};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

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

/// What we log ourselves goes by `tracing`.
struct Traces;

/// All that one event or span holds.
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl Subscriber for Traces {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut words = Words(format!("span {}", span.metadata().name()));
        span.record(&mut words);
        LINES.lock().unwrap().push(words.0);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut words = Words("span".to_owned());
        values.record(&mut words);
        LINES.lock().unwrap().push(words.0);
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut words = Words(event.metadata().target().to_owned());
        event.record(&mut words);
        LINES.lock().unwrap().push(words.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn d7_no_secret_is_logged() {
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    tracing::subscriber::set_global_default(Traces).unwrap();
    tracing::debug!(probe = "is captured");
    let proxy = Proxy::unix(socket());
    on_engine_with("quiet", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let secret = SecretReference::variable("db/password", "PASSWORD");
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
        LINES.lock().unwrap().extend(told);
        let command = ExecOptions::new(["true"]).env("TOKEN", "exec-hunter2");
        bench.provider.exec_in_worker(&worker, &command).await.unwrap().collect().await.unwrap();
    })
    .await;
    let lines = LINES.lock().unwrap();
    assert!(
        lines.iter().any(|line| line.starts_with("bollard")),
        "nothing was logged, so that nothing is proven"
    );
    assert!(lines.iter().any(|line| line.contains("is captured")), "nothing is captured of `tracing`");
    let told: Vec<_> = lines.iter().filter(|line| line.contains("hunter2")).collect();
    assert!(told.is_empty(), "{told:#?}");
}
