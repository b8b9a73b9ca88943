//! D8: logs, byte for byte, and followed over restarts of the worker.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::collections::BTreeMap;

use common::{limit, on_engine};
use futures::StreamExt as _;
use hodei_worker_core::{
    WorkerPhase, WorkerProvider as _, WorkerRef,
    provider::{DeleteOptions, LogOptions, LogStream, StartOptions},
};

#[tokio::test]
async fn d8_output_comes_back_byte_for_byte() {
    on_engine("bytes", |bench| async move {
        // Every byte, lines longer than the engine's pieces, no line feed at the end, more than ten megabytes.
        let script = r#"
            i=0; while [ $i -lt 256 ]; do printf "\\$(printf %03o $i)"; i=$((i+1)); done > /tmp/bytes
            cat /tmp/bytes /tmp/bytes > /tmp/block
            i=0; while [ $i -lt 13 ]; do cat /tmp/block /tmp/block > /tmp/b2; mv /tmp/b2 /tmp/block; i=$((i+1)); done
            head -c 100000 /dev/zero | tr '\0' x; echo
            cat /tmp/block /tmp/block /tmp/block
            printf 'no end'"#;
        let worker = bench.run("a", script).await;
        assert!(bench.ended(&worker).await.succeeded());
        let mut expected = vec![b'x'; 100_000];
        expected.push(b'\n');
        let bytes: Vec<u8> = (0..=255).collect();
        expected.extend(bytes.iter().copied().cycle().take(3 * 2 * 256 * 8192));
        expected.extend_from_slice(b"no end");
        assert!(expected.len() > 10_000_000);
        for options in [LogOptions::all(), LogOptions::all().tail(1_000_000), LogOptions::all().only(LogStream::Stdout)]
        {
            let output: Vec<u8> =
                bench.output(&worker, &options).await.into_iter().flat_map(|(_, bytes)| bytes).collect();
            assert!(output == expected, "{} of {} bytes differ", output.len(), expected.len());
        }
        assert!(bench.output(&worker, &LogOptions::all().only(LogStream::Stderr)).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn d8_streams_times_and_last_lines_are_told_apart() {
    on_engine("parts", |bench| async move {
        let worker = bench
            .run("a", "for i in 1 2 3 4 5; do echo out $i; sleep 0.05; echo err $i >&2; sleep 0.05; done; printf end")
            .await;
        bench.ended(&worker).await;
        let all = bench.output(&worker, &LogOptions::all()).await;
        assert_eq!(all.len(), 11);
        assert!(all.iter().all(|(stream, bytes)| bytes.starts_with(b"err") == (*stream == LogStream::Stderr)));
        assert_eq!(bench.text(&worker, &LogOptions::all().tail(3)).await, "out 5\nerr 5\nend");
        assert_eq!(bench.text(&worker, &LogOptions::all().tail(0)).await, "");
        let only = LogOptions::all().only(LogStream::Stderr).tail(2);
        assert_eq!(bench.text(&worker, &only).await, "err 4\nerr 5\n");
        let logs = bench.provider.worker_logs(&worker, &LogOptions::all()).await.unwrap();
        let items: Vec<_> = logs.collect().await;
        let third = items[2].as_ref().unwrap().chunk().unwrap().time;
        let rest = bench.output(&worker, &LogOptions::all().since(third)).await;
        assert_eq!(rest, all[2..]);
    })
    .await;
}

#[tokio::test]
async fn d8_follow_goes_on_over_restarts_and_ends_with_the_worker() {
    on_engine("follow", |bench| async move {
        let script =
            "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; echo error >&2; printf tail";
        let worker = bench.create(&bench.script("a", script).build().unwrap()).await;
        let follow = LogOptions::following();
        let mut reader = Follower::open(&bench, &worker, &follow).await;
        let mut last = None;
        for _ in 0..3 {
            bench.provider.start_worker(&worker, &StartOptions::after(last.clone())).await.unwrap();
            let ended =
                bench.until(&worker, |status| status.phase == WorkerPhase::Exited && status.run != last);
            last.clone_from(&ended.await.run);
        }
        let mut late = Follower::open(&bench, &worker, &follow.clone().tail(1)).await;
        bench.provider.start_worker(&worker, &StartOptions::after(last.clone())).await.unwrap();
        bench.until(&worker, |status| status.phase == WorkerPhase::Exited && status.run != last).await;
        // The last lines are there when the status says that it has ended.
        assert_eq!(bench.output(&worker, &LogOptions::all()).await.len(), 4 * 52);
        reader.reaches(4 * 52).await;
        // The line that was open when it began, and the fourth run.
        late.reaches(1 + 52).await;
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for line in reader.end().await {
            *counts.entry(line).or_default() += 1;
        }
        assert_eq!(counts.len(), 52);
        assert!(counts.values().all(|count| *count == 4), "{counts:?}");
        assert_eq!(late.end().await.len(), 1 + 52);
    })
    .await;
}

/// Reads a log in the background.
struct Follower {
    task: tokio::task::JoinHandle<Vec<String>>,
    count: tokio::sync::watch::Receiver<usize>,
}

impl Follower {
    async fn open(bench: &common::Bench, worker: &WorkerRef, options: &LogOptions) -> Self {
        let mut logs = bench.provider.worker_logs(worker, options).await.unwrap();
        let (send, count) = tokio::sync::watch::channel(0);
        let task = tokio::spawn(async move {
            let mut lines = Vec::new();
            while let Some(item) = logs.next().await {
                lines.push(item.unwrap().chunk().expect("no gap").text().into_owned());
                send.send_replace(lines.len());
            }
            lines
        });
        Self { task, count }
    }
    async fn reaches(&mut self, lines: usize) {
        limit(self.count.wait_for(|count| *count >= lines)).await.unwrap();
    }
    async fn end(self) -> Vec<String> {
        limit(self.task).await.unwrap()
    }
}
