//! D8: output that is kept: whole lines in files, over restarts of the worker and of its host, with every log driver
//! that keeps something.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::path::PathBuf;

use common::{Bench, limit, on_engine};
use futures::StreamExt as _;
use hodei_worker_core::{
    ErrorKind, WorkerPhase, WorkerProvider as _, WorkerRef,
    provider::{
        DeleteOptions, LineEnd, LogEntry, LogFile, LogFileOptions, LogItem, LogLevel, LogLines, LogOptions,
        LogStream, StartOptions, StopOptions,
    },
    quantity::ByteSize,
};
use hodei_worker_docker::DockerOptions;

const DRIVERS: [&str; 2] = ["local", "json-file"];

/// Numbered lines of both streams, run by run, every fiftieth longer than a piece of the engine's.
const NUMBERS: &str = "[ -f /r ] || { echo 0 > /r; head -c 40000 /dev/zero | tr '\\0' x > /long; }; \
    r=$(($(cat /r) + 1)); echo $r > /r; i=0; while true; do i=$((i+1)); echo o $r $i; echo e $r $i >&2; \
    if [ $((i % 50)) = 0 ]; then echo o $r $i $(cat /long); sleep 0.05; fi; done";

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("hodei-kept-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }
    async fn open(&self, options: LogFileOptions) -> LogFile {
        LogFile::open(self.0.join("log"), options).await.unwrap()
    }
    /// All files, the oldest first, each of whole lines.
    fn text(&self) -> String {
        let names = (0..1000).rev().map(|number| match number {
            0 => self.0.join("log"),
            number => self.0.join(format!("log.{number}")),
        });
        let texts = names.filter_map(|path| std::fs::read_to_string(path).ok());
        texts.inspect(|text| assert!(text.is_empty() || text.ends_with('\n'), "half a line")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whole lines as the engine keeps them, and how they interleave as they end.
async fn kept(bench: &Bench, worker: &WorkerRef) -> String {
    let logs = bench.provider.worker_logs(worker, &LogOptions::all()).await.unwrap();
    let entries: Vec<_> = limit(LogLines::new(logs).collect::<Vec<_>>()).await;
    entries.into_iter().map(|entry| format!("{}\n", entry.unwrap().line().expect("no gap").text())).collect()
}

/// A host that copies into the file, until it is lost.
async fn host(
    bench: &Bench,
    worker: &WorkerRef,
    folder: &Folder,
    options: LogFileOptions,
) -> tokio::task::JoinHandle<()> {
    let mut file = folder.open(options).await;
    let stranger = bench.stranger().await;
    let wanted = file.resumed(LogOptions::following());
    let logs = stranger.provider.worker_logs(worker, &wanted).await.unwrap();
    tokio::spawn(async move {
        file.copy(logs).await.unwrap();
    })
}

async fn restart(bench: &Bench, worker: &WorkerRef) {
    bench.provider.stop_worker(worker, &StopOptions::kill()).await.unwrap();
    let after = bench.ended(worker).await.run.clone();
    bench.provider.start_worker(worker, &StartOptions::after(after)).await.unwrap();
}

#[tokio::test]
async fn d8_a_file_holds_each_line_once_over_restarts_of_worker_and_host() {
    on_engine("kept", |bench| async move {
        for driver in DRIVERS {
            let options = DockerOptions::default().log_driver(driver);
            let config = bench.script(driver, NUMBERS).options(&options).build().unwrap();
            let worker = bench.create(&config).await;
            bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
            let folder = Folder::new();
            let options = LogFileOptions::default().max_size(ByteSize::kib(200)).max_files(1000);
            let reaches = async |size: usize| {
                hodei_worker_core::testkit::eventually(common::LIMIT, || async {
                    let now = folder.text().len();
                    if now >= size { Ok(()) } else { Err(format!("{now} of {size} bytes are kept")) }
                })
                .await
                .unwrap();
            };
            for round in 1..=6 {
                let copying = host(&bench, &worker, &folder, options).await;
                reaches(folder.text().len() + 60_000).await;
                if round % 3 == 0 {
                    restart(&bench, &worker).await;
                    reaches(folder.text().len() + 60_000).await;
                }
                // A host that dies has no time for anything.
                copying.abort();
                assert!(copying.await.unwrap_err().is_cancelled());
                if round == 4 {
                    // Nobody reads meanwhile.
                    restart(&bench, &worker).await;
                }
            }
            bench.provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
            let kept = kept(&bench, &worker).await;
            let copying = host(&bench, &worker, &folder, options).await;
            reaches(kept.len()).await;
            bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
            limit(copying).await.unwrap();
            let text = folder.text();
            assert!(
                text == kept,
                "{driver}: {} bytes are in the files, {} in the log",
                text.len(),
                kept.len()
            );
            // And nothing of it is the engine's invention.
            for stream in ["o ", "e "] {
                let mut last = (0, 0);
                let lines = text.lines().filter(|line| !line.contains('x'));
                for line in lines.filter_map(|line| line.strip_prefix(stream)) {
                    let (run, number) = line.split_once(' ').unwrap();
                    let now: (u64, u64) = (run.parse().unwrap(), number.parse().unwrap());
                    assert!(
                        now == (last.0, last.1 + 1) || now == (last.0 + 1, 1),
                        "{stream}: {now:?} after {last:?}"
                    );
                    last = now;
                }
                assert!(last.0 >= 4, "{last:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn d8_what_is_rotated_away_between_two_hosts_stands_in_the_file_in_words() {
    on_engine("absent", |bench| async move {
        for driver in DRIVERS {
            let options = DockerOptions::default().log_driver(driver);
            let options = options.log_option("max-size", "50k").log_option("max-file", "2");
            let script = "echo first; until [ -e /go ]; do sleep 0.05; done; seq 20000";
            let config = bench.script(driver, script).options(&options).build().unwrap();
            let worker = bench.create(&config).await;
            bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
            let folder = Folder::new();
            let copying = host(&bench, &worker, &folder, LogFileOptions::default()).await;
            hodei_worker_core::testkit::eventually(common::LIMIT, || async {
                let text = folder.text();
                if text == "first\n" && folder.0.join("log.position").exists() { Ok(()) } else { Err(text) }
            })
            .await
            .unwrap();
            copying.abort();
            assert!(copying.await.unwrap_err().is_cancelled());
            let go = hodei_worker_core::provider::ExecOptions::new(["touch", "/go"]);
            bench.provider.exec_in_worker(&worker, &go).await.unwrap().collect().await.unwrap();
            bench.ended(&worker).await;
            let mut file = folder.open(LogFileOptions::default()).await;
            let logs = bench.provider.worker_logs(&worker, &file.resumed(LogOptions::all())).await.unwrap();
            let copied = limit(file.copy(logs)).await.unwrap();
            assert_eq!(copied.gaps, 1, "{driver}");
            let text = folder.text();
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines[0], "first");
            assert!(lines[1].starts_with("[gap: ") && lines[1].contains("rotated"), "{driver}: {}", lines[1]);
            let numbers: Vec<u64> = lines[2..].iter().map(|line| line.parse().unwrap()).collect();
            assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{driver}");
            assert_eq!(numbers.last(), Some(&20_000), "{driver}");
        }
    })
    .await;
}

#[tokio::test]
async fn d8_json_lines_are_parsed_however_the_engine_divides_them() {
    on_engine("json", |bench| async move {
        let script = r#"
            head -c 40000 /dev/zero | tr '\0' x > /long
            printf '{"time":"2026-01-02T03:04:05Z","level":"warn","msg":"'; cat /long; echo '"}'
            echo 'plain text' >&2
            printf '{"ts":1767323045.5,"lvl":"error",'; echo oops >&2; echo '"message":"in parts"}'
            printf '{"no":"end"'"#;
        for driver in DRIVERS {
            let options = DockerOptions::default().log_driver(driver);
            let config = bench.script(driver, script).options(&options).build().unwrap();
            let worker = bench.create(&config).await;
            bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
            bench.ended(&worker).await;
            let read = async |options: LogOptions| -> Vec<LogEntry> {
                let logs = bench.provider.worker_logs(&worker, &options).await.unwrap();
                let entries = limit(LogLines::new(logs).collect::<Vec<_>>()).await;
                entries.into_iter().map(Result::unwrap).collect()
            };
            let out = read(LogOptions::all().only(LogStream::Stdout)).await;
            let lines: Vec<_> = out.iter().map(|entry| entry.line().unwrap()).collect();
            let records: Vec<_> = lines.iter().map(|line| line.record()).collect();
            assert_eq!(records[0].level(), Some(LogLevel::Warn), "{driver}");
            assert_eq!(records[0].message().map(str::len), Some(40_000));
            assert_eq!(records[0].time(), "2026-01-02T03:04:05Z".parse().ok());
            assert_eq!((records[1].level(), records[1].message()), (Some(LogLevel::Error), Some("in parts")));
            assert_eq!(records[2].message(), Some(r#"{"no":"end""#));
            assert_eq!((records.len(), lines[2].end), (3, LineEnd::Open));
            let errors = read(LogOptions::all().only(LogStream::Stderr)).await;
            let errors: Vec<_> =
                errors.iter().map(|entry| entry.line().unwrap().text().into_owned()).collect();
            assert_eq!(errors, ["plain text", "oops"]);
            assert_eq!(read(LogOptions::all()).await.len(), 5);
        }
    })
    .await;
}

#[tokio::test]
async fn d8_a_position_of_another_container_is_refused() {
    on_engine("another", |bench| async move {
        let worker = bench.run("a", "echo one").await;
        bench.ended(&worker).await;
        let logs = bench.provider.worker_logs(&worker, &LogOptions::all().with_positions()).await.unwrap();
        let items: Vec<_> = logs.collect().await;
        let Ok(LogItem::Chunk(chunk)) = &items[0] else { panic!("{items:?}") };
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        let again = bench.create(&bench.script("a", "echo two").build().unwrap()).await;
        assert_eq!(bench.status(&again).await.phase, WorkerPhase::Created);
        let after = LogOptions::all().after(chunk.position.clone().unwrap());
        let error = bench.provider.worker_logs(&again, &after).await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    })
    .await;
}
