//! One check of one worker's run: what its findings come to. Times are the age of the run.

use std::{borrow::Cow, time::Duration};

use hodei_worker_core::{
    model::{FlappingConfig, HealthCheckConfig, Probe},
    quantity::HumanDuration,
};

use super::{finding::Finding, flapping::Flapping};

/// How a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not decided yet.
    Unknown,
    Well,
    Unwell,
}

/// The evaluation of one check.
#[derive(Debug)]
pub(super) struct Check {
    interval: Duration,
    start_period: Duration,
    success_threshold: u32,
    failure_threshold: u32,
    slow_after: Option<Duration>,
    slow_threshold: u32,
    /// What it is called in reasons.
    name: String,

    standing: Standing,
    /// A success has ended its start-up grace.
    begun: bool,
    successes: u32,
    failures: u32,
    /// When a failure counted last.
    failed: Option<Duration>,
    slow: Slow,
    flapping: Flapping,
    reason: Cow<'static, str>,
    /// It was unwell for so long again that this is told again.
    again: bool,
}

#[derive(Debug, Default)]
struct Slow {
    is: bool,
    /// Successes in a row that speak for a change.
    against: u32,
    last: Duration,
}

/// Time between two tries until the first success, where the interval is longer.
const EAGER: Duration = Duration::from_secs(1);
/// Changes within 20 intervals that are too many, where nothing else is said.
const CHANGES: u32 = 6;

impl Check {
    pub(super) fn new(config: &HealthCheckConfig) -> Self {
        let (interval, success_threshold, failure_threshold) = match &config.probe {
            // The time between two signs of life is all the patience that was asked for.
            Probe::Heartbeat { within } => (within.get(), 1, 1),
            // The provider has its own thresholds.
            Probe::Native => (config.interval.get(), 1, 1),
            _ => (config.interval.get(), config.success_threshold, config.failure_threshold),
        };
        let span = |intervals: u32| HumanDuration(interval.saturating_mul(intervals));
        let flapping = config.flapping.unwrap_or(FlappingConfig::new(CHANGES, span(20), span(10)));
        Self {
            interval,
            start_period: config.start_period.get(),
            success_threshold: success_threshold.max(1),
            failure_threshold: failure_threshold.max(1),
            slow_after: config.slow_after.map(HumanDuration::get),
            slow_threshold: config.slow_threshold.max(1),
            name: name(&config.probe),
            standing: Standing::Unknown,
            begun: false,
            successes: 0,
            failures: 0,
            failed: None,
            slow: Slow::default(),
            flapping: Flapping::new(flapping),
            reason: Cow::Borrowed("it was not found well yet"),
            again: false,
        }
    }

    /// Takes in what a try found at that age of the run.
    pub(super) fn record(&mut self, age: Duration, finding: Finding) {
        match finding {
            Finding::Success { took } => {
                self.begun = true;
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                self.measure(took);
                self.flapping.observe(age, true);
                self.rise();
            }
            Finding::Failure { .. } if !self.counts(age) => {}
            Finding::Failure { reason } => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                self.failed = Some(age);
                self.reason = reason;
                self.flapping.observe(age, false);
                if self.failures >= self.failure_threshold {
                    self.again |= self.failures.is_multiple_of(self.failure_threshold);
                    self.standing = Standing::Unwell;
                }
            }
            Finding::Unknown { .. } => self.settle(age),
        }
    }

    /// Time has passed.
    pub(super) fn settle(&mut self, age: Duration) {
        self.flapping.settle(age);
        self.rise();
    }

    /// When time alone will change something.
    pub(super) fn settles_at(&self) -> Option<Duration> {
        self.flapping.calm_at()
    }

    /// Time from one try to the next: until the first success it is tried more often, since a worker that waits to be
    /// found well is of no use.
    pub(super) fn pause(&self) -> Duration {
        if self.begun { self.interval } else { self.interval.min(EAGER) }
    }

    /// Whether a failure counts: before the first success not in the grace, and not more often than once per interval.
    fn counts(&self, age: Duration) -> bool {
        let early = age < self.start_period;
        let again = self.failed.is_some_and(|last| age.saturating_sub(last) < self.interval);
        self.begun || !(early || again)
    }

    /// A recovery counts when there were successes enough, and only once it is calm.
    fn rise(&mut self) {
        if self.successes >= self.success_threshold && !self.flapping.is() {
            self.standing = Standing::Well;
            self.again = false;
        }
    }

    fn measure(&mut self, took: Duration) {
        let Some(slow_after) = self.slow_after else { return };
        self.slow.last = took;
        if (took > slow_after) == self.slow.is {
            self.slow.against = 0;
            return;
        }
        self.slow.against += 1;
        if self.slow.against >= self.slow_threshold {
            self.slow.is = !self.slow.is;
            self.slow.against = 0;
        }
    }

    /// Whether it has succeeded once.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    /// Why it is not well.
    pub(super) fn reason(&self) -> String {
        match self.failures {
            0 | 1 => format!("{}: {}", self.name, self.reason),
            many => format!("{}: {} ({many} times in a row)", self.name, self.reason),
        }
    }

    /// Why it is slow, if it is.
    pub(super) fn slow(&self) -> Option<String> {
        let slow_after = self.slow_after.filter(|_| self.slow.is)?;
        let (last, slow_after) = (HumanDuration(self.slow.last), HumanDuration(slow_after));
        Some(format!("{}: it takes {last}, which is longer than {slow_after}", self.name))
    }

    /// Why it counts as flapping, if it does.
    pub(super) fn flaps(&self) -> Option<String> {
        let changes = self.flapping.changes();
        self.flapping.is().then(|| format!("{}: it went back and forth {changes} times", self.name))
    }

    /// Whether it is unwell for so long again that this shall be told again; asked once.
    pub(super) fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }
}

/// What a check is called. Arguments of commands are left out: they may be long, or nobody's business.
pub(super) fn name(probe: &Probe) -> String {
    match probe {
        Probe::Command(words) => {
            format!("command check `{}`", words.first().map(String::as_str).unwrap_or_default())
        }
        Probe::Http(http) => {
            let page = http.path.split('?').next().unwrap_or_default();
            format!("HTTP check of {page} at port {}", http.port)
        }
        Probe::Tcp { port } => format!("TCP check of port {port}"),
        Probe::Native => "the provider's own check".to_owned(),
        Probe::Heartbeat { .. } => "heartbeat".to_owned(),
        other => format!("{} check", other.kind()),
    }
}
