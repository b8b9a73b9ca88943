//! What the machine does to a store: full disks, folders that cannot be written, two processes, `kill -9`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod common;

use std::{
    fs,
    future::Future,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use common::{Engine, folder, log, say, worker};
use hodei_worker_core::{
    ErrorKind,
    store::{Batch, Expected},
    testkit::{SmallDisk, eventually, stores::FolderSubject as _},
};
use hodei_worker_store::FileSettings;
use libtest_mimic::{Arguments, Completion, Trial};
use tempfile::TempDir;

/// The variables by which the test starts itself as the host that is killed.
const HOST: &str = "HODEI_STORE_HOST";

fn main() -> ExitCode {
    if let Ok(host) = std::env::var(HOST) {
        let (engine, folder) = host.split_once(':').unwrap();
        block(write_until_killed(Engine::named(engine), folder.into()));
    }
    let mut trials = Vec::new();
    for engine in Engine::ALL {
        macro_rules! trial {
            ($($name:ident),+ $(,)?) => {$(
                let name = format!("{}::{}", engine.name(), stringify!($name));
                trials.push(Trial::ignorable_test(name, move || Ok(block($name(engine)))));
            )+};
        }
        trial![
            l6_a_second_host_is_refused,
            l6_a_store_is_opened_again_while_processes_are_started,
            l6_a_folder_that_is_not_there_is_made,
            l6_a_folder_that_cannot_be_written_is_refused,
            l6_a_file_where_the_folder_should_be_is_refused,
            l6_on_a_full_disk_nothing_is_lost_and_writing_goes_on,
            l6_nothing_acknowledged_is_lost_by_kill_9,
        ];
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn block<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test)
}

async fn l6_a_second_host_is_refused(engine: Engine) -> Completion {
    let folder = folder();
    let store = engine.open(folder.path()).await.unwrap();
    say(&store, "a", 0, "1").await.unwrap();
    for error in [
        engine.open(folder.path()).await.unwrap_err(),
        engine.verify(folder.path()).await.unwrap_err(),
        engine.repair(folder.path(), &folder.path().join("new")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    }
    say(&store, "a", 1, "2").await.unwrap();
    drop(store);
    assert_eq!(log(&engine.open(folder.path()).await.unwrap()).await, ["1", "2"]);
    Completion::Completed
}

/// Processes that are being started have this one's open files for a moment, and with them a lock that is only closed.
async fn l6_a_store_is_opened_again_while_processes_are_started(engine: Engine) -> Completion {
    let folder = folder();
    let done = Arc::new(AtomicBool::new(false));
    let starting = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        })
    };
    for n in 0..50 {
        let opened = engine.open(folder.path()).await;
        let said = say(&opened.unwrap_or_else(|error| panic!("round {n}: {error:?}")), "a", n, "on").await;
        assert!(said.is_ok(), "round {n}: {said:?}");
    }
    done.store(true, Ordering::Relaxed);
    starting.join().unwrap();
    Completion::Completed
}

async fn l6_a_folder_that_is_not_there_is_made(engine: Engine) -> Completion {
    let folder = folder();
    let path = folder.path().join("a/b/store");
    let error = engine.open_with(&path, FileSettings::default().create(false)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!folder.path().join("a").exists());
    say(&engine.open(&path).await.unwrap(), "a", 0, "1").await.unwrap();
    let store = engine.open_with(&path, FileSettings::default().create(false)).await.unwrap();
    assert_eq!(log(&store).await, ["1"]);
    Completion::Completed
}

async fn l6_a_file_where_the_folder_should_be_is_refused(engine: Engine) -> Completion {
    let folder = folder();
    let path = folder.path().join("store");
    fs::write(&path, "mine").unwrap();
    let error = engine.open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    Completion::Completed
}

fn small_disk(folder: &TempDir) -> Option<SmallDisk> {
    SmallDisk::mount(&folder.path().join("disk"), 16 << 20).unwrap()
}

fn cannot_mount() -> Completion {
    Completion::ignored_with("only root can mount file systems")
}

