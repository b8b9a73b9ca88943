use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::Call;
use crate::{provider::Operation, quantity::HumanDuration, settings::Problems};

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[non_exhaustive]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }
    )+};
}

settings! {
    /// How calls to one provider are repeated, bounded and remembered. The defaults suit an engine on the same machine
    /// and a cloud alike.
    PolicySettings {
        /// Repetition of failed calls.
        retry: RetrySettings = RetrySettings::default(),
        /// When a provider is not asked any more for a while.
        breaker: BreakerSettings = BreakerSettings::default(),
        /// Calls at once and per second.
        limits: LimitSettings = LimitSettings::default(),
        /// Timeouts of attempts and deadlines of calls.
        timeouts: TimeoutSettings = TimeoutSettings::default(),
        /// What is remembered, and for how long.
        cache: CacheSettings = CacheSettings::default(),
    }

    /// Repetition of failed calls.
    RetrySettings {
        /// Attempts of one call, the first included. 1: nothing is repeated. Default: 4.
        attempts: u32 = 4,
        /// The longest wait after the first failure; it doubles with each one. Default: 200ms.
        base: HumanDuration = HumanDuration::millis(200),
        /// The longest wait of all, unless the provider asks for a longer one. Default: 10s.
        most: HumanDuration = HumanDuration::secs(10),
        /// Repetitions of all calls together.
        budget: BudgetSettings = BudgetSettings::default(),
    }

    /// How many repetitions a provider's calls may make together.
    BudgetSettings {
        /// Repetitions in reserve. 0: nothing is repeated. Default: 50.
        retries: u32 = 50,
        /// What each call adds, in parts of a repetition. Default: 0.2, so that load grows by a fifth at most.
        per_call: f64 = 0.2,
        /// What each second adds. Default: 1.
        per_second: f64 = 1.0,
    }

    /// When a provider is not asked any more for a while.
    BreakerSettings {
        /// Failures (unavailable, timeout) in a row after which it opens. 0: never. Default: 5.
        failures: u32 = 5,
        /// How long it stays open at first; twice as long after each failed probe. Default: 5s.
        open: HumanDuration = HumanDuration::secs(5),
        /// How long it stays open at most. Default: 1m.
        open_most: HumanDuration = HumanDuration::secs(60),
        /// Probes at once while it is half-open. Default: 1.
        probes: u32 = 1,
    }

    /// Calls at once and per second. Each kind of call has its own permits.
    LimitSettings {
        /// Kill, delete, scale. Default: 64 at once, 4096 waiting.
        #[serde(deserialize_with = "lane::<64, _>")]
        control: LaneSettings = LaneSettings::at_once(64),
        /// Status, list, stats, capabilities. Default: 64 at once, 4096 waiting.
        #[serde(deserialize_with = "lane::<64, _>")]
        reads: LaneSettings = LaneSettings::at_once(64),
        /// Create (with its pull), start and stop (with its grace), which mostly wait. Default: 256 at once, 4096 waiting.
        #[serde(deserialize_with = "lane::<256, _>")]
        long: LaneSettings = LaneSettings::at_once(256),
        /// Opening of watches, logs and commands. Default: 32 at once, 4096 waiting.
        #[serde(deserialize_with = "lane::<32, _>")]
        streams: LaneSettings = LaneSettings::at_once(32),
        /// Calls per second, of all kinds together. Default: no limit.
        rate: Option<RateSettings> = None,
    }

    /// Calls of one kind.
    LaneSettings {
        /// At once. Default: that of the lane.
        at_once: usize = 32,
        /// Waiting; one more is refused as overloaded. Default: 4096.
        queue: usize = 4096,
    }

    /// Calls per second.
    RateSettings {
        /// In the long run. Default: 100.
        per_second: u32 = 100,
        /// At once, after a pause; at least 2. A quarter is kept for kill, delete and scale. Default: 20.
        burst: u32 = 20,
    }

    /// Timeouts of attempts and deadlines of calls.
    ///
    /// An attempt may take what its operation usually takes plus the margin; a call, with all its attempts and waits,
    /// the slack in addition, unless its caller narrows it.
    TimeoutSettings {
        /// What every attempt may take beyond its operation's usual time. Default: 30s.
        margin: HumanDuration = HumanDuration::secs(30),
        /// What a call may take beyond one attempt: queue, retries, waiting for the provider to initialise.
        /// Default: 1m.
        slack: HumanDuration = HumanDuration::secs(60),
        /// Usual time of a creation, its pull included. Default: 10m.
        create: HumanDuration = HumanDuration::secs(600),
        /// Usual time of a start. Default: 1m.
        start: HumanDuration = HumanDuration::secs(60),
        /// Usual time of a stop that names no grace of its own, and the longest grace that a worker's configuration
        /// may have. Default: 5m.
        stop: HumanDuration = HumanDuration::secs(300),
        /// Usual time of a deletion. Default: 30s.
        delete: HumanDuration = HumanDuration::secs(30),
    }

    /// What is remembered, and for how long.
    CacheSettings {
        /// Age up to which a worker's status is served again. 0: it is always read. Default: 1s.
        status: HumanDuration = HumanDuration::secs(1),
        /// Age up to which the capabilities are. 0: they are always read. Default: 10s.
        capabilities: HumanDuration = HumanDuration::secs(10),
        /// Workers whose status is remembered at most. Default: 100000.
        workers: usize = 100_000,
    }
}

