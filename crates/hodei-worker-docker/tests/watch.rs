//! D9 and L10: changes are pushed, whole and in order.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use common::{next, on_engine, until_synced};
use hodei_worker_core::{
    WorkerObservation, WorkerPhase, WorkerProvider as _,
    provider::{DeleteOptions, StartOptions, StopOptions, WatchOptions, WorkerFilter},
    status::{ExitStatus, FailureClass},
};

#[tokio::test]
async fn l10_a_life_is_told_as_it_happens() {
    on_engine("told", |bench| async move {
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        let stranger = bench.stranger().await;
        let worker = stranger.create(&bench.script("a", "sleep 1000").label("k", "v").build().unwrap()).await;
        let phase = |wanted: WorkerPhase| {
            let worker = worker.clone();
            move |change: WorkerObservation| match change {
                WorkerObservation::Applied(status) if status.worker == worker && status.phase == wanted => {
                    Some(status)
                }
                _ => None,
            }
        };
        let created = next(&mut changes, phase(WorkerPhase::Created)).await;
        assert_eq!(created.labels["k"], "v");
        stranger.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        let running = next(&mut changes, phase(WorkerPhase::Running)).await;
        let mut read = (*stranger.status(&worker).await).clone();
        (read.as_of, read.version) = (running.as_of, running.version);
        assert_eq!(*running, read, "the watch and a look differ");
        stranger.provider.stop_worker(&worker, &StopOptions::kill()).await.unwrap();
        let exited = next(&mut changes, phase(WorkerPhase::Exited)).await;
        assert_eq!(exited.exit, Some(ExitStatus::CodeOrSignal(137)));
        stranger.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        let gone = next(&mut changes, |change| match change {
            WorkerObservation::Gone(gone) => Some(gone),
            _ => None,
        })
        .await;
        assert_eq!((gone.worker, gone.native_id), (worker, created.native_id.clone()));
    })
    .await;
}

#[tokio::test]
async fn l10_many_changes_at_once_end_in_the_right_picture() {
    on_engine("many", |bench| async move {
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        let stranger = bench.stranger().await;
        let lives = (0..24).map(|n| {
            let (bench, stranger) = (bench.clone(), stranger.clone());
            async move {
                let config = bench.script(&format!("w-{n}"), &format!("exit {n}")).build().unwrap();
                let worker = stranger.create(&config).await;
                stranger.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
                if n % 3 == 0 {
                    stranger.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
                }
            }
        });
        futures::future::join_all(lives).await;
        let mut known = std::collections::BTreeMap::new();
        next(&mut changes, |change| {
            match change {
                WorkerObservation::Applied(status) => drop(known.insert(status.worker.clone(), status)),
                WorkerObservation::Gone(gone) => drop(known.remove(&gone.worker)),
                _ => {}
            }
            let over = known.values().filter(|status| status.phase == WorkerPhase::Exited).count();
            (over == 16 && known.len() == 16).then_some(())
        })
        .await;
        for status in known.values() {
            let number: i32 = status.worker.id.as_str()[2..].parse().unwrap();
            assert_eq!(status.exit, Some(ExitStatus::Code(number)));
        }
        let listed = bench.provider.list_workers(&WorkerFilter::all()).await.unwrap();
        assert_eq!(listed.workers.len(), 16);
    })
    .await;
}

#[tokio::test]
async fn l10_a_start_that_fails_is_told() {
    on_engine("failed", |bench| async move {
        let mut changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        until_synced(&mut changes).await;
        let config = bench.script("a", "").command(["/no/such/program"]).args::<String>([]).build().unwrap();
        let worker = bench.create(&config).await;
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap_err();
        let told = next(&mut changes, |change| {
            change.status().filter(|status| status.phase == WorkerPhase::Exited).map(|status| status.failure)
        });
        assert_eq!(told.await, Some(FailureClass::CommandNotFound));
    })
    .await;
}
