//! Who checks what: the platform where it can, and this host where it cannot, so that a caller sees it.

use std::{borrow::Cow, fmt};

use hodei_worker_core::{
    Capability, Error, ErrorKind, ProviderCapabilities, Result, WorkerConfig,
    model::{HealthCheckConfig, Port, Probe, ProbeKind},
};

use super::probe;

/// Who runs a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckedBy {
    /// The platform, which tells the result in the worker's status.
    Provider,
    /// This host: the visible fallback.
    Host,
}

/// How one check of a worker is made on one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HowChecked {
    /// What is tried.
    pub kind: ProbeKind,
    /// Who does it.
    pub by: CheckedBy,
    /// Why it is not the platform, where it is not.
    pub why: Option<Cow<'static, str>>,
}

impl fmt::Display for HowChecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.by, &self.why) {
            (CheckedBy::Provider, _) => write!(f, "{}: by the provider", self.kind),
            (CheckedBy::Host, None) => write!(f, "{}: by this host", self.kind),
            (CheckedBy::Host, Some(why)) => write!(f, "{}: by this host ({why})", self.kind),
        }
    }
}

/// How all checks of a worker are made on one provider.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthPlan {
    checks: Vec<(HealthCheckConfig, HowChecked)>,
}

/// Says for each health check of a configuration who makes it on a provider with these capabilities.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) where neither the provider nor this host can make a check, with the reason
/// for each; [`Config`](ErrorKind::Config) where this host would have to connect to a port that the worker does not
/// declare, and workers have no [addresses of their own](Capability::OwnAddresses) nor [ways](Capability::PortForward)
/// through the provider.
///
/// # Examples
/// ```
/// use hodei_worker::{Capability, ProviderCapabilities, WorkerConfig, health::{self, CheckedBy}};
/// use hodei_worker::model::{HealthCheckConfig, Port, Probe};
/// let config = WorkerConfig::builder("web")
///     .command(["serve"])
///     .port(Port::tcp(8080))
///     .health_check(HealthCheckConfig::new(Probe::Tcp { port: 8080 }))
///     .build()?;
/// let capabilities = ProviderCapabilities::new("1").without(Capability::HealthChecks, "a process has no platform");
/// let plan = health::plan(&config, &capabilities)?;
/// assert_eq!(plan.iter().next().unwrap().by, CheckedBy::Host);
/// assert!(plan.for_provider(&config)?.health_checks.is_empty());
/// # Ok::<(), hodei_worker::Error>(())
/// ```
pub fn plan(config: &WorkerConfig, capabilities: &ProviderCapabilities) -> Result<HealthPlan> {
    let mut native = Native::of(config, capabilities);
    let mut checks = Vec::new();
    let mut refused = Vec::new();
    let mut unreachable = None;
    for (n, check) in config.health_checks.iter().enumerate() {
        let kind = check.probe.kind();
        let why = match native.take(check) {
            Ok(()) => {
                checks.push((check.clone(), HowChecked { kind, by: CheckedBy::Provider, why: None }));
                continue;
            }
            Err(why) => why,
        };
        match can_check(check, capabilities, &why) {
            Err(reason) => refused.push(format!("health_checks[{n}] ({kind}): {reason}")),
            Ok(()) => {
                let ways = [Capability::OwnAddresses, Capability::PortForward];
                let anywhere = ways.into_iter().any(|way| capabilities.supports(way));
                if let Some(error) = without_port(config, n, check).filter(|_| !anywhere) {
                    unreachable.get_or_insert(error);
                }
                checks.push((check.clone(), HowChecked { kind, by: CheckedBy::Host, why: Some(why) }));
            }
        }
    }
    if !refused.is_empty() {
        return Err(Error::new(ErrorKind::Unsupported, format!("nobody can make {}", refused.join("; "))));
    }
    unreachable.map_or(Ok(HealthPlan { checks }), Err)
}

impl HealthPlan {
    /// How each check is made, in the configuration's order.
    pub fn iter(&self) -> impl Iterator<Item = &HowChecked> {
        self.checks.iter().map(|(_, how)| how)
    }

    /// Whether nothing is checked.
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// The configuration as its provider gets it: with the checks that the provider makes.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where a check is wrong in itself, which one of a checked configuration never is.
    pub fn for_provider(&self, config: &WorkerConfig) -> Result<WorkerConfig> {
        let its_own = self.checks.iter().filter(|(_, how)| how.by == CheckedBy::Provider);
        let mut its_own: Vec<_> = its_own.map(|(check, _)| for_platform(check)).collect();
        its_own.dedup_by(|one, other| one.probe == Probe::Native && other.probe == Probe::Native);
        if its_own == config.health_checks {
            return Ok(config.clone());
        }
        config.with_health_checks(its_own)
    }

