//! What is done about a worker that failed: decided from its failure, its history and its settings alone.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    model::RestartPolicy,
    quantity::{ByteSize, HumanDuration},
    settings::Problems,
    status::FailureClass,
};

/// A way to bring a worker back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// Start it again where it is.
    Restart,
    /// Remove what is there and create it anew.
    Recreate,
    /// Create it anew with more memory.
    Resize,
    /// Create it anew on another provider, when there is nothing of it on this one any more.
    FailOver,
    /// One that a newer version knows. It is carried out as [`Strategy::Recreate`], and never chosen.
    #[serde(other)]
    Other,
}

impl Strategy {
    /// Its name in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Recreate => "recreate",
            Self::Resize => "resize",
            Self::FailOver => "fail_over",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How workers that failed are brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RecoverySettings {
    /// The pause before the second try in a row; the first is made at once, each later one waits twice as long. Default: 1 s.
    pub backoff: HumanDuration,
    /// The longest pause. Default: 30 s, so that all tries together stay under two minutes.
    pub backoff_max: HumanDuration,
    /// How much of a pause is left to chance, in percent, so that workers that failed together do not come back together.
    /// Default: 20.
    pub jitter_percent: u8,
    /// Tries in a row that did not help after which a person is called, where the restart policy names no limit. Default: 6.
    pub max_attempts: u32,
    /// A worker that ran that long has recovered: its next failure is a first one. Default: 1 min.
    pub reset_after: HumanDuration,
    /// The memory limit up to which a worker that was killed for want of memory is resized. Default: never resized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<ByteSize>,
    /// Whether it may be moved to another provider that fits. Default: no.
    pub fail_over: bool,
    /// How long a worker is waited for whose node has stopped to answer; then it counts as lost, and a person is called.
    /// Default: 30 s, so that a cluster that takes 40 s to see it stays under two minutes.
    #[serde(skip_serializing_if = "is_usual_node_loss")]
    pub node_loss: HumanDuration,
}

/// Events are written as they were before there was such a setting.
fn is_usual_node_loss(time: &HumanDuration) -> bool {
    *time == USUAL_NODE_LOSS
}

const USUAL_NODE_LOSS: HumanDuration = HumanDuration::secs(30);

impl Default for RecoverySettings {
    fn default() -> Self {
        Self {
            backoff: HumanDuration::secs(1),
            backoff_max: HumanDuration::secs(30),
            jitter_percent: 20,
            max_attempts: 6,
            reset_after: HumanDuration::secs(60),
            memory_max: None,
            fail_over: false,
            node_loss: USUAL_NODE_LOSS,
        }
    }
}

/// Reads settings that were kept in an event. Unlike what a person writes, they may have fields of a newer version.
pub(super) fn kept<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Box<RecoverySettings>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(remote = "RecoverySettings", default = "RecoverySettings::default")]
    struct Kept {
        backoff: HumanDuration,
        backoff_max: HumanDuration,
        jitter_percent: u8,
        max_attempts: u32,
        reset_after: HumanDuration,
        memory_max: Option<ByteSize>,
        fail_over: bool,
        node_loss: HumanDuration,
    }
    #[derive(Deserialize)]
    struct Wrapped(#[serde(with = "Kept")] RecoverySettings);
    Ok(Option::<Wrapped>::deserialize(reader)?.map(|wrapped| Box::new(wrapped.0)))
}

impl RecoverySettings {
    /// Tells what makes no sense.
    pub fn validate(&self, problems: &mut Problems) {
        if self.backoff.get() > self.backoff_max.get() {
            problems.add("backoff", "it is longer than `backoff_max`");
        }
        if self.jitter_percent > 100 {
            problems.add("jitter_percent", "it is more than 100");
        }
        if self.max_attempts == 0 {
            problems.add("max_attempts", "it is 0: use the restart policy `never` instead");
        }
    }

