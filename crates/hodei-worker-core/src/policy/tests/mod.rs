mod breaker;
mod cache;
mod limit;
mod observe;
mod ready;
mod require;
mod retry;
mod script;
mod settings;
mod stack;
mod timeout;

use std::{sync::Arc, time::Duration};

use super::{Layer, PolicySettings};
use crate::{
    error::{Error, ErrorKind, Retry},
    model::WorkerRef,
    provider::WorkerProvider,
};
use script::{Script, Step};

const SECOND: Duration = Duration::from_secs(1);

fn worker(name: &str) -> WorkerRef {
    WorkerRef::first(name.parse().unwrap())
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "the engine does not answer").with_retry(Retry::Safe { after: None })
}

fn layered(layer: impl Layer, script: &Arc<Script>) -> Arc<dyn WorkerProvider> {
    layer.layer(script.provider())
}

/// Lets every task run until all of them wait.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Settings under which nothing is repeated, refused or remembered, to look at one policy by itself.
fn plain() -> PolicySettings {
    let mut settings = PolicySettings::default();
    settings.retry.attempts = 1;
    settings.breaker.failures = 0;
    settings.cache.status = Duration::ZERO.into();
    settings
}
