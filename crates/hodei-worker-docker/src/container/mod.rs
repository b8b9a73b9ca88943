//! Containers: how one is described, found, created, started, stopped and deleted.

mod create;
mod delete;
mod find;
mod list;
mod spec;
mod start;
mod stop;

pub(crate) use find::Found;

use hodei_worker_core::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;

/// What a request brought that goes on without its caller.
async fn answered<T>(request: JoinHandle<Result<T>>) -> Result<T> {
    request.await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Cancelled, "the runtime is shutting down").with_source(error))
    })
}
