//! What a container uses, on cgroup v1 and v2.

use std::time::Duration;

use bollard::models::ContainerStatsResponse;
use hodei_worker_core::{Error, ErrorKind, Result, Timestamp, WorkerRef, provider::WorkerStats};

use crate::{error::status, provider::Shared};

impl Shared {
    pub(crate) async fn stats(&self, worker: &WorkerRef) -> Result<WorkerStats> {
        let mut id = self.id_of(worker).await?;
        let mut again = true;
        loop {
            let read =
                self.engine.get(&format!("/containers/{id}/stats"), "?stream=false&one-shot=true").await;
            return match read {
                Ok(read) => {
                    measured(&read).ok_or_else(|| Error::new(ErrorKind::Conflict, "the worker does not run"))
                }
                Err(error) if status(&error) == Some(404) => {
                    id = self.successor_of(worker, &id).await?;
                    if std::mem::replace(&mut again, false) {
                        continue;
                    }
                    Err(Error::worker_not_found(worker))
                }
                Err(error) => Err(self.engine.error(error)),
            };
        }
    }
}

/// `None` for a container that does not run: the engine answers with nothing but its name.
fn measured(read: &ContainerStatsResponse) -> Option<WorkerStats> {
    let time = read.read.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    let time = time.filter(|time| *time > Timestamp::UNIX_EPOCH)?;
    let mut stats = WorkerStats::new(time);
    let cpu = read.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref());
    stats.cpu_time = cpu.and_then(|cpu| cpu.total_usage).map(Duration::from_nanos);
    if let Some(memory) = &read.memory_stats {
        let detail = |name: &str| memory.stats.as_ref().and_then(|all| all.get(name).copied());
        // Cached file pages that can be dropped at any time are not in use. v1 counts the whole tree by `total_…`.
        let cache = detail("total_inactive_file").or_else(|| detail("inactive_file")).unwrap_or_default();
        stats.memory = memory.usage.map(|usage| usage.saturating_sub(cache));
        stats.memory_limit = memory.limit;
    }
    stats.pids = read.pids_stats.as_ref().and_then(|pids| pids.current);
    let disk = read.blkio_stats.as_ref().and_then(|disk| disk.io_service_bytes_recursive.as_ref());
    let bytes = |wanted: &str| {
        let is_it = |op: &Option<String>| op.as_ref().is_some_and(|op| op.eq_ignore_ascii_case(wanted));
        let entries = disk.map(|entries| entries.iter().filter(|entry| is_it(&entry.op)));
        entries.map(|entries| entries.filter_map(|entry| entry.value).sum::<u64>())
    };
    (stats.disk_read, stats.disk_written) = (bytes("read"), bytes("write"));
    if let Some(networks) = &read.networks {
        stats.network_received = Some(networks.values().filter_map(|network| network.rx_bytes).sum());
        stats.network_sent = Some(networks.values().filter_map(|network| network.tx_bytes).sum());
    }
    Some(stats)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Option<WorkerStats> {
        measured(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn d5_usage_is_read_on_cgroup_v1_and_v2() {
        let time = "2026-01-02T03:04:05Z";
        let v1 = read(json!({
            "read": time,
            "cpu_stats": {"cpu_usage": {"total_usage": 5_000_000}},
            "memory_stats": {"usage": 1000, "limit": 4000, "stats": {"total_inactive_file": 300, "inactive_file": 1}},
            "pids_stats": {"current": 3},
            "blkio_stats": {"io_service_bytes_recursive": [
                {"op": "Read", "value": 10}, {"op": "Write", "value": 20}, {"op": "Read", "value": 1},
            ]},
            "networks": {"eth0": {"rx_bytes": 7, "tx_bytes": 8}},
        }))
        .unwrap();
        assert_eq!((v1.cpu_time, v1.memory, v1.pids), (Some(Duration::from_millis(5)), Some(700), Some(3)));
        assert_eq!((v1.disk_read, v1.disk_written), (Some(11), Some(20)));
        assert_eq!((v1.network_received, v1.network_sent), (Some(7), Some(8)));
        let v2 = read(json!({
            "read": time,
            "memory_stats": {"usage": 1000, "stats": {"inactive_file": 200}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "read", "value": 10}]},
        }))
        .unwrap();
        assert_eq!((v2.memory, v2.disk_read, v2.network_sent), (Some(800), Some(10), None));
    }

    #[test]
    fn d5_a_stopped_container_is_not_measured_as_zero() {
        assert!(read(json!({"read": "0001-01-01T00:00:00Z", "memory_stats": {}})).is_none());
    }
}
