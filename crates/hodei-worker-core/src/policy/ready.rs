use std::{future::Future, sync::Arc, time::Duration};

use super::{Call, DeadlinePassed, Policy, TimeoutSettings, With, current_deadline, with::Inner};
use crate::{
    deadline::after,
    error::Result,
    factory::{ProviderHandle, ProviderState},
    provider::{ProviderInfo, WorkerProvider},
};

impl Inner for ProviderHandle {
    fn info(&self) -> &ProviderInfo {
        self.info()
    }
    fn provider(&self) -> Result<&dyn WorkerProvider> {
        self.connected()
    }
}

/// The provider behind a handle, as a provider, with the gate [`Ready`] before it and no other policy.
pub fn gate(handle: ProviderHandle) -> Arc<dyn WorkerProvider> {
    let ready = Ready::new(handle.clone(), &TimeoutSettings::default());
    Arc::new(With::around(handle, ready))
}

/// The gate of a provider's state.
///
/// Calls are refused at once where it is uninitialised, wait (on a channel, without polling) while it initialises, pass
/// where it is ready or degraded, and get the error of the initialisation where that has failed. Where it may have been
/// down for a while only, the first call after a pause tries again: see [`ProviderHandle::provider`].
#[derive(Debug)]
pub struct Ready {
    handle: ProviderHandle,
    patience: Duration,
}

impl Ready {
    /// The gate of this provider. A call that has no deadline waits for `slack`.
    pub fn new(handle: ProviderHandle, settings: &TimeoutSettings) -> Self {
        Self { handle, patience: settings.slack.get() }
    }

    async fn wait(&self) -> Result<()> {
        self.handle.revive()?;
        let deadline = current_deadline().unwrap_or_else(|| after(self.patience));
        match tokio::time::timeout_at(deadline, self.handle.ready()).await {
            Ok(ready) => ready.map(|_| ()),
            Err(_) => Err(DeadlinePassed::unsent(match self.handle.state() {
                ProviderState::Initializing(progress) => format!(
                    "the provider is still being initialised ({}, {} %), and nothing was sent to it",
                    progress.step, progress.percent
                ),
                _ => "the provider became ready too late, and nothing was sent to it".to_owned(),
            })),
        }
    }
}

impl Policy for Ready {
    async fn run<T, F, Fut>(&self, _: Call<'_>, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        if !self.handle.is_usable() {
            Box::pin(self.wait()).await?;
        }
        attempt().await
    }
}
