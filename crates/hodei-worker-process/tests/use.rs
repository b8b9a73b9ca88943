//! Logs, exec, stats, secrets and limits, on real processes: what the behaviour suite cannot see of them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod common;

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::ExitCode};

use common::{Bed, PATIENCE, end, not_root, pids, script, start, status, trials, until};
use futures::StreamExt as _;
use hodei_worker_core::{
    Capability, CredentialProvider as _, ErrorKind, WorkerConfig, WorkerProvider as _,
    WorkerProviderExt as _,
    credential::{SecretKey, StoreOptions},
    model::SecretReference,
    provider::{
        CreateOptions, DeleteOptions, ExecOptions, LogItem, LogOptions, StartOptions, StatsOptions,
        StopOptions,
    },
    quantity::ByteSize,
    status::ExitStatus,
};
use hodei_worker_process::{LimitMechanism, ProcessOptions};
use libtest_mimic::{Arguments, Completion};

fn main() -> ExitCode {
    hodei_worker_process::init();
    let trials = trials![
        p1_logs_are_followed_over_runs_and_end_with_the_worker,
        p1_rotation_keeps_the_newest_and_tells_of_the_gap,
        p1_exec_runs_where_its_worker_does_and_waits_for_nothing_it_leaves,
        p1_a_command_ends_when_its_session_is_dropped_or_its_worker_ends,
        l7_stats_count_all_of_a_workers_processes,
        c13_secrets_are_files_in_memory_and_stand_in_no_record,
        c13_secret_files_are_refused_where_they_would_lie_on_a_disk,
        p1_a_worker_of_another_user_reads_its_secrets,
        p1_the_stop_signal_can_be_chosen,
        d5_a_limit_on_processes_does_not_count_the_supervisor,
        p3_without_control_groups_memory_is_bounded_per_process_and_the_rest_refused,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

async fn p1_logs_are_followed_over_runs_and_end_with_the_worker() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let config = script("a", "echo one; echo two").build().unwrap();
    let handle = provider.create_worker(&config, &Default::default()).await.unwrap();
    let mut logs = provider.worker_logs(&handle.worker, &LogOptions::following()).await.unwrap();
    let mut line = async || {
        let item = tokio::time::timeout(PATIENCE, logs.next()).await.expect("no output");
        item.map(|item| item.unwrap().chunk().unwrap().text().into_owned())
    };
    provider.start_worker(&handle.worker, &StartOptions::default()).await.unwrap();
    assert_eq!((line().await.as_deref(), line().await.as_deref()), (Some("one"), Some("two")));
    let run = end(&provider, &handle.worker).await.run.clone();
    provider.start_worker(&handle.worker, &StartOptions::after(run)).await.unwrap();
    assert_eq!((line().await.as_deref(), line().await.as_deref()), (Some("one"), Some("two")));
    provider.delete_worker(&handle.worker, &DeleteOptions::default()).await.unwrap();
    assert_eq!(line().await, None);
    let error = provider.worker_logs(&handle.worker, &LogOptions::all()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    bed.clean().await;
}

async fn p1_rotation_keeps_the_newest_and_tells_of_the_gap() {
    let mut bed = Bed::new();
    bed.settings.logs.max_size = ByteSize::kib(16);
    let provider = bed.connect().await;
    let body = "echo first; read go < $FIFO; seq 1 20000; echo last";
    let fifo = bed.folder.join("go");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let worker = start(&provider, script("a", body).env("FIFO", fifo.display().to_string())).await;
    let mut logs = provider.worker_logs(&worker, &LogOptions::following()).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, logs.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.chunk().unwrap().text(), "first");
    fs::write(&fifo, "go\n").unwrap();
    end(&provider, &worker).await;
    let kept = common::files(&bed.folder.join("logs"));
    assert_eq!(kept.iter().filter(|path| path.extension().is_some()).count(), 3, "{kept:?}");
    let (mut gaps, mut text) = (0, String::new());
    while text != "last" {
        match tokio::time::timeout(PATIENCE, logs.next()).await.unwrap().unwrap().unwrap() {
            LogItem::Chunk(chunk) => text = chunk.text().into_owned(),
            _ => gaps += 1,
        }
    }
    assert!(gaps >= 1, "it was outrun and not told");
    bed.clean().await;
}

async fn p1_exec_runs_where_its_worker_does_and_waits_for_nothing_it_leaves() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", "exec sleep 1000").working_dir("/usr")).await;
    let exec = async |body: &str| {
        let options = ExecOptions::new(["sh", "-c", body]);
        let output = provider.exec_in_worker(&worker, &options).await.unwrap().collect();
        tokio::time::timeout(PATIENCE, output).await.expect("it does not end").unwrap()
    };
    let output = exec("pwd; sleep 1000 & echo left").await;
    assert_eq!((output.exit, output.stdout), (Some(ExitStatus::Code(0)), b"/usr\nleft\n".to_vec()));
    assert_eq!(exec("kill -9 $$").await.exit, Some(ExitStatus::Signal(9)));
    assert_eq!(exec("exit 137").await.exit, Some(ExitStatus::Code(137)));
    let missing = ExecOptions::new(["hodei-no-such-command"]);
    let error = provider.exec_in_worker(&worker, &missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    bed.clean().await;
}

async fn p1_a_command_ends_when_its_session_is_dropped_or_its_worker_ends() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", "exec sleep 1000")).await;
    let sleeper = ExecOptions::new(["sh", "-c", "sleep 1000; true"]);
    let others = || common::marked(bed.installation.as_str()).len();
    until(|| others() == 1).await;
    let session = provider.exec_in_worker(&worker, &sleeper).await.unwrap();
    until(|| others() == 3).await;
    drop(session);
    until(|| others() == 1).await;
    let session = provider.exec_in_worker(&worker, &sleeper).await.unwrap();
    until(|| others() == 3).await;
    provider.stop_worker(&worker, &StopOptions::default()).await.unwrap();
    let exit = tokio::time::timeout(PATIENCE, session.exit()).await.unwrap().unwrap();
    assert_eq!(exit, ExitStatus::Signal(9));
    bed.clean().await;
}

