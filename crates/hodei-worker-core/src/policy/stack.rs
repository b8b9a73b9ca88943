use std::sync::Arc;

use super::{
    Breaker, Cache, Context, Layer as _, Limit, Observe, PolicySettings, Ready, Require, RetryPolicy,
    Timeout, With,
};
use crate::{factory::ProviderHandle, provider::WorkerProvider};

/// What a stack is put around: a provider, or the handle of one that may still initialise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Source {
    /// A provider that is there.
    Provider(Arc<dyn WorkerProvider>),
    /// The handle of one: calls wait until it is ready.
    Handle(ProviderHandle),
}

impl From<Arc<dyn WorkerProvider>> for Source {
    fn from(provider: Arc<dyn WorkerProvider>) -> Self {
        Self::Provider(provider)
    }
}

impl<P: WorkerProvider> From<Arc<P>> for Source {
    fn from(provider: Arc<P>) -> Self {
        Self::Provider(provider)
    }
}

impl From<ProviderHandle> for Source {
    fn from(handle: ProviderHandle) -> Self {
        Self::Handle(handle)
    }
}

/// A provider with all policies around it, in the standard order, and a view of its breaker.
///
/// # Examples
/// ```
/// # use std::sync::Arc;
/// # use hodei_worker_core::{ProviderHandle, WorkerProvider, policy::{PolicySettings, Stack}};
/// # fn example(handle: ProviderHandle) -> Arc<dyn WorkerProvider> {
/// Stack::standard(handle, &PolicySettings::default())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Stack {
    provider: Arc<dyn WorkerProvider>,
    breaker: Breaker,
}

impl Stack {
    /// The layers of the standard order, outermost first. `Ready` is left out around a provider that is there.
    pub const ORDER: [&'static str; 9] =
        ["Observe", "Context", "Ready", "Require", "Cache", "RetryPolicy", "Breaker", "Limit", "Timeout"];

    /// Puts the policies around a provider. Build one stack per provider: its limits, budget and breaker are shared by
    /// the calls that go through it.
    pub fn new(source: impl Into<Source>, settings: &PolicySettings) -> Self {
        let timeout = Timeout::new(&settings.timeouts);
        let (innermost, handle): (Arc<dyn WorkerProvider>, _) = match source.into() {
            Source::Provider(provider) => (timeout.layer(provider), None),
            Source::Handle(handle) => (Arc::new(With::around(handle.clone(), timeout)), Some(handle)),
        };
        let info = innermost.info().clone();
        let breaker = Breaker::new(&settings.breaker, &info);

        let provider = Limit::new(&settings.limits).layer(innermost);
        let provider = breaker.clone().layer(provider);
        let provider = RetryPolicy::new(&settings.retry).layer(provider);
        let provider = Cache::new(&settings.cache).layer(provider);
        let provider = Require.layer(provider);
        let provider = match handle {
            Some(handle) => Ready::new(handle, &settings.timeouts).layer(provider),
            None => provider,
        };
        let provider = Context::new(&settings.timeouts).layer(provider);
        let provider = Observe::new(&info).layer(provider);
        Self { provider, breaker }
    }

    /// The provider or handle with the standard policies around it.
    pub fn standard(source: impl Into<Source>, settings: &PolicySettings) -> Arc<dyn WorkerProvider> {
        Self::new(source, settings).provider
    }

    /// The provider with its policies.
    pub fn provider(&self) -> Arc<dyn WorkerProvider> {
        Arc::clone(&self.provider)
    }
    /// Its breaker, to look at.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }
}
