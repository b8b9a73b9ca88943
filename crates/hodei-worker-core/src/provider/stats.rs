use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// What a worker uses, its processes taken together. Counters begin with the run. What a provider cannot
/// measure is `None`, never 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerStats {
    /// When it was measured.
    pub time: Timestamp,
    /// Processor time used so far.
    pub cpu_time: Option<Duration>,
    /// Bytes of memory in use.
    pub memory: Option<u64>,
    /// Bytes of memory that it may use.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes read from disks so far.
    pub disk_read: Option<u64>,
    /// Bytes written to disks so far.
    pub disk_written: Option<u64>,
    /// Bytes received so far.
    pub network_received: Option<u64>,
    /// Bytes sent so far.
    pub network_sent: Option<u64>,
}

impl WorkerStats {
    /// Nothing measured yet.
    pub const fn new(time: Timestamp) -> Self {
        Self {
            time,
            cpu_time: None,
            memory: None,
            memory_limit: None,
            pids: None,
            disk_read: None,
            disk_written: None,
            network_received: None,
            network_sent: None,
        }
    }
}
