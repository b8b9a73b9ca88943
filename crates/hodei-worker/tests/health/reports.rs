use std::sync::Arc;

use hodei_worker::{
    WorkerConfig, WorkerPhase, WorkerProviderExt as _, WorkerStatus,
    health::HealthSettings,
    jobs::{Jobs, JobsChanges, Reports},
    model::WorkerConfigBuilder,
    provider::{StartOptions, StopOptions},
};

use crate::bed::{Bed, PATIENCE};

/// A worker that says what is written into this pipe, which it makes.
pub(crate) fn speaker(pipe: &str) -> WorkerConfigBuilder {
    let script = format!("[ -p {pipe} ] || mkfifo {pipe}; while :; do cat {pipe}; done");
    WorkerConfig::builder("speaker").command(["sh", "-c", script.as_str()]).reports()
}

/// A script that has it say that.
pub(crate) fn say(pipe: &str, what: &str) -> String {
    format!("until [ -p {pipe} ]; do :; done; echo '{what}' > {pipe}")
}

/// Waits until it has so many jobs.
async fn until(changes: &mut JobsChanges, jobs: usize) {
    let found = async { while changes.next().await.expect("it lives").jobs != jobs {} };
    tokio::time::timeout(PATIENCE, found).await.expect("it never says so");
}

fn follow(bed: &Bed, status: &Arc<WorkerStatus>) -> (Jobs, JobsChanges, Reports) {
    let (jobs, changes) = Jobs::new();
    let reports = Reports::new(jobs.clone(), bed.monitor.clone());
    let run = status.run.as_ref().unwrap();
    reports.follow(Arc::clone(&bed.provider), &status.worker, run, status.times.started);
    (jobs, changes, reports)
}

pub(crate) async fn l5_a_process_says_when_it_is_busy_and_idle() {
    let bed = Bed::new(&HealthSettings::default()).await;
    let pipe = bed.folder.join("pipe").display().to_string();
    let (_, status) = bed.run(speaker(&pipe)).await;
    let (jobs, mut changes, reports) = follow(&bed, &status);
    for _ in 0..3 {
        bed.exec(&status.worker, &say(&pipe, "::hodei busy")).await;
        until(&mut changes, 1).await;
        bed.exec(&status.worker, &say(&pipe, "::hodei busy now")).await;
        bed.exec(&status.worker, &say(&pipe, "::hodei idle")).await;
        until(&mut changes, 0).await;
    }
    bed.exec(&status.worker, &say(&pipe, "::hodei busy")).await;
    until(&mut changes, 1).await;
    reports.forget(&status.worker);
    assert_eq!(jobs.count(&status.worker.id), 0);
    bed.clean().await;
}

pub(crate) async fn l5_a_host_that_starts_knows_who_is_busy() {
    let bed = Bed::new(&HealthSettings::default()).await;
    let pipe = bed.folder.join("pipe").display().to_string();
    let (_, status) = bed.run(speaker(&pipe)).await;
    let (_, mut changes, reports) = follow(&bed, &status);
    bed.exec(&status.worker, &say(&pipe, "::hodei busy")).await;
    until(&mut changes, 1).await;
    drop(reports);
    // What it writes meanwhile is nothing to the next host.
    bed.exec(&status.worker, &say(&pipe, "some output")).await;
    let (jobs, mut changes, _reports) = follow(&bed, &status);
    until(&mut changes, 1).await;
    bed.exec(&status.worker, &say(&pipe, "::hodei idle")).await;
    until(&mut changes, 0).await;
    assert!(jobs.all().is_empty());
    bed.clean().await;
}

pub(crate) async fn l5_another_run_is_idle_until_it_says_otherwise() {
    let bed = Bed::new(&HealthSettings::default()).await;
    let pipe = bed.folder.join("pipe").display().to_string();
    let (_, status) = bed.run(speaker(&pipe)).await;
    let (_, mut changes, _reports) = follow(&bed, &status);
    bed.exec(&status.worker, &say(&pipe, "::hodei busy")).await;
    until(&mut changes, 1).await;
    let worker = &status.worker;
    bed.provider.stop_worker(worker, &StopOptions::kill()).await.unwrap();
    bed.provider.start_worker(worker, &StartOptions::after(status.run.clone())).await.unwrap();
    let next = bed
        .provider
        .wait_until(worker, &|status: &WorkerStatus| status.phase == WorkerPhase::Running)
        .await
        .unwrap();
    assert_ne!(next.run, status.run);
    let (jobs, mut changes, _reports) = follow(&bed, &next);
    bed.exec(worker, &say(&pipe, "::hodei idle")).await;
    bed.exec(worker, &say(&pipe, "::hodei busy")).await;
    until(&mut changes, 1).await;
    assert_eq!(jobs.count(&worker.id), 1);
    bed.clean().await;
}
