//! Create, start, stop, delete, status and list, on real processes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod common;

use std::{fs, time::Duration};

use common::{Bed, create_and_start, end, phase, pids, script, start, status, until};
use hodei_worker_core::{
    Capability, ErrorKind, WorkerConfig, WorkerObservation, WorkerPhase, WorkerProvider as _, WorkerRef,
    model::{Generation, Mount, Port, SecretReference},
    provider::{CreateOptions, DeleteOptions, StartOptions, StopOptions, WatchOptions, WorkerFilter},
    status::{ExitStatus, FailureClass},
};
use hodei_worker_process::ProcessOptions;

#[tokio::test]
async fn p1_create_start_stop_delete() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let config = script("a", "exec sleep 1000").label("team", "x").build().unwrap();
    let handle = provider.create_worker(&config, &CreateOptions::default()).await.unwrap();
    assert_eq!(phase(&provider, &handle.worker).await, WorkerPhase::Created);
    assert_eq!(provider.create_worker(&config, &CreateOptions::default()).await.unwrap(), handle);
    provider.start_worker(&handle.worker, &StartOptions::default()).await.unwrap();
    let running = status(&provider, &handle.worker).await;
    assert_eq!(running.phase, WorkerPhase::Running);
    assert!(running.times.started.is_some() && running.run.is_some());
    let (process, supervisor) = pids(&bed, &handle.worker);
    provider.stop_worker(&handle.worker, &StopOptions::default()).await.unwrap();
    let stopped = status(&provider, &handle.worker).await;
    assert_eq!((stopped.phase, stopped.exit), (WorkerPhase::Exited, Some(ExitStatus::Signal(15))));
    assert!(!common::is_alive(process));
    provider.delete_worker(&handle.worker, &DeleteOptions::default()).await.unwrap();
    provider.delete_worker(&handle.worker, &DeleteOptions::default()).await.unwrap();
    assert_eq!(phase(&provider, &handle.worker).await, WorkerPhase::Absent);
    assert!(!common::is_alive(supervisor));
    bed.clean().await;
}

#[tokio::test]
async fn p1_codes_and_signals_are_told_apart() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    for (id, end_of_it, exit, failure) in [
        ("zero", "exit 0", ExitStatus::Code(0), None),
        ("one", "exit 1", ExitStatus::Code(1), Some(FailureClass::Application)),
        ("code137", "exit 137", ExitStatus::Code(137), Some(FailureClass::Application)),
        ("code143", "exit 143", ExitStatus::Code(143), Some(FailureClass::Application)),
        ("killed", "kill -9 $$", ExitStatus::Signal(9), Some(FailureClass::Killed)),
        ("termed", "kill -15 $$", ExitStatus::Signal(15), Some(FailureClass::Killed)),
    ] {
        let worker = start(&provider, script(id, end_of_it)).await;
        let status = end(&provider, &worker).await;
        assert_eq!((status.exit, status.failure), (Some(exit), failure), "{id}: {status:?}");
        assert!(!status.out_of_memory);
    }
    bed.clean().await;
}

#[tokio::test]
async fn p1_another_configuration_is_a_conflict() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let one = script("a", "true").build().unwrap();
    let handle = provider.create_worker(&one, &CreateOptions::default()).await.unwrap();
    let other = script("a", "false").build().unwrap();
    let error = provider.create_worker(&other, &CreateOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let second = CreateOptions::generation(Generation::FIRST.next());
    let next = provider.create_worker(&other, &second).await.unwrap();
    assert_ne!(handle.native_id, next.native_id);
    let listed = provider.list_workers(&WorkerFilter::id(one.worker_id.clone())).await.unwrap();
    assert_eq!(listed.workers.len(), 2);
    bed.clean().await;
}

#[tokio::test]
async fn p1_a_repeated_start_runs_nothing_twice() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let out = bed.folder.join("runs");
    let worker =
        start(&provider, script("a", "echo run >> $OUT").env("OUT", out.display().to_string())).await;
    let first = end(&provider, &worker).await.run.clone();
    provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
    assert_eq!(fs::read_to_string(&out).unwrap(), "run\n");
    for _ in 0..3 {
        provider.start_worker(&worker, &StartOptions::after(first.clone())).await.unwrap();
        end(&provider, &worker).await;
    }
    assert_eq!(fs::read_to_string(&out).unwrap(), "run\nrun\n");
    let second = status(&provider, &worker).await.run.clone();
    assert_ne!(first, second);
    bed.clean().await;
}