    /// The pause before that try, counted from 1. `chance` picks the place within the jitter.
    pub fn pause(&self, attempt: u32, chance: u64) -> Duration {
        if attempt <= 1 {
            return Duration::ZERO;
        }
        let factor = 1_u32.checked_shl(attempt - 2).unwrap_or(u32::MAX);
        let whole = self.backoff.get().saturating_mul(factor).min(self.backoff_max.get());
        let random = whole.mul_f64(f64::from(self.jitter_percent.min(100)) / 100.0);
        #[allow(clippy::cast_precision_loss)] // A place on a scale.
        let place = (chance >> 11) as f64 / (1_u64 << 53) as f64;
        whole - random.mul_f64(place)
    }
}

/// What was tried for a worker, and whether it helped. Newest last; at most [`History::KEPT`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(Vec<Tried>);

/// One try to bring a worker back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What had happened; `None` where its command ended well and is to run always.
    pub failure: Option<FailureClass>,
    /// What was done about it.
    pub strategy: Strategy,
    /// Whether it ran long enough afterwards to count as recovered. `None`: not known yet.
    pub helped: Option<bool>,
}

impl History {
    /// How many tries are kept.
    pub const KEPT: usize = 8;

    /// The tries, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Tried> {
        self.0.iter()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(crate) fn begin(&mut self, failure: Option<FailureClass>, strategy: Strategy) {
        if self.0.len() == Self::KEPT {
            self.0.remove(0);
        }
        self.0.push(Tried { failure, strategy, helped: None });
    }
    pub(crate) fn end(&mut self, helped: bool) {
        if let Some(last) = self.0.last_mut()
            && last.helped.is_none()
        {
            last.helped = Some(helped);
        }
    }
    /// Successes less failures of a strategy for this kind of failure.
    fn score(&self, failure: Option<FailureClass>, strategy: Strategy) -> i32 {
        self.0
            .iter()
            .filter(|tried| (tried.failure, tried.strategy) == (failure, strategy))
            .map(|tried| match tried.helped {
                Some(true) => 2,
                Some(false) => -1,
                None => 0,
            })
            .sum()
    }
}

/// What a decision is made from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Case<'a> {
    /// The worker's settings.
    pub settings: &'a RecoverySettings,
    /// Whether and how often it is restarted at all.
    pub restart: RestartPolicy,
    /// What happened; `None`: its command ended well.
    pub failure: Option<FailureClass>,
    /// Tries in a row that did not help.
    pub attempts: u32,
    /// What was tried.
    pub history: &'a History,
    /// Whether its provider can start it again where it is, and it is still there.
    pub can_restart: bool,
    /// Whether there is another provider for it.
    pub can_fail_over: bool,
    /// Its memory limit at present.
    pub memory_limit: Option<ByteSize>,
    /// Picks the jitter.
    pub chance: u64,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plan {
    /// Bring it back like this.
    Try {
        /// How.
        strategy: Strategy,
        /// After that time.
        pause: Duration,
        /// Which try in a row it is, from 1.
        attempt: u32,
    },
    /// Leave it: its restart policy says so.
    Leave,
    /// Call a person, for this reason.
    Escalate(Escalation),
}

/// Why a person is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Escalation {
    /// It failed again and again.
    CrashLoop,
    /// It failed in a way that trying again does not mend.
    Hopeless,
    /// Its own limit of restarts is reached.
    RetriesExhausted,
    /// Its provider refuses, again and again, to stop or remove it, or says that it has and it has not. That goes on being
    /// tried: what has to go may not be forgotten.
    Refused,
    /// Its node does not answer: nobody can say whether it runs. It is asked to be removed, where its restart policy
    /// allows that, and made anew when there is nothing of it any more.
    NodeLost,
    /// A reason that a newer version knows.
    #[serde(other)]
    Other,
}