async fn l7_stats_count_all_of_a_workers_processes() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", "sleep 1000 & echo on; exec sleep 1000")).await;
    let mut logs = provider.worker_logs(&worker, &LogOptions::following()).await.unwrap();
    tokio::time::timeout(PATIENCE, logs.next()).await.unwrap().unwrap().unwrap();
    let stats = provider.worker_stats(&worker, &StatsOptions::default()).await.unwrap();
    assert_eq!(stats.pids, Some(2), "{stats:?}");
    bed.clean().await;
}

async fn c13_secret_files_are_refused_where_they_would_lie_on_a_disk() {
    let mut bed = Bed::new();
    let disk = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(bed.installation.as_str());
    assert!(
        !common::memory::is_memory(env!("CARGO_TARGET_TMPDIR").as_ref()),
        "the target folder is in memory"
    );
    bed.settings.state_dir = Some(disk.clone());
    let provider = bed.connect().await;
    let config = script("a", "true").secret(SecretReference::file("prod/key", "key")).build().unwrap();
    let refused = provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert!(refused.to_string().contains("state_dir"), "{refused}");
    let variable = script("a", "true").secret(SecretReference::variable("prod/key", "KEY")).build().unwrap();
    let worker = provider.create_worker(&variable, &CreateOptions::default()).await.unwrap().worker;
    provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
    fs::remove_dir_all(disk).unwrap();
}

async fn c13_secrets_are_files_in_memory_and_stand_in_no_record() {
    const SECRET: &str = "hunter2-planted";
    let bed = Bed::new();
    let provider = bed.connect().await;
    let key = SecretKey::new("prod/key").unwrap();
    bed.credentials.store_credential(&key, SECRET.into(), &StoreOptions::default()).await.unwrap();
    assert!(common::memory::is_memory(&bed.state()));
    let body = "cat $HODEI_SECRETS_DIR/deep/key; stat -c %a $HODEI_SECRETS_DIR $HODEI_SECRETS_DIR/deep/key; \
                echo $KEY | tail -c 8; exec sleep 1000";
    let config = script("a", body)
        .secret(SecretReference::file("prod/key", "deep/key"))
        .secret(SecretReference::variable("prod/key", "KEY"));
    let worker = start(&provider, config).await;
    let mut logs = provider.worker_logs(&worker, &LogOptions::following()).await.unwrap();
    let mut text = String::new();
    while text.lines().count() < 3 {
        let item = tokio::time::timeout(PATIENCE, logs.next()).await.unwrap().unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(&item.chunk().unwrap().bytes));
    }
    assert_eq!(text, format!("{SECRET}700\n400\nplanted\n"));

    let mut found = Vec::new();
    look_for(&bed.state(), SECRET, &mut found);
    assert!(found.len() == 1 && found[0].ends_with("deep/key"), "{found:?}");
    let (_, supervisor) = pids(&bed, &worker);
    for of in ["environ", "cmdline"] {
        let text = fs::read(format!("/proc/{supervisor}/{of}")).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(SECRET), "{of}");
    }
    provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
    assert!(!found[0].exists(), "the secret outlives the run");
    let config = bed.state().join("workers/a.1/config.json");
    assert_eq!(fs::metadata(config).unwrap().permissions().mode() & 0o777, 0o600);
    bed.clean().await;
}

