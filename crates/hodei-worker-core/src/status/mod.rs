//! What a provider reports about a worker.

mod exit;
mod failure;
mod observation;
mod phase;
mod version;

use std::{cmp::Ordering, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

pub use exit::ExitStatus;
pub use failure::FailureClass;
pub use observation::{Gone, WorkerObservation};
pub use phase::{Health, WorkerPhase};
pub use version::Version;

use crate::{
    clock::Timestamp,
    model::{GroupRef, Labels, Ownership, Port, Protocol, RunId, WorkerRef},
};

/// What a provider knows of one worker at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// The worker and its generation.
    pub worker: WorkerRef,
    /// Where it is in its life.
    pub phase: WorkerPhase,
    /// Its last run, or its present one; `None` before the first.
    pub run: Option<RunId>,
    /// The provider's own unique name of it. Empty where it is absent.
    #[serde(default)]
    pub native_id: String,
    /// How the last run ended. `None` while it runs, and where nobody knows: an unknown end is never a success.
    pub exit: Option<ExitStatus>,
    /// Why it failed, as a closed set to decide by.
    pub failure: Option<FailureClass>,
    /// Why it is as it is, in the provider's words.
    pub reason: Option<String>,
    /// The kernel killed it, or a process of it, for want of memory. Set only when the provider is certain.
    #[serde(default)]
    pub out_of_memory: bool,
    /// What the provider's own health check says, where there is one.
    pub health: Option<Health>,
    /// When it entered its phases.
    #[serde(default)]
    pub times: PhaseTimes,
    /// Where its ports are reachable.
    #[serde(default)]
    pub addresses: Vec<Address>,
    /// The worker's own addresses, at which this host reaches any of its ports, published or not; needs
    /// [`OwnAddresses`](crate::Capability::OwnAddresses).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_addresses: Vec<IpAddr>,
    /// The image that it was made of, by the provider's own identity and not by its name, which may mean another by now;
    /// needs [`ImageIds`](crate::Capability::ImageIds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The user's labels.
    #[serde(default)]
    pub labels: Labels,
    /// Its group.
    pub worker_type: Option<GroupRef>,
    /// Whose it is.
    pub ownership: Option<Ownership>,
    /// Orders the statuses of one `native_id`. `None`: nobody counts, and only the provider can say which is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The time at which this was the case. For people: clocks step, decide by `version`.
    pub as_of: Timestamp,
}

impl WorkerStatus {
    /// The status of a worker of which nothing is known but its phase.
    pub fn new(worker: WorkerRef, phase: WorkerPhase, as_of: Timestamp) -> Self {
        Self {
            worker,
            phase,
            run: None,
            native_id: String::new(),
            exit: None,
            failure: None,
            reason: None,
            out_of_memory: false,
            health: None,
            times: PhaseTimes::default(),
            addresses: Vec::new(),
            own_addresses: Vec::new(),
            image_id: None,
            labels: Labels::new(),
            worker_type: None,
            ownership: None,
            version: None,
            as_of,
        }
    }

    /// The status of a worker that the provider is sure not to have.
    pub fn absent(worker: &WorkerRef, as_of: Timestamp) -> Arc<Self> {
        Arc::new(Self::new(worker.clone(), WorkerPhase::Absent, as_of))
    }

    /// Whether this is later than what is known of the same object. `None` where that cannot be told: reads that
    /// overlapped, another object, a provider without versions. Then ask the provider again.
    pub fn is_newer_than(&self, known: &Self) -> Option<bool> {
        if self.native_id != known.native_id || self.native_id.is_empty() {
            return None;
        }
        self.version?.partial_cmp(&known.version?).map(Ordering::is_gt)
    }

    /// Whether the run has ended, and well: with the code 0.
    pub fn succeeded(&self) -> bool {
        self.phase == WorkerPhase::Exited && self.exit.is_some_and(ExitStatus::is_success)
    }

