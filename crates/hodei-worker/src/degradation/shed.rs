use std::collections::BTreeMap;

use hodei_worker_core::WorkerId;

use super::DegradationSettings;

/// How much work of each priority has to go so that the rest fits the capacity: the least important first, and nothing
/// that is critical. `demand` and `capacity` count the same thing, such as jobs.
///
/// # Examples
/// ```
/// use hodei_worker::degradation::{DegradationSettings, shed_work};
/// let demand = [(-5, 4), (0, 10), (100, 3)].into();
/// let shed = shed_work(&demand, 10, &DegradationSettings::default());
/// assert_eq!(shed, [(-5, 4), (0, 3)].into());
/// ```
pub fn shed_work(
    demand: &BTreeMap<i32, u64>,
    capacity: u64,
    settings: &DegradationSettings,
) -> BTreeMap<i32, u64> {
    let mut over =
        demand.values().fold(0_u64, |sum, amount| sum.saturating_add(*amount)).saturating_sub(capacity);
    let mut shed = BTreeMap::new();
    for (priority, amount) in demand.range(..settings.critical) {
        let goes = over.min(*amount);
        if goes > 0 {
            shed.insert(*priority, goes);
            over -= goes;
        }
    }
    shed
}

/// A worker that may have to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheddable {
    /// Which.
    pub worker: WorkerId,
    /// Its own priority.
    pub priority: i32,
    /// Its [weight](super::weight()).
    pub weight: u8,
    /// How many jobs it has.
    pub jobs: usize,
}

/// Which workers go first when that many have to: the least important, of those the idle, of those the least well. None
/// that is critical; so there may be fewer.
pub fn shed_workers(workers: &[Sheddable], count: usize, settings: &DegradationSettings) -> Vec<WorkerId> {
    let mut may: Vec<_> = workers.iter().filter(|worker| worker.priority < settings.critical).collect();
    may.sort_by_key(|worker| (worker.priority, worker.jobs, worker.weight, &worker.worker));
    may.into_iter().take(count).map(|worker| worker.worker.clone()).collect()
}
