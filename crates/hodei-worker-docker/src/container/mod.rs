//! Containers: how one is described, found, created, started, stopped and deleted.

mod check;
mod create;
mod delete;
mod find;
mod list;
mod prepare;
mod spec;
mod start;
mod stop;
mod unmarked;
mod versions;

pub(crate) use check::told;
pub(crate) use find::Found;
pub(crate) use spec::endpoint;

use hodei_worker_core::{Error, ErrorKind, Result, Retry};
use tokio::{sync::OwnedMutexGuard, task::JoinHandle};

use crate::{memory::Remembered, provider::Shared};

impl Shared {
    /// The turn of a worker, if it comes before the engine's time for an answer is over: whoever has it waits for an
    /// answer of the engine, a start perhaps for long.
    async fn turn_in_time(&self, remembered: &Remembered) -> Result<OwnedMutexGuard<()>> {
        tokio::time::timeout(self.engine.timeout(), remembered.turn()).await.map_err(|_| {
            Error::new(ErrorKind::Overloaded, "an earlier request about the worker is not answered yet")
                .with_retry(Retry::Safe { after: None })
        })
    }
}

/// What a request brought that goes on without its caller.
pub(crate) async fn answered<T>(request: JoinHandle<Result<T>>) -> Result<T> {
    request.await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Cancelled, "the runtime is shutting down").with_source(error))
    })
}
