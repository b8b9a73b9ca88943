use super::{ProviderSelection, ProviderSelectionStrategy, Snapshot};
use crate::model::WorkerRequirements;

/// One fitting provider after the other, by the snapshot's round.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobinStrategy;

impl ProviderSelectionStrategy for RoundRobinStrategy {
    fn strategy_name(&self) -> &str {
        "round_robin"
    }
    fn select_provider(
        &self,
        requirements: &WorkerRequirements,
        snapshot: &Snapshot,
    ) -> Option<ProviderSelection> {
        let fitting: Vec<_> =
            snapshot.providers.iter().filter(|provider| provider.fitting(requirements).is_some()).collect();
        let turn = snapshot.round.checked_rem(fitting.len() as u64)? as usize;
        let chosen = fitting.get(turn)?;
        let reason = format!("turn {} of {} fitting providers", turn + 1, fitting.len());
        Some(ProviderSelection::new(&chosen.info, self.strategy_name(), reason, 1.0 / fitting.len() as f64))
    }
}
