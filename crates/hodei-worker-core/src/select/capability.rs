use super::{ProviderSelection, ProviderSelectionStrategy, Snapshot};
use crate::{capability::Support, model::WorkerRequirements};

/// The provider that has most of what is required natively rather than in software; of equals the one with the
/// fewest workers, then the first.
#[derive(Debug, Clone, Copy, Default)]
pub struct CapabilityStrategy;

impl ProviderSelectionStrategy for CapabilityStrategy {
    fn strategy_name(&self) -> &str {
        "capability"
    }
    fn applicable_for(&self, requirements: &WorkerRequirements) -> bool {
        !requirements.capabilities.is_empty()
    }
    fn select_provider(
        &self,
        requirements: &WorkerRequirements,
        snapshot: &Snapshot,
    ) -> Option<ProviderSelection> {
        let wanted = &requirements.capabilities;
        let scored = snapshot.providers.iter().enumerate().filter_map(|(order, provider)| {
            let capabilities = provider.fitting(requirements)?;
            let native =
                wanted.iter().filter(|one| matches!(capabilities.support(**one), Support::Native)).count();
            Some((native, provider, order))
        });
        let (native, best, _) = scored.max_by_key(|(native, provider, order)| {
            (*native, std::cmp::Reverse((provider.workers, *order)))
        })?;
        let reason = format!("{native} of {} required capabilities are native", wanted.len());
        let confidence = if wanted.is_empty() { 0.5 } else { native as f64 / wanted.len() as f64 };
        Some(ProviderSelection::new(&best.info, self.strategy_name(), reason, confidence))
    }
}
