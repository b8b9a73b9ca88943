use std::time::Duration;

use crate::{
    model::{WorkerConfig, WorkerRef},
    provider::{Operation, ProviderInfo, WorkerProvider},
};

/// What a policy knows of the call that it stands around.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Call<'a> {
    /// What is being done. A stop without grace is [`Operation::Kill`].
    pub operation: Operation,
    /// The provider that is called.
    pub provider: &'a ProviderInfo,
    /// The worker that it is about, if it is about one.
    pub worker: Option<&'a WorkerRef>,
    /// The time that the call itself says it takes: a stop's grace. `None`: the operation's usual time, which
    /// [`TimeoutSettings`](super::TimeoutSettings) knows.
    pub expected: Option<Duration>,
    /// The configuration, where a worker is created.
    pub config: Option<&'a WorkerConfig>,
    /// The provider below this policy, for reads that the policy needs itself. `None` while there is none yet.
    pub below: Option<&'a dyn WorkerProvider>,
}

impl<'a> Call<'a> {
    /// A call of that operation, about no worker.
    pub fn new(operation: Operation, provider: &'a ProviderInfo) -> Self {
        Self { operation, provider, worker: None, expected: None, config: None, below: None }
    }
    /// About this worker.
    #[must_use]
    pub fn worker(mut self, worker: &'a WorkerRef) -> Self {
        self.worker = Some(worker);
        self
    }
    /// Taking this long by its own account.
    #[must_use]
    pub fn expected(mut self, expected: Option<Duration>) -> Self {
        self.expected = expected;
        self
    }
    pub(super) fn config(mut self, config: &'a WorkerConfig) -> Self {
        self.config = Some(config);
        self
    }
    pub(super) fn below(mut self, below: Option<&'a dyn WorkerProvider>) -> Self {
        self.below = below;
        self
    }
}
