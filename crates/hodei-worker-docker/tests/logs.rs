//! D8: logs, byte for byte, and followed over restarts of the worker.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::collections::BTreeMap;

use common::{limit, on_engine};
use futures::StreamExt as _;
use hodei_worker_core::{
    WorkerPhase, WorkerProvider as _, WorkerRef,
    provider::{DeleteOptions, ExecOptions, LogItem, LogOptions, LogStream, StartOptions},
};
use hodei_worker_docker::DockerOptions;

/// The engine's log drivers that keep something.
const DRIVERS: [&str; 2] = ["local", "json-file"];

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
async fn d8_the_last_lines_are_as_many_as_were_asked_for() {
    on_engine("last", |bench| async move {
        let script = "echo rare >&2; seq 60000";
        let worker = bench.run("a", script).await;
        bench.ended(&worker).await;
        let count = async |options: LogOptions| {
            let logs = bench.provider.worker_logs(&worker, &options).await.unwrap();
            limit(logs.fold((0_u64, 0_u64), async |(chunks, gaps), item| match item.unwrap() {
                LogItem::Chunk(_) => (chunks + 1, gaps),
                _ => (chunks, gaps + 1),
            }))
            .await
        };
        assert_eq!(count(LogOptions::all().tail(50_000)).await, (50_000, 0));
        let rare = LogOptions::all().only(LogStream::Stderr).tail(10);
        assert_eq!(bench.text(&worker, &rare).await, "rare\n");
    })
    .await;
}

#[tokio::test]
async fn d8_follow_goes_on_over_restarts_and_ends_with_the_worker() {
    for driver in DRIVERS {
        followed_over_restarts(driver).await;
    }
}

async fn followed_over_restarts(driver: &'static str) {
    on_engine("follow", move |bench| async move {
        let options = DockerOptions::default().log_driver(driver);
        let script =
            "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; echo error >&2; printf tail";
        let worker = bench.create(&bench.script("a", script).options(&options).build().unwrap()).await;
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

#[tokio::test]
async fn d8_what_is_rotated_away_under_a_reader_that_stalls_is_told() {
    for driver in DRIVERS {
        rotated_under_a_stalled_reader(driver).await;
    }
}

async fn rotated_under_a_stalled_reader(driver: &'static str) {
    on_engine("stalls", move |bench| async move {
        let rotated = DockerOptions::default()
            .log_driver(driver)
            .log_option("max-size", "100k")
            .log_option("max-file", "2");
        let script = "echo line 1; until [ -e /go ]; do sleep 0.05; done; \
                      i=1; while [ $i -lt 60000 ]; do i=$((i+1)); echo line $i; done; sleep 3";
        let worker = bench.create(&bench.script("a", script).options(&rotated).build().unwrap()).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let mut logs = bench.provider.worker_logs(&worker, &LogOptions::following()).await.unwrap();
        let (mut last, mut gaps, mut told) = (0_u64, 0, false);
        limit(async {
            while last < 60_000 {
                match logs.next().await.unwrap().unwrap() {
                    LogItem::Chunk(chunk) => {
                        let number: u64 = chunk.text().trim_start_matches("line ").parse().unwrap();
                        assert!(number == last + 1 || told, "{last} to {number} and not a word");
                        assert!(number > last, "{number} again");
                        (last, told) = (number, false);
                        if number == 1 {
                            // Not before it is read, so that it stands where nothing is lost yet.
                            let go = ExecOptions::new(["touch", "/go"]);
                            bench
                                .provider
                                .exec_in_worker(&worker, &go)
                                .await
                                .unwrap()
                                .collect()
                                .await
                                .unwrap();
                        }
                        if number == 100 {
                            bench.ended(&worker).await;
                        }
                    }
                    LogItem::Gap { .. } => (gaps, told) = (gaps + 1, true),
                    other => panic!("{other:?}"),
                }
            }
        })
        .await;
        assert_eq!(gaps, 1);
    })
    .await;
}

#[tokio::test]
async fn d8_what_is_rotated_away_under_a_slow_reader_is_told() {
    for driver in DRIVERS {
        rotated_under_a_slow_reader(driver).await;
    }
}

async fn rotated_under_a_slow_reader(driver: &'static str) {
    on_engine("slow", move |bench| async move {
        let rotated = DockerOptions::default()
            .log_driver(driver)
            .log_option("max-size", "100k")
            .log_option("max-file", "2");
        let script = "echo line 1; until [ -e /go ]; do sleep 0.05; done; \
                      i=1; while [ $i -lt 60000 ]; do i=$((i+1)); echo line $i; done; sleep 1000";
        let worker = bench.create(&bench.script("a", script).options(&rotated).build().unwrap()).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let mut logs = bench.provider.worker_logs(&worker, &LogOptions::following()).await.unwrap();
        let (mut last, mut read, mut told) = (0_u64, 0, false);
        limit(async {
            while last < 60_000 {
                match logs.next().await.unwrap().unwrap() {
                    LogItem::Chunk(chunk) => {
                        let number: u64 = chunk.text().trim_start_matches("line ").parse().unwrap();
                        assert!(number == last + 1 || told, "{last} to {number} and not a word");
                        assert!(number > last, "{number} again");
                        (last, read, told) = (number, read + 1, false);
                        if read < 100 {
                            // So that each line takes its time, and none of them long.
                            let go = ExecOptions::new(["touch", "/go"]);
                            let go = bench.provider.exec_in_worker(&worker, &go).await.unwrap();
                            go.collect().await.unwrap();
                        }
                    }
                    _ => told = true,
                }
            }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn d8_a_damaged_log_is_told_once_and_gone_on_with() {
    on_engine("damaged", |bench| async move {
        let script = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.1; done";
        let worker = bench.run("a", script).await;
        let mut before = Follower::open(&bench, &worker, &LogOptions::following()).await;
        before.reaches(3).await;
        let id = bench.status(&worker).await.native_id.clone();
        let root = bench.provider.client().info().await.unwrap().docker_root_dir.unwrap();
        {
            use std::io::{Seek as _, SeekFrom, Write as _};
            let path = format!("{root}/containers/{id}/local-logs/container.log");
            let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.seek(SeekFrom::Start(4)).unwrap();
            file.write_all(&[0xff; 20]).unwrap();
        }
        for options in
            [LogOptions::following(), LogOptions::following().tail(2), LogOptions::following().tail(100)]
        {
            let mut logs = bench.provider.worker_logs(&worker, &options).await.unwrap();
            let (mut gaps, mut lines) = (0, 0);
            limit(async {
                while lines < 5 {
                    match logs.next().await.unwrap().unwrap() {
                        LogItem::Gap { .. } => gaps += 1,
                        _ => lines += 1,
                    }
                }
            })
            .await;
            assert_eq!(gaps, 1, "{options:?}");
        }
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