impl LaneSettings {
    /// That many at once, and the default queue.
    pub fn at_once(at_once: usize) -> Self {
        Self { at_once, ..Self::default() }
    }
}

/// A lane's settings, of which what is not given has this lane's default and not another's.
fn lane<'de, const AT_ONCE: usize, D: Deserializer<'de>>(deserializer: D) -> Result<LaneSettings, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename = "LaneSettings")]
    struct Given {
        at_once: Option<usize>,
        queue: Option<usize>,
    }
    let Given { at_once, queue } = Given::deserialize(deserializer)?;
    let default = LaneSettings::at_once(AT_ONCE);
    Ok(LaneSettings { at_once: at_once.unwrap_or(default.at_once), queue: queue.unwrap_or(default.queue) })
}

impl TimeoutSettings {
    /// How long one attempt of the call may take.
    pub fn attempt(&self, call: &Call<'_>) -> Duration {
        let usual = call.expected.unwrap_or(match call.operation {
            Operation::Create | Operation::Image => self.create.get(),
            Operation::Start => self.start.get(),
            Operation::Stop => self.stop.get(),
            Operation::Delete => self.delete.get(),
            _ => Duration::ZERO,
        });
        usual.saturating_add(self.margin.get())
    }
    /// How long the call may take in all.
    pub fn deadline(&self, call: &Call<'_>) -> Duration {
        self.attempt(call).saturating_add(self.slack.get())
    }
}

impl PolicySettings {
    /// Adds what is wrong with the values.
    pub fn validate(&self, problems: &mut Problems) {
        let Self { retry, breaker, limits, timeouts, cache } = self;
        problems.require(retry.attempts > 0, "retry.attempts", "at least 1, which repeats nothing");
        problems.require(retry.base <= retry.most, "retry.base", "not above `most`");
        let BudgetSettings { per_call, per_second, .. } = retry.budget;
        problems.require((0.0..=1.0).contains(&per_call), "retry.budget.per_call", "from 0 to 1");
        problems.require((0.0..=1e6).contains(&per_second), "retry.budget.per_second", "from 0 to 1000000");
        problems.require(!breaker.open.is_zero(), "breaker.open", "longer than 0");
        problems.require(breaker.open <= breaker.open_most, "breaker.open", "not above `open_most`");
        problems.require(breaker.probes > 0, "breaker.probes", "at least 1, or it would never close again");
        let lanes = [
            ("control", &limits.control),
            ("reads", &limits.reads),
            ("long", &limits.long),
            ("streams", &limits.streams),
        ];
        for (name, lane) in lanes {
            let right = (1..=tokio::sync::Semaphore::MAX_PERMITS).contains(&lane.at_once);
            problems.require(right, format!("limits.{name}.at_once"), "at least 1");
        }
        if let Some(rate) = &limits.rate {
            problems.require(rate.per_second > 0, "limits.rate.per_second", "at least 1");
            problems.require(rate.burst > 1, "limits.rate.burst", "at least 2: one is kept for kills");
        }
        problems.require(!timeouts.margin.is_zero(), "timeouts.margin", "longer than 0");
        problems.require(
            cache.workers > 0 || cache.status.is_zero(),
            "cache.workers",
            "at least 1; set `status` to 0 to remember none",
        );
    }
}
