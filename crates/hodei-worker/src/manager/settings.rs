use std::time::Duration;

use hodei_worker_core::{
    lifecycle::RecoverySettings, quantity::HumanDuration, settings::Problems, store::HostId,
};
use serde::{Deserialize, Serialize};

use crate::{
    degradation::DegradationSettings, health::HealthSettings, performance::PerformanceSettings,
    telemetry::SamplingSettings,
};

/// How a manager works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ManagerSettings {
    /// How workers are brought back that do not say so themselves.
    pub recovery: RecoverySettings,
    /// What happens to objects of ours that no worker of the log stands behind. Default: removed.
    pub sweep: Sweep,
    /// How long such an object is left alone after it was first seen. Default: 30 s.
    pub sweep_after: HumanDuration,
    /// Time between two listings of a provider that cannot be watched. Default: 30 s.
    pub poll_interval: HumanDuration,
    /// How long a run may take to show after its start before it is looked for. Default: 2 s.
    pub look_after: HumanDuration,
    /// Events after which what they came to is saved and old ones are removed. Default: 200,000.
    pub compact_every: u64,
    /// Events that are kept for replays, at least. Default: 100,000.
    pub keep_events: u64,
    /// How long the names of removed workers are kept, so that late answers are told from new workers. Default: 1 h.
    pub tombstones: HumanDuration,
    /// How the health of workers is checked by this host.
    pub health: HealthSettings,
    /// How workers that are less well get less work.
    pub degradation: DegradationSettings,
    /// What is kept of where workers' time goes.
    pub performance: PerformanceSettings,
    /// What [`measure`](super::WorkerManager::measure) measures of single workers.
    pub sampling: SamplingSettings,
    /// Commands and observations that may wait for the manager, and changes that may wait to be written down: beyond, who
    /// gives commands waits. Default: 1024.
    pub queue: usize,
    /// The name of this host, where several share a store. Default: made of the process's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// How long the lease of a host holds that does not renew it. Default: 10 s.
    pub lease: HumanDuration,
}

/// What happens to objects of ours that no worker of the log stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sweep {
    /// They are removed, once they are old enough and this log holds the intent that made them.
    #[default]
    Remove,
    /// They are listed only.
    DryRun,
}

impl Default for ManagerSettings {
    fn default() -> Self {
        Self {
            recovery: RecoverySettings::default(),
            sweep: Sweep::Remove,
            sweep_after: HumanDuration::secs(30),
            poll_interval: HumanDuration::secs(30),
            look_after: HumanDuration::secs(2),
            compact_every: 200_000,
            keep_events: 100_000,
            tombstones: HumanDuration::secs(3600),
            health: HealthSettings::default(),
            degradation: DegradationSettings::default(),
            performance: PerformanceSettings::default(),
            sampling: SamplingSettings::default(),
            queue: 1024,
            host: None,
            lease: HumanDuration::secs(10),
        }
    }
}

impl ManagerSettings {
    /// Tells what makes no sense.
    pub fn validate(&self, problems: &mut Problems) {
        let mut nest = |name: &str, validate: &dyn Fn(&mut Problems)| {
            let mut wrong = Problems::new();
            validate(&mut wrong);
            problems.nest(name, wrong);
        };
        nest("recovery", &|problems| self.recovery.validate(problems));
        nest("health", &|problems| self.health.validate(problems));
        nest("degradation", &|problems| self.degradation.validate(problems));
        nest("performance", &|problems| self.performance.validate(problems));
        nest("sampling", &|problems| self.sampling.validate(problems));
        problems.require(self.queue > 0, "queue", "it is 0: nothing could ever be said to the manager");
        problems.require(
            self.lease.get() >= Duration::from_secs(1),
            "lease",
            "it is shorter than 1 s: a host that is a little slow would lose its workers",
        );
        problems.require(self.compact_every > 0, "compact_every", "it is 0: give at least 1");
    }
}