    /// The checks as this host's [`HealthMonitor`](super::HealthMonitor) gets them: those that the provider makes are one,
    /// read from the worker's status.
    pub fn for_host(&self) -> Vec<HealthCheckConfig> {
        let (its_own, ours): (Vec<_>, Vec<_>) =
            self.checks.iter().partition(|(_, how)| how.by == CheckedBy::Provider);
        let native = its_own.first().map(|(check, _)| {
            let mut check = check.clone();
            (check.probe, check.slow_after) = (Probe::Native, None);
            check
        });
        native.into_iter().chain(ours.into_iter().map(|(check, _)| check.clone())).collect()
    }
}

/// A check without what no platform looks at.
fn for_platform(check: &HealthCheckConfig) -> HealthCheckConfig {
    match check.probe {
        Probe::Native => HealthCheckConfig::new(Probe::Native),
        _ => {
            let mut check = check.clone();
            (check.slow_after, check.flapping) = (None, None);
            check
        }
    }
}

/// What the platform has left to check with.
struct Native<'a> {
    capabilities: &'a ProviderCapabilities,
    /// A status has room for one result: where it is the platform's own, no other fits in.
    reads_status: bool,
    left: usize,
}

impl<'a> Native<'a> {
    fn of(config: &WorkerConfig, capabilities: &'a ProviderCapabilities) -> Self {
        let reads_status = config.health_checks.iter().any(|check| check.probe == Probe::Native);
        let left = capabilities.native_checks.at_most.unwrap_or(usize::MAX);
        Self { capabilities, reads_status, left }
    }

    /// Gives the check to the platform, or says why it cannot.
    fn take(&mut self, check: &HealthCheckConfig) -> std::result::Result<(), Cow<'static, str>> {
        let kind = check.probe.kind();
        if !self.capabilities.supports(Capability::HealthChecks) {
            let reason = self.capabilities.reason(Capability::HealthChecks).unwrap_or_default();
            return Err(format!("the provider has no health checks: {reason}").into());
        }
        if kind == ProbeKind::Native {
            return Ok(());
        }
        if !self.capabilities.native_checks.kinds.contains(&kind) {
            return Err("the provider has no such check".into());
        }
        if check.slow_after.is_some() {
            return Err("the provider measures no time".into());
        }
        if check.success_threshold != 1 {
            return Err("the provider takes one success for healthy".into());
        }
        if self.reads_status {
            return Err("the provider's health is that of another check".into());
        }
        self.left = self.left.checked_sub(1).ok_or("the provider makes no more checks of one worker")?;
        Ok(())
    }
}

/// Whether this host can make the check, or why not.
fn can_check(
    check: &HealthCheckConfig,
    capabilities: &ProviderCapabilities,
    why: &str,
) -> std::result::Result<(), Cow<'static, str>> {
    match &check.probe {
        Probe::Command(_) if !capabilities.supports(Capability::Exec) => {
            let reason = capabilities.reason(Capability::Exec).unwrap_or_default();
            Err(format!("{why}, and it runs no commands in workers: {reason}").into())
        }
        Probe::Http(http) => probe::offers_http(http).map_err(Cow::Borrowed),
        Probe::Command(_) | Probe::Tcp { .. } | Probe::Heartbeat { .. } => Ok(()),
        Probe::Native => Err(why.to_owned().into()),
        _ => Err("this version does not know it".into()),
    }
}

/// The error of a check that would have to connect to a port of which no address is told.
fn without_port(config: &WorkerConfig, n: usize, check: &HealthCheckConfig) -> Option<Error> {
    let port = match &check.probe {
        Probe::Http(http) => http.port,
        Probe::Tcp { port } => *port,
        _ => return None,
    };
    let wanted = Port::tcp(port);
    let declared = |own: &&Port| (own.port, own.protocol) == (wanted.port, wanted.protocol);
    if config.ports.iter().find(declared).is_some() {
        return None;
    }
    let path = format!("health_checks[{n}].probe.{}.port", check.probe.kind());
    let message = format!("{port}/{} is none of the worker's ports", wanted.protocol);
    Some(
        Error::config(path, message)
            .with_help("add it to `ports`, so that it can be reached: it has no address of its own there"),
    )
}
