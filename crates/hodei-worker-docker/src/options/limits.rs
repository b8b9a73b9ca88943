use std::collections::BTreeMap;

use hodei_worker_core::{quantity::ByteSize, settings::Problems};
use serde::{Deserialize, Serialize};

use super::is_default;

/// Limits of a container beyond those of the common model
/// ([`resources`](hodei_worker_core::model::WorkerSpec::resources)).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LimitOptions {
    /// Limits of each process, by the kernel's names: `nofile`, `core`, `memlock`. Default: the engine's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// The processors that it may run on, `0-2,4`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// The memory nodes that it may use. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_memory: Option<String>,
    /// Its weight among others when processors are short; 1024 is an ordinary one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// Memory and swap together, in all; needs a limit on memory. Default: as much as memory, so no swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_and_swap: Option<ByteSize>,
    /// Whether it may swap without limit. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub unlimited_swap: bool,
    /// How readily it is swapped out, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swappiness: Option<u8>,
    /// Whether it hangs where it would be killed for want of memory. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub out_of_memory_kill_disabled: bool,
    /// How readily the kernel chooses it when the machine runs out of memory, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_memory_score: Option<i32>,
    /// The size of `/dev/shm`. Default: the engine's, 64 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_memory: Option<ByteSize>,
    /// Its weight among others at the disks, 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_io_weight: Option<u16>,
    /// Settings of its namespaces, `net.core.somaxconn`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Options of the storage driver, `size`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage: BTreeMap<String, String>,
    /// The control group below which its own is made. Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_parent: Option<String>,
}

/// A limit of each process: what it has, and how far it may raise it. -1: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Ulimit {
    /// What applies.
    pub soft: i64,
    /// What it may be raised to.
    pub hard: i64,
}

impl Ulimit {
    /// The same value for both.
    pub const fn of(value: i64) -> Self {
        Self { soft: value, hard: value }
    }
    /// A value that the program may raise.
    pub const fn new(soft: i64, hard: i64) -> Self {
        Self { soft, hard }
    }
}

/// As the kernel and the engine call them.
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl LimitOptions {
    pub(super) fn validate(&self, problems: &mut Problems) {
        for (name, limit) in &self.ulimits {
            let path = format!("limits.ulimits.{name}");
            problems.require(
                ULIMITS.contains(&name.as_str()),
                &path,
                format!("there is no such limit; there are {}", ULIMITS.join(", ")),
            );
            problems.require(
                limit.hard < 0 || (limit.soft >= 0 && limit.soft <= limit.hard),
                path,
                "`soft` must not exceed `hard`",
            );
        }
        problems.require(
            self.memory_swappiness.is_none_or(|value| value <= 100),
            "limits.memory_swappiness",
            "must lie between 0 and 100",
        );
        problems.require(
            self.out_of_memory_score.is_none_or(|value| (-1000..=1000).contains(&value)),
            "limits.out_of_memory_score",
            "must lie between -1000 and 1000",
        );
        problems.require(
            self.block_io_weight.is_none_or(|value| (10..=1000).contains(&value)),
            "limits.block_io_weight",
            "must lie between 10 and 1000",
        );
        problems.require(
            !self.unlimited_swap || self.memory_and_swap.is_none(),
            "limits.unlimited_swap",
            "`memory_and_swap` is a limit",
        );
    }
}
