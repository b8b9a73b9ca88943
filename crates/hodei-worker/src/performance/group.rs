use std::time::Duration;

use hodei_worker_core::{
    Timestamp,
    model::{GroupRef, ProviderName},
};

use super::{
    GroupReport, StartPhase, histogram::Histogram, report::costliest, start_up::Phases, worker::News,
};

/// What is taken together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct GroupKey {
    pub(super) worker_type: Option<GroupRef>,
    /// `None`: all that is beyond the limit.
    pub(super) provider: Option<ProviderName>,
}

/// How many there are, and for how long there were: a sum over all that never looks at each, whatever the order in which
/// they come and go.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    count: i64,
    nanos: i128,
}

impl Level {
    pub(super) fn enter(&mut self, at: Timestamp) {
        self.count += 1;
        self.nanos -= at.as_nanosecond();
    }
    pub(super) fn leave(&mut self, at: Timestamp) {
        self.count -= 1;
        self.nanos += at.as_nanosecond();
    }
    pub(super) fn count(self) -> u64 {
        u64::try_from(self.count).unwrap_or(0)
    }
    pub(super) fn total(self, as_of: Timestamp) -> Duration {
        let nanos = self.nanos + i128::from(self.count) * as_of.as_nanosecond();
        Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

/// All workers of one type on one provider, taken together.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) workers: u64,
    pub(super) running: Level,
    pub(super) busy: Level,
    /// Of those whose jobs are told when they are over.
    pub(super) was_busy: Duration,
    pub(super) jobs: Histogram,
    starts: Histogram,
    phases: [Histogram; StartPhase::ALL.len()],
    recoveries: Histogram,
    restarts: u64,
    escalations: u64,
}

impl Group {
    pub(super) fn take(&mut self, news: &News) {
        if let Some(phases) = &news.started {
            self.started(phases);
        }
        if let Some(took) = news.recovered {
            self.recoveries.record(took);
        }
        self.restarts += u64::from(news.restarts);
        self.escalations += u64::from(news.escalated);
    }

    fn started(&mut self, phases: &Phases) {
        self.starts.record(phases.total());
        for (phase, took) in phases.iter() {
            self.phases[phase as usize].record(took);
        }
    }

    pub(super) fn report(&self, key: &GroupKey, as_of: Timestamp) -> GroupReport {
        let phases = || StartPhase::ALL.into_iter().zip(&self.phases);
        let spreads = phases().map(|(phase, histogram)| (phase, histogram.spread()));
        GroupReport {
            worker_type: key.worker_type.clone(),
            provider: key.provider.clone(),
            workers: self.workers,
            running: self.running.count(),
            busy: self.busy.count(),
            starts: self.starts.spread(),
            phases: spreads.filter(|(_, spread)| spread.count > 0).collect(),
            costliest: costliest(phases().map(|(phase, histogram)| (phase, histogram.total()))),
            jobs: self.jobs.spread(),
            running_time: self.running.total(as_of).into(),
            busy_time: (self.busy.total(as_of) + self.was_busy).into(),
            restarts: self.restarts,
            recoveries: self.recoveries.spread(),
            escalations: self.escalations,
        }
    }
}
