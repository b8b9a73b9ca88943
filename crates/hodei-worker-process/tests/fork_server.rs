//! The process from which supervisors are forked: it may be lost, and what it cannot do is told.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod common;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::ExitCode};

use common::{Bed, is_alive, kill, marked, phase, pids, script, start, trials, until};
use hodei_worker_core::{
    ErrorKind, WorkerPhase, WorkerProvider as _,
    provider::{CreateOptions, StartOptions},
};
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    hodei_worker_process::init();
    let trials = trials![
        l6_supervisors_outlive_the_process_they_were_forked_from,
        l6_a_fork_server_ends_with_its_provider_and_is_none_of_the_supervisors,
        l6_supervisors_that_end_are_reaped,
        p1_what_keeps_a_supervisor_from_beginning_is_told,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

const FOREVER: &str = "exec sleep 1000";

fn parent(pid: i32) -> i32 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

async fn l6_supervisors_outlive_the_process_they_were_forked_from() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let first = start(&provider, script("a", FOREVER)).await;
    let (pid, supervisor) = pids(&bed, &first);
    let server = parent(supervisor);
    assert_eq!(parent(server), std::process::id() as i32);
    kill(server);
    until(|| parent(supervisor) != server).await;
    let second = start(&provider, script("b", FOREVER)).await;
    assert_ne!(parent(pids(&bed, &second).1), server);
    for worker in [&first, &second] {
        assert_eq!(phase(&provider, worker).await, WorkerPhase::Running);
    }
    assert!(is_alive(pid) && is_alive(supervisor));
    bed.clean().await;
}

async fn l6_a_fork_server_ends_with_its_provider_and_is_none_of_the_supervisors() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", FOREVER)).await;
    let (pid, supervisor) = pids(&bed, &worker);
    let server = parent(supervisor);
    drop(provider);
    until(|| !is_alive(server)).await;
    assert!(is_alive(pid) && is_alive(supervisor));
    assert_ne!(parent(supervisor), std::process::id() as i32, "it would be ours to reap");
    bed.clean().await;
}

async fn l6_supervisors_that_end_are_reaped() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", FOREVER)).await;
    let (pid, supervisor) = pids(&bed, &worker);
    kill(pid);
    until(|| !Path::new(&format!("/proc/{supervisor}")).exists()).await;
    bed.clean().await;
}

async fn p1_what_keeps_a_supervisor_from_beginning_is_told() {
    let mut bed = Bed::new();
    fs::create_dir_all(&bed.folder).unwrap();
    let program = bed.folder.join("supervise");
    fs::write(&program, "#!/bin/sh\necho 'libmissing.so: no such file' >&2; exit 127\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let good = bed.settings.supervisor.replace(program.clone());
    let provider = bed.connect().await;
    let config = script("a", FOREVER).build().unwrap();
    let worker = provider.create_worker(&config, &CreateOptions::default()).await.unwrap().worker;
    let options = StartOptions::default();
    let start = || provider.start_worker(&worker, &options);
    let refused = start().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unexpected);
    assert!(format!("{refused:#} {refused:?}").contains("libmissing.so"), "{refused:?}");

    // One that says nothing, and reads nothing.
    fs::write(&program, "#!/bin/sh\nexit 0\n").unwrap();
    let refused = start().await.unwrap_err();
    assert!(format!("{refused:#} {refused:?}").contains("init()"), "{refused:?}");
    assert_eq!(marked(bed.installation.as_str()), Vec::<i32>::new());

    bed.settings.supervisor = good;
    let provider = bed.connect().await;
    provider.start_worker(&worker, &options).await.unwrap();
    bed.clean().await;
}
