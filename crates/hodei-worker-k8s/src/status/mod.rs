//! A pod as a worker's status.

mod failure;

use std::net::IpAddr;

use hodei_worker_core::{
    Timestamp, WorkerPhase, WorkerStatus,
    model::{InstallationId, RunId, labels},
    status::{Address, ExitStatus, FailureClass, Health, PhaseTimes, Version},
};
use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStateTerminated, Pod, PodCondition, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::names::{self, CONTAINER, GATE};

/// How pods are seen from here.
#[derive(Debug, Clone)]
pub(crate) struct Viewpoint {
    pub(crate) installation: InstallationId,
    /// Whether pods are reached at their own addresses.
    pub(crate) reaches_pods: bool,
}

/// A pod's one run; of a group's member, which runs again and again, the one at present.
pub(crate) fn run(pod: &Pod) -> RunId {
    let told = pod.status.iter().flat_map(|told| told.container_statuses.iter().flatten());
    let container = told.into_iter().find(|one| one.name == CONTAINER);
    match container.map_or(0, |container| container.restart_count) {
        0 => RunId::new(uid(pod)),
        restarts => RunId::new(format!("{}.{restarts}", uid(pod))),
    }
}

/// Whether it was never started.
pub(crate) fn is_gated(pod: &Pod) -> bool {
    let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
    gates.into_iter().any(|gate| gate.name == GATE)
}

/// Whether it is to be deleted.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Time as this library has it: the cluster's types are of another version of the same crate.
pub(crate) fn timestamp(time: &Time) -> Timestamp {
    Timestamp::from_nanosecond(time.0.as_nanosecond()).unwrap_or_default()
}

impl Viewpoint {
    /// The worker's status, if the pod is one of ours.
    pub(crate) fn status(&self, pod: &Pod, as_of: Timestamp) -> Option<WorkerStatus> {
        let ownership = names::ownership(&self.installation, &pod.metadata)?;
        // Ten thousand of them are seen at once: nothing is copied that is only looked at.
        let (no_status, no_state) = (PodStatus::default(), ContainerState::default());
        let told = pod.status.as_ref().unwrap_or(&no_status);
        let state = container_state(told).unwrap_or(&no_state);
        let phase = phase(pod, told, state);
        let mut status = WorkerStatus::new(ownership.worker.clone(), phase, as_of);
        status.native_id = uid(pod).to_owned();
        status.run = (!is_gated(pod)).then(|| run(pod));
        let ended = state.terminated.as_ref();
        status.exit = ended.and_then(exit);
        let is_disrupted = is_true(told, "DisruptionTarget");
        match phase {
            WorkerPhase::Exited | WorkerPhase::Starting => {
                (status.failure, status.reason) = failure::why(told, state);
            }
            // Who asked it to end was no host.
            WorkerPhase::Stopping if is_disrupted => {
                (status.failure, status.reason) = failure::why(told, state);
            }
            WorkerPhase::Unknown => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
                let node = node.unwrap_or_default();
                status.reason = Some(format!("its node `{node}` does not answer"));
                // The cluster has given it up, and waits for who can end it.
                status.failure = is_disrupted.then_some(FailureClass::NodeLost);
            }
            _ => {}
        }
        if phase == WorkerPhase::Exited
            && status.failure.is_none()
            && let Some(exit) = status.exit.filter(|exit| !exit.is_success())
        {
            let killed = exit.possible_signal() == Some(9);
            status.failure = Some(if killed { FailureClass::Killed } else { FailureClass::Application });
        }
        status.out_of_memory = status.failure == Some(FailureClass::OutOfMemory);
        status.health = self.health(pod, told, state);
        status.times = times(pod, told, state);
        if self.reaches_pods && phase.is_alive() {
            status.own_addresses = own_addresses(told);
            status.addresses = addresses(pod, &status.own_addresses);
        }
        status.labels = names::user_labels(&pod.metadata);
        let worker_type = pod.metadata.labels.as_ref().and_then(|all| all.get(labels::WORKER_TYPE));
        status.worker_type = worker_type.and_then(|name| name.parse().ok());
        status.ownership = Some(ownership);
        let version = pod.metadata.resource_version.as_deref();
        status.version = version.and_then(|version| version.parse().ok()).map(Version::of_platform);
        Some(status)
    }

    /// What the kubelet's readiness probe says, if the worker has one.
    fn health(&self, pod: &Pod, told: &PodStatus, state: &ContainerState) -> Option<Health> {
        let container = pod.spec.as_ref()?.containers.iter().find(|one| one.name == CONTAINER)?;
        container.readiness_probe.as_ref()?;
        let running = state.running.as_ref()?;
        let ready = condition(told, "ContainersReady")?;
        if ready.status == "True" {
            return Some(Health::Healthy);
        }
        // It changed after its begin: it has been ready, or is so no more.
        let changed = ready.last_transition_time.as_ref().map(timestamp);
        let started = running.started_at.as_ref().map(timestamp);
        Some(if changed > started { Health::Unhealthy } else { Health::Starting })
    }
}

