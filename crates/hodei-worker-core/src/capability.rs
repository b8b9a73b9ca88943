//! What a provider can do: detected when it connects, with the reason where it cannot.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{ProbeKind, WorkerConfig},
    quantity::{ByteSize, Cpu},
};

macro_rules! capabilities {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// One thing that a provider can do or not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Capability { $($(#[doc = $doc])+ $variant,)+ }

        impl Capability {
            /// Every capability, in the order of the matrix.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in settings, matrices and errors.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

capabilities! {
    /// Groups of workers are scaled by load. Native where the platform does it, by this library's software otherwise.
    AutoScaling = "auto_scaling",
    /// Health checks are run by the platform.
    HealthChecks = "health_checks",
    /// Storage that the platform keeps can be mounted.
    Volumes = "volumes",
    /// Folders and files of the machine that it runs on can be mounted.
    HostPaths = "host_paths",
    /// Memory can be mounted.
    Tmpfs = "tmpfs",
    /// A worker's ports can be published at others of its host, and addresses are reported.
    Networking = "networking",
    /// Workers are isolated from the host and from each other.
    Security = "security",
    /// Usage is measured: CPU, memory, disk, network.
    Monitoring = "monitoring",
    /// Several clusters or regions under one provider set.
    MultiCluster = "multi_cluster",
    /// Changes are pushed: `watch_workers` costs nothing while nothing changes.
    Watch = "watch",
    /// Output can be read.
    Logs = "logs",
    /// Output comes back byte for byte, whatever it is.
    RawBytes = "raw_bytes",
    /// Standard output and standard error are told apart.
    SplitStreams = "split_streams",
    /// Output has positions, from which another reader goes on, without a line lost or repeated.
    LogPositions = "log_positions",
    /// Workers have addresses of their own, told in their statuses, at which this host reaches any of their ports.
    OwnAddresses = "own_addresses",
    /// The ports of a running worker are reached through the provider, by a host too that does not reach its addresses.
    PortForward = "port_forward",
    /// Commands can be run in a worker.
    Exec = "exec",
    /// A worker can be frozen and thawed.
    Pause = "pause",
    /// Workers run from container images.
    Images = "images",
    /// The image that a worker was made of is told by its identity, and so is what a name means now.
    ImageIds = "image_ids",
    /// Creation and start are two steps. Without it, `create_worker` begins the first run.
    DeferredStart = "deferred_start",
    /// A worker that has ended by itself stays, with its exit and its logs, until it is deleted. Without it, one may be
    /// absent at any time after its end, and a watch may tell no more of it than that it is gone.
    KeepsEnded = "keeps_ended",
    /// A worker that was asked to stop stays as well. Without it, a stop may end in its absence.
    KeepsStopped = "keeps_stopped",
    /// A worker that has ended can be started again as it is. Without it, a further run is a further generation.
    RestartInPlace = "restart_in_place",
    /// Workers go on when the host application dies, and are found again.
    SurvivesHost = "survives_host",
    /// Exit codes above 128 and deaths by a signal are told apart.
    ExactExit = "exact_exit",
    /// A limit on CPU is enforced.
    CpuLimit = "cpu_limit",
    /// A limit on memory is enforced.
    MemoryLimit = "memory_limit",
    /// A limit on the number of processes is enforced.
    PidsLimit = "pids_limit",
    /// Secrets reach workers as files in memory.
    SecretFiles = "secret_files",
    /// The platform has groups of its own that `scale_workers` sets the size of.
    NativeGroups = "native_groups",
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a provider has a capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Support {
    /// The platform does it.
    Native,
    /// This library does it in the platform's place; the text says how.
    Fallback(Cow<'static, str>),
    /// Not there; the text says why.
    Missing(Cow<'static, str>),
}

impl Support {
    /// Whether it can be used at all.
    pub const fn is_available(&self) -> bool {
        !matches!(self, Self::Missing(_))
    }
}

/// The health checks of a worker's configuration that a platform runs itself. One that it runs takes one success for
/// healthy and measures no time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct NativeChecks {
    /// Their kinds.
    pub kinds: Vec<ProbeKind>,
    /// How many of one worker; `None`: any number.
    pub at_most: Option<usize>,
}

impl NativeChecks {
    /// Checks of these kinds, so many of one worker.
    pub fn of(kinds: impl IntoIterator<Item = ProbeKind>, at_most: Option<usize>) -> Self {
        Self { kinds: kinds.into_iter().collect(), at_most }
    }
}

/// What a provider can do, as it was detected.
///
/// # Examples
/// ```
/// use hodei_worker_core::{Capability, ProviderCapabilities};
/// let capabilities = ProviderCapabilities::new("engine 20.10")
///     .with(Capability::Exec)
///     .without(Capability::Pause, "the freezer controller is not mounted");
/// assert!(capabilities.supports(Capability::Exec));
/// assert_eq!(capabilities.reason(Capability::Pause), Some("the freezer controller is not mounted"));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProviderCapabilities {
    /// The version of what stands behind the provider, in its own words.
    pub version: String,
    /// What works less well than it should, where the provider is degraded.
    pub degraded: Option<String>,
    /// CPU that the provider has in all, where it is known.
    pub total_cpu: Option<Cpu>,
    /// Memory that the provider has in all, where it is known.
    pub total_memory: Option<ByteSize>,
    /// Which health checks the platform runs itself, beside what it knows anyway ([`Probe::Native`](crate::model::Probe)).
    #[serde(default)]
    pub native_checks: NativeChecks,
    support: BTreeMap<Capability, Support>,
}

impl ProviderCapabilities {
    /// Nothing declared yet.
    pub fn new(version: impl Into<String>) -> Self {
        Self { version: version.into(), ..Self::default() }
    }
    /// Declares a capability of the platform.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        self.set(capability, Support::Native)
    }
    /// Declares a capability that this library provides in software; `how` is shown to users.
    #[must_use]
    pub fn with_fallback(self, capability: Capability, how: impl Into<Cow<'static, str>>) -> Self {
        self.set(capability, Support::Fallback(how.into()))
    }
    /// Says why a capability is missing.
    #[must_use]
    pub fn without(self, capability: Capability, why: impl Into<Cow<'static, str>>) -> Self {
        self.set(capability, Support::Missing(why.into()))
    }
    /// Declares a capability if it was found, and the reason otherwise.
    #[must_use]
    pub fn with_detected(self, capability: Capability, found: Result<(), String>) -> Self {
        match found {
            Ok(()) => self.with(capability),
            Err(why) => self.without(capability, why),
        }
    }
    /// Declares which health checks the platform runs itself.
    #[must_use]
    pub fn with_native_checks(mut self, checks: NativeChecks) -> Self {
        self.native_checks = checks;
        self
    }
    /// Sets how a capability is supported.
    #[must_use]
    pub fn set(mut self, capability: Capability, support: Support) -> Self {
        self.support.insert(capability, support);
        self
    }

    /// How a capability is supported. What was never declared is missing.
    pub fn support(&self, capability: Capability) -> &Support {
        const UNDECLARED: &Support = &Support::Missing(Cow::Borrowed("not declared by this provider"));
        self.support.get(&capability).unwrap_or(UNDECLARED)
    }
    /// Whether a capability can be used, natively or by a fallback.
    pub fn supports(&self, capability: Capability) -> bool {
        self.support(capability).is_available()
    }
    /// Why a capability is missing, or how it is replaced. `None` when it is native.
    pub fn reason(&self, capability: Capability) -> Option<&str> {
        match self.support(capability) {
            Support::Native => None,
            Support::Fallback(text) | Support::Missing(text) => Some(text),
        }
    }
    /// Every capability with its support.
    pub fn iter(&self) -> impl Iterator<Item = (Capability, &Support)> {
        Capability::ALL.iter().map(|capability| (*capability, self.support(*capability)))
    }

    /// Refuses what is not supported.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] that names every missing capability with its reason.
    pub fn require(&self, needed: impl IntoIterator<Item = Capability>) -> Result<()> {
        let missing: Vec<String> = needed
            .into_iter()
            .filter(|capability| !self.supports(*capability))
            .map(|capability| format!("`{capability}` ({})", self.reason(capability).unwrap_or_default()))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, format!("this provider lacks {}", missing.join(", "))))
    }
}

