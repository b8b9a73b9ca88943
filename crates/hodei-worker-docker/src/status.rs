//! The engine's picture of a container as a `WorkerStatus`.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicBool, Ordering},
};

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as State, ContainerSummary,
    HealthStatusEnum, PortMap,
};
use hodei_worker_core::{
    Timestamp, WorkerPhase,
    model::{GroupRef, InstallationId, Ownership, Protocol, RunId, labels},
    status::{Address, ExitStatus, FailureClass, Health, WorkerStatus},
};

use crate::{endpoint, names, reach};

/// What a status depends on beside the container.
#[derive(Debug)]
pub(crate) struct Viewpoint {
    pub(crate) installation: InstallationId,
    /// The engine's machine, by name or address, if it is not this one.
    pub(crate) remote: Option<String>,
    /// Whether containers' networks may be this machine's.
    sees_networks: AtomicBool,
}

impl Viewpoint {
    pub(crate) fn new(installation: InstallationId, endpoint: &endpoint::Endpoint) -> Self {
        let is_ours = |host: &str| {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        let remote = match &endpoint.address {
            endpoint::Address::Tcp { host, .. } if !is_ours(host) => Some(host.clone()),
            _ => None,
        };
        Self { installation, remote, sees_networks: AtomicBool::new(false) }
    }

    /// Takes note of whether containers' networks may be this machine's.
    pub(crate) fn set_sees_networks(&self, sees: bool) {
        self.sees_networks.store(sees, Ordering::Relaxed);
    }

    /// The status of an inspected container, if it is one of ours.
    pub(crate) fn status(
        &self,
        inspected: &ContainerInspectResponse,
        as_of: Timestamp,
    ) -> Option<WorkerStatus> {
        let all = names::labels_of(inspected)?;
        let ownership = names::ownership(&self.installation, Some(all))?;
        let empty = ContainerState::default();
        let state = inspected.state.as_ref().unwrap_or(&empty);
        let started = time(state.started_at.as_deref());
        let end = End::of(state, started.is_some());
        let mut status = WorkerStatus::new(ownership.worker.clone(), phase(state, &end), as_of);
        status.run = run_id(state);
        status.native_id = inspected.id.clone().unwrap_or_default();
        status.image_id = inspected.image.clone().filter(|id| !id.is_empty());
        status.exit = end.exit;
        status.failure = end.failure;
        status.reason = end.reason;
        status.out_of_memory = end.out_of_memory;
        status.health = state.health.as_ref().and_then(|health| match health.status {
            Some(HealthStatusEnum::STARTING) => Some(Health::Starting),
            Some(HealthStatusEnum::HEALTHY) => Some(Health::Healthy),
            Some(HealthStatusEnum::UNHEALTHY) => Some(Health::Unhealthy),
            _ => None,
        });
        status.times.created = time(inspected.created.as_deref());
        status.times.started = started;
        // The engine notes a start after the process runs, and may note the end of a brief one before that.
        let finished = time(state.finished_at.as_deref()).filter(|_| status.phase.is_over());
        status.times.finished = finished.max(finished.and(status.times.started));
        let ports = inspected.network_settings.as_ref().and_then(|network| network.ports.as_ref());
        if status.phase.is_alive() {
            status.addresses = ports.map(|ports| self.addresses(ports)).unwrap_or_default();
            if self.sees_networks.load(Ordering::Relaxed) {
                status.own_addresses = reach::own_addresses(inspected);
            }
        }
        self.mark(&mut status, all, ownership);
        Some(status)
    }

    /// The status of a container of ours of which the engine does not tell more than it lists.
    pub(crate) fn untold(
        &self,
        summary: &ContainerSummary,
        why: &str,
        as_of: Timestamp,
    ) -> Option<WorkerStatus> {
        let all = summary.labels.as_ref()?;
        let ownership = names::ownership(&self.installation, Some(all))?;
        let mut status = WorkerStatus::new(ownership.worker.clone(), WorkerPhase::Unknown, as_of);
        status.native_id = summary.id.clone().unwrap_or_default();
        status.image_id = summary.image_id.clone().filter(|id| !id.is_empty());
        status.reason = Some(format!("the engine does not tell how it is: {why}"));
        self.mark(&mut status, all, ownership);
        Some(status)
    }

    /// What its labels say.
    fn mark(&self, status: &mut WorkerStatus, all: &HashMap<String, String>, ownership: Ownership) {
        status.labels = names::user_labels(all);
        status.worker_type = all.get(labels::WORKER_TYPE).and_then(|name| GroupRef::new(name).ok());
        status.ownership = Some(ownership);
    }

    fn addresses(&self, ports: &PortMap) -> Vec<Address> {
        let mut all = Vec::new();
        for (name, bindings) in ports {
            let Some((port, protocol)) = name.split_once('/') else { continue };
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => continue,
            };
            let Ok(port) = port.parse() else { continue };
            for binding in bindings.iter().flatten() {
                let host_port = binding.host_port.as_deref().and_then(|port| port.parse().ok());
                let host = binding.host_ip.as_deref().and_then(|host| host.parse().ok());
                let (Some(host_port), Some(host)) = (host_port, host) else { continue };
                if let Some(host) = self.reachable(host) {
                    all.push(Address::new(port, protocol, host, host_port));
                }
            }
        }
        all.sort_by_key(|address| (address.port, address.protocol, address.host.clone(), address.host_port));
        all.dedup();
        all
    }

