//! Health checks of real pods by a host outside of the cluster that `HODEI_TEST_KUBECONFIG` names.
#![cfg(all(feature = "kubernetes", feature = "process"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

#[path = "health/bed.rs"]
mod bed;

use std::sync::Arc;

use bed::Bed;
use hodei_worker::{
    Capability, WorkerConfig,
    health::{self, CheckedBy},
    kubernetes::KubernetesOptions,
    model::{HealthCheckConfig, Probe, WorkerConfigBuilder},
    quantity::HumanDuration,
};

/// A pod whose program listens while there is a file.
fn server(id: &str) -> WorkerConfigBuilder {
    let image = std::env::var("HODEI_TEST_KUBERNETES_IMAGE").unwrap();
    let script = "mkdir /tmp/web; echo well > /tmp/web/index.html; \
                  while true; do if [ -e /tmp/listen ]; then httpd -f -p 8080 -h /tmp/web; fi; sleep 0.1; done";
    let builder = WorkerConfig::builder(id).image(image.as_str()).command(["sh", "-c", script]);
    builder.options(&KubernetesOptions::default().user(65_534)).stop_grace("1s")
}

/// A check that the kubelet cannot make: it takes one success for enough.
fn ours(probe: Probe) -> HealthCheckConfig {
    HealthCheckConfig::new(probe)
        .every(HumanDuration::secs(5))
        .within(HumanDuration::secs(5))
        .thresholds(2, 1)
}

/// Runs a test, and removes what it left, however it ends.
async fn outside<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<Bed>) -> F) {
    let bed = Arc::new(Bed::outside_of_a_cluster().await);
    let outcome = tokio::spawn(test(Arc::clone(&bed))).await;
    bed.clean().await;
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}

/// Runs a server that is checked so by this host, and finds it unwell while it does not listen.
async fn begin(bed: &Bed, check: HealthCheckConfig) -> hodei_worker::WorkerRef {
    let capabilities = bed.provider.get_capabilities().await.unwrap();
    assert!(!capabilities.supports(Capability::OwnAddresses));
    let (config, status) = bed.run(server("a").health_check(check)).await;
    let who: Vec<_> = health::plan(&config, &capabilities).unwrap().iter().map(|how| how.by).collect();
    assert_eq!(who, [CheckedBy::Host]);
    assert!(status.reach(8080).is_none(), "{status:?}");
    bed.watch(&config, &status).await;
    bed.unhealthy("nobody listens at its port").await;
    bed.exec(&status.worker, "touch /tmp/listen").await;
    bed.healthy().await;
    status.worker.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_pod_that_is_not_reached_is_checked_by_tcp_through_its_cluster() {
    outside(|bed| async move {
        let worker = begin(&bed, ours(Probe::Tcp { port: 8080 })).await;
        bed.exec(&worker, "rm /tmp/listen; killall httpd").await;
        bed.unhealthy("nobody listens at its port").await;
    })
    .await;
}

#[cfg(feature = "http-probes")]
#[tokio::test(flavor = "multi_thread")]
async fn l2_a_pod_that_is_not_reached_is_checked_by_http_through_its_cluster() {
    outside(|bed| async move {
        let worker = begin(&bed, ours(Probe::http(8080, "/"))).await;
        bed.exec(&worker, "rm /tmp/web/index.html").await;
        bed.unhealthy("it answered 404").await;
    })
    .await;
}
