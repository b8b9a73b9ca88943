use std::future::Future;

use super::{Call, DeadlinePassed, Policy, TimeoutSettings};
use crate::{deadline, error::Result};

/// Gives the call its deadline, and its errors the operation, the provider and the worker, once for everybody below.
#[derive(Debug)]
pub struct Context {
    settings: TimeoutSettings,
}

impl Context {
    /// With the default deadlines that follow from these settings.
    pub fn new(settings: &TimeoutSettings) -> Self {
        Self { settings: settings.clone() }
    }
}

impl Policy for Context {
    async fn run<T, F, Fut>(&self, call: Call<'_>, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        let result = if deadline::has_passed() {
            Err(DeadlinePassed::unsent("the deadline had passed before the call began; nothing was sent"))
        } else {
            deadline::until(deadline::after(self.settings.deadline(&call)), attempt()).await
        };
        result.map_err(|error| {
            let error = error.with_operation(call.operation).with_provider(call.provider);
            match call.worker {
                Some(worker) => error.with_worker(worker),
                None => error,
            }
        })
    }
}