/// The state of the one container that is the worker.
fn container_state(status: &PodStatus) -> Option<&ContainerState> {
    let all = status.container_statuses.iter().flatten();
    all.into_iter().find(|one| one.name == CONTAINER)?.state.as_ref()
}

pub(crate) fn condition<'a>(status: &'a PodStatus, name: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == name)
}

fn is_true(status: &PodStatus, name: &str) -> bool {
    condition(status, name).is_some_and(|condition| condition.status == "True")
}

/// Whether the cluster has not heard of its node for a while: it takes back that the pod is ready, and not that its
/// containers are. A kubelet says the two together, unless admission has made the pod wait for something else. One that
/// was not ready before is not told apart.
fn is_lost(pod: &Pod, told: &PodStatus) -> bool {
    if pod.spec.as_ref().is_some_and(|spec| spec.readiness_gates.is_some()) {
        return false;
    }
    let taken_back = condition(told, "Ready").is_some_and(|ready| ready.status == "False");
    taken_back && is_true(told, "ContainersReady")
}

fn phase(pod: &Pod, told: &PodStatus, state: &ContainerState) -> WorkerPhase {
    let restarts = pod.spec.as_ref().is_some_and(|spec| spec.restart_policy.as_deref() == Some("Always"));
    match told.phase.as_deref() {
        Some("Succeeded" | "Failed") => WorkerPhase::Exited,
        // A group's member: the kubelet starts it again.
        _ if state.terminated.is_some() && restarts && !is_terminating(pod) => WorkerPhase::Starting,
        _ if state.terminated.is_some() => WorkerPhase::Exited,
        // The node does not answer any more.
        Some("Unknown") => WorkerPhase::Unknown,
        // Who is to end on such a node does not, before it answers or is taken out of the cluster.
        _ if is_lost(pod, told) => WorkerPhase::Unknown,
        _ if is_terminating(pod) => WorkerPhase::Stopping,
        _ if is_gated(pod) => WorkerPhase::Created,
        _ if state.running.is_some() => WorkerPhase::Running,
        _ => WorkerPhase::Starting,
    }
}

/// The exit code; none where no program of the worker's ran.
fn exit(ended: &ContainerStateTerminated) -> Option<ExitStatus> {
    let never_ran = failure::START_FAILED.contains(&ended.reason.as_deref().unwrap_or_default());
    let unknown = ended.reason.as_deref() == Some("ContainerStatusUnknown");
    (!never_ran && !unknown).then(|| ExitStatus::from_shell(ended.exit_code))
}

fn times(pod: &Pod, told: &PodStatus, state: &ContainerState) -> PhaseTimes {
    let mut times = PhaseTimes::default();
    times.created = pod.metadata.creation_timestamp.as_ref().map(timestamp);
    let since = |name: &str| {
        let condition = condition(told, name).filter(|condition| condition.status == "True")?;
        condition.last_transition_time.as_ref().map(timestamp)
    };
    times.scheduled = since("PodScheduled");
    if let Some(running) = &state.running {
        times.started = running.started_at.as_ref().map(timestamp);
    }
    if let Some(ended) = &state.terminated {
        times.started = ended.started_at.as_ref().map(timestamp);
        times.finished = ended.finished_at.as_ref().map(timestamp);
    }
    times.ready = since("Ready");
    // When its grace is over.
    let over = pod.metadata.deletion_timestamp.as_ref().map(timestamp);
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    times.stopping = over.and_then(|over| over.checked_sub(jiff::SignedDuration::from_secs(grace)).ok());
    times
}

fn own_addresses(told: &PodStatus) -> Vec<IpAddr> {
    let all = told.pod_ips.iter().flatten();
    let all: Vec<_> = all.filter_map(|one| one.ip.parse().ok()).collect();
    if all.is_empty() { told.pod_ip.iter().filter_map(|ip| ip.parse().ok()).collect() } else { all }
}

fn addresses(pod: &Pod, own: &[IpAddr]) -> Vec<Address> {
    let Some(first) = own.first() else { return Vec::new() };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.filter(|one| one.name == CONTAINER).flat_map(|one| one.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = u16::try_from(port.container_port).ok()?;
            let udp = port.protocol.as_deref() == Some("UDP");
            let protocol = if udp {
                hodei_worker_core::model::Protocol::Udp
            } else {
                hodei_worker_core::model::Protocol::Tcp
            };
            Some(Address::new(number, protocol, first, number))
        })
        .collect()
}

#[cfg(test)]
mod tests;
