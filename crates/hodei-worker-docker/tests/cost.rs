//! P7: what a worker's life and a steady fleet cost, counted in front of the engine's socket.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use common::{on_engine_with, proxy::Proxy, socket, until_synced};
use hodei_worker_core::{
    WorkerObservation, WorkerPhase, WorkerProvider as _,
    provider::{DeleteOptions, StartOptions, StopOptions, WatchOptions, WorkerFilter},
};
use hodei_worker_docker::DockerSettings;

#[tokio::test]
async fn p7_a_life_is_five_requests_at_most() {
    let proxy = Proxy::unix(socket());
    on_engine_with("life", DockerSettings::at(&proxy.endpoint), |bench| async move {
        // The first start opens the stream over which stops are heard of, once for all.
        let first = bench.run("first", "true").await;
        bench.provider.delete_worker(&first, &DeleteOptions::default()).await.unwrap();
        for (id, script) in [
            ("obeys", "trap 'exit 0' TERM; while true; do sleep 0.05; done"),
            ("ignores", "trap '' TERM; while true; do sleep 0.05; done"),
            ("ends", "true"),
        ] {
            proxy.take();
            let worker = bench.run(id, script).await;
            let grace = StopOptions::within(std::time::Duration::from_secs(1));
            bench.provider.stop_worker(&worker, &grace).await.unwrap();
            bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
            let requests = proxy.take();
            assert!(requests.len() <= 5, "{id}: {requests:#?}");
            assert_eq!(bench.status(&worker).await.phase, WorkerPhase::Absent);
        }
    })
    .await;
}

#[tokio::test]
async fn p7_a_life_under_a_watch_is_seven_requests_at_most() {
    let proxy = Proxy::unix(socket());
    on_engine_with("watched", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        let first = bench.run("first", "true").await;
        let is_over =
            |change: WorkerObservation| change.status().filter(|status| status.phase.is_over()).map(|_| ());
        common::next(&mut changes, is_over).await;
        bench.provider.delete_worker(&first, &DeleteOptions::default()).await.unwrap();
        common::next(&mut changes, |change| matches!(change, WorkerObservation::Gone(_)).then_some(())).await;
        proxy.take();
        let script = "trap 'exit 0' TERM; while true; do sleep 0.05; done";
        let worker = bench.create(&bench.script("a", script).build().unwrap()).await;
        // Whoever does not wait for what the watch tells needs a look before the start, and saves the one after it.
        for phase in [WorkerPhase::Created, WorkerPhase::Running, WorkerPhase::Exited] {
            let seen = common::next(&mut changes, |change| {
                change.status().filter(|status| status.worker == worker && status.phase == phase).map(|_| ())
            });
            seen.await;
            match phase {
                WorkerPhase::Created => {
                    bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
                }
                WorkerPhase::Running => {
                    let grace = StopOptions::within(std::time::Duration::from_secs(10));
                    bench.provider.stop_worker(&worker, &grace).await.unwrap();
                }
                _ => bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap(),
            }
        }
        common::next(&mut changes, |change| matches!(change, WorkerObservation::Gone(_)).then_some(())).await;
        let requests = proxy.take();
        assert!(requests.len() <= 7, "{requests:#?}");
    })
    .await;
}

#[tokio::test]
async fn p7_a_steady_fleet_under_a_watch_costs_nothing() {
    let proxy = Proxy::unix(socket());
    on_engine_with("steady", DockerSettings::at(&proxy.endpoint), |bench| async move {
        for n in 0..5 {
            bench.run(&format!("a-{n}"), "sleep 1000").await;
        }
        let mut first = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut first).await;
        // What has just happened is told again once; then all is quiet.
        let stranger = bench.stranger().await;
        let marker = stranger.create(&bench.script("marker", "true").build().unwrap()).await;
        let seen = common::next(&mut first, |change| {
            change.status().filter(|status| status.worker == marker).map(|status| status.phase)
        });
        seen.await;
        common::limit(async {
            let mut quiet = 0;
            while quiet < 50 {
                // An answer that was on its way is counted before the interval begins.
                stranger.provider.list_workers(&WorkerFilter::all()).await.unwrap();
                quiet = if proxy.take().is_empty() { quiet + 1 } else { 0 };
            }
        })
        .await;
        let mut second = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut second).await;
        assert_eq!(proxy.take(), [""; 0], "a second watcher costs nothing");
        // From one change to the next, however long: nothing but the look at what changed.
        stranger.provider.delete_worker(&marker, &DeleteOptions::default()).await.unwrap();
        for changes in [&mut first, &mut second] {
            common::next(changes, |change| matches!(change, WorkerObservation::Gone(_)).then_some(())).await;
        }
        assert_eq!(proxy.take(), [""; 0]);
        let worker = stranger.create(&bench.script("later", "true").build().unwrap()).await;
        common::next(&mut first, |change| (change.worker() == Some(&worker)).then_some(())).await;
        let requests = proxy.take();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        stranger.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn d1_connections_are_kept_and_used_again() {
    let proxy = Proxy::unix(socket());
    on_engine_with("pool", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let worker = bench.create(&bench.script("a", "true").build().unwrap()).await;
        for _ in 0..50 {
            bench.status(&worker).await;
        }
        assert!(proxy.opened() <= 3, "{} connections", proxy.opened());
    })
    .await;
}
