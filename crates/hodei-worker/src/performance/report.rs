use std::{collections::BTreeMap, time::Duration};

use hodei_worker_core::{
    Timestamp, WorkerId,
    model::{Generation, GroupRef, ProviderName},
    quantity::HumanDuration,
};
use serde::{Deserialize, Serialize};

use super::{StartPhase, start_up::Phases};

/// Where the time of workers goes, per worker type and provider. `Display` makes a table of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PerformanceReport {
    /// The time of the report.
    pub as_of: Timestamp,
    /// In the order of worker type and provider.
    pub groups: Vec<GroupReport>,
    /// Starts that were not measured, as there were more at one time than the settings keep.
    #[serde(default)]
    pub unmeasured: u64,
}

/// The workers of one type on one provider, taken together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GroupReport {
    /// Their type; `None` for those without.
    pub worker_type: Option<GroupRef>,
    /// Their provider; `None` for all that is beyond the limit of groups.
    pub provider: Option<ProviderName>,
    /// How many there are.
    pub workers: u64,
    /// How many of them run.
    pub running: u64,
    /// How many of them have a job.
    pub busy: u64,
    /// From the intent until they ran and, where they are checked, were well. First starts and later ones.
    pub starts: Spread,
    /// The parts of that; those that there were.
    pub phases: BTreeMap<StartPhase, Spread>,
    /// The part that took most, over all starts.
    pub costliest: Option<CostliestPhase>,
    /// How long their jobs took.
    pub jobs: Spread,
    /// How long they ran, all together.
    pub running_time: HumanDuration,
    /// How long they had a job, all together.
    pub busy_time: HumanDuration,
    /// How often one was brought back, or was tried to be.
    pub restarts: u64,
    /// From a failure until they ran again.
    pub recoveries: Spread,
    /// How often a person was called.
    pub escalations: u64,
}

impl GroupReport {
    /// Which part of the time in which they ran they had a job: 0 to 1. `None` while none ran.
    pub fn utilisation(&self) -> Option<f64> {
        utilisation(self.busy_time.get(), self.running_time.get())
    }
}

/// Durations, taken together. A quantile is at most an eighth too high.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: HumanDuration,
    /// 95 of 100 took no longer.
    pub p95: HumanDuration,
    /// The longest.
    pub max: HumanDuration,
    /// Their sum.
    pub total: HumanDuration,
}

/// The phase of starts that took most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CostliestPhase {
    /// Which.
    pub phase: StartPhase,
    /// Its part of the whole: 0 to 1.
    pub share: f64,
}

/// Where the time of one worker goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerReport {
    /// Which.
    pub worker: WorkerId,
    /// Its provider, where that is known.
    pub provider: Option<ProviderName>,
    /// Its type.
    pub worker_type: Option<GroupRef>,
    /// Its present creation.
    pub generation: Generation,
    /// Its last start that was measured.
    pub start: Option<StartReport>,
    /// How long it ran, as far as it was seen.
    pub running_time: HumanDuration,
    /// How long it had a job that has ended.
    pub busy_time: HumanDuration,
    /// Its jobs that have ended.
    pub jobs: u64,
    /// How often it was brought back, or was tried to be.
    pub restarts: u64,
    /// How often it ran again after a failure.
    pub recoveries: u64,
    /// How long that took, all together.
    pub recovery_time: HumanDuration,
}

impl WorkerReport {
    /// Which part of the time in which it ran it had a job: 0 to 1. `None` before it ran.
    pub fn utilisation(&self) -> Option<f64> {
        utilisation(self.busy_time.get(), self.running_time.get())
    }
}

/// One start of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StartReport {
    /// The whole.
    pub total: HumanDuration,
    /// Its parts; those that there were.
    pub phases: BTreeMap<StartPhase, HumanDuration>,
    /// The part that took most.
    pub costliest: Option<CostliestPhase>,
}

impl From<&Phases> for StartReport {
    fn from(phases: &Phases) -> Self {
        Self {
            total: phases.total().into(),
            phases: phases.iter().map(|(phase, took)| (phase, took.into())).collect(),
            costliest: costliest(phases.iter()),
        }
    }
}

pub(super) fn costliest(phases: impl Iterator<Item = (StartPhase, Duration)>) -> Option<CostliestPhase> {
    let phases: Vec<_> = phases.collect();
    let whole: Duration = phases.iter().map(|(_, took)| *took).sum();
    let (phase, most) = phases.into_iter().max_by_key(|(_, took)| *took)?;
    (!most.is_zero()).then(|| CostliestPhase { phase, share: most.as_secs_f64() / whole.as_secs_f64() })
}

fn utilisation(busy: Duration, running: Duration) -> Option<f64> {
    // Jobs may go on while a worker is being stopped, and clocks differ.
    (!running.is_zero()).then(|| (busy.as_secs_f64() / running.as_secs_f64()).min(1.0))
}