#[tokio::test]
async fn l6_starts_that_race_run_it_once() {
    let bed = Bed::new();
    let (one, two) = (bed.connect().await, bed.connect().await);
    let out = bed.folder.join("runs");
    for n in 0..10 {
        let config = script(&format!("w{n}"), "echo run >> $OUT").env("OUT", out.display().to_string());
        let handle = one.create_worker(&config.build().unwrap(), &CreateOptions::default()).await.unwrap();
        let options = StartOptions::default();
        let starts = [&one, &two, &one, &two].map(|provider| provider.start_worker(&handle.worker, &options));
        for result in futures::future::join_all(starts).await {
            result.unwrap();
        }
        end(&one, &handle.worker).await;
        assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), n + 1);
    }
    bed.clean().await;
}

#[tokio::test]
async fn p1_a_start_while_it_runs_is_a_conflict() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", "exec sleep 1000")).await;
    let run = status(&provider, &worker).await.run.clone();
    let error = provider.start_worker(&worker, &StartOptions::after(run)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let missing = WorkerRef::first("b".parse().unwrap());
    let error = provider.start_worker(&missing, &StartOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    bed.clean().await;
}

#[tokio::test]
async fn l5_one_that_obeys_keeps_its_code_and_one_that_ignores_is_killed() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let obeys = "trap 'exit 7' TERM; echo ready > $READY; while :; do sleep 0.05; done";
    let ignores = "trap '' TERM; echo ready > $READY; while :; do sleep 0.05; done";
    for (id, body, exit) in
        [("obeys", obeys, ExitStatus::Code(7)), ("ignores", ignores, ExitStatus::Signal(9))]
    {
        let ready = bed.folder.join(id);
        let worker = start(&provider, script(id, body).env("READY", ready.display().to_string())).await;
        until(|| ready.exists()).await;
        let begun = std::time::Instant::now();
        provider.stop_worker(&worker, &StopOptions::within(Duration::from_millis(700))).await.unwrap();
        let took = begun.elapsed();
        assert_eq!(status(&provider, &worker).await.exit, Some(exit), "{id}");
        if id == "ignores" {
            assert!(took >= Duration::from_millis(690), "killed before its time: {took:?}");
        }
    }
    bed.clean().await;
}

#[tokio::test]
async fn l5_a_second_stop_sends_nothing_and_shortens_the_time() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let ready = bed.folder.join("ready");
    let count = "trap 'echo term >> $READY' TERM; echo ready > $READY; while :; do sleep 0.05; done";
    let worker = start(&provider, script("a", count).env("READY", ready.display().to_string())).await;
    until(|| ready.exists()).await;
    let (long, short) =
        (StopOptions::within(Duration::from_secs(600)), StopOptions::within(Duration::from_millis(500)));
    let (one, two) =
        tokio::join!(provider.stop_worker(&worker, &long), provider.stop_worker(&worker, &short));
    one.unwrap();
    two.unwrap();
    assert_eq!(fs::read_to_string(&ready).unwrap(), "ready\nterm\n");
    assert_eq!(status(&provider, &worker).await.exit, Some(ExitStatus::Signal(9)));
    bed.clean().await;
}

#[tokio::test]
async fn p1_what_cannot_run_says_why() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let plain = bed.folder.join("plain");
    fs::write(&plain, "no program").unwrap();
    for (id, command) in [("missing", "hodei-no-such-command"), ("plain", plain.to_str().unwrap())] {
        let error =
            create_and_start(&provider, WorkerConfig::builder(id).command([command])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(command), "{error}");
        let worker = WorkerRef::first(id.parse().unwrap());
        let status = status(&provider, &worker).await;
        assert_eq!((status.phase, status.exit), (WorkerPhase::Exited, None));
        assert_eq!(status.failure, Some(FailureClass::CommandNotFound));
        let again = provider.start_worker(&worker, &StartOptions::default()).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Config, "{again}");
    }
    bed.clean().await;
}