impl Escalation {
    /// Its name in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CrashLoop => "crash_loop",
            Self::Hopeless => "hopeless",
            Self::RetriesExhausted => "retries_exhausted",
            Self::Refused => "refused",
            Self::NodeLost => "node_lost",
            Self::Other => "other",
        }
    }
    /// Whether what was under way goes on: what has to go may not be forgotten.
    pub(super) const fn goes_on(self) -> bool {
        matches!(self, Self::Refused | Self::NodeLost)
    }
    /// Why, in words.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::CrashLoop => "it failed again and again",
            Self::Hopeless => "trying again does not mend this failure",
            Self::RetriesExhausted => "the limit of its restart policy is reached",
            Self::Refused => "its provider does not stop or remove it",
            Self::NodeLost => "its node does not answer",
            Self::Other => "for a reason that a newer version knows",
        }
    }
}

/// Decides what to do about a worker that ended.
pub fn plan(case: &Case<'_>) -> Plan {
    let failed = case.failure.is_some();
    let limit = match case.restart {
        // What could not begin for want of something else has not ended either: the policy is about ends.
        RestartPolicy::Never if case.failure.is_some_and(could_not_begin) => None,
        RestartPolicy::Never => return Plan::Leave,
        RestartPolicy::OnFailure { .. } if !failed => return Plan::Leave,
        RestartPolicy::OnFailure { max_retries } => max_retries,
        RestartPolicy::Always => None,
    };
    // A limit that the worker names itself counts before the one for all.
    if case.attempts >= limit.unwrap_or(case.settings.max_attempts) {
        return Plan::Escalate(limit.map_or(Escalation::CrashLoop, |_| Escalation::RetriesExhausted));
    }
    let Some(strategy) = best(case) else { return Plan::Escalate(Escalation::Hopeless) };
    let attempt = case.attempts + 1;
    Plan::Try { strategy, pause: case.settings.pause(attempt, case.chance), attempt }
}

fn could_not_begin(failure: FailureClass) -> bool {
    matches!(failure, FailureClass::ImagePull | FailureClass::Capacity | FailureClass::Secret)
}

/// The larger memory limit that a worker gets after it was killed for want of memory, if it may.
pub fn resized(limit: Option<ByteSize>, most: Option<ByteSize>) -> Option<ByteSize> {
    let (limit, most) = (limit?.bytes(), most?.bytes());
    let larger = limit.saturating_add(limit / 2).min(most);
    (larger > limit).then_some(ByteSize::new(larger))
}

/// The strategy that fits the failure and did best so far.
fn best(case: &Case<'_>) -> Option<Strategy> {
    let mut candidates = candidates(case);
    // Stable: among equals, the order of the candidates counts.
    candidates.sort_by_key(|strategy| std::cmp::Reverse(case.history.score(case.failure, *strategy)));
    candidates.first().copied()
}

fn candidates(case: &Case<'_>) -> Vec<Strategy> {
    use FailureClass as F;
    let again = if case.can_restart { Strategy::Restart } else { Strategy::Recreate };
    let mut all = match case.failure {
        // Wrong in itself: no try mends it.
        Some(F::CommandNotFound | F::Configuration | F::ImageNotFound) => return Vec::new(),
        Some(F::OutOfMemory) => {
            if resized(case.memory_limit, case.settings.memory_max).is_some() {
                return vec![Strategy::Resize];
            }
            vec![again]
        }
        // What it ran on or came from is at fault.
        Some(F::NodeLost | F::Evicted | F::Vanished | F::ImagePull | F::Capacity) => vec![Strategy::Recreate],
        Some(F::Unhealthy) => vec![again, Strategy::Recreate],
        _ => vec![again, Strategy::Recreate],
    };
    if case.settings.fail_over && case.can_fail_over {
        all.push(Strategy::FailOver);
        if matches!(case.failure, Some(F::Capacity | F::ImagePull | F::NodeLost)) && case.attempts >= 1 {
            // Nothing about the worker itself can help there.
            all.rotate_right(1);
        }
    }
    all.dedup();
    all
}
