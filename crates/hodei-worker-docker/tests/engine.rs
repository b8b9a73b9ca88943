//! L10 and D8 when the engine itself goes and comes back. The tests disturb the engine, so that they stand in a binary
//! of their own and take turns.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{process::Command, sync::Arc};

use common::{Bench, limit, next, on_engine, until_synced, var};
use futures::StreamExt as _;
use hodei_worker_core::{
    ErrorKind, WorkerObservation, WorkerPhase, WorkerProvider as _, WorkerRef,
    model::RunId,
    provider::{LogItem, LogOptions, StartOptions, WatchOptions, WorkerFilter},
};
use hodei_worker_docker::DockerOptions;
use tokio::sync::Mutex;

static TURN: Mutex<()> = Mutex::const_new(());

/// Stops, starts or kills the engine under test.
async fn engine(action: &'static str) {
    let script = var("HODEI_TEST_ENGINE");
    let done = tokio::task::spawn_blocking(move || Command::new(script).arg(action).status()).await.unwrap();
    assert!(done.unwrap().success(), "the engine does not {action}");
}

/// Writes numbered lines, run by run: so that a lost or repeated line shows.
const NUMBERS: &str = "trap 'exit 0' TERM; [ -f /r ] || echo 0 > /r; r=$(($(cat /r) + 1)); echo $r > /r; i=0; \
    while true; do i=$((i+1)); echo $r $i; [ $((i % 100)) = 0 ] && sleep 0.05; done";

type Line = (u64, u64);

fn line(text: &str) -> Line {
    let numbers =
        text.trim().split_once(' ').and_then(|(run, number)| Some((run.parse().ok()?, number.parse().ok()?)));
    numbers.unwrap_or_else(|| panic!("`{text}` is no line"))
}

async fn numbers(bench: &Bench, driver: &str) -> WorkerRef {
    let options = DockerOptions::default().log_driver(driver);
    let config = bench.script("numbers", NUMBERS).options(&options).build().unwrap();
    let worker = bench.create(&config).await;
    bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
    worker
}

async fn restart(bench: &Bench, worker: &WorkerRef) -> Option<RunId> {
    let after = bench.status(worker).await.run.clone();
    bench.provider.start_worker(worker, &StartOptions::after(after.clone())).await.unwrap();
    after
}

#[tokio::test]
async fn l10_a_watch_goes_on_over_a_restart_of_the_engine() {
    let _turn = TURN.lock().await;
    on_engine("watched", |bench| async move {
        let stays = bench.create(&bench.script("stays", "true").build().unwrap()).await;
        let runs = bench.run("runs", "trap 'exit 0' TERM; while true; do sleep 0.05; done").await;
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        engine("stop").await;
        let error = bench.provider.get_worker_status(&runs).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let error = bench.provider.list_workers(&WorkerFilter::all()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        engine("start").await;
        // The picture is told again, whole, with what happened in between.
        next(&mut changes, |change| (change == WorkerObservation::Resync).then_some(())).await;
        let mut listed = Vec::new();
        next(&mut changes, |change| match change {
            WorkerObservation::Listed(status) => {
                listed.push((status.worker.clone(), status.phase));
                None
            }
            WorkerObservation::Synced => Some(()),
            _ => None,
        })
        .await;
        listed.sort();
        assert_eq!(listed, [(runs.clone(), WorkerPhase::Exited), (stays, WorkerPhase::Created)]);
        restart(&bench, &runs).await;
        next(&mut changes, |change| {
            change.status().filter(|status| status.phase == WorkerPhase::Running).map(|_| ())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn d8_followed_lines_survive_restarts_of_worker_and_engine() {
    for driver in ["local", "json-file"] {
        survives_restarts(driver).await;
    }
}

async fn survives_restarts(driver: &'static str) {
    let _turn = TURN.lock().await;
    on_engine("followed", move |bench| async move {
        let worker = numbers(&bench, driver).await;
        let mut logs = bench.provider.worker_logs(&worker, &LogOptions::following()).await.unwrap();
        let seen: Arc<std::sync::Mutex<Vec<Line>>> = Arc::default();
        let count = tokio::sync::watch::Sender::new((0, 0));
        let reader = tokio::spawn({
            let (seen, count) = (Arc::clone(&seen), count.clone());
            async move {
                while let Some(item) = logs.next().await {
                    let LogItem::Chunk(chunk) = item.unwrap() else { panic!("a gap") };
                    let number = line(&chunk.text());
                    seen.lock().unwrap().push(number);
                    count.send_replace(number);
                }
            }
        });
        let reached = async |run: u64| {
            let mut count = count.subscribe();
            limit(count.wait_for(|seen| *seen >= (run, 500))).await.unwrap();
        };
        reached(1).await;
        for (run, action) in [(2, "stop"), (3, "kill")] {
            engine(action).await;
            engine("start").await;
            bench.ended(&worker).await;
            restart(&bench, &worker).await;
            reached(run).await;
        }
        bench.provider.stop_worker(&worker, &hodei_worker_core::provider::StopOptions::kill()).await.unwrap();
        let kept = bench.output(&worker, &LogOptions::all()).await;
        limit(count.subscribe().wait_for(|_| seen.lock().unwrap().len() >= kept.len())).await.unwrap();
        bench.provider.delete_worker(&worker, &Default::default()).await.unwrap();
        limit(reader).await.unwrap();
        // What the engine keeps is what was told, in its order and once.
        let kept: Vec<Line> = kept.iter().map(|(_, bytes)| line(&String::from_utf8_lossy(bytes))).collect();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), kept.len());
        assert!(*seen == kept, "the follower saw another order");
        for two in seen.windows(2) {
            let next = if two[0].0 == two[1].0 { (two[0].0, two[0].1 + 1) } else { (two[0].0 + 1, 1) };
            // What an engine has taken in and not written down is lost with it when it is killed, as it is in run 2.
            let lost_with_the_engine = next.0 == 2 && two[1].0 == 2 && two[1] > next;
            assert!(two[1] == next || lost_with_the_engine, "a line is lost or repeated at {two:?}");
        }
    })
    .await;
}