/// What a worker of this configuration needs of its provider.
pub fn needed_by(config: &WorkerConfig) -> Vec<Capability> {
    use crate::model::{Mount, MountSource, SecretTarget};
    let limits = &config.resources;
    let file = |target: &SecretTarget| matches!(target, SecretTarget::File { .. });
    let mounts =
        |wanted: fn(&MountSource) -> bool| config.mounts.iter().any(|mount: &Mount| wanted(&mount.source));
    let needs = [
        (config.image.is_some(), Capability::Images),
        (limits.cpu_limit.is_some(), Capability::CpuLimit),
        (limits.memory_limit.is_some(), Capability::MemoryLimit),
        (limits.pids_limit.is_some(), Capability::PidsLimit),
        (mounts(|source| matches!(source, MountSource::Volume { .. })), Capability::Volumes),
        (mounts(|source| matches!(source, MountSource::Bind { .. })), Capability::HostPaths),
        (mounts(|source| matches!(source, MountSource::Tmpfs { .. })), Capability::Tmpfs),
        (!config.health_checks.is_empty(), Capability::HealthChecks),
        (config.reports, Capability::Logs),
        (config.ports.iter().any(|port| !port.is_the_hosts()), Capability::Networking),
        (!config.networks.is_empty(), Capability::Networking),
        (config.secrets.iter().any(|secret| file(&secret.target)), Capability::SecretFiles),
    ];
    needs.into_iter().filter(|(needed, _)| *needed).map(|(_, capability)| capability).collect()
}

