//! What happens when a host or a supervisor is killed. This program is the hosts too: its `main` begins with the hook.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod common;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::chown, process::CommandExt as _},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use common::{
    Bed, PATIENCE, end, kill, marked, not_root, phase, pids, runtime, script, start, status, trials, until,
};
use futures::StreamExt as _;
use hodei_worker_core::{
    Capability, WorkerObservation, WorkerPhase, WorkerProvider as _, WorkerRef,
    model::WorkerConfigBuilder,
    provider::{
        CreateOptions, DeleteOptions, LogOptions, StartOptions, StatsOptions, StopOptions, WatchOptions,
        WorkerFilter,
    },
    status::{ExitStatus, FailureClass},
};
use libtest_mimic::{Arguments, Completion};

fn main() -> ExitCode {
    hodei_worker_process::init();
    let role: Vec<String> = std::env::args().skip(1).collect();
    if role.first().is_some_and(|first| first == "host") {
        runtime().block_on(host(&role[1..]));
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    // Rounds of killing are timed; others beside them would only make them slower.
    arguments.test_threads.get_or_insert(2);
    let trials = trials![
        l6_workers_survive_a_killed_host_and_their_ends_are_exact,
        l6_an_unprivileged_host_does_the_same,
        l6_an_escapee_dies_with_its_worker,
        l6_an_escapee_dies_with_its_unprivileged_worker,
        l6_a_worker_without_a_supervisor_is_found_and_ended,
        l6_an_end_that_nobody_saw_is_no_success,
        l6_a_supervisor_obeys_the_system,
        l5_the_deadline_of_a_stop_outlives_the_host,
        l6_hosts_killed_while_they_create_and_start,
        l6_hosts_killed_while_they_stop_and_delete,
        l6_attached_workers_of_a_dead_host_are_found,
        l7_stats_of_an_attached_worker_are_its_own_for_every_host,
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Another host of the installation, which does what it is told and then waits to be killed.
async fn host(role: &[String]) {
    let [folder, installation, doing, id, script] = role else { panic!("{role:?}") };
    let mut bed = hooked();
    bed.settings.state_dir = Some(format!("{folder}/state").into());
    bed.settings.log_dir = Some(format!("{folder}/logs").into());
    bed.installation = installation.parse().unwrap();
    if doing == "attached" || doing == "two" {
        bed.settings.survival = hodei_worker_process::Survival::Attached;
    }
    let provider = bed.connect().await;
    std::mem::forget(bed);
    println!("ready");
    let _ = std::io::stdin().read_line(&mut String::new());
    let worker = WorkerRef::first(id.parse().unwrap());
    match doing.as_str() {
        "start" | "attached" => {
            start(&provider, common::script(id, script)).await;
        }
        "two" => {
            start(&provider, common::script("other", script)).await;
            start(&provider, common::script(id, script)).await;
        }
        "stop" => {
            let grace = StopOptions::within(Duration::from_millis(script.parse().unwrap()));
            provider.stop_worker(&worker, &grace).await.unwrap();
        }
        "delete" => provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap(),
        other => panic!("{other}"),
    }
    println!("done");
    std::future::pending::<()>().await;
}

/// An installation whose hosts supervise by the hook.
fn hooked() -> Bed {
    let mut bed = Bed::new();
    bed.settings.supervisor = None;
    bed
}

/// A host that has connected and been told to begin.
struct Host(Child, BufReader<ChildStdout>);

impl Host {
    fn spawn(bed: &Bed, doing: &str, id: &str, script: &str, uid: Option<u32>) -> Self {
        let mut program = std::env::current_exe().unwrap();
        if uid.is_some() {
            // Where this program lies, others may not be allowed to look.
            let copy = bed.folder.join("program");
            if !copy.exists() {
                fs::copy(&program, &copy).unwrap();
            }
            program = copy;
        }
        let mut command = Command::new(program);
        let role = ["host", bed.folder.to_str().unwrap(), bed.installation.as_str(), doing, id, script];
        command.args(role).stdout(Stdio::piped()).stdin(Stdio::piped());
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        Self(child, said)
    }

    fn wait_until_done(&mut self) {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }

    /// Kills it some time after it has begun; whether it was done by then.
    fn kill_in_the_middle(mut self) -> bool {
        let moment = Instant::now() + Duration::from_micros(1 << fastrand::u32(0..15));
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        self.0.kill().unwrap();
        let mut rest = String::new();
        self.1.read_to_string(&mut rest).unwrap();
        self.0.wait().unwrap();
        rest == "done\n"
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn l6_workers_survive_a_killed_host_and_their_ends_are_exact() {
    survive(None).await;
}

async fn l6_an_unprivileged_host_does_the_same() -> Completion {
    if let Some(ignored) = not_root() {
        return ignored;
    }
    survive(Some(65534)).await;
    Completion::Completed
}

async fn survive(uid: Option<u32>) {
    let bed = hooked();
    fs::create_dir_all(&bed.folder).unwrap();
    chown(&bed.folder, uid, uid).unwrap();
    // They wait for a word, and would end at once if a pipe to their host broke.
    let go = bed.folder.join("go");
    rustix::fs::mkfifoat(rustix::fs::CWD, &go, rustix::fs::Mode::RWXU).unwrap();
    chown(&go, uid, uid).unwrap();
    let waits = format!("echo begun; read word < {}; echo \"$word\"; ", go.display());
    let ends = [("exit 137", ExitStatus::Code(137)), ("kill -9 $$", ExitStatus::Signal(9))];
    for (n, (how, exit)) in ends.into_iter().enumerate() {
        let id = format!("w{n}");
        let mut host = Host::spawn(&bed, "start", &id, &format!("{waits}{how}"), uid);
        host.wait_until_done();
        host.kill();
        let worker = WorkerRef::first(id.parse().unwrap());
        let provider = if uid.is_some() {
            // Only its owner may use the folder, so this is looked at through the files.
            None
        } else {
            let provider = bed.connect().await;
            assert!(provider.get_capabilities().await.unwrap().supports(Capability::SurvivesHost));
            assert_eq!(phase(&provider, &worker).await, WorkerPhase::Running);
            Some(provider)
        };
        fs::write(&go, "word\n").unwrap();
        match provider {
            Some(provider) => {
                assert_eq!(end(&provider, &worker).await.exit, Some(exit));
                let logs = common::text(&provider, &worker).await;
                assert_eq!(logs, "begun\nword\n");
            }
            None => {
                until(|| common::record(&bed, "exits", &worker).is_some()).await;
                let record = common::record(&bed, "exits", &worker).unwrap();
                let raw = record["end"]["wait"].as_i64().unwrap();
                assert_eq!(raw, if n == 0 { 137 << 8 } else { 9 });
            }
        }
    }
    if uid.is_none() {
        bed.clean().await;
    }
}

async fn l6_an_escapee_dies_with_its_worker() {
    let bed = hooked();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", &format!("{} exit 3", bed.escape()))).await;
    assert_eq!(end(&provider, &worker).await.exit, Some(ExitStatus::Code(3)));
    assert_eq!(marked(bed.installation.as_str()), Vec::<i32>::new());
    // And when it is killed.
    let worker = start(&provider, script("b", &format!("{} exec sleep 1000", bed.escape()))).await;
    until(|| marked(bed.installation.as_str()).len() == 2).await;
    provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
    assert_eq!(marked(bed.installation.as_str()), Vec::<i32>::new());
    bed.clean().await;
}

/// Without control groups, as whoever is not root has it.
async fn l6_an_escapee_dies_with_its_unprivileged_worker() -> Completion {
    if let Some(ignored) = not_root() {
        return ignored;
    }
    let bed = hooked();
    fs::create_dir_all(&bed.folder).unwrap();
    chown(&bed.folder, Some(65534), Some(65534)).unwrap();
    let host = Host::spawn(&bed, "start", "a", &format!("{} exit 3", bed.escape()), Some(65534));
    let worker = WorkerRef::first("a".parse().unwrap());
    until(|| bed.state().join("exits").exists() && common::record(&bed, "exits", &worker).is_some()).await;
    assert_eq!(marked(bed.installation.as_str()), Vec::<i32>::new());
    host.kill();
    Completion::Completed
}

async fn l6_a_worker_without_a_supervisor_is_found_and_ended() {
    let bed = hooked();
    let provider = bed.connect().await;
    for (id, grace) in [("killed", Duration::ZERO), ("asked", Duration::from_secs(5))] {
        let worker = start(&provider, script(id, &format!("{} exec sleep 1000", bed.escape()))).await;
        until(|| marked(bed.installation.as_str()).len() == 2).await;
        let (process, supervisor) = pids(&bed, &worker);
        kill(supervisor);
        until(|| !common::is_alive(supervisor)).await;
        let lost = status(&provider, &worker).await;
        assert_eq!(lost.phase, WorkerPhase::Running);
        assert!(lost.reason.as_ref().unwrap().contains("supervisor was lost"), "{lost:?}");
        assert!(common::is_alive(process));
        let again = provider.start_worker(&worker, &StartOptions::after(lost.run.clone())).await;
        assert!(again.is_err(), "it would run twice");
        provider.stop_worker(&worker, &StopOptions::within(grace)).await.unwrap();
        let ended = status(&provider, &worker).await;
        assert_eq!((ended.phase, ended.exit), (WorkerPhase::Exited, None));
        assert_eq!(ended.failure, Some(FailureClass::Vanished));
        assert_eq!(marked(bed.installation.as_str()), Vec::<i32>::new());
    }
    // And by a deletion.
    let worker = start(&provider, script("deleted", &format!("{} exec sleep 1000", bed.escape()))).await;
    until(|| marked(bed.installation.as_str()).len() == 2).await;
    kill(pids(&bed, &worker).1);
    provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
    assert_eq!(marked(bed.installation.as_str()), Vec::<i32>::new());
    bed.clean().await;
}

async fn l6_an_end_that_nobody_saw_is_no_success() {
    let bed = hooked();
    let provider = bed.connect().await;
    let mut watch = provider.watch_workers(&WatchOptions::default()).await.unwrap();
    let worker = start(&provider, script("a", &format!("{} exec sleep 1000", bed.escape()))).await;
    until(|| marked(bed.installation.as_str()).len() == 2).await;
    let (process, supervisor) = pids(&bed, &worker);
    let mut until_told = async |wanted: &dyn Fn(&hodei_worker_core::WorkerStatus) -> bool| loop {
        let change = tokio::time::timeout(PATIENCE, watch.next()).await.expect("not told").unwrap().unwrap();
        // The first list may come late.
        if let WorkerObservation::Applied(status) | WorkerObservation::Listed(status) = change
            && wanted(&status)
        {
            return status;
        }
    };
    // The watch hears of both deaths by itself.
    kill(supervisor);
    until_told(&|status| status.reason.as_ref().is_some_and(|reason| reason.contains("lost"))).await;
    kill(process);
    let ended = until_told(&|status| status.phase == WorkerPhase::Exited).await;
    assert_eq!((ended.exit, ended.failure), (None, Some(FailureClass::Vanished)));
    assert_eq!(marked(bed.installation.as_str()), Vec::<i32>::new(), "its escapee is left");
    provider.start_worker(&worker, &StartOptions::after(ended.run.clone())).await.unwrap();
    assert_eq!(phase(&provider, &worker).await, WorkerPhase::Running);
    bed.clean().await;
}

async fn l6_a_supervisor_obeys_the_system() {
    use rustix::process::{Pid, Signal, kill_process};
    let bed = hooked();
    let provider = bed.connect().await;
    let worker =
        start(&provider, script("a", "trap 'exit 5' TERM; echo on; while :; do sleep 0.05; done")).await;
    let mut logs = provider.worker_logs(&worker, &LogOptions::following()).await.unwrap();
    tokio::time::timeout(PATIENCE, logs.next()).await.unwrap().unwrap().unwrap();
    // As a service manager does to everything at shutdown.
    kill_process(Pid::from_raw(pids(&bed, &worker).1).unwrap(), Signal::TERM).unwrap();
    assert_eq!(end(&provider, &worker).await.exit, Some(ExitStatus::Code(5)));
    bed.clean().await;
}

async fn l5_the_deadline_of_a_stop_outlives_the_host() {
    let bed = hooked();
    let provider = bed.connect().await;
    let body = "trap 'echo asked' TERM; echo on; while :; do sleep 0.05; done";
    let worker = start(&provider, script("a", body)).await;
    let mut logs = provider.worker_logs(&worker, &LogOptions::following()).await.unwrap();
    let mut line = async || {
        let item = tokio::time::timeout(PATIENCE, logs.next()).await.unwrap().unwrap().unwrap();
        item.chunk().unwrap().text().trim_end().to_owned()
    };
    assert_eq!(line().await, "on");
    let host = Host::spawn(&bed, "stop", "a", "1000", None);
    // Its supervisor holds the deadline then.
    assert_eq!(line().await, "asked");
    host.kill();
    assert_eq!(phase(&provider, &worker).await, WorkerPhase::Stopping);
    let run = format!("{}.1", status(&provider, &worker).await.native_id);
    let written =
        |folder: &str| fs::metadata(bed.state().join(folder).join(&run)).unwrap().modified().unwrap();
    let marked = written("stopping");
    assert_eq!(end(&provider, &worker).await.exit, Some(ExitStatus::Signal(9)));
    // Marked before it was asked, and written down after it was killed.
    let took = written("exits").duration_since(marked).unwrap();
    assert!(took >= Duration::from_millis(1000), "{took:?}");
    bed.clean().await;
}

const ROUNDS: usize = 50;

async fn l6_hosts_killed_while_they_create_and_start() {
    let bed = hooked();
    let provider = bed.connect().await;
    let out = bed.folder.join("out");
    fs::create_dir(&out).unwrap();
    let (mut begun, mut done) = (0, 0);
    for n in 0..ROUNDS {
        let id = format!("w{n}");
        let body = format!("echo run >> {}/{id}; exit 7", out.display());
        let host = Host::spawn(&bed, "start", &id, &body, None);
        done += usize::from(host.kill_in_the_middle());
        let worker = WorkerRef::first(id.parse().unwrap());
        begun += usize::from(phase(&provider, &worker).await != WorkerPhase::Absent);
        let again: WorkerConfigBuilder = script(&id, &body);
        start(&provider, again).await;
        assert_eq!(end(&provider, &worker).await.exit, Some(ExitStatus::Code(7)), "round {n}");
    }
    assert!(begun > 0 && done < ROUNDS, "of {ROUNDS} hosts {begun} had begun and {done} were done");
    for n in 0..ROUNDS {
        assert_eq!(fs::read_to_string(out.join(format!("w{n}"))).unwrap(), "run\n", "round {n}");
    }
    drop(provider);
    bed.clean().await;
}

async fn l6_hosts_killed_while_they_stop_and_delete() {
    let bed = hooked();
    let provider = bed.connect().await;
    let mut done = 0;
    let mut begun = 0;
    for n in 0..ROUNDS / 2 {
        let id = format!("w{n}");
        let worker = start(&provider, script(&id, &format!("{} exec sleep 1000", bed.escape()))).await;
        let host = Host::spawn(&bed, ["stop", "delete"][n % 2], &id, "4000", None);
        done += usize::from(host.kill_in_the_middle());
        // A new host sees it, whole or gone, and finishes the job.
        let fresh = bed.connect().await;
        let listed = fresh.list_workers(&WorkerFilter::all()).await.unwrap();
        assert!(listed.workers.iter().all(|status| status.worker == worker));
        begun += usize::from(listed.workers.iter().all(|status| status.phase != WorkerPhase::Running));
        fresh.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        assert_eq!(phase(&fresh, &worker).await, WorkerPhase::Absent);
        assert_eq!(marked(bed.installation.as_str()), Vec::<i32>::new(), "round {n}");
        let again = script(&id, "true").build().unwrap();
        fresh.create_worker(&again, &CreateOptions::default()).await.unwrap();
        fresh.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
    }
    assert!(begun > 0 && done < ROUNDS / 2, "{begun} hosts had begun and {done} were done");
    bed.clean().await;
}

async fn l7_stats_of_an_attached_worker_are_its_own_for_every_host() {
    let bed = hooked();
    let mut host = Host::spawn(&bed, "two", "a", "exec sleep 1000", None);
    host.wait_until_done();
    let provider = bed.connect().await;
    let worker = WorkerRef::first("a".parse().unwrap());
    let stats = provider.worker_stats(&worker, &StatsOptions::default()).await.unwrap();
    assert_eq!(stats.pids, Some(1), "{stats:?}");
    host.kill();
    bed.clean().await;
}

async fn l6_attached_workers_of_a_dead_host_are_found() {
    let bed = hooked();
    let mut host = Host::spawn(&bed, "attached", "a", &format!("{} exec sleep 1000", bed.escape()), None);
    host.wait_until_done();
    until(|| marked(bed.installation.as_str()).len() == 2).await;
    host.kill();
    let provider = bed.connect().await;
    let worker = WorkerRef::first("a".parse().unwrap());
    assert_eq!(phase(&provider, &worker).await, WorkerPhase::Running);
    provider.stop_worker(&worker, &StopOptions::default()).await.unwrap();
    assert_eq!(status(&provider, &worker).await.failure, Some(FailureClass::Vanished));
    assert_eq!(marked(bed.installation.as_str()), Vec::<i32>::new());
    bed.clean().await;
}
