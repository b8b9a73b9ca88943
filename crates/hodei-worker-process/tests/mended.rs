//! What once went wrong, or could. This program is the hosts too: its `main` begins with the hook.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod common;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    process::{Command, ExitCode},
    time::Duration,
};

use common::{Bed, PATIENCE, create_and_start, end, script, start, status, text};
use futures::future::join_all;
use hodei_worker_core::{
    ErrorKind, Retry, WorkerConfig, WorkerPhase, WorkerProvider as _, WorkerRef,
    provider::{CreateOptions, DeleteOptions, ExecOptions, StartOptions, StopOptions, WorkerFilter},
    status::ExitStatus,
    testkit::eventually,
};
use hodei_worker_process::{LimitMechanism, Survival};
use libtest_mimic::{Arguments, Trial};
use tokio::time::timeout;

fn main() -> ExitCode {
    hodei_worker_process::init();
    let role: Vec<String> = std::env::args().skip(1).collect();
    if let [first, survival] = role.as_slice()
        && first == "signalled"
    {
        if survival == "full" {
            runtime().block_on(full());
            return ExitCode::SUCCESS;
        }
        if survival == "closed" {
            runtime().block_on(closed());
            return ExitCode::SUCCESS;
        }
        nix::sys::signal::SigSet::all().thread_block().unwrap();
        runtime().block_on(signalled(survival));
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    macro_rules! trials {
        ($($name:ident),+ $(,)?) => {
            vec![$(Trial::test(stringify!($name), || { runtime().block_on($name()); Ok(()) })),+]
        };
    }
    let trials = trials![
        l5_a_start_that_comes_too_late_holds_nothing_up,
        l5_the_longest_grace_still_asks,
        l6_folders_that_others_could_write_into_are_refused,
        l6_folders_are_passable_whatever_the_umask,
        l5_what_a_host_blocks_its_workers_do_not,
        l5_what_a_host_ignores_its_workers_do_not,
        l6_ends_that_would_be_lost_are_refused,
        p1_memory_is_bounded_for_commands_too,
        l5_a_start_tries_again_when_another_has_died,
        l5_a_start_without_room_can_be_repeated,
        l6_an_end_that_was_noted_is_not_lost,
        l6_a_configuration_that_cannot_be_read_hides_no_other_worker,
        l5_a_program_that_is_being_written_can_be_started_later,
        p1_a_small_limit_does_not_keep_a_worker_from_starting,
    ];
    let mut trials = trials;
    trials.push(Trial::test("l5_without_its_runtime_a_provider_says_so", || {
        without_its_runtime_a_provider_says_so();
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// An installation whose workers are children of the host, though it has the hook.
fn attached() -> Bed {
    let mut bed = Bed::attached();
    bed.settings.survival = Survival::Attached;
    bed
}

/// A worker that lasts.
fn lasting(id: &str) -> WorkerConfig {
    WorkerConfig::builder(id).command(["sleep", "1000"]).build().unwrap()
}

/// Several starts of one worker at once: those that lose open and close the lock of a run that goes on.
async fn l5_a_start_that_comes_too_late_holds_nothing_up() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let mut workers = Vec::new();
    for n in 0..20 {
        let made = provider.create_worker(&lasting(&format!("w{n}")), &CreateOptions::default()).await;
        workers.push(made.unwrap().worker);
    }
    let options = StartOptions::default();
    // The last waits behind all others, and finds its worker running for long.
    let all = workers.iter().chain(&workers[..1]).map(|worker| provider.start_worker(worker, &options));
    for started in timeout(PATIENCE, join_all(all)).await.expect("a start hangs") {
        started.unwrap();
    }
    for worker in &workers {
        let kill = StopOptions::kill();
        timeout(PATIENCE, provider.stop_worker(worker, &kill)).await.expect("a stop hangs").unwrap();
    }
    drop(provider);
    bed.clean().await;
}

async fn l5_the_longest_grace_still_asks() {
    for bed in [Bed::new(), attached()] {
        let provider = bed.connect().await;
        let worker = create_and_start(&provider, script("a", "exec sleep 1000")).await.unwrap().worker;
        let ever = StopOptions::within(Duration::MAX);
        timeout(PATIENCE, provider.stop_worker(&worker, &ever)).await.expect("it was not asked").unwrap();
        assert_eq!(status(&provider, &worker).await.exit, Some(ExitStatus::Signal(15)));
        drop(provider);
        bed.clean().await;
    }
}

async fn l6_folders_that_others_could_write_into_are_refused() {
    let bed = Bed::new();
    drop(bed.connect().await);
    let state = bed.folder.join("state");
    let open = fs::Permissions::from_mode(0o777);
    let folders = [
        state.clone(),
        bed.state(),
        bed.state().join("workers"),
        bed.folder.join("logs"),
        bed.folder.join("logs").join(bed.installation.as_str()),
    ];
    for folder in folders {
        let before = fs::metadata(&folder).unwrap().permissions();
        fs::set_permissions(&folder, open.clone()).unwrap();
        let error = bed.try_connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}: {error}", folder.display());
        fs::set_permissions(&folder, before).unwrap();
        // A link may lead anywhere.
        let real = folder.with_file_name("real");
        fs::rename(&folder, &real).unwrap();
        symlink(&real, &folder).unwrap();
        let error = bed.try_connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}: {error}", folder.display());
        fs::remove_file(&folder).unwrap();
        fs::rename(&real, &folder).unwrap();
    }
    bed.clean().await;
}

async fn l6_folders_are_passable_whatever_the_umask() {
    let host = as_host("", "closed");
    assert!(host.status.success(), "{}", String::from_utf8_lossy(&host.stderr));
}

/// A host that closes to others what it makes.
async fn closed() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let bed = Bed::new();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", "true")).await;
    assert_eq!(end(&provider, &worker).await.exit, Some(ExitStatus::Code(0)));
    let folder = bed.state().join("workers").join(format!("{}.{}", worker.id, worker.generation));
    for folder in [bed.folder.join("state"), bed.state(), bed.state().join("workers"), folder] {
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o711, "{}", folder.display());
    }
    drop(provider);
    bed.clean().await;
}

