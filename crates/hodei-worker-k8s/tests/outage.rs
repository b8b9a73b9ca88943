//! K10, K11: what a cluster's parts do when they are killed and come back, and a cluster that is cut off.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{collections::HashMap, process::Command, sync::Arc};

use common::{Bench, connect, limit, on_cluster, variable};
use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, WorkerObservation, WorkerPhase, WorkerProvider as _, WorkerRef, WorkerStatus,
    provider::{BoxStream, CreateOptions, DeleteOptions, StartOptions, WatchOptions, WorkerFilter},
    status::ExitStatus,
};
use hodei_worker_k8s::KubernetesSettings;
use tokio::sync::Mutex;

/// They share the cluster, and each takes a part of it away.
static CLUSTER: Mutex<()> = Mutex::const_new(());

/// Has something done to the cluster.
async fn control(verb: &'static str) {
    let done = tokio::task::spawn_blocking(move || {
        Command::new(variable("HODEI_TEST_CLUSTER")).arg(verb).output().unwrap()
    });
    let done = done.await.unwrap();
    assert!(done.status.success(), "{verb}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Has a part of the cluster taken away, and gives it back however the test ends.
struct Outage {
    end: Option<&'static str>,
}

impl Outage {
    async fn begin(begin: &'static str, end: &'static str) -> Self {
        control(begin).await;
        Self { end: Some(end) }
    }

    async fn end(mut self) {
        if let Some(end) = self.end.take() {
            control(end).await;
        }
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        if let Some(end) = self.end {
            Command::new(variable("HODEI_TEST_CLUSTER")).arg(end).status().ok();
        }
    }
}

/// What a watch has told, over all gaps.
struct Watch {
    changes: BoxStream<'static, Result<WorkerObservation, Error>>,
    last: HashMap<WorkerRef, Arc<WorkerStatus>>,
}

impl Watch {
    async fn open(bench: &Bench) -> Self {
        let changes = bench.provider.watch_workers(&WatchOptions::default()).await.unwrap();
        let mut watch = Self { changes, last: HashMap::new() };
        while limit(watch.changes.next()).await.unwrap().unwrap() != WorkerObservation::Synced {}
        watch
    }

    /// The worker's status, once it is so.
    async fn until(
        &mut self,
        worker: &WorkerRef,
        is_so: impl Fn(&WorkerStatus) -> bool,
    ) -> Arc<WorkerStatus> {
        limit(async {
            loop {
                if let Some(status) = self.last.get(worker).filter(|status| is_so(status)) {
                    return Arc::clone(status);
                }
                match self.changes.next().await.expect("the watch ended").expect("the watch failed") {
                    WorkerObservation::Listed(status) | WorkerObservation::Applied(status) => {
                        self.last.insert(status.worker.clone(), status);
                    }
                    _ => {}
                }
            }
        })
        .await
    }
}

#[tokio::test]
async fn k10_an_api_server_that_is_killed_loses_no_change_and_doubles_no_worker() {
    let _alone = CLUSTER.lock().await;
    on_cluster("apiserver", |bench| async move {
        let mut watch = Watch::open(&bench).await;
        let script = "trap 'exit 4' TERM; echo ready; while true; do sleep 0.1; done";
        let worker = bench.run(&bench.script("a", script).build().unwrap()).await;
        watch.until(&worker, |status| status.phase == WorkerPhase::Running).await;
        let short = bench.run(&bench.script("short", "sleep 2; exit 4").build().unwrap()).await;
        watch.until(&short, |status| status.phase == WorkerPhase::Running).await;
        let config = bench.script("b", "sleep 1000").stop_grace("1s").build().unwrap();
        let creation = tokio::spawn({
            let (bench, config) = (Arc::clone(&bench), config.clone());
            async move { bench.provider.create_worker(&config, &CreateOptions::default()).await }
        });
        let outage = Outage::begin("kill-apiserver", "start-apiserver").await;
        // In the middle or before it: made or not, and either is told.
        let made = limit(creation).await.unwrap();
        let refused = bench.provider.list_workers(&WorkerFilter::all()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        assert!(refused.is_retryable(), "{refused}");
        outage.end().await;
        let again = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap();
        if let Ok(made) = made {
            assert_eq!(made.native_id, again.native_id);
        }
        bench.provider.start_worker(&again.worker, &StartOptions::default()).await.unwrap();
        // What happened while nobody could tell is told.
        let ended = watch.until(&short, |status| status.phase == WorkerPhase::Exited).await;
        assert_eq!(ended.exit, Some(ExitStatus::Code(4)));
        watch.until(&again.worker, |status| status.phase == WorkerPhase::Running).await;
        let listed = bench.provider.list_workers(&WorkerFilter::all()).await.unwrap();
        assert_eq!(listed.workers.len(), 3, "{listed:?}");
    })
    .await;
}

#[tokio::test]
async fn k10_a_kubelet_that_is_killed_keeps_its_workers_and_ends_what_was_asked_to() {
    let _alone = CLUSTER.lock().await;
    on_cluster("kubelet", |bench| async move {
        let mut watch = Watch::open(&bench).await;
        let config = |id: &str| bench.script(id, "sleep 1000").stop_grace("1s").build().unwrap();
        let (stays, goes) = (bench.run(&config("stays")).await, bench.run(&config("goes")).await);
        let first = watch.until(&stays, |status| status.phase == WorkerPhase::Running).await;
        watch.until(&goes, |status| status.phase == WorkerPhase::Running).await;
        let outage = Outage::begin("kill-kubelet", "start-kubelet").await;
        let deletion = tokio::spawn({
            let (bench, goes) = (Arc::clone(&bench), goes.clone());
            async move { bench.provider.delete_worker(&goes, &DeleteOptions::default()).await }
        });
        // It is asked to end, and nobody ends it.
        watch.until(&goes, |status| status.phase == WorkerPhase::Stopping).await;
        outage.end().await;
        limit(deletion).await.unwrap().unwrap();
        let now = bench.provider.get_worker_status(&stays).await.unwrap();
        assert_eq!((now.phase, &now.run), (WorkerPhase::Running, &first.run), "{now:?}");
    })
    .await;
}

/// A cluster whose only node is lost gives none of its pods up: it takes that for a fault of its own.
#[tokio::test]
async fn k10_a_worker_whose_node_is_lost_is_unknown_and_comes_back() {
    let _alone = CLUSTER.lock().await;
    on_cluster("node", |bench| async move {
        let mut watch = Watch::open(&bench).await;
        let worker = bench.run(&bench.script("a", "sleep 1000").stop_grace("1s").build().unwrap()).await;
        let before = watch.until(&worker, |status| status.phase == WorkerPhase::Running).await;
        let outage = Outage::begin("stop-kubelet", "start-kubelet").await;
        // Nobody knows how it is: lost is not failed.
        let unknown = watch.until(&worker, |status| status.phase == WorkerPhase::Unknown).await;
        assert_eq!((unknown.exit, unknown.failure), (None, None), "{unknown:?}");
        assert!(unknown.reason.as_ref().unwrap().contains("does not answer"), "{unknown:?}");
        outage.end().await;
        let back = watch.until(&worker, |status| status.phase == WorkerPhase::Running).await;
        assert_eq!(back.run, before.run);
    })
    .await;
}

#[tokio::test]
async fn k11_of_two_clusters_one_that_is_cut_off_is_unreachable_and_its_workers_are_adopted_again() {
    let _alone = CLUSTER.lock().await;
    on_cluster("cut", |bench| async move {
        let mut other = KubernetesSettings::from_kubeconfig(variable("HODEI_TEST_KUBECONFIG_SECOND"));
        other.namespace = Some("default".to_owned());
        let other = connect(&bench.installation, other).await;
        let config = bench.script("a", "sleep 1000").stop_grace("1s").build().unwrap();
        let mut watch = Watch::open(&bench).await;
        let worker = bench.run(&config).await;
        let before = watch.until(&worker, |status| status.phase == WorkerPhase::Running).await;
        let outage = Outage::begin("cut", "mend").await;
        let unreachable = bench.provider.get_worker_status(&worker).await.unwrap_err();
        // The other goes on as if nothing were.
        let elsewhere = other.create_worker(&config, &CreateOptions::default()).await;
        let gone = other.delete_worker(&worker, &DeleteOptions::default()).await;
        outage.end().await;
        assert!(
            matches!(unreachable.kind(), ErrorKind::Unavailable | ErrorKind::Timeout),
            "unreachable, not gone: {unreachable}"
        );
        assert!(unreachable.is_retryable(), "{unreachable}");
        elsewhere.unwrap();
        gone.unwrap();
        let again = limit(async {
            loop {
                if let Ok(status) = bench.provider.get_worker_status(&worker).await {
                    return status;
                }
            }
        });
        let again = again.await;
        assert_eq!((again.phase, &again.run), (WorkerPhase::Running, &before.run), "{again:?}");
    })
    .await;
}
