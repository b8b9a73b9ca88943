//! Several hosts of one installation at one engine: what one of them remembers is not what is.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::time::Duration;

use common::{
    limit, on_engine, on_engine_with,
    proxy::{Mode, Proxy},
    socket, until_synced,
};
use hodei_worker_core::{
    ErrorKind, WorkerPhase, WorkerProvider as _,
    provider::{
        CreateOptions, DeleteOptions, ExecOptions, LogOptions, StartOptions, StatsOptions, StopOptions,
        WatchOptions,
    },
    status::ExitStatus,
    testkit::polled,
};
use hodei_worker_docker::DockerSettings;

const COUNTS_TERM: &str = "trap 'echo term' TERM; echo ready; while true; do sleep 0.02; done";

#[tokio::test]
async fn l5_a_job_that_another_host_started_does_not_run_twice() {
    on_engine("other-start", |bench| async move {
        let other = bench.stranger().await;
        for watched in [false, true] {
            let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
            let _watch = if watched {
                until_synced(&mut changes).await;
                Some(changes)
            } else {
                drop(changes);
                None
            };
            let config = bench.script(&format!("a-{watched}"), "echo ran").build().unwrap();
            let worker = bench.create(&config).await;
            other.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
            let ended = other.ended(&worker).await;
            if watched {
                bench.ended(&worker).await;
            }
            bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
            assert_eq!(bench.status(&worker).await.run, ended.run, "it ran again");
        }
    })
    .await;
}

#[tokio::test]
async fn l5_a_stop_that_another_host_asked_for_is_not_asked_for_again() {
    on_engine("other-stop", |bench| async move {
        let worker = bench.run("a", COUNTS_TERM).await;
        bench.says(&worker, "ready").await;
        let other = bench.stranger().await;
        let asking = tokio::spawn({
            let (other, worker) = (other.clone(), worker.clone());
            async move {
                other.provider.stop_worker(&worker, &StopOptions::within(Duration::from_secs(60))).await
            }
        });
        other.says(&worker, "term").await;
        // A host that has not heard of it yet would ask once more.
        let id = bench.status(&worker).await.native_id.clone();
        bench.raw().until_signal_is_told(&id).await;
        bench.status(&worker).await;
        bench.provider.stop_worker(&worker, &StopOptions::within(Duration::from_secs(1))).await.unwrap();
        limit(asking).await.unwrap().unwrap();
        assert_eq!(bench.text(&worker, &LogOptions::all()).await, "ready\nterm\n");
    })
    .await;
}

#[tokio::test]
async fn l5_a_stop_dropped_at_any_poll_is_asked_for_once() {
    on_engine("drop-stop", |bench| async move {
        for polls in 0..8 {
            let worker = bench.run(&format!("a-{polls}"), COUNTS_TERM).await;
            bench.says(&worker, "ready").await;
            let grace = StopOptions::within(Duration::from_secs(1));
            // Each poll waits for what the one before has begun.
            polled(bench.provider.stop_worker(&worker, &grace), polls).await.transpose().unwrap();
            bench.provider.stop_worker(&worker, &grace).await.unwrap();
            let text = bench.text(&worker, &LogOptions::all()).await;
            assert_eq!(text, "ready\nterm\n", "dropped after {polls} polls");
        }
    })
    .await;
}

#[tokio::test]
async fn l5_a_request_to_stop_that_was_lost_is_made_by_the_next() {
    let proxy = Proxy::unix(socket());
    let settings = DockerSettings::at(&proxy.endpoint);
    on_engine_with("lost-stop", settings, |bench| async move {
        let script = "trap 'exit 5' TERM; echo ready; while true; do sleep 0.02; done";
        let worker = bench.run("a", script).await;
        bench.says(&worker, "ready").await;
        proxy.set(Mode::Lose("/stop?"));
        let grace = StopOptions::within(Duration::from_secs(60));
        let stop = || {
            let (bench, worker, grace) = (bench.clone(), worker.clone(), grace.clone());
            tokio::spawn(async move { bench.provider.stop_worker(&worker, &grace).await })
        };
        let first = stop();
        proxy.asked("/stop?").await;
        proxy.take();
        let second = stop();
        // It waits for the first, and does not take it for made.
        proxy.asked("/wait?").await;
        proxy.set(Mode::Pass);
        assert!(limit(first).await.unwrap().is_err());
        limit(second).await.unwrap().unwrap();
        assert_eq!(bench.status(&worker).await.exit, Some(ExitStatus::Code(5)));
    })
    .await;
}