/// The end of a worker and of a command, in a host that blocks all signals.
async fn signalled(survival: &str) {
    let bed = if survival == "attached" { attached() } else { Bed::new() };
    let provider = bed.connect().await;
    let failing = start(&provider, script("a", "exit 3")).await;
    assert_eq!(end(&provider, &failing).await.exit, Some(ExitStatus::Code(3)));
    let worker = start(&provider, script("b", "exec sleep 1000")).await;
    if survival != "deaf" {
        let show = ExecOptions::new(["grep", "SigBlk", "/proc/self/status"]);
        let shown = provider.exec_in_worker(&worker, &show).await.unwrap().collect().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&shown.stdout), "SigBlk:\t0000000000000000\n");
    }
    provider.stop_worker(&worker, &StopOptions::within(PATIENCE)).await.unwrap();
    assert_eq!(status(&provider, &worker).await.exit, Some(ExitStatus::Signal(15)));
    drop(provider);
    bed.clean().await;
}

/// Runs this program as a host of its own, that ignores these signals.
fn as_host(ignored: &str, survival: &str) -> std::process::Output {
    let mut env = Command::new("env");
    if !ignored.is_empty() {
        env.arg(format!("--ignore-signal={ignored}"));
    }
    env.arg(std::env::current_exe().unwrap()).args(["signalled", survival]).output().unwrap()
}

async fn l5_what_a_host_blocks_its_workers_do_not() {
    for survival in ["supervised", "attached"] {
        let host = as_host("", survival);
        assert!(host.status.success(), "{survival}: {}", String::from_utf8_lossy(&host.stderr));
    }
}

async fn l5_what_a_host_ignores_its_workers_do_not() {
    // Of commands beside a worker such a host cannot learn the end.
    let host = as_host("CHLD,TERM,INT,HUP", "deaf");
    let said = String::from_utf8_lossy(&host.stderr);
    assert!(host.status.success(), "{said}");
}

