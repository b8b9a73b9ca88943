use std::sync::Arc;

use super::{CapabilityStrategy, ProviderSelection, ProviderSelectionStrategy, RoundRobinStrategy, Snapshot};
use crate::{
    error::{Error, ErrorKind, Result},
    model::WorkerRequirements,
};

/// Strategies in the order in which they are asked; the first that applies and has a choice decides.
///
/// # Examples
/// ```
/// use hodei_worker_core::select::{ProviderSelector, RoundRobinStrategy};
/// let selector = ProviderSelector::empty().then(RoundRobinStrategy);
/// ```
#[derive(Debug, Clone)]
pub struct ProviderSelector {
    strategies: Vec<Arc<dyn ProviderSelectionStrategy>>,
}

impl Default for ProviderSelector {
    /// By capability where some are required, else round-robin.
    fn default() -> Self {
        Self::empty().then(CapabilityStrategy).then(RoundRobinStrategy)
    }
}

impl ProviderSelector {
    /// No strategy yet.
    pub fn empty() -> Self {
        Self { strategies: Vec::new() }
    }
    /// Asks this strategy after those that are there.
    #[must_use]
    pub fn then(mut self, strategy: impl ProviderSelectionStrategy) -> Self {
        self.strategies.push(Arc::new(strategy));
        self
    }

    /// Chooses a provider.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when no provider fits, with the reason for each. Where none can be used at
    /// present, [`ErrorKind::Unavailable`].
    pub fn select(
        &self,
        requirements: &WorkerRequirements,
        snapshot: &Snapshot,
    ) -> Result<ProviderSelection> {
        let applicable = self.strategies.iter().filter(|strategy| strategy.applicable_for(requirements));
        for strategy in applicable {
            if let Some(selection) = strategy.select_provider(requirements, snapshot) {
                return Ok(selection);
            }
        }
        let usable = snapshot.providers.iter().any(|provider| provider.state.capabilities().is_some());
        let kind = if usable { ErrorKind::Unsupported } else { ErrorKind::Unavailable };
        let mut error = Error::new(kind, "no provider can take this worker");
        for provider in &snapshot.providers {
            let reason = provider.unfit_reason(requirements);
            error = error.with_context(
                provider.info.name.to_string(),
                reason.as_deref().unwrap_or("no strategy chose it"),
            );
        }
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capability::{Capability, ProviderCapabilities},
        factory::ProviderState,
        provider::ProviderInfo,
        quantity::Cpu,
        select::{LoadStrategy, ProviderSnapshot},
    };

    fn provider(name: &str, capabilities: ProviderCapabilities) -> ProviderSnapshot {
        let info = ProviderInfo::new("fake", name.parse().unwrap());
        ProviderSnapshot::new(info, ProviderState::of(Arc::new(capabilities)))
    }

    fn snapshot(round: u64) -> Snapshot {
        let native = ProviderCapabilities::new("1").with(Capability::Exec).with(Capability::HealthChecks);
        let software = ProviderCapabilities::new("1")
            .with(Capability::Exec)
            .with_fallback(Capability::HealthChecks, "probes");
        let failed = ProviderSnapshot::new(
            ProviderInfo::new("fake", "broken".parse().unwrap()),
            ProviderState::Failed(Error::new(ErrorKind::Unavailable, "down")),
        );
        Snapshot::new(vec![provider("software", software), provider("native", native), failed], round)
    }

    #[test]
    fn p9_native_capabilities_win() {
        let requirements = WorkerRequirements::capabilities([Capability::HealthChecks]);
        let selection = ProviderSelector::default().select(&requirements, &snapshot(0)).unwrap();
        assert_eq!((selection.provider.name.as_str(), selection.strategy.as_str()), ("native", "capability"));
        assert!((selection.confidence - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn p9_round_robin_takes_turns_among_the_usable() {
        let chosen = |round| {
            let selection =
                ProviderSelector::default().select(&WorkerRequirements::default(), &snapshot(round)).unwrap();
            selection.provider.name.to_string()
        };
        assert_eq!([chosen(0), chosen(1), chosen(2)], ["software", "native", "software"]);
    }

    #[test]
    fn p9_the_least_loaded_is_the_one_with_the_fewest_workers_for_its_cores() {
        let of = |name: &str, cores: Option<u32>, workers| {
            let mut capabilities = ProviderCapabilities::new("1");
            capabilities.total_cpu = cores.map(Cpu::cores);
            provider(name, capabilities).with_workers(workers)
        };
        let chosen = |providers| {
            let snapshot = Snapshot::new(providers, 0);
            let selector = ProviderSelector::empty().then(LoadStrategy);
            selector.select(&WorkerRequirements::default(), &snapshot).unwrap().provider.name.to_string()
        };
        assert_eq!(chosen(vec![of("a", None, 2), of("b", None, 1)]), "b");
        assert_eq!(chosen(vec![of("a", Some(8), 5), of("b", Some(2), 2)]), "a", "0.6 for each core, and 1");
        assert_eq!(chosen(vec![of("a", Some(8), 5), of("b", None, 2)]), "b", "not all tell their cores");
        assert_eq!(chosen(vec![of("a", None, 1), of("b", None, 1)]), "a", "of equals the first");
    }

    #[test]
    fn p9_nobody_fits_and_everybody_has_a_reason() {
        let requirements = WorkerRequirements::capabilities([Capability::Pause]);
        let error = ProviderSelector::default().select(&requirements, &snapshot(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.context_value("native").unwrap().contains("pause"), "{error}");
        assert_eq!(error.context_value("broken"), Some("it is failed"));
    }

    #[test]
    fn p9_all_down_is_unavailable() {
        let mut all = snapshot(0);
        all.providers.drain(..2);
        let error = ProviderSelector::default().select(&WorkerRequirements::default(), &all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
