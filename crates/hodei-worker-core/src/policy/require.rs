use std::future::Future;

use super::{Call, Policy};
use crate::{
    capability::{self, Capability},
    error::Result,
    provider::Operation,
};

/// Refuses what the provider's capabilities exclude, before anything is sent to it: a worker that needs what it lacks,
/// and the optional operations that it does not have.
#[derive(Debug, Default)]
pub struct Require;

impl Require {
    /// The capability without which the operation does not exist.
    pub const fn needed_for(operation: Operation) -> Option<Capability> {
        match operation {
            Operation::Watch => Some(Capability::Watch),
            Operation::Logs => Some(Capability::Logs),
            Operation::Exec => Some(Capability::Exec),
            Operation::ConnectPort => Some(Capability::PortForward),
            Operation::Stats => Some(Capability::Monitoring),
            Operation::Image => Some(Capability::ImageIds),
            Operation::Scale => Some(Capability::NativeGroups),
            Operation::Autoscale => Some(Capability::AutoScaling),
            _ => None,
        }
    }

    async fn check(call: Call<'_>) -> Result<()> {
        let Some(provider) = call.below else { return Ok(()) };
        let needed = match call.config {
            Some(config) => capability::needed_by(config),
            None => Self::needed_for(call.operation).into_iter().collect(),
        };
        if needed.is_empty() {
            return Ok(());
        }
        provider.get_capabilities().await?.require(needed)
    }
}

impl Policy for Require {
    async fn run<T, F, Fut>(&self, call: Call<'_>, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        if call.config.is_some() || Self::needed_for(call.operation).is_some() {
            Box::pin(Self::check(call)).await?;
        }
        attempt().await
    }
}
