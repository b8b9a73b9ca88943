//! Which provider gets a worker, and why. Pure: a choice depends on the snapshot alone.

mod capability;
mod load;
mod round_robin;
mod selector;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

pub use capability::CapabilityStrategy;
pub use load::LoadStrategy;
pub use round_robin::RoundRobinStrategy;
pub use selector::ProviderSelector;

use crate::{
    capability::ProviderCapabilities, factory::ProviderState, model::WorkerRequirements,
    provider::ProviderInfo,
};

/// A provider as a selection sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProviderSnapshot {
    /// Which provider.
    pub info: ProviderInfo,
    /// Whether it can be used.
    pub state: ProviderState,
    /// Workers that it has at present.
    pub workers: usize,
}

impl ProviderSnapshot {
    /// A provider in that state, without workers.
    pub fn new(info: ProviderInfo, state: ProviderState) -> Self {
        Self { info, state, workers: 0 }
    }
    /// With that many workers.
    #[must_use]
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }
    /// What it can do, if it can be used at all and fits the requirements.
    pub fn fitting(&self, requirements: &WorkerRequirements) -> Option<&Arc<ProviderCapabilities>> {
        let capabilities = self.state.capabilities()?;
        self.unfit_reason(requirements).is_none().then_some(capabilities)
    }
    /// Why it cannot take the worker, if it cannot.
    pub fn unfit_reason(&self, requirements: &WorkerRequirements) -> Option<String> {
        let Some(capabilities) = self.state.capabilities() else {
            return Some(format!("it is {}", self.state.as_str()));
        };
        if let Err(error) = capabilities.require(requirements.capabilities.iter().copied()) {
            return Some(error.message().to_owned());
        }
        let wanted = &requirements.min_performance;
        let cpu = wanted.cpu_request.zip(capabilities.total_cpu).filter(|(wanted, total)| wanted > total);
        let memory =
            wanted.memory_request.zip(capabilities.total_memory).filter(|(wanted, total)| wanted > total);
        cpu.map(|(wanted, total)| format!("it has {total} of CPU, {wanted} is wanted"))
            .or_else(|| memory.map(|(wanted, total)| format!("it has {total} of memory, {wanted} is wanted")))
    }
}

/// All providers at one time.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The providers, in the host's order.
    pub providers: Vec<ProviderSnapshot>,
    /// Choices made so far; what turns a round-robin on.
    pub round: u64,
}

impl Snapshot {
    /// These providers, `round` choices after the start.
    pub fn new(providers: Vec<ProviderSnapshot>, round: u64) -> Self {
        Self { providers, round }
    }
}

/// A choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProviderSelection {
    /// The chosen provider.
    pub provider: ProviderInfo,
    /// The strategy that chose it.
    pub strategy: String,
    /// Why.
    pub selection_reason: String,
    /// How sure, 0 to 1.
    pub confidence: f64,
}

impl ProviderSelection {
    /// A choice of this provider.
    pub fn new(provider: &ProviderInfo, strategy: &str, reason: impl Into<String>, confidence: f64) -> Self {
        Self {
            provider: provider.clone(),
            strategy: strategy.to_owned(),
            selection_reason: reason.into(),
            confidence,
        }
    }
}

/// A way to choose a provider.
///
/// # Examples
/// ```
/// use hodei_worker_core::{model::WorkerRequirements, select::*};
/// /// The provider with the fewest workers.
/// #[derive(Debug)]
/// struct Emptiest;
/// impl ProviderSelectionStrategy for Emptiest {
///     fn strategy_name(&self) -> &str { "emptiest" }
///     fn select_provider(&self, requirements: &WorkerRequirements, snapshot: &Snapshot) -> Option<ProviderSelection> {
///         let fitting = snapshot.providers.iter().filter(|provider| provider.fitting(requirements).is_some());
///         let best = fitting.min_by_key(|provider| provider.workers)?;
///         Some(ProviderSelection::new(&best.info, "emptiest", format!("{} workers", best.workers), 0.8))
///     }
/// }
/// ```
pub trait ProviderSelectionStrategy: fmt::Debug + Send + Sync + 'static {
    /// Its name in reasons.
    fn strategy_name(&self) -> &str;
    /// Whether it has something to say about these requirements.
    fn applicable_for(&self, requirements: &WorkerRequirements) -> bool {
        let _ = requirements;
        true
    }
    /// Its choice, if there is one. Must return the same for the same arguments.
    fn select_provider(
        &self,
        requirements: &WorkerRequirements,
        snapshot: &Snapshot,
    ) -> Option<ProviderSelection>;
}
