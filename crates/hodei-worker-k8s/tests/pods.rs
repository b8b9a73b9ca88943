//! K2, K8, K9, K10: pods as workers, and what becomes of them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::time::Duration;

use common::{limit, on_cluster, variable};
use hodei_worker_core::{
    WorkerConfig, WorkerPhase, WorkerProvider as _,
    provider::{LogOptions, StatsOptions, WorkerProviderExt as _},
    quantity::Cpu,
    status::{ExitStatus, FailureClass},
    testkit::eventually,
};
use hodei_worker_k8s::{KubernetesOptions, PullPolicy};

#[tokio::test]
async fn k2_an_image_that_cannot_be_pulled_is_told_with_the_clusters_words() {
    on_cluster("pull", |bench| async move {
        let options = KubernetesOptions::default().user(65_534);
        let config =
            WorkerConfig::builder("a").image("127.0.0.1:1/no/such:1").options(&options).build().unwrap();
        let worker = bench.run(&config).await;
        let status = bench.until(&worker, |status| status.failure.is_some()).await;
        assert_eq!((status.phase, status.failure), (WorkerPhase::Starting, Some(FailureClass::ImagePull)));
        assert!(status.reason.as_ref().unwrap().contains("127.0.0.1:1/no/such:1"), "{:?}", status.reason);
        let options = options.pull(PullPolicy::Never);
        let config = WorkerConfig::builder("b").image("no/such:1").options(&options).build().unwrap();
        let worker = bench.run(&config).await;
        let status = bench.until(&worker, |status| status.failure.is_some()).await;
        assert_eq!(status.failure, Some(FailureClass::ImageNotFound), "{status:?}");
    })
    .await;
}

#[tokio::test]
async fn k2_what_cannot_be_scheduled_is_told_with_the_schedulers_words() {
    on_cluster("full", |bench| async move {
        let options = KubernetesOptions::default().user(65_534).node("no-such-node", "yes");
        let config = bench.script("a", "true").options(&options).build().unwrap();
        let worker = bench.run(&config).await;
        let status = bench.until(&worker, |status| status.failure.is_some()).await;
        assert_eq!((status.phase, status.failure), (WorkerPhase::Starting, Some(FailureClass::Capacity)));
        assert!(
            status.reason.as_ref().unwrap().starts_with("Unschedulable: 0/1 nodes"),
            "{:?}",
            status.reason
        );
    })
    .await;
}

#[tokio::test]
async fn k2_memory_beyond_the_limit_is_certain() {
    on_cluster("oom", |bench| async move {
        let config = bench.script("a", "tail /dev/zero").memory_limit("16Mi").build().unwrap();
        let worker = bench.run(&config).await;
        let status = bench.until(&worker, |status| status.phase == WorkerPhase::Exited).await;
        assert!(status.out_of_memory, "{status:?}");
        assert_eq!(status.failure, Some(FailureClass::OutOfMemory));
    })
    .await;
}

#[tokio::test]
async fn k9_a_run_that_takes_longer_than_it_may_is_ended() {
    on_cluster("deadline", |bench| async move {
        let mut options = KubernetesOptions::default().user(65_534);
        options.deadline = Some("1s".parse().unwrap());
        let config = bench.script("a", "sleep 1000").stop_grace("1s").options(&options).build().unwrap();
        let worker = bench.run(&config).await;
        let status = bench.until(&worker, |status| status.phase == WorkerPhase::Exited).await;
        assert_eq!(status.failure, Some(FailureClass::DeadlineExceeded), "{status:?}");
    })
    .await;
}

#[tokio::test]
async fn k12_a_pod_that_runs_as_root_is_told_why_it_does_not_start() {
    on_cluster("root", |bench| async move {
        let config = WorkerConfig::builder("a").image(variable("HODEI_TEST_KUBERNETES_IMAGE").as_str());
        let worker = bench.run(&config.command(["true"]).build().unwrap()).await;
        let status = bench.until(&worker, |status| status.failure.is_some()).await;
        assert_eq!(status.failure, Some(FailureClass::Configuration), "{status:?}");
        assert!(status.reason.as_ref().unwrap().contains("runAsNonRoot"), "{:?}", status.reason);
    })
    .await;
}

#[tokio::test]
async fn k2_numbered_lines_are_read_once_each_over_many_cuts() {
    on_cluster("lines", |bench| async move {
        let script = "n=0; while [ $n -lt 3000 ]; do n=$((n+1)); echo $n; done; sleep 1; echo end";
        let worker = bench.run(&bench.script("a", script).build().unwrap()).await;
        bench.until(&worker, |status| status.phase == WorkerPhase::Exited).await;
        // Each reader reads on where the one before it was cut off.
        let (mut after, mut read) = (None, Vec::new());
        loop {
            let mut options = LogOptions::all().with_positions();
            options.after = after.take();
            let mut logs = bench.provider.worker_logs(&worker, &options).await.unwrap();
            let mut lines = 0;
            while let Some(item) = limit(futures::StreamExt::next(&mut logs)).await {
                let item = item.unwrap();
                let chunk = item.chunk().expect("a gap");
                read.push(chunk.text().into_owned());
                after.clone_from(&chunk.position);
                lines += 1;
                if lines == 700 {
                    break;
                }
            }
            if lines < 700 {
                break;
            }
        }
        let expected: Vec<String> = (1..=3000).map(|n| n.to_string()).chain(["end".to_owned()]).collect();
        assert_eq!(read, expected);
        let status = bench.provider.get_worker_status(&worker).await.unwrap();
        assert_eq!(status.exit, Some(ExitStatus::Code(0)));
        let all = bench.provider.collect_logs(&worker, &LogOptions::all()).await.unwrap();
        assert_eq!(all.iter().filter(|byte| **byte == b'\n').count(), 3001);
    })
    .await;
}

#[tokio::test]
async fn k8_what_a_worker_uses_is_told_against_what_is_set_aside_for_it() {
    on_cluster("usage", |bench| async move {
        let burn = bench.script("a", "while :; do :; done").stop_grace("1s");
        let burn = burn.cpu_request("100m").cpu_limit("300m").memory_request("16Mi").memory_limit("32Mi");
        let worker = bench.run(&burn.build().unwrap()).await;
        bench.until(&worker, |status| status.phase == WorkerPhase::Running).await;
        let measured = async || {
            let stats = bench.provider.worker_stats(&worker, &StatsOptions::default()).await.unwrap();
            // It may take a while until all of a window is of the worker.
            let is_busy = stats.cpu_of_request().is_some_and(|share| share > 1.0);
            if is_busy { Ok(stats) } else { Err(stats) }
        };
        let stats = eventually(Duration::from_secs(120), measured).await.unwrap();
        assert!(stats.cpu_of_request().unwrap() < 4.0, "it may have three times its request: {stats:?}");
        assert_eq!(stats.cpu_request, Some(Cpu::from_millis(100)));
        assert_eq!((stats.memory_request, stats.memory_limit), (Some(16 << 20), Some(32 << 20)));
        assert!(stats.memory_of_request().is_some_and(|share| share > 0.0 && share < 1.0), "{stats:?}");
        assert!(stats.window.is_some_and(|window| window > Duration::ZERO), "{stats:?}");
    })
    .await;
}
