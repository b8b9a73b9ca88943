//! Health checks and reports of real containers, on the engine that `HODEI_TEST_DOCKER_HOST` names.
#![cfg(all(feature = "docker", feature = "process"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

#[path = "health/bed.rs"]
mod bed;

use std::sync::Arc;

use bed::{Bed, PATIENCE, often};
use hodei_worker::{
    WorkerConfig,
    health::{self, CheckedBy},
    jobs::{Jobs, Reports},
    lifecycle::RecoverySettings,
    manager::WorkerManager,
    model::{HealthCheckConfig, Port, Probe, RestartPolicy, WorkerConfigBuilder},
    quantity::HumanDuration,
    status::FailureClass,
    store::{MemoryStore, Store},
};

/// A container that runs this script.
fn script(id: &str, script: &str) -> WorkerConfigBuilder {
    let image = std::env::var("HODEI_TEST_IMAGE").unwrap();
    WorkerConfig::builder(id).image(image.as_str()).command(["sh", "-c", script])
}

/// Runs a test, and removes what it left, however it ends.
async fn on_engine<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<Bed>) -> F) {
    let bed = Arc::new(Bed::on_engine().await);
    let outcome = tokio::spawn(test(Arc::clone(&bed))).await;
    bed.clean().await;
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}

async fn who(bed: &Bed, config: &WorkerConfig) -> Vec<CheckedBy> {
    let capabilities = bed.provider.get_capabilities().await.unwrap();
    health::plan(config, &capabilities).unwrap().iter().map(|how| how.by).collect()
}

