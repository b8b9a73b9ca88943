use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, quantity::Cpu};

/// What a worker uses, its processes taken together. Counters begin with the run. What a provider cannot
/// measure is `None`, never 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerStats {
    /// When it was measured.
    pub time: Timestamp,
    /// Processor time used so far.
    pub cpu_time: Option<Duration>,
    /// Billionths of a core in use, on average over `window`: from platforms that tell no counter, or both.
    #[serde(default)]
    pub cpu_nanocores: Option<u64>,
    /// What an average was taken over; it ended at `time`.
    #[serde(default)]
    pub window: Option<Duration>,
    /// CPU that is set aside for it.
    #[serde(default)]
    pub cpu_request: Option<Cpu>,
    /// Bytes of memory in use.
    pub memory: Option<u64>,
    /// Bytes of memory that are set aside for it.
    #[serde(default)]
    pub memory_request: Option<u64>,
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
            cpu_nanocores: None,
            window: None,
            cpu_request: None,
            memory: None,
            memory_request: None,
            memory_limit: None,
            pids: None,
            disk_read: None,
            disk_written: None,
            network_received: None,
            network_sent: None,
        }
    }

    /// The CPU in use as a share of what is set aside for it: 1.0 is all of it.
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_core::{Timestamp, provider::WorkerStats, quantity::Cpu};
    /// let mut stats = WorkerStats::new(Timestamp::UNIX_EPOCH);
    /// (stats.cpu_nanocores, stats.cpu_request) = (Some(50_000_000), Some(Cpu::from_millis(100)));
    /// assert_eq!(stats.cpu_of_request(), Some(0.5));
    /// ```
    pub fn cpu_of_request(&self) -> Option<f64> {
        share(self.cpu_nanocores?, self.cpu_request?.nanos())
    }

    /// The memory in use as a share of what is set aside for it.
    pub fn memory_of_request(&self) -> Option<f64> {
        share(self.memory?, self.memory_request?)
    }
}

/// The last digits of numbers beyond 2⁵³ change no share.
#[allow(clippy::cast_precision_loss)]
fn share(used: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| used as f64 / of as f64)
}
