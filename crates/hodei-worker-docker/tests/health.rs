//! D9: an engine's own checks are heard of by events, and containers are reached in their own networks.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{net::IpAddr, sync::Arc};

use common::{Bench, limit, next, on_engine, on_engine_with, proxy::Proxy, socket, until_synced};
use hodei_worker_core::{
    Result, WorkerObservation, WorkerProvider as _, WorkerRef, WorkerStatus,
    model::{HealthCheckConfig, NetworkAttachment, Port, Probe},
    provider::{BoxStream, ExecOptions, StartOptions, WatchOptions},
    quantity::HumanDuration,
    status::Health,
    testkit::eventually,
};
use hodei_worker_docker::{DockerOptions, DockerSettings, NetworkOptions};
use tokio::net::TcpStream;

async fn exec(bench: &Bench, worker: &WorkerRef, script: &str) -> String {
    let options = ExecOptions::new(["sh", "-c", script]);
    let output = bench.provider.exec_in_worker(worker, &options).await.unwrap().collect().await.unwrap();
    let well = output.exit.is_some_and(|exit| exit.is_success());
    assert!(well, "{script}: {:?}", output.exit);
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until the check has been made so often in all.
async fn checked(bench: &Bench, worker: &WorkerRef, times: usize) {
    eventually(common::LIMIT, || async {
        let made = exec(bench, worker, "cat /checks 2>/dev/null || true").await.lines().count();
        if made >= times { Ok(()) } else { Err(format!("it was made {made} times")) }
    })
    .await
    .unwrap();
}

/// Waits for the watch to tell this health.
async fn told(changes: &mut BoxStream<'static, Result<WorkerObservation>>, health: Health) {
    next(changes, |change| change.status().filter(|status| status.health == Some(health)).map(|_| ())).await;
}

/// A check that leaves a line each time, and says that all is well while a file is there.
fn check() -> HealthCheckConfig {
    HealthCheckConfig::new(Probe::command(["sh", "-c", "echo >> /checks; test -e /well"]))
}

#[tokio::test]
async fn d9_changes_of_health_come_by_events_and_nothing_is_polled() {
    let proxy = Arc::new(Proxy::unix(socket()));
    let settings = DockerSettings::at(&proxy.endpoint);
    let through = Arc::clone(&proxy);
    on_engine_with("events", settings, |bench| async move {
        let proxy = through;
        let check = check().every(HumanDuration::secs(1)).thresholds(1, 1);
        let config = bench.script("a", "touch /well; sleep 1000").health_check(check).build().unwrap();
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        // What is done to it goes past the proxy.
        let stranger = bench.stranger().await;
        let id = stranger.status(&worker).await.native_id.clone();
        let look = format!("/containers/{id}/json");
        told(&mut changes, Health::Healthy).await;
        for (script, health) in [("rm /well", Health::Unhealthy), ("touch /well", Health::Healthy)] {
            // Checks go on and come to the same: nobody asks.
            let made = exec(&stranger, &worker, "cat /checks").await.lines().count();
            proxy.take();
            checked(&stranger, &worker, made + 3).await;
            assert_eq!(proxy.take(), Vec::<String>::new(), "something was asked while nothing changed");
            exec(&stranger, &worker, script).await;
            told(&mut changes, health).await;
            let asked = proxy.take();
            assert!(asked.len() == 1 && asked[0].contains(&look), "one look for one change, not {asked:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn d9_a_worker_that_starts_is_checked_each_second_where_the_engine_knows_how() {
    let proxy = Arc::new(Proxy::unix(socket()));
    let settings = DockerSettings::at(&proxy.endpoint);
    let through = Arc::clone(&proxy);
    on_engine_with("starting", settings, |bench| async move {
        let mut check = check().every(HumanDuration::secs(3600)).thresholds(1, 1);
        check.start_period = HumanDuration::secs(3600);
        let config = bench.script("a", "sleep 1000").health_check(check).build().unwrap();
        let worker = bench.create(&config).await;
        let body = through.body("/containers/create");
        let (major, minor) = {
            let version = bench.provider.client().client_version();
            (version.major_version, version.minor_version)
        };
        let knows = (major, minor) >= (1, 44);
        let told = body["Healthcheck"]["StartInterval"].as_i64();
        assert_eq!(told, knows.then_some(1_000_000_000), "API {major}.{minor}");
        assert_eq!(body["Healthcheck"]["Interval"].as_i64(), Some(3_600_000_000_000));
        if knows {
            // By its interval alone it would be checked once an hour.
            bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
            checked(&bench, &worker, 3).await;
            assert_eq!(bench.status(&worker).await.health, Some(Health::Starting));
            exec(&bench, &worker, "touch /well").await;
            bench.until(&worker, |status| status.health == Some(Health::Healthy)).await;
        }
    })
    .await;
}

async fn reaches(status: &WorkerStatus, port: u16) {
    let address = status.reach(port).expect("it has an address");
    let place = (address.host.parse::<IpAddr>().unwrap(), address.host_port);
    eventually(common::LIMIT, || async { TcpStream::connect(place).await.map(drop) }).await.unwrap();
}

#[tokio::test]
async fn d9_a_port_is_reached_in_the_containers_own_network() {
    on_engine("reach", |bench| async move {
        let serve = "mkdir /www; exec httpd -f -p 80 -h /www";
        let name = format!("t-{:08x}", fastrand::u32(..));
        let inside = DockerOptions::default().define_network(&name, NetworkOptions::default().internal());
        let plain = bench.script("plain", serve);
        let published = bench.script("published", serve).port(Port::tcp(80));
        let internal = bench.script("inside", serve).network(NetworkAttachment::new(&name)).options(&inside);
        for config in [plain, published, internal] {
            let config = config.build().unwrap();
            let worker = bench.create(&config).await;
            assert!(bench.status(&worker).await.own_addresses.is_empty(), "it does not run");
            bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
            let status = bench.status(&worker).await;
            assert!(!status.own_addresses.is_empty(), "{status:?}");
            assert_eq!(status.reach(80).unwrap().host_port, 80, "not where it is published");
            limit(reaches(&status, 80)).await;
            bench
                .provider
                .stop_worker(&worker, &hodei_worker_core::provider::StopOptions::kill())
                .await
                .unwrap();
            assert!(bench.ended(&worker).await.own_addresses.is_empty(), "it does not run any more");
        }
    })
    .await;
}

#[tokio::test]
async fn d9_a_container_in_the_machines_network_is_reached_at_the_machine() {
    on_engine("machine", |bench| async move {
        let options = DockerOptions::default().network("host");
        let config = bench.script("a", "sleep 1000").options(&options).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let status = bench.status(&worker).await;
        limit(reaches(&status, listener.local_addr().unwrap().port())).await;
    })
    .await;
}
