//! What pods use, by the cluster's metrics API: metrics-server answers it, or another.

use std::collections::BTreeMap;

use hodei_worker_core::{
    Capability, Error, ErrorKind, Result, Timestamp, WorkerPhase, WorkerRef, provider::WorkerStats,
    quantity::Cpu,
};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::api::resource::Quantity};
use serde::Deserialize;

use crate::{names::CONTAINER, provider::Shared, quantity};

/// The API group.
pub(crate) const GROUP: &str = "metrics.k8s.io";

/// `PodMetrics` of `metrics.k8s.io/v1beta1`.
#[derive(Debug, Deserialize)]
struct PodMetrics {
    timestamp: Timestamp,
    window: String,
    containers: Vec<ContainerMetrics>,
}

#[derive(Debug, Deserialize)]
struct ContainerMetrics {
    name: String,
    usage: BTreeMap<String, String>,
}

impl Shared {
    /// Two requests. A cluster measures every so often: of a worker that has just begun it knows nothing yet.
    pub(crate) async fn stats(&self, worker: &WorkerRef) -> Result<WorkerStats> {
        self.capabilities.require([Capability::Monitoring])?;
        let pod = self.find_or_fail(worker).await?;
        let now = self.context.clock.now();
        let phase = self.view.status(&pod, now).map(|status| status.phase);
        if !matches!(phase, Some(WorkerPhase::Running | WorkerPhase::Stopping)) {
            return Err(Error::new(ErrorKind::Conflict, "the worker does not run"));
        }
        let mut stats = WorkerStats::new(now);
        set_aside(&pod, &mut stats);
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let path = format!("/apis/{GROUP}/v1beta1/namespaces/{}/pods/{name}", self.cluster.namespace);
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "no request can be made for the worker's use")
                .with_source(error)
        })?;
        match self.cluster.call(self.cluster.client.request::<PodMetrics>(request)).await {
            Ok(metrics) => measured(&metrics, &mut stats),
            Err(failed) if failed.is_not_found() => {}
            Err(failed) => return Err(self.cluster.error(failed)),
        }
        Ok(stats)
    }
}

/// What was asked for it, and what it may have at most. What is limited and not asked for is asked for by the cluster.
fn set_aside(pod: &Pod, stats: &mut WorkerStats) {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let Some(resources) =
        containers.filter(|one| one.name == CONTAINER).find_map(|one| one.resources.as_ref())
    else {
        return;
    };
    let of = |all: &Option<BTreeMap<String, Quantity>>, name: &str| {
        all.as_ref()?.get(name).map(|one| one.0.clone())
    };
    let bytes = |text: String| quantity::whole(&text);
    stats.memory_limit = of(&resources.limits, "memory").and_then(bytes);
    stats.memory_request = of(&resources.requests, "memory").and_then(bytes);
    let cpu = of(&resources.requests, "cpu").and_then(|text| quantity::nanos(&text));
    stats.cpu_request = cpu.and_then(|nanos| u64::try_from(nanos / 1_000_000).ok()).map(Cpu::from_millis);
}

fn measured(metrics: &PodMetrics, stats: &mut WorkerStats) {
    let Some(container) = metrics.containers.iter().find(|one| one.name == CONTAINER) else { return };
    stats.time = metrics.timestamp;
    stats.window = quantity::duration(&metrics.window);
    let cpu = container.usage.get("cpu").and_then(|text| quantity::nanos(text));
    stats.cpu_nanocores = cpu.and_then(|nanos| u64::try_from(nanos).ok());
    stats.memory = container.usage.get("memory").and_then(|text| quantity::whole(text));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // These are tests.
mod tests {
    use super::*;

    #[test]
    fn k8_what_is_set_aside_is_that_of_the_workers_own_container() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [
            {"name": "sidecar", "resources": {"requests": {"cpu": "2", "memory": "1Gi"}}},
            {"name": "worker", "resources": {
                "requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"memory": "32Mi"},
            }},
        ]}}))
        .unwrap();
        let mut stats = WorkerStats::new(Timestamp::UNIX_EPOCH);
        set_aside(&pod, &mut stats);
        assert_eq!(stats.cpu_request, Some(Cpu::from_millis(100)));
        assert_eq!((stats.memory_request, stats.memory_limit), (Some(16 << 20), Some(32 << 20)));
    }

    #[test]
    fn k8_use_is_read_of_the_workers_own_container() {
        let metrics: PodMetrics = serde_json::from_value(serde_json::json!({
            "timestamp": "2026-01-02T03:04:05Z",
            "window": "10.5s",
            "containers": [
                {"name": "sidecar", "usage": {"cpu": "1", "memory": "1Gi"}},
                {"name": "worker", "usage": {"cpu": "250000n", "memory": "512Ki"}},
            ],
        }))
        .unwrap();
        let mut stats = WorkerStats::new(Timestamp::UNIX_EPOCH);
        measured(&metrics, &mut stats);
        assert_eq!((stats.cpu_nanocores, stats.memory), (Some(250_000), Some(512 << 10)));
        assert_eq!(stats.window, Some(std::time::Duration::from_millis(10_500)));
        assert_eq!(stats.time.to_string(), "2026-01-02T03:04:05Z");
    }
}