fn is_well() -> Probe {
    Probe::command(["test", "-e", "/tmp/well"])
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_an_engine_makes_a_command_check_itself() {
    on_engine(|bed| async move {
        let check = HealthCheckConfig::new(is_well()).every(HumanDuration::secs(1)).thresholds(1, 2);
        let config = script("a", "touch /tmp/well; sleep 1000").health_check(check);
        let (config, status) = bed.run(config).await;
        assert_eq!(who(&bed, &config).await, [CheckedBy::Provider]);
        bed.watch(&config, &status).await;
        let observing = bed.observe();
        bed.healthy().await;
        bed.exec(&status.worker, "rm /tmp/well").await;
        bed.unhealthy("the provider's own check").await;
        observing.abort();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_what_an_engine_cannot_check_the_host_checks_by_exec() {
    on_engine(|bed| async move {
        let check = often(HealthCheckConfig::new(is_well())).thresholds(2, 1);
        let (config, status) = bed.run(script("a", "sleep 1000").health_check(check)).await;
        assert_eq!(who(&bed, &config).await, [CheckedBy::Host]);
        bed.watch(&config, &status).await;
        bed.unhealthy("command check `test`: it exited with 1").await;
        bed.exec(&status.worker, "touch /tmp/well").await;
        bed.healthy().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_an_image_without_a_check_of_its_own_is_found_out() {
    on_engine(|bed| async move {
        let mut check = HealthCheckConfig::new(Probe::Native);
        check.interval = HumanDuration::secs(1);
        bed.run_and_watch(script("a", "sleep 1000").health_check(check)).await;
        bed.unhealthy("it has no check of this worker").await;
    })
    .await;
}

#[cfg(feature = "http-probes")]
#[tokio::test(flavor = "multi_thread")]
async fn l2_an_http_check_reaches_a_published_port() {
    on_engine(|bed| async move {
        let check = often(HealthCheckConfig::new(Probe::http(80, "/well")));
        let serve = "mkdir /www; exec httpd -f -p 80 -h /www";
        let (config, status) = bed.run(script("a", serve).port(Port::tcp(80)).health_check(check)).await;
        // As an engine of another machine tells it.
        let mut told = (*status).clone();
        told.own_addresses.clear();
        assert!(told.address(80).is_some_and(|address| address.host_port != 80));
        bed.watch(&config, &Arc::new(told)).await;
        bed.unhealthy("it answered 404").await;
        bed.exec(&status.worker, "echo yes > /www/well").await;
        bed.healthy().await;
    })
    .await;
}

#[cfg(feature = "http-probes")]
#[tokio::test(flavor = "multi_thread")]
async fn d9_an_http_check_reaches_a_port_that_is_not_published() {
    on_engine(|bed| async move {
        let check = often(HealthCheckConfig::new(Probe::http(80, "/well")));
        let config = script("a", "mkdir /www; exec httpd -f -p 80 -h /www").health_check(check);
        let worker = bed.run_and_watch(config).await;
        bed.unhealthy("it answered 404").await;
        bed.exec(&worker, "echo yes > /www/well").await;
        bed.healthy().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d9_a_tcp_check_is_not_deceived_by_who_publishes_the_port() {
    on_engine(|bed| async move {
        for ports in [&[][..], &[Port::tcp(80)]] {
            let check = often(HealthCheckConfig::new(Probe::Tcp { port: 80 }));
            let id = format!("with-{}", ports.len());
            let config = script(&id, "sleep 1000").health_check(check);
            let config = ports.iter().fold(config, |config, port| config.port(port.clone()));
            let worker = bed.run_and_watch(config).await;
            // The engine's proxy takes every connection.
            bed.unhealthy("nobody listens").await;
            bed.exec(&worker, "httpd -p 80").await;
            bed.healthy().await;
            bed.monitor.forget(&worker);
        }
    })
    .await;
}

#[cfg(feature = "http-probes")]
#[tokio::test(flavor = "multi_thread")]
async fn d9_unhealthy_containers_are_restarted_with_backoff() {
    on_engine(|bed| async move {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let manager = WorkerManager::builder(store).provider(Arc::clone(&bed.provider)).open().await.unwrap();
        // Well at first, in each run, and then not any more.
        let sick = "mkdir -p /www; touch /www/well; httpd -p 80 -h /www; sleep 2; rm /www/well; killall httpd; \
                    trap 'exit 0' TERM; sleep 1000 & wait $!";
        let mut recovery = RecoverySettings::default();
        (recovery.backoff, recovery.jitter_percent) = (HumanDuration::secs(1), 0);
        let probes = [
            ("http", Probe::http(80, "/well")),
            ("tcp", Probe::Tcp { port: 80 }),
            ("command", Probe::command(["test", "-e", "/www/well"])),
        ];
        let restarted = probes.map(|(name, probe)| {
            let check = HealthCheckConfig::new(probe).every(HumanDuration::secs(1)).thresholds(1, 1);
            let config = script(name, sick).health_check(check).restart_policy(RestartPolicy::Always);
            let config = config.recovery(recovery.clone()).build().unwrap();
            let manager = &manager;
            async move {
                manager.create_worker(&config).await.unwrap();
                let mut due = Vec::new();
                for attempt in 1..=3 {
                    let tried = manager.wait_for(&config.worker_id, move |worker| {
                        let recovery = worker.recovery.as_ref();
                        recovery.is_some_and(|recovery| recovery.attempts == attempt && recovery.planned.is_some())
                    });
                    let tried = tokio::time::timeout(PATIENCE, tried).await.expect("it is never restarted").unwrap();
                    let recovery = tried.recovery.unwrap();
                    assert_eq!(recovery.failure, Some(FailureClass::Unhealthy), "{name}");
                    due.push(recovery.planned.unwrap().1);
                }
                // At once, after a second, after two.
                assert!(due[1].duration_since(due[0]).as_secs() >= 1, "{name}: {due:?}");
                assert!(due[2].duration_since(due[1]).as_secs() >= 2, "{name}: {due:?}");
            }
        });
        futures::future::join_all(restarted).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l5_a_container_says_when_it_is_busy_and_idle() {
    on_engine(|bed| async move {
        let config = script("a", "mkfifo /tmp/pipe; while :; do cat /tmp/pipe; done").reports();
        let (_, status) = bed.run(config).await;
        let (jobs, mut changes) = Jobs::new();
        let reports = Reports::new(jobs, bed.monitor.clone());
        let provider = Arc::clone(&bed.provider);
        reports.follow(provider, &status.worker, status.run.as_ref().unwrap(), status.times.started);
        for (word, count) in [("busy", 1), ("idle", 0), ("busy", 1)] {
            let say = format!("until [ -p /tmp/pipe ]; do :; done; echo '::hodei {word}' > /tmp/pipe");
            bed.exec(&status.worker, &say).await;
            let change = tokio::time::timeout(PATIENCE, changes.next()).await.expect("it never says so");
            assert_eq!(change.unwrap().jobs, count);
        }
        // The next host knows it too.
        drop(reports);
        let (jobs, mut changes) = Jobs::new();
        let reports = Reports::new(jobs, bed.monitor.clone());
        let provider = Arc::clone(&bed.provider);
        reports.follow(provider, &status.worker, status.run.as_ref().unwrap(), status.times.started);
        let change = tokio::time::timeout(PATIENCE, changes.next()).await.expect("it is not found out");
        assert_eq!(change.unwrap().jobs, 1);
    })
    .await;
}
