//! All checks of one worker's run together: healthy when all are, unhealthy when one is.

use std::time::Duration;

use hodei_worker_core::lifecycle::{DegradedBy, HealthChange};
use hodei_worker_core::model::HealthCheckConfig;

use super::{
    check::{Check, Standing},
    finding::Finding,
};

#[derive(Debug)]
pub(super) struct Verdict {
    checks: Vec<Check>,
    told: Told,
}

/// What has been told of it.
#[derive(Debug)]
struct Told {
    standing: Standing,
    slow: bool,
    flapping: bool,
}

impl Told {
    const NOTHING: Self = Self { standing: Standing::Unknown, slow: false, flapping: false };
}

impl Verdict {
    pub(super) fn new<'a>(checks: impl IntoIterator<Item = &'a HealthCheckConfig>) -> Self {
        Self { checks: checks.into_iter().map(Check::new).collect(), told: Told::NOTHING }
    }

    /// Takes in what a try of a check found at that age of the run, and says what that changes.
    pub(super) fn record(&mut self, check: usize, age: Duration, finding: Finding) -> Vec<HealthChange> {
        if let Some(check) = self.checks.get_mut(check) {
            check.record(age, finding);
        }
        self.changes()
    }

    /// Time has passed.
    pub(super) fn settle(&mut self, age: Duration) -> Vec<HealthChange> {
        self.checks.iter_mut().for_each(|check| check.settle(age));
        self.changes()
    }

    /// All that there is to tell, as if nothing had been told yet.
    pub(super) fn again(&mut self) -> Vec<HealthChange> {
        self.told = Told::NOTHING;
        self.changes()
    }

    /// When time alone will change something about that check.
    pub(super) fn settles_at(&self, check: usize) -> Option<Duration> {
        self.checks.get(check)?.settles_at()
    }

    /// Time from one try of that check to the next.
    pub(super) fn pause(&self, check: usize) -> Duration {
        self.checks.get(check).map_or(Duration::MAX, Check::pause)
    }

    /// Whether that check has succeeded once.
    pub(super) fn has_begun(&self, check: usize) -> bool {
        self.checks.get(check).is_some_and(Check::has_begun)
    }

    fn standing(&self) -> Standing {
        let mut standings = self.checks.iter().map(Check::standing);
        if standings.clone().any(|standing| standing == Standing::Unwell) {
            Standing::Unwell
        } else if standings.all(|standing| standing == Standing::Well) {
            Standing::Well
        } else {
            Standing::Unknown
        }
    }

    fn changes(&mut self) -> Vec<HealthChange> {
        let mut changes = Vec::new();
        let slow = self.checks.iter().find_map(Check::slow);
        let flapping = self.checks.iter().find_map(Check::flaps);
        let each = [
            (&mut self.told.slow, slow, DegradedBy::Latency),
            (&mut self.told.flapping, flapping, DegradedBy::Flapping),
        ];
        for (told, reason, by) in each {
            match (reason, *told) {
                (Some(reason), false) => changes.push(HealthChange::Degraded { by, reason }),
                (None, true) => changes.push(HealthChange::Restored { by }),
                _ => continue,
            }
            *told = !*told;
        }
        let mut again = false;
        for check in &mut self.checks {
            again |= check.take_again();
        }
        let standing = self.standing();
        match standing {
            Standing::Well if self.told.standing != Standing::Well => changes.push(HealthChange::Healthy),
            Standing::Unwell if again || self.told.standing != Standing::Unwell => {
                let unwell = self.checks.iter().filter(|check| check.standing() == Standing::Unwell);
                let reasons: Vec<_> = unwell.map(Check::reason).collect();
                changes.push(HealthChange::Unhealthy { reason: reasons.join("; ") });
            }
            _ => {}
        }
        // One that was unhealthy and is undecided since has not recovered.
        if standing != Standing::Unknown {
            self.told.standing = standing;
        }
        changes
    }
}
