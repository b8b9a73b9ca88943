//! Logs, exec, stats, secrets and limits, on real processes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod common;

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use common::{Bed, PATIENCE, create_and_start, end, pids, record, script, start, status, until};
use futures::StreamExt as _;
use hodei_worker_core::{
    Capability, CredentialProvider as _, ErrorKind, WorkerConfig, WorkerPhase, WorkerProvider as _,
    WorkerProviderExt as _,
    credential::{SecretKey, StoreOptions},
    model::SecretReference,
    provider::{
        DeleteOptions, ExecOptions, LogItem, LogOptions, LogStream, StartOptions, StatsOptions, StopOptions,
    },
    quantity::ByteSize,
    status::{ExitStatus, FailureClass},
};
use hodei_worker_process::{LimitMechanism, ProcessOptions};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn p1_logs_are_whole_when_the_worker_has_ended() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    // 10 MB, and a last line without an end.
    let worker =
        start(&provider, script("a", "yes 0123456789abcde | head -c 10000000; printf end; echo no >&2"))
            .await;
    end(&provider, &worker).await;
    let out = provider.collect_logs(&worker, &LogOptions::all().only(LogStream::Stdout)).await.unwrap();
    assert_eq!(out.len(), 10_000_003);
    assert!(out.ends_with(b"\nend"));
    let tail = provider.collect_logs(&worker, &LogOptions::all().tail(1)).await.unwrap();
    assert!(tail == b"no\n" || tail == b"end", "{tail:?}");
    let wrong = provider.collect_logs(&worker, &LogOptions::all().only(LogStream::Stderr)).await.unwrap();
    assert_eq!(wrong, b"no\n");
    bed.clean().await;
}

#[tokio::test]
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

#[tokio::test]
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
    let folder = fs::read_dir(bed.folder.join("logs").join(bed.installation.as_str())).unwrap().next();
    assert_eq!(fs::read_dir(folder.unwrap().unwrap().path()).unwrap().count(), 3);
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

