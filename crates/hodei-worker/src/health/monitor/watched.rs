//! One run that is watched.

use std::{sync::Arc, time::Duration};

use hodei_worker_core::{
    WorkerPhase, WorkerProvider, WorkerStatus,
    model::{GroupRef, HealthCheckConfig, Probe, RunId},
    status::Health,
};
use tokio::{task::AbortHandle, time::Instant};

use super::{Subject, timers::Timer};
use crate::health::{finding::Finding, verdict::Verdict};

pub(super) struct Watched {
    /// Tells it from what was watched before of the same worker.
    pub(super) id: u64,
    pub(super) run: RunId,
    pub(super) provider: Arc<dyn WorkerProvider>,
    pub(super) worker_type: Option<GroupRef>,
    pub(super) status: Arc<WorkerStatus>,
    pub(super) slots: Vec<Slot>,
    pub(super) verdict: Verdict,
    /// Signs of life cannot reach us at present.
    pub(super) deaf: bool,
    /// When it was that old; `None` while it does not run yet.
    born: Option<(Instant, Duration)>,
}

/// One check of it.
pub(super) struct Slot {
    pub(super) check: HealthCheckConfig,
    pub(super) timer: Option<Timer>,
    pub(super) waits: bool,
    pub(super) trying: Option<AbortHandle>,
}

impl Watched {
    pub(super) fn new(id: u64, subject: Subject, now: Instant) -> Self {
        let verdict = Verdict::new(&subject.checks);
        let slot = |check| Slot { check, timer: None, waits: false, trying: None };
        let mut new = Self {
            id,
            run: subject.run,
            provider: subject.provider,
            worker_type: subject.worker_type,
            status: subject.status,
            slots: subject.checks.into_iter().map(slot).collect(),
            verdict,
            deaf: false,
            born: None,
        };
        new.be_born(now);
        new
    }

    /// Checks are made of what runs: something frozen or on its way out does not answer.
    pub(super) fn is_active(&self) -> bool {
        self.status.phase == WorkerPhase::Running
    }

    fn be_born(&mut self, now: Instant) {
        if self.born.is_none() && self.is_active() {
            let started = self.status.times.started;
            let age = started.and_then(|started| self.status.as_of.duration_since(started).try_into().ok());
            self.born = Some((now, age.unwrap_or_default()));
        }
    }

    /// How long it has run.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.born
            .map_or(Duration::ZERO, |(then, age)| age.saturating_add(now.saturating_duration_since(then)))
    }

    /// When it is of that age.
    pub(super) fn at_age(&self, age: Duration, now: Instant) -> Instant {
        now + age.saturating_sub(self.age(now)).min(FOREVER)
    }

    /// Takes a later status of the same run. Says whether its provider's own check has changed its mind.
    pub(super) fn update(&mut self, status: &Arc<WorkerStatus>, now: Instant) -> bool {
        let changed = self.status.health != status.health;
        self.status = Arc::clone(status);
        self.be_born(now);
        changed
    }

    /// What the provider's own check says; `None` while it has not decided, or has none.
    pub(super) fn native(&self) -> Option<Finding> {
        match self.status.health? {
            Health::Healthy => Some(Finding::Success { took: Duration::ZERO }),
            Health::Unhealthy => Some(match &self.status.reason {
                Some(reason) => Finding::failure(reason.clone()),
                None => Finding::failure("it has failed"),
            }),
            _ => None,
        }
    }

    pub(super) fn slots_of(&self, wanted: fn(&Probe) -> bool) -> Vec<usize> {
        let all = self.slots.iter().enumerate();
        all.filter(|(_, slot)| wanted(&slot.check.probe)).map(|(n, _)| n).collect()
    }
}

impl Slot {
    /// The age at which a provider must have shown that it has a check of its own.
    pub(super) fn must_show_by(&self) -> Duration {
        let patience = self.check.interval.get().saturating_mul(self.check.failure_threshold);
        self.check.start_period.get().saturating_add(patience)
    }
}

/// Longer than anybody waits, and no overflow.
pub(super) const FOREVER: Duration = Duration::from_secs(30 * 365 * 86_400);
