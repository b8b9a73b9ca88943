use super::{ProviderSelection, ProviderSelectionStrategy, Snapshot};
use crate::model::WorkerRequirements;

/// The fitting provider with the fewest workers for the CPU that it has, so that twice as large a one gets twice as many;
/// without the CPU where one does not tell how much it has. Of equals the first.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadStrategy;

impl ProviderSelectionStrategy for LoadStrategy {
    fn strategy_name(&self) -> &str {
        "load"
    }
    fn select_provider(
        &self,
        requirements: &WorkerRequirements,
        snapshot: &Snapshot,
    ) -> Option<ProviderSelection> {
        let fitting: Vec<_> = snapshot
            .providers
            .iter()
            .filter_map(|provider| Some((provider, provider.fitting(requirements)?.total_cpu)))
            .collect();
        let all_tell = fitting.iter().all(|(_, cpu)| cpu.is_some_and(|cpu| cpu.millis() > 0));
        let load = |workers: usize, cpu: Option<crate::quantity::Cpu>| {
            let share = cpu.filter(|_| all_tell).map_or(1.0, |cpu| cpu.millis() as f64 / 1000.0);
            workers as f64 / share
        };
        let with_load = fitting.iter().map(|(provider, cpu)| (*provider, load(provider.workers, *cpu)));
        let (best, least) = with_load.min_by(|(_, one), (_, other)| one.total_cmp(other))?;
        let per = if all_tell { " for each core" } else { "" };
        let reason = format!("the fewest of {} fitting providers: {least:.2} workers{per}", fitting.len());
        Some(ProviderSelection::new(&best.info, self.strategy_name(), reason, 1.0 / (1.0 + least)))
    }
}
