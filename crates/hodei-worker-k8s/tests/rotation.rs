//! K8: output that a node rotates while it is read, and while nobody reads it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{sync::Arc, time::Duration};

use common::{Bench, limit, on_cluster};
use futures::StreamExt as _;
use hodei_worker_core::{
    WorkerPhase, WorkerProvider as _, WorkerRef,
    provider::{ExecOptions, LogItem, LogOptions, LogPosition},
    testkit::eventually,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};

/// More than a node keeps in one file: the clusters' kubelets rotate at 64 MiB, and look every 10 s.
const LINES: u64 = 75_000;
/// Longer than that takes.
const ROTATES_WITHIN: Duration = Duration::from_secs(60);

/// Writes ten lines, the flood, and five lines, each when it is told to. They are numbered.
fn script() -> String {
    let line = "x".repeat(900);
    let wait = |name: &str| format!("while [ ! -e /tmp/{name} ]; do sleep 0.1; done");
    format!(
        "seq 1 10; {}; seq 11 {LINES} | sed 's/$/ {line}/'; touch /tmp/written; {}; seq {} {}; {}; exit 0",
        wait("flood"),
        wait("rest"),
        LINES + 1,
        LINES + 5,
        wait("end"),
    )
}

async fn tell(bench: &Bench, worker: &WorkerRef, script: &str) {
    let session =
        bench.provider.exec_in_worker(worker, &ExecOptions::new(["sh", "-c", script])).await.unwrap();
    assert!(limit(session.exit()).await.unwrap().is_success());
}

/// The number of a line, or `None` for a gap.
fn number(item: &LogItem) -> Option<u64> {
    item.chunk().map(|chunk| chunk.text().split(' ').next().unwrap().parse().unwrap())
}

/// Reads so many lines, and where to go on after them.
async fn first_lines(bench: &Bench, worker: &WorkerRef, lines: u64) -> LogPosition {
    let options = LogOptions::following().with_positions();
    let mut logs = bench.provider.worker_logs(worker, &options).await.unwrap();
    for n in 1..lines {
        assert_eq!(number(&limit(logs.next()).await.unwrap().unwrap()), Some(n));
    }
    let last = limit(logs.next()).await.unwrap().unwrap();
    assert_eq!(number(&last), Some(lines));
    last.chunk().unwrap().position.clone().unwrap()
}

/// All that there is after the position, until the worker's last line.
async fn rest(bench: &Bench, worker: &WorkerRef, options: LogOptions) -> Vec<Option<u64>> {
    let mut logs = bench.provider.worker_logs(worker, &options).await.unwrap();
    let mut all = Vec::new();
    limit(async {
        while let Some(item) = logs.next().await {
            all.push(number(&item.unwrap()));
            if all.last() == Some(&Some(LINES + 5)) {
                break;
            }
        }
    })
    .await;
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn k8_what_is_rotated_away_is_a_gap_and_nothing_else_is_lost() {
    on_cluster("rotation", |bench| async move {
        let worker = bench.run(&bench.script("a", &script()).stop_grace("1s").build().unwrap()).await;
        bench.until(&worker, |status| status.phase == WorkerPhase::Running).await;
        let early = first_lines(&bench, &worker, 10).await;
        // This one reads on while the node rotates.
        let following = tokio::spawn({
            let (bench, worker) = (Arc::clone(&bench), worker.clone());
            async move { rest(&bench, &worker, LogOptions::following().with_positions()).await }
        });
        tell(&bench, &worker, "touch /tmp/flood; while [ ! -e /tmp/written ]; do sleep 0.1; done").await;
        let pods: Api<Pod> = Api::namespaced(bench.provider.client(), "default");
        let name = format!("hodei.{}.a.1", bench.installation);
        let rotated = async || {
            let begin = LogParams { limit_bytes: Some(16), ..LogParams::default() };
            match pods.logs(&name, &begin).await {
                Ok(begin) if !begin.starts_with("1\n") => Ok(()),
                other => Err(other.map(|begin| begin.len())),
            }
        };
        eventually(ROTATES_WITHIN, rotated).await.unwrap();
        tell(&bench, &worker, "touch /tmp/rest").await;
        let ends: Vec<_> = (LINES + 1..=LINES + 5).map(Some).collect();
        // One that stopped before goes on in the new file, is told of what it cannot read, and misses nothing else.
        // The one that follows waits for what is written just now.
        for follow in [true, false] {
            let mut options = LogOptions::all().after(early.clone());
            options.follow = follow;
            let read = rest(&bench, &worker, options).await;
            assert_eq!(read.first(), Some(&None), "a gap is told first: {:?}", &read[..read.len().min(3)]);
            let numbers: Vec<u64> = read[1..].iter().map(|line| line.expect("one gap")).collect();
            assert!(numbers.first().is_some_and(|first| *first > 11), "{:?}", numbers.first());
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "a line is lost or repeated");
            assert!(read.ends_with(&ends));
        }
        // One that has read of the new file goes on there without one.
        let mut logs =
            bench.provider.worker_logs(&worker, &LogOptions::all().with_positions()).await.unwrap();
        let first = limit(logs.next()).await.unwrap().unwrap();
        let after = first.chunk().unwrap().position.clone().unwrap();
        let read = rest(&bench, &worker, LogOptions::following().after(after)).await;
        let begin = number(&first).unwrap() + 1;
        assert_eq!(read, (begin..=LINES + 5).map(Some).collect::<Vec<_>>());
        // Who was there all the time has read all of it.
        let read = limit(following).await.unwrap();
        assert_eq!(read, (1..=LINES + 5).map(Some).collect::<Vec<_>>());
        tell(&bench, &worker, "touch /tmp/end").await;
        bench.until(&worker, |status| status.phase == WorkerPhase::Exited).await;
    })
    .await;
}
