//! The settings of this provider.

use std::path::{Path, PathBuf};

use hodei_worker_core::{
    Capability, ConnectContext, ProviderSettings, Result,
    factory::{Detected, Environment},
    model::ValidationRules,
    quantity::{ByteSize, HumanDuration},
    settings::Problems,
};
use serde::{Deserialize, Serialize};

use crate::ProcessProvider;

/// Settings of the local process provider. All have a default that fits.
///
/// # Examples
/// ```
/// use hodei_worker_process::ProcessSettings;
/// let settings: ProcessSettings = serde_json::from_value(serde_json::json!({
///     "stop_grace": "10s",
///     "logs": {"max_size": "50Mi", "max_files": 5},
/// }))?;
/// assert_eq!(settings.logs.max_files, 5);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ProcessSettings {
    /// Where the state of workers is kept. In memory (tmpfs) a start takes a third of the time, and secret files are
    /// offered there only. It need not survive a reboot, as workers do not either, but everything short of that.
    ///
    /// Default for root: `/run/hodei-worker`, or `/dev/shm/hodei-worker` where only that is in memory. For others:
    /// `$XDG_RUNTIME_DIR/hodei-worker` if it outlasts the last log-out (`loginctl enable-linger`), or else
    /// `$XDG_STATE_HOME/hodei-worker-state` or `~/.local/state/hodei-worker-state`, on a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
    /// Where the output of workers is kept. Default: `/var/lib/hodei-worker` for root, `$XDG_STATE_HOME/hodei-worker`
    /// or `~/.local/state/hodei-worker` for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_dir: Option<PathBuf>,
    /// The program `hodei-supervise`, for hosts that do not call [`init`](crate::init) in their `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<PathBuf>,
    /// How workers are bound to their host. Default: they survive it where they can.
    pub survival: Survival,
    /// How limits are enforced. Default: by the best that is there.
    pub limits: LimitMechanism,
    /// Time between the request to stop and the kill, for workers that name none. Default: 4 s.
    pub stop_grace: HumanDuration,
    /// How much output is kept.
    pub logs: LogSettings,
    /// The variables that workers inherit from the host; everything else in their environment is configured.
    /// Default: `PATH`, `HOME`, `USER`, `LANG`, `TZ`.
    pub inherit: Vec<String>,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        Self {
            state_dir: None,
            log_dir: None,
            supervisor: None,
            survival: Survival::default(),
            limits: LimitMechanism::default(),
            stop_grace: HumanDuration::secs(4),
            logs: LogSettings::default(),
            inherit: ["PATH", "HOME", "USER", "LANG", "TZ"].map(str::to_owned).to_vec(),
        }
    }
}

/// How workers are bound to their host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Survival {
    /// They survive it, if there is a supervisor and the host does not live in a container that ends with it.
    #[default]
    Auto,
    /// They survive it, or connecting fails.
    Required,
    /// They are its children and end with its runtime. If it is killed, nobody ends them, nor keeps what they write.
    /// Without limits they have no control group, since to make one would slow their start: what leaves their process
    /// group and empties its environment outlives them.
    Attached,
}

/// How limits are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitMechanism {
    /// By the first of the others that works.
    #[default]
    Auto,
    /// By control groups of the unified hierarchy.
    CgroupV2,
    /// By control groups of the older hierarchies.
    CgroupV1,
    /// By resource limits of single processes: memory only.
    Rlimit,
    /// Not at all: workers with limits are refused.
    None,
}

/// How much of each worker's output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LogSettings {
    /// The size at which a file is full. Default: 10 MiB.
    pub max_size: ByteSize,
    /// How many files are kept; the oldest goes. Default: 3.
    pub max_files: u32,
    /// How long output is kept after its last line when the state of its worker is lost, as by a restart of the machine.
    /// Default: 7 days.
    pub keep_lost: HumanDuration,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { max_size: ByteSize::mib(10), max_files: 3, keep_lost: HumanDuration::secs(7 * 24 * 3600) }
    }
}

/// What no process has, on whatever machine.
const NEVER: [Capability; 8] = [
    Capability::Images,
    Capability::Volumes,
    Capability::Networking,
    Capability::Security,
    Capability::HealthChecks,
    Capability::AutoScaling,
    Capability::NativeGroups,
    Capability::MultiCluster,
];

impl ProviderSettings for ProcessSettings {
    const TYPE: &'static str = "process";
    type Provider = ProcessProvider;

    fn rules(rules: ValidationRules) -> ValidationRules {
        rules.with_options::<crate::ProcessOptions>()
    }

    fn validate(&self, problems: &mut Problems) {
        let paths =
            [("state_dir", &self.state_dir), ("log_dir", &self.log_dir), ("supervisor", &self.supervisor)];
        for (field, path) in paths {
            let good = path.as_deref().is_none_or(Path::is_absolute);
            problems.require(good, field, "must be an absolute path");
        }
        problems.require(
            self.logs.max_size >= ByteSize::kib(4),
            "logs.max_size",
            format!("{} is too little; at least 4Ki", self.logs.max_size),
        );
        problems.require(self.logs.max_files >= 1, "logs.max_files", "must be at least 1");
        for (n, name) in self.inherit.iter().enumerate() {
            let good = !name.is_empty() && !name.contains(['=', '\0']);
            problems.require(good, format!("inherit[{n}]"), format!("`{name}` cannot be a variable's name"));
        }
    }

    fn detect(_: &Environment) -> Option<Detected<Self>> {
        let found = Detected::new(Self::default(), "this is Linux, which has processes").with_priority(0);
        cfg!(target_os = "linux").then(|| found.lacking(NEVER))
    }

    async fn connect(self, context: ConnectContext) -> Result<ProcessProvider> {
        ProcessProvider::connect(self, context).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_bad_settings_are_refused_together() {
        let settings = ProcessSettings {
            state_dir: Some("run".into()),
            logs: LogSettings { max_size: ByteSize::new(1), max_files: 0, ..LogSettings::default() },
            inherit: vec!["A=B".into()],
            ..ProcessSettings::default()
        };
        let mut problems = Problems::new();
        settings.validate(&mut problems);
        assert_eq!(problems.len(), 4, "{problems}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn p2_processes_are_the_last_choice_and_always_there() {
        let found = ProcessSettings::detect(&Environment::default()).unwrap();
        assert!(found.selectable);
        assert_eq!(found.priority, 0);
        assert!(found.lacks.contains(&hodei_worker_core::Capability::Images));
    }
}