#[tokio::test]
async fn p1_exec_with_input_codes_and_much_output() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let config = script("a", "exec sleep 1000").env("TEXT", "here").working_dir("/usr");
    let worker = start(&provider, config).await;
    let exec = async |options: ExecOptions| provider.exec_in_worker(&worker, &options).await;

    let mut session = exec(ExecOptions::new(["cat"]).with_stdin()).await.unwrap();
    session.stdin.as_mut().unwrap().write_all(b"in and out\xff").await.unwrap();
    let output = session.collect().await.unwrap();
    assert_eq!((output.exit, output.stdout), (Some(ExitStatus::Code(0)), b"in and out\xff".to_vec()));

    let body = "echo $TEXT $MORE; pwd; echo wrong >&2; exit 137";
    let output =
        exec(ExecOptions::new(["sh", "-c", body]).env("MORE", "x")).await.unwrap().collect().await.unwrap();
    assert_eq!(output.exit, Some(ExitStatus::Code(137)));
    assert_eq!((output.stdout, output.stderr), (b"here x\n/usr\n".to_vec(), b"wrong\n".to_vec()));

    let output = exec(ExecOptions::new(["sh", "-c", "kill -9 $$"])).await.unwrap().collect().await.unwrap();
    assert_eq!(output.exit, Some(ExitStatus::Signal(9)));

    let much = ExecOptions::new(["head", "-c", "5000000", "/dev/zero"]).working_dir("/");
    let output = exec(much).await.unwrap().collect().await.unwrap();
    assert_eq!(output.stdout.len(), 5_000_000);

    let error = exec(ExecOptions::new(["hodei-no-such-command"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");

    // Something that it leaves running keeps nobody waiting.
    let left = exec(ExecOptions::new(["sh", "-c", "sleep 1000 & echo left"])).await.unwrap();
    let output = tokio::time::timeout(PATIENCE, left.collect()).await.unwrap().unwrap();
    assert_eq!(output.stdout, b"left\n");

    provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
    let error = exec(ExecOptions::new(["true"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    bed.clean().await;
}

#[tokio::test]
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

#[tokio::test]
async fn l7_stats_rise_under_load() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", "while :; do :; done & while :; do :; done")).await;
    let stats = async || provider.worker_stats(&worker, &StatsOptions::default()).await.unwrap();
    let first = stats().await;
    assert!(first.memory.unwrap() > 0 && first.pids.unwrap() >= 1, "{first:?}");
    loop {
        let later = stats().await;
        assert!(later.cpu_time >= first.cpu_time);
        if later.cpu_time.unwrap() > first.cpu_time.unwrap() + Duration::from_millis(200) {
            assert_eq!(later.pids, Some(2));
            break;
        }
        tokio::task::yield_now().await;
    }
    provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
    let error = provider.worker_stats(&worker, &StatsOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    bed.clean().await;
}

#[tokio::test]
async fn c13_secrets_are_files_in_memory_and_stand_in_no_record() {
    const SECRET: &str = "hunter2-planted";
    let bed = Bed::new();
    let provider = bed.connect().await;
    let key = SecretKey::new("prod/key").unwrap();
    bed.credentials.store_credential(&key, SECRET.into(), &StoreOptions::default()).await.unwrap();
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

    let missing = script("b", "true").secret(SecretReference::variable("none", "KEY"));
    let error = create_and_start(&provider, missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
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

#[tokio::test]
async fn p1_a_worker_of_another_user_reads_its_secrets() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not shown: only root can run a worker as another user");
        return;
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
}

#[tokio::test]
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

#[tokio::test]
async fn p1_limits_hold_where_they_are_declared() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let capabilities = provider.get_capabilities().await.unwrap();
    println!("limits by: {}", capabilities.version);
    let limited = [Capability::MemoryLimit, Capability::PidsLimit, Capability::CpuLimit];
    if let Err(error) = capabilities.require(limited) {
        eprintln!("not shown: {error}");
        let config = script("a", "true").memory_limit("30Mi").pids_limit(5).cpu_limit("0.2").build().unwrap();
        let refused = provider.create_worker(&config, &Default::default()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        return bed.clean().await;
    }
    let hungry = start(
        &provider,
        script("hungry", "exec dd if=/dev/zero of=/dev/null bs=200M count=1").memory_limit("30Mi"),
    )
    .await;
    let status = end(&provider, &hungry).await;
    assert!(status.out_of_memory, "{status:?}");
    assert_eq!((status.exit, status.failure), (Some(ExitStatus::Signal(9)), Some(FailureClass::OutOfMemory)));

    let body = "i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i+1)); done; wait";
    let many = start(&provider, script("many", body).pids_limit(5)).await;
    let ended = end(&provider, &many).await;
    assert!(matches!(ended.exit, Some(ExitStatus::Code(code)) if code != 0), "{ended:?}");
    let text = provider.collect_logs(&many, &LogOptions::all()).await.unwrap();
    assert!(String::from_utf8_lossy(&text).to_lowercase().contains("fork"), "{text:?}");

    let one = start(&provider, WorkerConfig::builder("one").command(["true"]).pids_limit(1)).await;
    assert_eq!(end(&provider, &one).await.exit, Some(ExitStatus::Code(0)));

    let busy = start(&provider, script("busy", "while :; do :; done").cpu_limit("0.2")).await;
    let cpu = async || {
        let stats = provider.worker_stats(&busy, &StatsOptions::default()).await.unwrap();
        (std::time::Instant::now(), stats.cpu_time.unwrap())
    };
    let (begun, used) = cpu().await;
    let share = loop {
        let (now, later) = cpu().await;
        if now - begun > Duration::from_millis(1500) {
            break (later - used).as_secs_f64() / (now - begun).as_secs_f64();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(share < 0.35, "it used {share} of a processor");
    bed.clean().await;
}

#[tokio::test]
async fn p3_without_control_groups_memory_is_bounded_per_process_and_the_rest_refused() {
    let mut bed = Bed::new();
    bed.settings.limits = LimitMechanism::Rlimit;
    let provider = bed.connect().await;
    let capabilities = provider.get_capabilities().await.unwrap();
    assert!(capabilities.reason(Capability::MemoryLimit).unwrap().contains("RLIMIT_AS"));
    assert!(!capabilities.supports(Capability::CpuLimit) && !capabilities.supports(Capability::PidsLimit));
    let worker = start(
        &provider,
        script("a", "sleep 0.2; exec dd if=/dev/zero of=/dev/null bs=200M count=1").memory_limit("60Mi"),
    )
    .await;
    let status = end(&provider, &worker).await;
    assert!(matches!(status.exit, Some(ExitStatus::Code(code)) if code != 0), "{status:?}");
    assert!(!status.out_of_memory);
    bed.clean().await;
}

#[tokio::test]
async fn p1_attached_workers_do_all_but_survive() {
    let bed = Bed::attached();
    let provider = bed.connect().await;
    let capabilities = provider.get_capabilities().await.unwrap();
    assert!(!capabilities.supports(Capability::SurvivesHost));
    assert!(capabilities.reason(Capability::SurvivesHost).unwrap().contains("init()"));

    let code = start(&provider, script("code", "echo out; echo err >&2; exit 137")).await;
    assert_eq!(end(&provider, &code).await.exit, Some(ExitStatus::Code(137)));
    assert_eq!(provider.collect_logs(&code, &LogOptions::all()).await.unwrap().len(), 8);
    provider.start_worker(&code, &StartOptions::default()).await.unwrap();
    let run = status(&provider, &code).await.run.clone();
    provider.start_worker(&code, &StartOptions::after(run.clone())).await.unwrap();
    end(&provider, &code).await;
    assert_eq!(provider.collect_logs(&code, &LogOptions::all()).await.unwrap().len(), 16);

    let error = create_and_start(&provider, WorkerConfig::builder("no").command(["hodei-no-such"])).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);

    let ignores = script("ignores", "trap '' TERM; echo on; while :; do sleep 0.05; done");
    let worker = start(&provider, ignores).await;
    let mut logs = provider.worker_logs(&worker, &LogOptions::following()).await.unwrap();
    tokio::time::timeout(PATIENCE, logs.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(status(&provider, &worker).await.phase, WorkerPhase::Running);
    provider.stop_worker(&worker, &StopOptions::within(Duration::from_millis(100))).await.unwrap();
    assert_eq!(status(&provider, &worker).await.exit, Some(ExitStatus::Signal(9)));

    let escapes =
        start(&provider, script("escapes", "setsid sh -c 'sleep 1000 & sleep 1000' & echo; exit 3")).await;
    assert_eq!(end(&provider, &escapes).await.exit, Some(ExitStatus::Code(3)));
    assert_eq!(common::marked(bed.installation.as_str()), Vec::<i32>::new());
    assert!(record(&bed, "started", &worker).is_some());
    bed.clean().await;
}