#[tokio::test]
async fn l6_a_removal_of_another_host_that_fails_is_made_again() {
    let proxy = Proxy::unix(socket());
    on_engine_with("removal", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let worker = bench.run("a", "sleep 1000").await;
        // The engine answers so to who waits when a removal has failed.
        proxy.plan("DELETE /", 409, r#"{"message":"removal of container is already in progress"}"#);
        proxy.plan("/wait?", 200, r#"{"StatusCode":1,"Error":{"Message":"device or resource busy"}}"#);
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        assert_eq!(bench.status(&worker).await.phase, WorkerPhase::Absent);
    })
    .await;
}

#[tokio::test]
async fn l6_a_removal_without_an_end_is_not_waited_for_without_one() {
    let proxy = Proxy::unix(socket());
    let mut settings = DockerSettings::at(&proxy.endpoint);
    settings.request_timeout = "2s".parse().unwrap();
    on_engine_with("endless", settings, |bench| async move {
        let worker = bench.run("a", "sleep 1000").await;
        proxy.plan("DELETE /", 409, r#"{"message":"removal of container is already in progress"}"#);
        let deleted = limit(bench.provider.delete_worker(&worker, &DeleteOptions::default())).await;
        assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Timeout);
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        assert_eq!(bench.status(&worker).await.phase, WorkerPhase::Absent);
    })
    .await;
}

#[tokio::test]
async fn l5_a_stop_waits_for_a_start_that_is_under_way() {
    let proxy = Proxy::unix(socket());
    on_engine_with("start-stop", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let worker = bench.create(&bench.script("a", "sleep 1000").build().unwrap()).await;
        proxy.set(Mode::Hold("/start"));
        {
            let options = StartOptions::default();
            let start = bench.provider.start_worker(&worker, &options);
            tokio::select! {
                started = start => panic!("it started: {started:?}"),
                () = proxy.asked("/start") => {}
            }
        }
        proxy.take();
        let stop = tokio::spawn({
            let (bench, worker) = (bench.clone(), worker.clone());
            async move { bench.provider.stop_worker(&worker, &StopOptions::kill()).await }
        });
        proxy.asked("/json").await;
        proxy.set(Mode::Pass);
        limit(stop).await.unwrap().unwrap();
        // The start, if it has not come before, comes now.
        bench.until(&worker, |status| status.run.is_some()).await;
        assert_eq!(bench.status(&worker).await.phase, WorkerPhase::Exited);
    })
    .await;
}

#[tokio::test]
async fn d2_a_worker_that_was_replaced_is_found_again() {
    on_engine("replaced", |bench| async move {
        let other = bench.stranger().await;
        let replaced = async |id: &str, script: &str| {
            let config = bench.script(id, script).build().unwrap();
            let worker = bench.create(&config).await;
            bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
            other.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
            other.provider.create_worker(&config, &CreateOptions::default()).await.unwrap();
            other.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
            worker
        };
        for (id, stop) in [
            ("kill", StopOptions::kill()),
            ("stop", StopOptions::within(Duration::from_secs(1))),
            ("part", StopOptions::within(Duration::from_millis(300))),
        ] {
            let worker = replaced(id, "trap '' TERM; while true; do sleep 0.05; done").await;
            bench.provider.stop_worker(&worker, &stop).await.unwrap();
            assert_eq!(other.status(&worker).await.phase, WorkerPhase::Exited, "{id}");
        }
        let worker = replaced("exec", "sleep 1000").await;
        let session = bench.provider.exec_in_worker(&worker, &ExecOptions::new(["true"])).await.unwrap();
        assert_eq!(session.collect().await.unwrap().exit, Some(ExitStatus::Code(0)));
        let worker = replaced("stats", "sleep 1000").await;
        bench.provider.worker_stats(&worker, &StatsOptions::default()).await.unwrap();
        let worker = replaced("logs", "echo said; sleep 1000").await;
        bench.says(&worker, "said").await;
        let worker = replaced("tail", "echo said; sleep 1000").await;
        other.says(&worker, "said").await;
        assert_eq!(bench.text(&worker, &LogOptions::all().tail(1)).await, "said\n");
    })
    .await;
}