async fn l6_ends_that_would_be_lost_are_refused() {
    let host = as_host("CHLD", "attached");
    let said = String::from_utf8_lossy(&host.stderr);
    assert!(!host.status.success() && said.contains("ignores SIGCHLD"), "{said}");
}

async fn p1_memory_is_bounded_for_commands_too() {
    let mut bed = Bed::new();
    bed.settings.limits = LimitMechanism::Rlimit;
    let provider = bed.connect().await;
    let config = script("a", "ulimit -Sv; ulimit -Hv; exec sleep 1000").memory_limit("64Mi");
    let worker = start(&provider, config).await;
    let show = ExecOptions::new(["sh", "-c", "cat; ulimit -Hv"]).with_stdin();
    let session = provider.exec_in_worker(&worker, &show).await.unwrap();
    let shown = session.collect().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "65536\n");
    provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
    assert!(text(&provider, &worker).await.starts_with("65536\n"));
    drop(provider);
    bed.clean().await;
}

/// Whoever was about to run it has the lock, and dies before it has made its claim.
async fn l5_a_start_tries_again_when_another_has_died() {
    for bed in [Bed::new(), attached()] {
        let provider = bed.connect().await;
        let made = provider.create_worker(&lasting("a"), &CreateOptions::default()).await.unwrap();
        let run = format!("{}.1", status(&provider, &made.worker).await.native_id);
        let lock = fs::File::create(bed.state().join("locks").join(run)).unwrap();
        let whole =
            nix::libc::flock { l_type: nix::libc::F_WRLCK as _, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
        nix::fcntl::fcntl(&lock, nix::fcntl::FcntlArg::F_OFD_SETLK(&whole)).unwrap();
        let options = StartOptions::default();
        let mut starting = provider.start_worker(&made.worker, &options);
        assert!(futures::poll!(&mut starting).is_pending(), "it is another's");
        assert_ne!(status(&provider, &made.worker).await.phase, WorkerPhase::Running);
        drop(lock);
        timeout(PATIENCE, starting).await.expect("it waits for ever").unwrap();
        assert_eq!(status(&provider, &made.worker).await.phase, WorkerPhase::Running);
        drop(provider);
        bed.clean().await;
    }
}

/// A host with few descriptors.
async fn full() {
    let most = rustix::process::Rlimit { current: Some(60), maximum: Some(60) };
    let bed = attached();
    let provider = bed.connect().await;
    let options = StartOptions::default();
    let mut workers = Vec::new();
    for n in 0..30 {
        let made = provider.create_worker(&lasting(&format!("w{n}")), &CreateOptions::default()).await;
        workers.push(made.unwrap().worker);
    }
    // Asked to stop before they began: whoever begins anew does not stop.
    for worker in &workers {
        let run = format!("{}.1", status(&provider, worker).await.native_id);
        fs::write(bed.state().join("stopping").join(run), "").unwrap();
    }
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
    let mut refused = Vec::new();
    for worker in &workers {
        if let Err(error) = provider.start_worker(worker, &options).await {
            assert_eq!(error.retry(), Retry::Safe { after: None }, "{error}");
            refused.push(worker);
        }
    }
    assert!(!refused.is_empty());
    for worker in workers.iter().filter(|worker| !refused.contains(worker)) {
        provider.stop_worker(worker, &StopOptions::kill()).await.unwrap();
    }
    provider.start_worker(refused[0], &options).await.unwrap();
    assert_eq!(status(&provider, refused[0]).await.phase, WorkerPhase::Running);
    provider.stop_worker(refused[0], &StopOptions::kill()).await.unwrap();
    drop(provider);
    bed.clean().await;
}

async fn l5_a_start_without_room_can_be_repeated() {
    let host = as_host("", "full");
    assert!(host.status.success(), "{}", String::from_utf8_lossy(&host.stderr));
}

/// The supervisor was killed after its worker's end and before it was written down.
async fn l6_an_end_that_was_noted_is_not_lost() {
    for bed in [Bed::new(), attached()] {
        let provider = bed.connect().await;
        for (id, body, exit) in
            [("a", "exit 7", ExitStatus::Code(7)), ("b", "kill -9 $$", ExitStatus::Signal(9))]
        {
            let worker = start(&provider, script(id, body)).await;
            let run = format!("{}.1", end(&provider, &worker).await.native_id);
            fs::remove_file(bed.state().join("exits").join(run)).unwrap();
            assert_eq!(end(&provider, &worker).await.exit, Some(exit));
        }
        drop(provider);
        bed.clean().await;
    }
}

async fn l6_a_configuration_that_cannot_be_read_hides_no_other_worker() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let bad = start(&provider, script("bad", "exec sleep 1000")).await;
    let good = start(&provider, script("good", "exec sleep 1000")).await;
    let config = |worker: &WorkerRef| {
        bed.state().join("workers").join(format!("{}.{}", worker.id, worker.generation)).join("config.json")
    };
    fs::write(config(&bad), "{").unwrap();
    let listed = provider.list_workers(&WorkerFilter::all()).await.unwrap().workers;
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|status| status.phase == WorkerPhase::Running));
    // The same when it was being deleted.
    let native = status(&provider, &good).await.native_id.clone();
    fs::write(config(&good), "{").unwrap();
    fs::rename(config(&good).parent().unwrap(), bed.state().join("trash").join(native)).unwrap();
    drop(provider);
    let provider = bed.connect().await;
    assert_eq!(fs::read_dir(bed.state().join("trash")).unwrap().count(), 0);
    provider.delete_worker(&bad, &DeleteOptions::default()).await.unwrap();
    assert_eq!(provider.list_workers(&WorkerFilter::all()).await.unwrap().workers, []);
    drop(provider);
    bed.clean().await;
}

