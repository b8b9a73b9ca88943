//! P7: what a worker's life costs the API server, by its own audit log.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use common::{limit, on_cluster, variable};
use futures::StreamExt as _;
use hodei_worker_core::{
    WorkerObservation, WorkerPhase, WorkerProvider as _,
    provider::{DeleteOptions, WatchOptions},
};
use serde_json::Value;

/// What this library has asked in this installation's name.
fn asked(installation: &str) -> Vec<String> {
    let log = std::fs::read_to_string(variable("HODEI_TEST_KUBERNETES_AUDIT")).unwrap();
    // Its name is part of every pod's name and of every selector.
    let entries = log.lines().filter(|line| line.contains(installation));
    let entries = entries.map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries
        .filter(|entry| entry["userAgent"].as_str().is_some_and(|agent| agent.starts_with("hodei-worker/")))
        .filter(|entry| entry["stage"] != "ResponseStarted")
        .map(|entry| format!("{} {}", entry["verb"], entry["requestURI"]))
        .collect()
}

#[tokio::test]
async fn p7_a_life_under_a_watch_is_four_requests() {
    on_cluster("life", |bench| async move {
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        while limit(changes.next()).await.unwrap().unwrap() != WorkerObservation::Synced {}
        let config = bench.script("a", "sleep 1000").stop_grace("1s").build().unwrap();
        let worker = bench.run(&config).await;
        let runs = |change: &WorkerObservation| {
            change.status().is_some_and(|status| status.phase == WorkerPhase::Running)
        };
        while !runs(&limit(changes.next()).await.unwrap().unwrap()) {}
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        let asked = asked(bench.installation.as_str());
        // The watch's list; it is created, ungated, looked at and deleted.
        assert_eq!(asked.len(), 1 + 4, "{asked:#?}");
    })
    .await;
}
