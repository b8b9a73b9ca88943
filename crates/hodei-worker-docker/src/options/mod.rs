mod health;
mod limits;
mod networking;
mod security;
mod storage;

use std::collections::BTreeMap;

use hodei_worker_core::{model::WorkerOptions, settings::Problems};
use serde::{Deserialize, Serialize};

use crate::image::Platform;

pub(crate) use security::capability;
pub use {
    health::HealthOptions,
    limits::{LimitOptions, Ulimit},
    networking::{NetworkOptions, NetworkingOptions, PortRange, SubnetOptions},
    security::SecurityOptions,
    storage::{DeviceOptions, MountOptions, Owner, StorageOptions, VolumeOptions},
};

/// What a Docker Engine can do for a worker beyond the common model.
///
/// # Examples
/// ```
/// use hodei_worker_core::WorkerConfig;
/// use hodei_worker_docker::{DockerOptions, PullPolicy};
/// let options = DockerOptions::default().user("1000:1000").pull(PullPolicy::Always);
/// let config = WorkerConfig::builder("web").image("nginx:1.27").options(&options).build()?;
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DockerOptions {
    /// `user`, `user:group`, by name or number. Default: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// In place of networks: `host` (the machine's own), `none`, `container:<id>` (another's), or the name of one that
    /// exists. Default: the configuration's [`networks`](hodei_worker_core::model::WorkerSpec::networks), or else the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// When the image is fetched. Default: when it is missing.
    #[serde(skip_serializing_if = "is_default")]
    pub pull: PullPolicy,
    /// The engine's log driver. Default: the provider's setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_driver: Option<String>,
    /// Options of the log driver: `max-size`, `max-file`. Default: the provider's, for the provider's driver.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub log_options: BTreeMap<String, String>,
    /// Whether the engine puts a small init process before the command, which reaps zombies and forwards signals.
    /// Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// The signal that asks it to stop, by name (`SIGINT`) or number. Default: the image's, or else SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Whether the engine itself restarts it. Default: never, since the manager does. With anything else the manager
    /// only looks on.
    #[serde(skip_serializing_if = "is_default")]
    pub native_restart: NativeRestart,
    /// The system and processor that the image is to be for, `linux/arm64`. An image that is there for another one is
    /// fetched again; engines without containerd's image store keep one platform of a tag, the last that was fetched.
    /// Default: the engine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Whether it has a terminal: both outputs are one then. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub tty: bool,
    /// Whether its standard input stays open. Default: false.
    #[serde(skip_serializing_if = "is_default")]
    pub open_stdin: bool,
    /// How it stands in its networks.
    #[serde(skip_serializing_if = "is_default")]
    pub networking: NetworkingOptions,
    /// How its storage is made.
    #[serde(skip_serializing_if = "is_default")]
    pub storage: StorageOptions,
    /// Further limits.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: LimitOptions,
    /// How the engine runs its health check.
    #[serde(skip_serializing_if = "is_default")]
    pub health: HealthOptions,
    /// Annotations for the runtime. Needs Docker 24.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What it may do.
    #[serde(skip_serializing_if = "is_default")]
    pub security: SecurityOptions,
    /// Allows secrets as environment variables. Whoever may inspect the container can read them, they stay in the
    /// engine's files on disk, and they are those of the creation: an engine cannot change a container's environment.
    /// Default: refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_secret_variables: bool,
}

impl DockerOptions {
    /// Runs as this user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }
    /// On this network.
    #[must_use]
    pub fn network(mut self, network: impl Into<String>) -> Self {
        self.network = Some(network.into());
        self
    }
    /// Fetches the image by this policy.
    #[must_use]
    pub fn pull(mut self, policy: PullPolicy) -> Self {
        self.pull = policy;
        self
    }
    /// Logs by this driver.
    #[must_use]
    pub fn log_driver(mut self, driver: impl Into<String>) -> Self {
        self.log_driver = Some(driver.into());
        self
    }
    /// Logs with this option of the driver.
    #[must_use]
    pub fn log_option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.log_options.insert(name.into(), value.into());
        self
    }
    /// With or without an init process.
    #[must_use]
    pub fn init(mut self, init: bool) -> Self {
        self.init = Some(init);
        self
    }
    /// Is asked to stop by this signal.
    #[must_use]
    pub fn stop_signal(mut self, signal: impl Into<String>) -> Self {
        self.stop_signal = Some(signal.into());
        self
    }
    /// Is restarted by the engine itself.
    #[must_use]
    pub fn native_restart(mut self, policy: NativeRestart) -> Self {
        self.native_restart = policy;
        self
    }
    /// With this definition of a network, which is made if it does not exist.
    #[must_use]
    pub fn define_network(mut self, name: impl Into<String>, network: NetworkOptions) -> Self {
        self.networking.networks.insert(name.into(), network);
        self
    }
    /// With this definition of a volume, which is made if it does not exist.
    #[must_use]
    pub fn define_volume(mut self, name: impl Into<String>, volume: VolumeOptions) -> Self {
        self.storage.volumes.insert(name.into(), volume);
        self
    }
    /// With more about the mount at this target.
    #[must_use]
    pub fn mount(mut self, target: impl Into<String>, mount: MountOptions) -> Self {
        self.storage.mounts.insert(target.into(), mount);
        self
    }
    /// With a limit of each process.
    #[must_use]
    pub fn ulimit(mut self, name: impl Into<String>, limit: Ulimit) -> Self {
        self.limits.ulimits.insert(name.into(), limit);
        self
    }
    /// With these rights.
    #[must_use]
    pub fn security(mut self, security: SecurityOptions) -> Self {
        self.security = security;
        self
    }
    /// Allows secrets as environment variables.
    #[must_use]
    pub fn allow_secret_variables(mut self) -> Self {
        self.allow_secret_variables = true;
        self
    }
}