fn look_for(folder: &std::path::Path, text: &str, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            look_for(&entry.path(), text, found);
        } else if entry.file_type().unwrap().is_file()
            && String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).contains(text)
        {
            found.push(entry.path());
        }
    }
}

async fn p1_a_worker_of_another_user_reads_its_secrets() -> Completion {
    if let Some(ignored) = not_root() {
        return ignored;
    }
    let bed = Bed::new();
    let provider = bed.connect().await;
    let key = SecretKey::new("key").unwrap();
    bed.credentials.store_credential(&key, "open sesame\n".into(), &StoreOptions::default()).await.unwrap();
    let mut options = ProcessOptions::default();
    options.user = Some("nobody".into());
    let config = script(
        "a",
        "id -un; id -G; cat $HODEI_SECRETS_DIR/key; ls $HODEI_SECRETS_DIR/../.. 2>&1 | grep -c denied",
    )
    .secret(SecretReference::file("key", "key"))
    .options(&options);
    let worker = start(&provider, config).await;
    end(&provider, &worker).await;
    let text = provider.collect_logs(&worker, &LogOptions::all()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&text), "nobody\n65534\nopen sesame\n1\n");
    bed.clean().await;
    Completion::Completed
}

async fn p1_the_stop_signal_can_be_chosen() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let mut options = ProcessOptions::default();
    options.stop_signal = Some("SIGINT".into());
    let worker =
        start(&provider, WorkerConfig::builder("a").command(["sleep", "1000"]).options(&options)).await;
    provider.stop_worker(&worker, &StopOptions::default()).await.unwrap();
    assert_eq!(status(&provider, &worker).await.exit, Some(ExitStatus::Signal(2)));
    bed.clean().await;
}

async fn d5_a_limit_on_processes_does_not_count_the_supervisor() -> Completion {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let capabilities = provider.get_capabilities().await.unwrap();
    if !capabilities.supports(Capability::PidsLimit) {
        bed.clean().await;
        let reason = capabilities.reason(Capability::PidsLimit).unwrap_or_default();
        return Completion::ignored_with(format!("there is no limit on processes: {reason}"));
    }
    let worker = start(&provider, WorkerConfig::builder("a").command(["true"]).pids_limit(1)).await;
    assert_eq!(end(&provider, &worker).await.exit, Some(ExitStatus::Code(0)));
    bed.clean().await;
    Completion::Completed
}

async fn p3_without_control_groups_memory_is_bounded_per_process_and_the_rest_refused() {
    let mut bed = Bed::new();
    bed.settings.limits = LimitMechanism::Rlimit;
    let provider = bed.connect().await;
    let capabilities = provider.get_capabilities().await.unwrap();
    assert!(capabilities.reason(Capability::MemoryLimit).unwrap().contains("RLIMIT_AS"));
    assert!(!capabilities.supports(Capability::CpuLimit) && !capabilities.supports(Capability::PidsLimit));
    let worker = start(
        &provider,
        script("a", "exec dd if=/dev/zero of=/dev/null bs=200M count=1").memory_limit("60Mi"),
    )
    .await;
    let status = end(&provider, &worker).await;
    assert!(matches!(status.exit, Some(ExitStatus::Code(code)) if code != 0), "{status:?}");
    assert!(!status.out_of_memory);
    bed.clean().await;
}
