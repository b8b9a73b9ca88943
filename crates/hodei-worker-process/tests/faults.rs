//! Records that are odd, hosts that overlap, runtimes that end. This program is a host with the hook.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod common;

use std::{fs, path::PathBuf, process::ExitCode};

use common::{
    Bed, PATIENCE, create_and_start, end, files, is_alive, marked, phase, pids, runtime, script, start,
    status, text, trials, until,
};
use futures::StreamExt as _;
use hodei_worker_core::{
    CredentialProvider as _, WorkerPhase, WorkerProvider as _, WorkerRef,
    credential::{SecretKey, StoreOptions},
    model::SecretReference,
    provider::{DeleteOptions, ExecOptions, LogOptions, StartOptions, StopOptions, WorkerFilter},
    status::{ExitStatus, FailureClass},
};
use hodei_worker_process::{ProcessProvider, Survival};
use libtest_mimic::{Arguments, Completion, Trial};
use tokio::time::timeout;

fn main() -> ExitCode {
    hodei_worker_process::init();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let mut trials = trials![
        l5_a_delete_that_waited_leaves_a_later_creation_alone,
        l6_what_lies_under_anothers_name_in_the_trash_is_ended_too,
        l6_records_do_not_grow_with_restarts,
        p1_logs_of_workers_kept_elsewhere_are_left_alone,
        l6_records_that_cannot_be_read_hide_no_other_worker,
        p1_commands_get_the_environment_that_was_configured,
        l6_a_command_without_its_mark_ends_with_its_worker,
    ];
    trials.push(Trial::test("l6_attached_workers_end_with_their_hosts_runtime", || {
        attached_workers_end_with_their_hosts_runtime();
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// An installation whose workers are children of the host, though it has the hook.
fn attached() -> Bed {
    let mut bed = Bed::attached();
    bed.settings.survival = Survival::Attached;
    bed
}

const FOREVER: &str = "exec sleep 1000";

async fn first_line(provider: &ProcessProvider, worker: &WorkerRef) -> String {
    let mut logs = provider.worker_logs(worker, &LogOptions::following()).await.unwrap();
    let item = timeout(PATIENCE, logs.next()).await.expect("it says nothing").unwrap().unwrap();
    item.chunk().unwrap().text().into_owned()
}

async fn l5_a_delete_that_waited_leaves_a_later_creation_alone() {
    for bed in [Bed::new(), attached()] {
        let (late, quick) = (bed.connect().await, bed.connect().await);
        let worker = start(&quick, script("a", FOREVER)).await;
        let options = DeleteOptions::default();
        let mut waiting = late.delete_worker(&worker, &options);
        // On a busy machine it may be through already.
        let waits = futures::poll!(&mut waiting).is_pending();
        quick.delete_worker(&worker, &options).await.unwrap();
        start(&quick, script("a", FOREVER)).await;
        if waits {
            timeout(PATIENCE, waiting).await.expect("it hangs").unwrap();
        } else {
            drop(waiting);
        }
        assert_eq!(phase(&quick, &worker).await, WorkerPhase::Running);
        assert!(is_alive(pids(&bed, &worker).0));
        drop((late, quick));
        bed.clean().await;
    }
}

async fn l6_what_lies_under_anothers_name_in_the_trash_is_ended_too() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", FOREVER)).await;
    let folder = bed.state().join("workers/a.1");
    fs::rename(folder, bed.state().join("trash/a.1.0123456789ab")).unwrap();
    drop(provider);
    let provider = bed.connect().await;
    assert_eq!(marked(bed.installation.as_str()), Vec::<i32>::new());
    assert_eq!(phase(&provider, &worker).await, WorkerPhase::Absent);
    drop(provider);
    bed.clean().await;
}

async fn l6_records_do_not_grow_with_restarts() {
    for bed in [Bed::new(), attached()] {
        let provider = bed.connect().await;
        let worker = start(&provider, script("a", "exit 3")).await;
        for _ in 0..20 {
            let ended = end(&provider, &worker).await;
            provider.start_worker(&worker, &StartOptions::after(ended.run.clone())).await.unwrap();
        }
        end(&provider, &worker).await;
        // The last but one is still known: whoever waits for it is not told that there is none. Four files each, and
        // two that are not of runs.
        until(|| files(&bed.state()).len() <= 10).await;
        assert_eq!(files(&bed.state().join("exits")).len(), 2);
        drop(provider);
        bed.clean().await;
    }
}

/// Without control groups nothing but the host knows of them.
fn attached_workers_end_with_their_hosts_runtime() {
    let bed = attached();
    let host = runtime();
    let provider = host.block_on(async {
        let provider = bed.connect().await;
        for id in ["a", "b"] {
            let body = "(setsid sleep 1000 &); sleep 1000 & echo on; wait";
            let worker = start(&provider, script(id, body)).await;
            assert_eq!(first_line(&provider, &worker).await, "on");
        }
        provider
    });
    host.shutdown_background();
    let after = runtime();
    after.block_on(until(|| marked(bed.installation.as_str()).is_empty()));
    drop(provider);
    after.block_on(bed.clean());
}

/// The same installation with its state in another folder, as from another session; and a folder that is gone, as after
/// a restart of the machine.
async fn p1_logs_of_workers_kept_elsewhere_are_left_alone() {
    let mut bed = Bed::new();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", "echo on; exec sleep 1000")).await;
    assert_eq!(first_line(&provider, &worker).await, "on");
    let mut other = Bed::new();
    other.installation = bed.installation.clone();
    other.settings.log_dir = bed.settings.log_dir.clone();
    drop(other.connect().await);
    assert_eq!(text(&provider, &worker).await, "on\n");
    provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
    drop(provider);

    let state = bed.state();
    fs::rename(&state, state.with_extension("gone")).unwrap();
    drop(bed.connect().await);
    let logs = bed.folder.join("logs");
    let kept = || files(&logs).iter().any(|path| path.ends_with("log.1"));
    assert!(kept());
    bed.settings.logs.keep_lost = hodei_worker_core::quantity::HumanDuration::secs(0);
    drop(bed.connect().await);
    assert!(!kept());
    bed.clean().await;
}

async fn l6_records_that_cannot_be_read_hide_no_other_worker() {
    for bed in [Bed::new(), attached()] {
        let provider = bed.connect().await;
        let run = async |worker: &WorkerRef| format!("{}.1", status(&provider, worker).await.native_id);
        let ended = start(&provider, script("ended", "exit 7")).await;
        end(&provider, &ended).await;
        let runs = start(&provider, script("runs", FOREVER)).await;
        let good = start(&provider, script("good", FOREVER)).await;
        // Of a later version, or cut off by a loss of power.
        let later = r#"{"time":"2026-01-01T00:00:00Z","end":{"dissolved":true}}"#;
        for (folder, worker, content) in
            [("exits", &ended, later), ("started", &ended, ""), ("started", &runs, "{")]
        {
            fs::write(bed.state().join(folder).join(run(worker).await), content).unwrap();
        }
        let listed = provider.list_workers(&WorkerFilter::all()).await.unwrap().workers;
        assert_eq!(listed.len(), 3);
        // Its raw end was noted elsewhere.
        assert_eq!(status(&provider, &ended).await.exit, Some(ExitStatus::Code(7)));
        assert_eq!(phase(&provider, &good).await, WorkerPhase::Running);
        for worker in [&ended, &runs] {
            timeout(PATIENCE, provider.delete_worker(worker, &DeleteOptions::default()))
                .await
                .expect("it hangs")
                .unwrap();
        }
        // Nothing tells how it ended.
        provider.stop_worker(&good, &StopOptions::kill()).await.unwrap();
        let run = run(&good).await;
        fs::write(bed.state().join("exits").join(&run), "").unwrap();
        fs::write(claim(&bed, "good"), "").unwrap();
        let lost = status(&provider, &good).await;
        assert_eq!((lost.phase, lost.failure), (WorkerPhase::Exited, Some(FailureClass::Vanished)));
        drop(provider);
        bed.clean().await;
    }
}

/// The claim of a worker's first run.
fn claim(bed: &Bed, id: &str) -> PathBuf {
    let all = files(&bed.state().join(format!("workers/{id}.1")));
    all.into_iter().find(|path| path.ends_with("1.claim")).unwrap()
}

/// What the kernel shows of a process' environment may be anything: programs write over it, or run without any.
async fn p1_commands_get_the_environment_that_was_configured() {
    for bed in [Bed::new(), attached()] {
        let provider = bed.connect().await;
        let key = SecretKey::new("key").unwrap();
        bed.credentials.store_credential(&key, "sesame".into(), &StoreOptions::default()).await.unwrap();
        let config = script("a", "echo on; exec env -i sleep 1000")
            .env("OWN", "x")
            .secret(SecretReference::variable("key", "KEY"))
            .secret(SecretReference::file("key", "file"));
        let worker = create_and_start(&provider, config).await.unwrap().worker;
        let process = pids(&bed, &worker).0;
        until(|| fs::read(format!("/proc/{process}/environ")).unwrap().is_empty()).await;
        let body = "echo $OWN $KEY $MORE $(cat $HODEI_SECRETS_DIR/file) ${HODEI_WORKER_RUN:+marked}";
        let show = ExecOptions::new(["sh", "-c", body]).env("MORE", "y");
        let shown = provider.exec_in_worker(&worker, &show).await.unwrap().collect().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&shown.stdout), "x sesame y sesame marked\n");
        drop(provider);
        bed.clean().await;
    }
}

async fn l6_a_command_without_its_mark_ends_with_its_worker() -> Completion {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", FOREVER)).await;
    let groups = common::record(&bed, "started", &worker).unwrap()["groups"]["unified"].clone();
    if groups.is_null() {
        bed.clean().await;
        return Completion::ignored_with("there are no groups to contain it");
    }
    // What it starts at once is known by its mark, what it starts later by its group too.
    let body = "cat; env -i setsid sleep 1000 < /dev/null > /dev/null 2>&1 & echo $!";
    let command = ExecOptions::new(["sh", "-c", body]).with_stdin();
    let shown = provider.exec_in_worker(&worker, &command).await.unwrap().collect().await.unwrap();
    let escaped: i32 = String::from_utf8_lossy(&shown.stdout).trim().parse().unwrap();
    until(|| fs::read(format!("/proc/{escaped}/environ")).unwrap().is_empty()).await;
    provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
    let outlives = is_alive(escaped);
    if outlives {
        common::kill(escaped);
    }
    assert!(!outlives, "a command outlives its worker");
    drop(provider);
    bed.clean().await;
    Completion::Completed
}