async fn l6_a_folder_that_cannot_be_written_is_refused(engine: Engine) -> Completion {
    let folder = folder();
    let Some(disk) = small_disk(&folder) else { return cannot_mount() };
    let path = disk.path().join("store");
    say(&engine.open(&path).await.unwrap(), "a", 0, "1").await.unwrap();
    // An engine's own threads close its files, and tell nobody when they have.
    eventually(Duration::from_secs(30), || async { disk.read_only(true) }).await.unwrap();
    for path in [path.clone(), disk.path().join("new")] {
        let error = engine.open(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    }
    disk.read_only(false).unwrap();
    assert_eq!(log(&engine.open(&path).await.unwrap()).await, ["1"]);
    Completion::Completed
}

async fn l6_on_a_full_disk_nothing_is_lost_and_writing_goes_on(engine: Engine) -> Completion {
    let folder = folder();
    let Some(disk) = small_disk(&folder) else { return cannot_mount() };
    let path = disk.path().join("store");
    let store = engine.open(&path).await.unwrap();
    let mut written = Vec::new();
    let mut write = async |store: &Arc<_>, text: String| {
        let version = written.len() as u64;
        let result = say(store, "a", version, &text).await;
        if result.is_ok() {
            written.push(text);
        }
        result.map(|_| written.clone())
    };
    let text = |n: usize| format!("{n} {}", "x".repeat(20_000));
    for n in 0..10 {
        write(&store, text(n)).await.unwrap();
    }
    for round in 1..=3 {
        disk.fill().unwrap();
        let mut refused = 0;
        for n in 0..2_000 {
            match write(&store, text(1_000 * round + n)).await {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Capacity, "{error:?}");
                    refused += 1;
                }
            }
            if refused == 5 {
                break;
            }
        }
        assert_eq!(refused, 5, "the disk is not full");
        disk.empty().unwrap();
        let written = write(&store, text(round)).await.unwrap();
        assert!(log(&store).await == written, "the log differs from what was acknowledged");
    }
    // Nor when the host ends without room.
    disk.fill().unwrap();
    while write(&store, text(77)).await.is_ok() {}
    drop(store);
    disk.empty().unwrap();
    let store = engine.open(&path).await.unwrap();
    let found = log(&store).await;
    assert!(found == written, "the log differs from what was acknowledged");
    say(&store, "a", found.len() as u64, "goes on").await.unwrap();
    drop(store);
    assert!(engine.verify(&path).await.unwrap().is_sound());
    Completion::Completed
}

/// Eight writers that say what was acknowledged.
async fn write_until_killed(engine: Engine, folder: PathBuf) {
    let store = engine.open(&folder).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..8 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let id = worker(&format!("w{n}"));
            let mut version = store.read_stream(&id, 0, 1_000_000).await.unwrap().next;
            if let Some(kept) =
                store.snapshots(None, 100).await.unwrap().into_iter().find(|kept| kept.worker == id)
            {
                version = version.max(kept.version);
            }
            loop {
                let mut batch = Batch::new().append(id.clone(), version, [format!("{n}-{version}").into()]);
                batch = batch.put(format!("k{n}"), Expected::Any, (version + 1).to_string());
                if version % 7 == 6 {
                    batch = batch.save(id.clone(), version + 1, (version + 1).to_string());
                }
                store.append(batch).await.unwrap();
                version += 1;
                println!("{n} {version}");
                if n == 0 && version % 50 == 0 {
                    store.compact(u64::MAX).await.unwrap();
                }
            }
        });
    }
    writers.join_all().await;
}

async fn l6_nothing_acknowledged_is_lost_by_kill_9(engine: Engine) -> Completion {
    const ROUNDS: u64 = 50;
    let folder = folder();
    let mut acknowledged = [0_u64; 8];
    for round in 0..ROUNDS {
        let mut host = Command::new(std::env::current_exe().unwrap());
        host.env(HOST, format!("{}:{}", engine.name(), folder.path().display()));
        let mut host = host.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
        // At the first acknowledgement, and at instants after it.
        let mut end = None;
        let after = Duration::from_micros(fastrand::u64(..20_000));
        let mut note = |line: String| {
            let (n, version) = line.split_once(' ').unwrap();
            let n: usize = n.parse().unwrap();
            acknowledged[n] = acknowledged[n].max(version.parse().unwrap());
        };
        while end.is_none_or(|end| Instant::now() < end) {
            note(lines.next().expect("the host ended").unwrap());
            end.get_or_insert_with(|| Instant::now() + after);
        }
        host.kill().unwrap();
        // What it had said before.
        lines.map_while(Result::ok).filter(|line| line.contains(' ')).for_each(&mut note);
        host.wait().unwrap();
        check(engine, folder.path(), &acknowledged, round).await;
    }
    assert!(acknowledged.iter().sum::<u64>() > 8 * ROUNDS, "{acknowledged:?}");
    Completion::Completed
}

async fn check(engine: Engine, folder: &Path, acknowledged: &[u64; 8], round: u64) {
    let store = engine.open(folder).await.unwrap();
    let snapshots = store.snapshots(None, 100).await.unwrap();
    for (n, acknowledged) in acknowledged.iter().enumerate() {
        let id = worker(&format!("w{n}"));
        let covered = snapshots.iter().find(|kept| kept.worker == id).map_or(0, |kept| kept.version);
        let page = store.read_stream(&id, covered, 1_000_000).await.unwrap();
        assert!(!page.compacted, "round {round}: events after {covered} are gone");
        let version = covered + page.events.len() as u64;
        assert!(version >= *acknowledged, "round {round}: {version} of {acknowledged} events of {id}");
        for event in page.events {
            assert_eq!(event.event, format!("{n}-{}", event.version - 1), "round {round}");
        }
        let value = store.get(&format!("k{n}")).await.unwrap().map(|value| value.value);
        let value = value.map_or(0, |value| String::from_utf8_lossy(&value).parse().unwrap());
        assert_eq!(value, version, "round {round}: half a batch was written");
    }
}
