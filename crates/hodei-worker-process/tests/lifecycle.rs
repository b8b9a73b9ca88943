//! Create, start, stop and delete, on real processes: what the behaviour suite cannot see of them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod common;

use std::fs;

use common::{Bed, create_and_start, end, phase, pids, record, script, start, status, text, until};
use hodei_worker_core::{
    Capability, ErrorKind, WorkerConfig, WorkerObservation, WorkerPhase, WorkerProvider as _, WorkerRef,
    model::{Mount, SecretReference},
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
    until(|| !common::is_alive(supervisor)).await;
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
    let several =
        script("a", "true").working_dir("/no/such/folder").secret(SecretReference::file("key", "/etc/key"));
    let mut options = ProcessOptions::default();
    options.user = Some("no-such-user".into());
    let error = create(several.options(&options).build().unwrap()).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    let problems: Vec<_> = error.problems().unwrap().iter().map(|problem| problem.path.as_str()).collect();
    let expected = ["working_dir", "secrets[0].target", "options.process.user"];
    assert_eq!(problems, expected, "{error}");

    let image = WorkerConfig::builder("a").image("app:1").build().unwrap();
    let error = create(image).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`images`"), "{error}");
    let mount = script("a", "true").mount(Mount::bind("/tmp", "/data")).build().unwrap();
    let error = create(mount).await;
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("`host_paths`"), "{error}");
    assert!(provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.is_empty());
    bed.clean().await;
}

#[tokio::test]
async fn p1_of_the_hosts_environment_only_what_is_named_is_inherited() {
    let mut bed = Bed::new();
    bed.settings.inherit = vec!["PATH".into()];
    let provider = bed.connect().await;
    assert!(std::env::vars().count() > 1, "the host has nothing to keep to itself");
    let worker = start(&provider, WorkerConfig::builder("a").command(["env"]).env("OWN", "x")).await;
    end(&provider, &worker).await;
    let text = text(&provider, &worker).await;
    let mut names: Vec<_> = text.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HODEI_WORKER_RUN", "OWN", "PATH"]);
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
async fn p3_survival_is_declared_with_a_supervisor_alone() {
    let bed = Bed::new();
    let capabilities = bed.connect().await.get_capabilities().await.unwrap();
    assert!(capabilities.supports(Capability::SurvivesHost));
    bed.clean().await;
    // This program's `main` has no hook, so there is nothing to supervise with.
    let bed = Bed::attached();
    let capabilities = bed.connect().await.get_capabilities().await.unwrap();
    assert!(!capabilities.supports(Capability::SurvivesHost));
    assert!(capabilities.reason(Capability::SurvivesHost).unwrap().contains("init()"));
    bed.clean().await;
}

#[tokio::test]
async fn l6_an_escapee_dies_with_its_attached_worker() {
    let bed = Bed::attached();
    let provider = bed.connect().await;
    let worker = start(&provider, script("a", &format!("{} exit 3", bed.escape()))).await;
    assert!(record(&bed, "started", &worker).is_some());
    assert_eq!(end(&provider, &worker).await.exit, Some(ExitStatus::Code(3)));
    assert_eq!(common::marked(bed.installation.as_str()), Vec::<i32>::new());
    bed.clean().await;
}