    /// Nobody can connect to "all addresses", nor from here to the loopback address of another machine.
    fn reachable(&self, host: IpAddr) -> Option<String> {
        match (&self.remote, host) {
            (Some(_), _) if host.is_loopback() => None,
            (Some(machine), _) if host.is_unspecified() => Some(machine.clone()),
            (None, IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Some(Ipv4Addr::LOCALHOST.to_string()),
            (None, IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Some(Ipv6Addr::LOCALHOST.to_string()),
            _ => Some(host.to_string()),
        }
    }
}

/// The last run: the engine's own text of its start, which differs with each.
pub(crate) fn run_id(state: &ContainerState) -> Option<RunId> {
    let text = state.started_at.as_deref()?;
    time(Some(text)).map(|_| RunId::new(text))
}

/// Whether its process exists.
pub(crate) fn is_alive(state: &ContainerState) -> bool {
    matches!(state.status, Some(State::RUNNING | State::PAUSED | State::STOPPING))
}

/// Whether the last attempt to start it failed: the engine keeps its message until a start succeeds.
pub(crate) fn start_failed(state: &ContainerState) -> bool {
    // What is dead has not failed to start: the message is about its removal.
    let over = matches!(state.status, Some(State::CREATED | State::EXITED));
    over && state.error.as_ref().is_some_and(|error| !error.is_empty())
}

/// A time of the engine's; the year 1 means never.
pub(crate) fn time(text: Option<&str>) -> Option<Timestamp> {
    let time: Timestamp = text?.parse().ok()?;
    (time > Timestamp::UNIX_EPOCH).then_some(time)
}

fn phase(state: &ContainerState, end: &End) -> WorkerPhase {
    match state.status {
        Some(State::CREATED) if end.failure.is_some() => WorkerPhase::Exited,
        Some(State::CREATED) => WorkerPhase::Created,
        Some(State::RUNNING) => WorkerPhase::Running,
        Some(State::PAUSED) => WorkerPhase::Paused,
        // The engine waits before it starts it again.
        Some(State::RESTARTING) => WorkerPhase::Starting,
        Some(State::STOPPING) => WorkerPhase::Stopping,
        Some(State::EXITED | State::REMOVING | State::DEAD) => WorkerPhase::Exited,
        Some(State::EMPTY) | None => WorkerPhase::Unknown,
    }
}

/// How the last run ended, as far as the engine says.
#[derive(Default)]
struct End {
    exit: Option<ExitStatus>,
    failure: Option<FailureClass>,
    reason: Option<String>,
    out_of_memory: bool,
}

impl End {
    fn of(state: &ContainerState, has_run: bool) -> Self {
        let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
        if start_failed(state) {
            // What a shell would say: 127 not found, 126 not executable.
            let failure = match code {
                Some(126 | 127) => FailureClass::CommandNotFound,
                _ => FailureClass::Configuration,
            };
            return Self { failure: Some(failure), reason: state.error.clone(), ..Self::default() };
        }
        let over = matches!(state.status, Some(State::EXITED | State::REMOVING | State::DEAD));
        if !over || !has_run || time(state.finished_at.as_deref()).is_none() {
            return Self::default();
        }
        let Some(code) = code else { return Self::default() };
        let exit = ExitStatus::from_shell(code);
        let out_of_memory = state.oom_killed == Some(true);
        let (failure, reason) = match exit {
            _ if exit.is_success() => (None, None),
            // The mark alone may be about a child that the command survived.
            ExitStatus::CodeOrSignal(137) if out_of_memory => {
                (Some(FailureClass::OutOfMemory), Some("the kernel killed it for want of memory".to_owned()))
            }
            ExitStatus::CodeOrSignal(_) => (Some(FailureClass::Killed), None),
            _ => (Some(FailureClass::Application), None),
        };
        Self { exit: Some(exit), failure, reason, out_of_memory }
    }
}

#[cfg(test)]
mod tests;
