//! What a worker uses, by the cluster's metrics server.

use hodei_worker_core::{Error, ErrorKind, Result, WorkerRef, provider::WorkerStats};
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;

use crate::{names::CONTAINER, provider::Shared};

#[derive(Debug, Deserialize)]
struct PodMetrics {
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Debug, Deserialize)]
struct ContainerMetrics {
    name: String,
    usage: Usage,
}

#[derive(Debug, Deserialize)]
struct Usage {
    #[serde(default)]
    memory: Option<String>,
}

impl Shared {
    /// Two requests: the worker, and its metrics. A cluster tells the rate at which processors are used, not the time, so
    /// that `cpu_time` is unknown.
    pub(crate) async fn stats(&self, worker: &WorkerRef) -> Result<WorkerStats> {
        let pod = self.find_or_fail(worker).await?;
        let path = format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods/{}",
            self.cluster.namespace,
            self.pod_name(worker)
        );
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the request for metrics makes no sense").with_source(error)
        })?;
        let mut stats = WorkerStats::new(self.context.clock.now());
        stats.memory_limit = memory_limit(&pod);
        match self.cluster.call(self.cluster.client.request::<PodMetrics>(request)).await {
            Ok(metrics) => {
                let own = metrics.containers.into_iter().find(|one| one.name == CONTAINER);
                stats.memory = own.and_then(|one| bytes(&one.usage.memory?));
                Ok(stats)
            }
            // It has not been measured yet, or does not run.
            Err(failed) if failed.is_not_found() => Ok(stats),
            Err(failed) => Err(self.cluster.error(failed)),
        }
    }
}

fn memory_limit(pod: &Pod) -> Option<u64> {
    let container = pod.spec.as_ref()?.containers.iter().find(|one| one.name == CONTAINER)?;
    bytes(&container.resources.as_ref()?.limits.as_ref()?.get("memory")?.0)
}

/// A quantity of bytes, as Kubernetes writes them.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let value = number.parse::<f64>().ok()? * factor;
    (value.is_finite() && value >= 0.0).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k8_quantities_are_read() {
        for (text, value) in [
            ("12", Some(12)),
            ("3Ki", Some(3072)),
            ("1.5M", Some(1_500_000)),
            ("2000m", Some(2)),
            ("1x", None),
        ] {
            assert_eq!(bytes(text), value, "{text}");
        }
    }
}