/// Prints capabilities of several providers side by side, as a Markdown table with the reasons below.
pub fn matrix<'a>(providers: impl IntoIterator<Item = (&'a str, &'a ProviderCapabilities)>) -> String {
    use fmt::Write as _;
    let providers: Vec<_> = providers.into_iter().collect();
    let mut notes: Vec<&str> = Vec::new();
    let mut table = String::from("| |");
    for (name, _) in &providers {
        let _ = write!(table, " {name} |");
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(providers.len()));
    for capability in Capability::ALL {
        let _ = write!(table, "\n| {capability} |");
        for (_, capabilities) in &providers {
            let mark = match capabilities.support(*capability) {
                Support::Native => "yes",
                Support::Fallback(_) => "software",
                Support::Missing(_) => "no",
            };
            match capabilities.reason(*capability) {
                None => {
                    let _ = write!(table, " {mark} |");
                }
                Some(reason) => {
                    let note = notes.iter().position(|known| *known == reason).unwrap_or_else(|| {
                        notes.push(reason);
                        notes.len() - 1
                    });
                    let _ = write!(table, " {mark} ({}) |", note + 1);
                }
            }
        }
    }
    table.push('\n');
    for (n, note) in notes.iter().enumerate() {
        let _ = write!(table, "\n{}. {note}", n + 1);
    }
    table.push('\n');
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_a_missing_requirement_is_refused_with_its_reason() {
        let capabilities =
            ProviderCapabilities::new("1").with(Capability::Logs).without(Capability::Exec, "no shell");
        let error =
            capabilities.require([Capability::Logs, Capability::Exec, Capability::Pause]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(
            error.to_string().contains("`exec` (no shell), `pause` (not declared by this provider)"),
            "{error}"
        );
    }

    #[test]
    fn p3_the_matrix_names_each_reason_once() {
        let one = ProviderCapabilities::new("1")
            .with(Capability::Logs)
            .with_fallback(Capability::HealthChecks, "probes");
        let text = matrix([("one", &one), ("two", &ProviderCapabilities::new("2"))]);
        assert!(text.contains("| logs | yes | no (1) |"), "{text}");
        assert_eq!(text.matches("not declared").count(), 1, "{text}");
    }
}