async fn l5_a_program_that_is_being_written_can_be_started_later() {
    for bed in [Bed::new(), attached()] {
        let provider = bed.connect().await;
        let program = bed.folder.join("program");
        fs::copy("/bin/true", &program).unwrap();
        let config = WorkerConfig::builder("a").command([program.to_str().unwrap()]);
        let made = provider.create_worker(&config.build().unwrap(), &CreateOptions::default()).await.unwrap();
        let writer = fs::OpenOptions::new().append(true).open(&program).unwrap();
        let error = provider.start_worker(&made.worker, &StartOptions::default()).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Safe { after: None }, "{error}");
        drop(writer);
        // What others of this process have forked in the same instant holds the file until it executes.
        let started = eventually(PATIENCE, || async {
            match provider.start_worker(&made.worker, &StartOptions::default()).await {
                Err(error) if error.kind() == ErrorKind::Capacity => Err(error),
                other => Ok(other),
            }
        });
        started.await.unwrap().unwrap();
        assert_eq!(end(&provider, &made.worker).await.exit, Some(ExitStatus::Code(0)));
        drop(provider);
        bed.clean().await;
    }
}

/// What its supervisor needs to start it is not taken from its limit.
async fn p1_a_small_limit_does_not_keep_a_worker_from_starting() {
    let mut bed = Bed::new();
    bed.settings.limits = LimitMechanism::Rlimit;
    let provider = bed.connect().await;
    let config = script("a", "exit 3").memory_limit("4Mi").env("LONG", "x".repeat(100_000));
    let worker = start(&provider, config).await;
    let ended = end(&provider, &worker).await;
    assert!(ended.exit.is_some(), "{ended:?}");
    drop(provider);
    bed.clean().await;
}

fn without_its_runtime_a_provider_says_so() {
    let bed = Bed::new();
    let first = runtime();
    let (provider, worker) = first.block_on(async {
        let provider = bed.connect().await;
        let worker = start(&provider, script("a", "trap '' TERM; while :; do sleep 1; done")).await;
        (provider, worker)
    });
    drop(first);
    let second = runtime();
    second.block_on(async {
        let stopped = timeout(PATIENCE, provider.stop_worker(&worker, &StopOptions::within(PATIENCE))).await;
        let error = stopped.expect("it hangs").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        drop(provider);
        bed.clean().await;
    });
}