#[tokio::test]
async fn p1_what_does_not_fit_is_refused_before_anything_is_created() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let create = async |config: WorkerConfig| {
        provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err()
    };
    let several = script("a", "true")
        .working_dir("/no/such/folder")
        .port(Port::tcp(80).on_host_port(8080))
        .secret(SecretReference::file("key", "/etc/key"));
    let mut options = ProcessOptions::default();
    options.user = Some("no-such-user".into());
    let error = create(several.options(&options).build().unwrap()).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    let problems: Vec<_> = error.problems().unwrap().iter().map(|problem| problem.path.as_str()).collect();
    let expected = ["working_dir", "ports[0].host_port", "secrets[0].target", "options.process.user"];
    assert_eq!(problems, expected, "{error}");

    let image = WorkerConfig::builder("a").image("app:1").build().unwrap();
    let error = create(image).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`images`"), "{error}");
    let mount = script("a", "true").mount(Mount::bind("/tmp", "/data")).build().unwrap();
    let error = create(mount).await;
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("`volumes`"), "{error}");
    assert!(provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.is_empty());
    bed.clean().await;
}

#[tokio::test]
async fn p1_the_environment_arrives_as_it_was_written_and_nothing_else_does() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let out = bed.folder.join("env");
    let value = "two\nlines, \"quotes\", 'more', $HOME, ñ €";
    let body = "printf %s \"$TEXT\" > $OUT; env | grep -c CARGO >> $OUT; pwd >> $OUT";
    let config = script("a", body)
        .env("TEXT", value)
        .env("OUT", out.display().to_string())
        .working_dir(bed.folder.display().to_string());
    let worker = start(&provider, config).await;
    end(&provider, &worker).await;
    assert_eq!(fs::read_to_string(&out).unwrap(), format!("{value}0\n{}\n", bed.folder.display()));
    bed.clean().await;
}

#[tokio::test]
async fn p1_a_hundred_at_once_and_lists_by_label() {
    let bed = Bed::new();
    let provider = bed.connect().await;
    let starts = (0..100).map(|n| {
        let config = script(&format!("w{n}"), "exec sleep 1000").label("half", (n % 2).to_string());
        start(&provider, config)
    });
    futures::future::join_all(starts).await;
    let listed = provider.list_workers(&WorkerFilter::all().label("half", "1")).await.unwrap();
    assert_eq!(listed.workers.len(), 50);
    assert!(listed.workers.iter().all(|status| status.phase == WorkerPhase::Running));
    bed.clean().await;
}

#[tokio::test]
async fn p1_watches_tell_the_whole_and_then_the_changes() {
    use futures::StreamExt as _;
    let bed = Bed::new();
    let (provider, other) = (bed.connect().await, bed.connect().await);
    let before = start(&provider, script("before", "exec sleep 1000")).await;
    let mut watch = provider.watch_workers(&WatchOptions::default()).await.unwrap();
    let mut next = async || {
        tokio::time::timeout(common::PATIENCE, watch.next()).await.expect("no news").unwrap().unwrap()
    };
    assert_eq!(next().await, WorkerObservation::Resync);
    assert_eq!(next().await.worker(), Some(&before));
    assert_eq!(next().await, WorkerObservation::Synced);
    // What another host of the installation does is seen as well.
    let worker = start(&other, script("later", "exec sleep 1000")).await;
    let mut phases = Vec::new();
    while phases.last() != Some(&WorkerPhase::Running) {
        if let WorkerObservation::Applied(status) = next().await {
            assert_eq!(status.worker, worker);
            phases.push(status.phase);
        }
    }
    other.stop_worker(&worker, &StopOptions::default()).await.unwrap();
    while next().await.status().is_none_or(|status| status.phase != WorkerPhase::Exited) {}
    other.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
    assert!(matches!(next().await, WorkerObservation::Gone(gone) if gone.worker == worker));
    bed.clean().await;
}

#[tokio::test]
async fn p3_capabilities_are_detected_with_their_reasons() {
    let bed = Bed::new();
    let capabilities = bed.connect().await.get_capabilities().await.unwrap();
    assert!(capabilities.supports(Capability::SurvivesHost));
    for (capability, support) in capabilities.iter() {
        assert_ne!(
            capabilities.reason(capability),
            Some("not declared by this provider"),
            "{capability} {support:?}"
        );
    }
    bed.clean().await;
}
