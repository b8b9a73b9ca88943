//! K10: a watch that goes on from a time that the API server has forgotten loses no change.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{collections::HashMap, sync::Arc};

use common::{Bench, admin, connect, limit, on_cluster, proxy::Proxy};
use futures::StreamExt as _;
use hodei_worker_core::{
    Error, WorkerObservation, WorkerPhase, WorkerProvider as _, WorkerRef, WorkerStatus,
    provider::{BoxStream, DeleteOptions, StartOptions, WatchOptions},
};
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};

/// What a watch has told, as who reads it has to take it.
struct Picture {
    changes: BoxStream<'static, Result<WorkerObservation, Error>>,
    known: HashMap<WorkerRef, Arc<WorkerStatus>>,
    /// What is listed again.
    listed: Option<HashMap<WorkerRef, Arc<WorkerStatus>>>,
    unsynced: usize,
}

impl Picture {
    fn take(&mut self, change: WorkerObservation) {
        match change {
            WorkerObservation::Resync => self.listed = Some(HashMap::new()),
            WorkerObservation::Listed(status) => {
                self.listed.as_mut().unwrap().insert(status.worker.clone(), status);
            }
            WorkerObservation::Synced => self.known = self.listed.take().unwrap(),
            WorkerObservation::Applied(status) => drop(self.known.insert(status.worker.clone(), status)),
            WorkerObservation::Gone(gone) => drop(self.known.remove(&gone.worker)),
            WorkerObservation::Unsynced(_) => self.unsynced += 1,
            other => panic!("{other:?}"),
        }
    }

    /// Reads until it is so and nothing is being listed.
    async fn until(&mut self, is_so: impl Fn(&HashMap<WorkerRef, Arc<WorkerStatus>>) -> bool) {
        limit(async {
            while self.listed.is_some() || !is_so(&self.known) {
                let change = self.changes.next().await.expect("the watch ended").expect("the watch failed");
                self.take(change);
            }
        })
        .await;
    }

    fn phase(known: &HashMap<WorkerRef, Arc<WorkerStatus>>, worker: &WorkerRef) -> Option<WorkerPhase> {
        known.get(worker).map(|status| status.phase)
    }
}

async fn sleeper(bench: &Bench, id: &str) -> WorkerRef {
    bench.create(&bench.script(id, "sleep 1000").stop_grace("1s").build().unwrap()).await
}

/// Has the API server forget how it began: it remembers the last changes of pods, and a young one has seen few.
async fn forget_the_beginning(bench: &Bench) {
    let busy = sleeper(bench, "busy").await;
    let pods: Api<Pod> = Api::namespaced(bench.provider.client(), "default");
    let name = format!("hodei.{}.busy.1", bench.installation);
    limit(async {
        for n in 0_u64.. {
            let change = json!({"metadata": {"annotations": {"n": n.to_string()}}});
            pods.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
            // It remembers a hundred at least.
            if n % 50 == 0 {
                let mut changes = pods.watch(&WatchParams::default().timeout(1), "1").await.unwrap().boxed();
                if let Some(Ok(WatchEvent::Error(status))) = changes.next().await {
                    assert_eq!(status.code, 410, "{status:?}");
                    return;
                }
            }
        }
    })
    .await;
    limit(bench.provider.delete_worker(&busy, &DeleteOptions::default())).await.unwrap();
}

#[tokio::test]
async fn k10_a_watch_that_is_told_410_gone_lists_again_and_loses_no_change() {
    on_cluster("gone", |bench| async move {
        forget_the_beginning(&bench).await;
        let proxy = Proxy::start(admin().await, "gone").await;
        // Another host of the installation: what this one does, the watch alone tells that one.
        let watching = connect(&bench.installation, proxy.settings()).await;
        let (deleted, started) = (sleeper(&bench, "deleted").await, sleeper(&bench, "started").await);
        bench.provider.start_worker(&deleted, &StartOptions::default()).await.unwrap();
        let changes = watching.watch_workers(&WatchOptions::default()).await.unwrap();
        let mut picture = Picture { changes, known: HashMap::new(), listed: None, unsynced: 0 };
        picture
            .until(|known| {
                Picture::phase(known, &deleted) == Some(WorkerPhase::Running)
                    && Picture::phase(known, &started) == Some(WorkerPhase::Created)
            })
            .await;
        let lists = proxy.lists();
        proxy.break_watches().await;
        limit(bench.provider.delete_worker(&deleted, &DeleteOptions::default())).await.unwrap();
        bench.provider.start_worker(&started, &StartOptions::default()).await.unwrap();
        bench.until(&started, |status| status.phase == WorkerPhase::Running).await;
        let (status, line) = proxy.go_on_outdated().await;
        // In one of the two ways in which API servers say it.
        let answer: Value = serde_json::from_str(&line).unwrap();
        let said = match status {
            StatusCode::OK => {
                assert_eq!(answer["type"], "ERROR", "{line}");
                &answer["object"]
            }
            StatusCode::GONE => &answer,
            other => panic!("{other}: {line}"),
        };
        assert_eq!((&said["code"], &said["reason"]), (&410.into(), &"Expired".into()), "{line}");
        picture
            .until(|known| {
                Picture::phase(known, &deleted).is_none()
                    && Picture::phase(known, &started) == Some(WorkerPhase::Running)
            })
            .await;
        assert_eq!((picture.unsynced, proxy.lists()), (1, lists + 1));
        // The watch that follows the list is a good one.
        limit(bench.provider.delete_worker(&started, &DeleteOptions::default())).await.unwrap();
        picture.until(HashMap::is_empty).await;
        assert_eq!((picture.unsynced, proxy.lists()), (1, lists + 1));
    })
    .await;
}
