use std::future::Future;

use super::{Call, DeadlinePassed, Policy, TimeoutSettings};
use crate::{
    deadline,
    error::{Error, Result},
};

/// Gives the call its deadline, and its errors the operation, the provider and the worker, once for everybody below.
///
/// A worker whose own grace is longer than a stop may take is refused when it is created: its stop would be given up
/// each time while the worker was still at it.
#[derive(Debug)]
pub struct Context {
    settings: TimeoutSettings,
}

impl Context {
    /// With the default deadlines that follow from these settings.
    pub fn new(settings: &TimeoutSettings) -> Self {
        Self { settings: settings.clone() }
    }

    fn check_grace(&self, call: &Call<'_>) -> Result<()> {
        let most = self.settings.stop;
        match call.config.and_then(|config| config.stop_grace) {
            Some(grace) if grace > most => {
                let message =
                    format!("{grace} is longer than a stop may take here, {most} (`timeouts.stop`)");
                Err(Error::config("stop_grace", message).with_help("raise `timeouts.stop` of the policies"))
            }
            _ => Ok(()),
        }
    }
}

impl Policy for Context {
    async fn run<T, F, Fut>(&self, call: Call<'_>, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        let result = if let Err(error) = self.check_grace(&call) {
            Err(error)
        } else if deadline::has_passed() {
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