/// When an image is fetched.
///
/// # Examples
/// ```
/// use hodei_worker_docker::{DockerOptions, PullPolicy};
/// let options = DockerOptions::default().pull(PullPolicy::Never);
/// assert_eq!(options.pull, PullPolicy::Never);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PullPolicy {
    /// When the engine does not have it. The default.
    #[default]
    Missing,
    /// Before each creation.
    Always,
    /// Never: it must be there.
    Never,
}

/// Whether the engine itself restarts a worker.
///
/// # Examples
/// ```
/// use hodei_worker_docker::{DockerOptions, NativeRestart};
/// let options = DockerOptions::default().native_restart(NativeRestart::OnFailure { max_retries: Some(3) });
/// # assert_ne!(options.native_restart, NativeRestart::Never);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum NativeRestart {
    /// Never. The default.
    #[default]
    Never,
    /// When it failed, so many times at most.
    OnFailure {
        /// Default: no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_retries: Option<u32>,
    },
    /// Always, unless it was stopped; after a restart of the engine too. After one of the machine it does not come up if
    /// it has secret files, since these are held in memory: it is to be started again.
    UnlessStopped,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl WorkerOptions for DockerOptions {
    const PROVIDER: &'static str = "docker";

    fn validate(&self, problems: &mut Problems) {
        for (path, value) in [
            ("user", &self.user),
            ("network", &self.network),
            ("log_driver", &self.log_driver),
            ("stop_signal", &self.stop_signal),
        ] {
            let good = value.as_ref().is_none_or(|value| !value.is_empty() && !value.contains(['\0', ' ']));
            problems.require(good, path, "is empty or holds spaces");
        }
        if let Some(platform) = &self.platform {
            problems.require(
                Platform::parse(platform).is_some(),
                "platform",
                format!("`{platform}` is no `os/architecture`, as in `linux/arm64`"),
            );
        }
        self.networking.validate(problems);
        self.storage.validate(problems);
        self.limits.validate(problems);
        self.health.validate(problems);
        self.security.validate(problems);
        if let Some(signal) = &self.stop_signal {
            problems.require(
                signal_number(signal).is_some(),
                "stop_signal",
                format!("`{signal}` is no signal"),
            );
        }
    }
}

/// A signal's number, from `SIGTERM`, `TERM` or `15`.
pub(crate) fn signal_number(text: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let text = text.to_ascii_uppercase();
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse::<i32>().ok()? };
        return (0..=30).contains(&offset).then_some(34 + offset);
    }
    NAMES.iter().position(|known| *known == name).and_then(|at| i32::try_from(at + 1).ok())
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::WorkerConfig;

    use super::*;

    #[test]
    fn d2_options_survive_as_data_and_are_checked() {
        let options = DockerOptions::default()
            .user("1:1")
            .native_restart(NativeRestart::OnFailure { max_retries: Some(2) })
            .log_driver("json-file")
            .log_option("max-size", "1m");
        let config = WorkerConfig::builder("a").image("a:1").options(&options).build().unwrap();
        let text = serde_json::to_value(&config).unwrap();
        let again = WorkerConfig::from_value(&text).unwrap();
        assert_eq!(again.options::<DockerOptions>().unwrap().unwrap(), options);
        let bad = DockerOptions::default().user("").stop_signal("SIGNAL");
        let error = WorkerConfig::builder("a").image("a:1").options(&bad).build().unwrap_err();
        assert!(error.to_string().contains("options.docker.user"), "{error}");
        assert!(error.to_string().contains("options.docker.stop_signal"), "{error}");
    }

    #[test]
    fn d2_signals_have_numbers() {
        for (text, number) in [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", 37), ("SIGSYS", 31)] {
            assert_eq!(signal_number(text), Some(number), "{text}");
        }
        for text in ["", "SIG", "0", "65", "-1", "SIGRTMIN-1"] {
            assert_eq!(signal_number(text), None, "{text}");
        }
    }
}