    /// The reachable address of the worker's TCP port.
    pub fn address(&self, port: u16) -> Option<&Address> {
        self.address_of(&Port::tcp(port))
    }

    /// Where this host finds the worker itself behind its TCP port: at its own address where it has one, and where the
    /// port is published otherwise. What publishes a port may take connections although the worker does not.
    pub fn reach(&self, port: u16) -> Option<Address> {
        match self.own_addresses.first() {
            Some(own) => Some(Address::new(port, Protocol::Tcp, own, port)),
            None => self.address(port).cloned(),
        }
    }

    /// The reachable address of a port of the worker's configuration.
    pub fn address_of(&self, port: &Port) -> Option<&Address> {
        let same = |address: &&Address| (address.port, address.protocol) == (port.port, port.protocol);
        self.addresses.iter().find(same)
    }
}

/// When a worker entered its phases. What has not happened, or what the provider does not keep, is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseTimes {
    /// Its creation.
    pub created: Option<Timestamp>,
    /// When a place was found for it.
    pub scheduled: Option<Timestamp>,
    /// When its image was there.
    pub pulled: Option<Timestamp>,
    /// The start of its last run.
    pub started: Option<Timestamp>,
    /// When the provider's own check first found its last run well.
    pub ready: Option<Timestamp>,
    /// When its last run was asked to stop.
    pub stopping: Option<Timestamp>,
    /// The end of its last run.
    pub finished: Option<Timestamp>,
}

/// Where a port of a worker is reachable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Address {
    /// The port on which the worker listens.
    pub port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The address or host name to connect to.
    pub host: String,
    /// The port to connect to.
    pub host_port: u16,
}

impl Address {
    /// The worker's `port`, reachable at `host` and `host_port`.
    pub fn new(port: u16, protocol: Protocol, host: impl ToString, host_port: u16) -> Self {
        Self { port, protocol, host: host.to_string(), host_port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_one_port_of_two_protocols_has_two_addresses() {
        let worker = WorkerRef::first("a".parse().unwrap());
        let mut status = WorkerStatus::new(worker, WorkerPhase::Running, Timestamp::UNIX_EPOCH);
        status.addresses = vec![
            Address::new(53, Protocol::Udp, "localhost", 5301),
            Address::new(53, Protocol::Tcp, "localhost", 5302),
        ];
        let mut udp = Port::tcp(53);
        udp.protocol = Protocol::Udp;
        assert_eq!(status.address(53).map(|address| address.host_port), Some(5302));
        assert_eq!(status.address_of(&udp).map(|address| address.host_port), Some(5301));
        assert_eq!(status.address_of(&Port::tcp(54)), None);
    }

    #[test]
    fn d9_a_worker_is_reached_at_its_own_address_where_it_has_one() {
        let worker = WorkerRef::first("a".parse().unwrap());
        let mut status = WorkerStatus::new(worker, WorkerPhase::Running, Timestamp::UNIX_EPOCH);
        assert_eq!(status.reach(80), None);
        status.addresses = vec![Address::new(80, Protocol::Tcp, "localhost", 49153)];
        assert_eq!(status.reach(80), status.address(80).cloned());
        status.own_addresses = vec!["172.17.0.2".parse().unwrap(), "fd01::2".parse().unwrap()];
        for port in [80, 81] {
            assert_eq!(status.reach(port), Some(Address::new(port, Protocol::Tcp, "172.17.0.2", port)));
        }
    }

    #[test]
    fn p1_a_status_of_another_version_can_be_read() {
        let stored = serde_json::json!({
            "worker": {"id": "a", "generation": 2},
            "phase": "hibernating",
            "failure": "struck_by_lightning",
            "as_of": "2026-01-01T00:00:00Z",
            "shade": "blue",
        });
        let status: WorkerStatus = serde_json::from_value(stored).unwrap();
        assert_eq!((status.phase, status.failure), (WorkerPhase::Unknown, Some(FailureClass::Unknown)));
        assert_eq!(status.run, None);
    }
}
