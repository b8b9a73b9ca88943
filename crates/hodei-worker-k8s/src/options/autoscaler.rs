use std::collections::BTreeMap;

use hodei_worker_core::{
    quantity::{ByteSize, Cpu, HumanDuration},
    settings::Problems,
};
use serde::{Deserialize, Serialize};

/// By what an autoscaler of the cluster's sizes a group, beyond a share of the CPU request: the largest size that any of
/// its metrics asks for counts.
///
/// # Examples
/// ```
/// use hodei_worker_k8s::{AutoscalerOptions, ScalingMetric, ScalingPace};
/// let options = AutoscalerOptions::default()
///     .metric(ScalingMetric::pods("requests_in_flight", 10))
///     .metric(ScalingMetric::external("queue_length", 30).labelled("queue", "builds"))
///     .scale_down(ScalingPace::default().pods(1, std::time::Duration::from_secs(60)));
/// assert!(options.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AutoscalerOptions {
    /// What is measured. Default: nothing but the share of CPU that the scaling configuration says.
    pub metrics: Vec<ScalingMetric>,
    /// How fast it grows. Default: the cluster's: up to twice the size or four more in 15 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<ScalingPace>,
    /// How fast it shrinks. Default: the cluster's: at once, where no larger size was asked for in five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<ScalingPace>,
}

impl AutoscalerOptions {
    /// By this as well.
    #[must_use]
    pub fn metric(mut self, metric: ScalingMetric) -> Self {
        self.metrics.push(metric);
        self
    }
    /// How fast it grows.
    #[must_use]
    pub fn scale_up(mut self, pace: ScalingPace) -> Self {
        self.scale_up = Some(pace);
        self
    }
    /// How fast it shrinks.
    #[must_use]
    pub fn scale_down(mut self, pace: ScalingPace) -> Self {
        self.scale_down = Some(pace);
        self
    }

    /// Finds all that is wrong with it.
    ///
    /// # Errors
    /// [`Config`](hodei_worker_core::ErrorKind::Config) with the fields at fault.
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_k8s::{AutoscalerOptions, ScalingMetric};
    /// assert!(AutoscalerOptions::default().metric(ScalingMetric::pods("", 1)).validate().is_err());
    /// ```
    pub fn validate(&self) -> hodei_worker_core::Result<()> {
        let mut problems = Problems::new();
        for (n, metric) in self.metrics.iter().enumerate() {
            let path = |field: &str| format!("metrics[{n}].{field}");
            let (name, target) = match metric {
                ScalingMetric::CpuPercent { target } | ScalingMetric::MemoryPercent { target } => {
                    (None, u64::from(*target))
                }
                ScalingMetric::Cpu { target } => (None, target.millis()),
                ScalingMetric::Memory { target } => (None, target.bytes()),
                ScalingMetric::Pods { name, target, .. } | ScalingMetric::External { name, target, .. } => {
                    (Some(name), *target)
                }
            };
            problems.require(target > 0, path("target"), "is at least 1");
            problems.require(name.is_none_or(|name| !name.is_empty()), path("name"), "names no metric");
        }
        for (field, pace) in [("scale_up", &self.scale_up), ("scale_down", &self.scale_down)] {
            let Some(pace) = pace else { continue };
            let most = std::time::Duration::from_secs(3600);
            let is_good = pace.stabilization.is_none_or(|window| window.get() <= most);
            problems.require(is_good, format!("{field}.stabilization"), "is an hour at most");
            for (n, step) in pace.steps.iter().enumerate() {
                let path = |name: &str| format!("{field}.steps[{n}].{name}");
                problems.require(step.amount > 0, path("amount"), "is at least 1");
                let seconds = step.period.get().as_secs();
                problems.require(
                    (1..=1800).contains(&seconds),
                    path("period"),
                    "is a second to half an hour",
                );
            }
        }
        problems.into_result()
    }
}

/// What an autoscaler measures, and what it aims at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ScalingMetric {
    /// CPU in use, in percent of what is set aside, on average over the members.
    CpuPercent {
        /// Percent.
        target: u32,
    },
    /// CPU in use, on average over the members.
    Cpu {
        /// Cores.
        target: Cpu,
    },
    /// Memory in use, in percent of what is set aside, on average over the members.
    MemoryPercent {
        /// Percent.
        target: u32,
    },
    /// Memory in use, on average over the members.
    Memory {
        /// Bytes.
        target: ByteSize,
    },
    /// A metric of the members' own (`custom.metrics.k8s.io`), on average over them.
    Pods {
        /// Its name.
        name: String,
        /// Labels that the metric has.
        #[serde(default)]
        labels: BTreeMap<String, String>,
        /// What is aimed at.
        target: u64,
    },
    /// A metric of something outside of the cluster (`external.metrics.k8s.io`), divided by the members.
    External {
        /// Its name.
        name: String,
        /// Labels that the metric has.
        #[serde(default)]
        labels: BTreeMap<String, String>,
        /// What is aimed at, for each member.
        target: u64,
    },
}

impl ScalingMetric {
    /// A metric of the members' own.
    pub fn pods(name: impl Into<String>, target: u64) -> Self {
        Self::Pods { name: name.into(), labels: BTreeMap::new(), target }
    }
    /// A metric of something outside of the cluster.
    pub fn external(name: impl Into<String>, target: u64) -> Self {
        Self::External { name: name.into(), labels: BTreeMap::new(), target }
    }
    /// Only where it has this label. Says nothing where the cluster measures by itself.
    #[must_use]
    pub fn labelled(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        if let Self::Pods { labels, .. } | Self::External { labels, .. } = &mut self {
            labels.insert(key.into(), value.into());
        }
        self
    }
}

/// How fast a size may change: by the largest of its steps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ScalingPace {
    /// How far back the sizes that were asked for count, so that it does not go up and down. In whole seconds. Default:
    /// the cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stabilization: Option<HumanDuration>,
    /// The most that it changes in a time. Default: the cluster's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<ScalingStep>,
    /// Whether it does not change in this direction at all. Default: false.
    #[serde(skip_serializing_if = "super::is_default")]
    pub disabled: bool,
}

/// The most that a size changes in a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ScalingStep {
    /// So many members, or percent of them.
    pub amount: u32,
    /// Whether it is percent. Default: false.
    #[serde(default)]
    pub percent: bool,
    /// In this time; whole seconds.
    pub period: HumanDuration,
}

impl ScalingPace {
    /// By so many members in that time.
    #[must_use]
    pub fn pods(mut self, amount: u32, period: impl Into<HumanDuration>) -> Self {
        self.steps.push(ScalingStep { amount, percent: false, period: period.into() });
        self
    }
    /// By so many percent in that time.
    #[must_use]
    pub fn percent(mut self, amount: u32, period: impl Into<HumanDuration>) -> Self {
        self.steps.push(ScalingStep { amount, percent: true, period: period.into() });
        self
    }
    /// Counts the sizes that were asked for in that time.
    #[must_use]
    pub fn stabilized(mut self, window: impl Into<HumanDuration>) -> Self {
        self.stabilization = Some(window.into());
        self
    }
    /// Never in this direction.
    pub fn never() -> Self {
        Self { disabled: true, ..Self::default() }
    }
}
