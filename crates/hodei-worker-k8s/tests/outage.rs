//! K10, K11: what a cluster's parts do when they are killed and come back, and a cluster that is cut off.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{collections::HashMap, process::Command, sync::Arc};

use common::{Bench, admin, connect, limit, on_cluster, variable};
use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, WorkerObservation, WorkerPhase, WorkerProvider as _, WorkerRef, WorkerStatus, clock,
    lifecycle::RecoverySettings,
    model::RestartPolicy,
    provider::{BoxStream, CreateOptions, DeleteOptions, StartOptions, WatchOptions, WorkerFilter},
    quantity::HumanDuration,
    status::{ExitStatus, FailureClass},
};
use hodei_worker_k8s::KubernetesSettings;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::json;
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

/// A cluster that has lost all its nodes may give none of its pods up: it takes that for a fault of its own.
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

fn now() -> Timestamp {
    Timestamp::from_second(clock::system().now().as_second()).unwrap()
}

/// It lives.
async fn beat(leases: &Api<Lease>, node: &str) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": node},
        "spec": {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": MicroTime(now())},
    });
    let parameters = PatchParams::apply("hodei-test").force();
    leases.patch(node, &parameters, &Patch::Apply(lease)).await.unwrap();
}

/// A node that has nothing but a lease: of two, one that is lost is given up by its cluster.
struct HollowNode {
    nodes: Api<Node>,
    name: String,
    beating: tokio::task::JoinHandle<()>,
}

impl HollowNode {
    async fn join(client: Client) -> Self {
        let name = format!("hollow-{:08x}", std::process::id());
        let (nodes, leases) = (Api::all(client.clone()), Api::namespaced(client, "kube-node-lease"));
        let node = json!({"metadata": {"name": name}, "spec": {"unschedulable": true}});
        nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        let now = Time(now());
        let ready = json!({"status": {"conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }]}});
        nodes.patch_status(&name, &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
        beat(&leases, &name).await;
        let beating = tokio::spawn({
            let name = name.clone();
            async move {
                loop {
                    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
                    beat(&leases, &name).await;
                }
            }
        });
        Self { nodes, name, beating }
    }

    async fn leave(self) {
        self.beating.abort();
        self.nodes.delete(&self.name, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test]
async fn k10_a_lost_node_of_several_is_given_up_when_its_workers_time_is_over() {
    let _alone = CLUSTER.lock().await;
    let hollow = HollowNode::join(admin().await).await;
    let given_up = tokio::spawn(on_cluster("given-up", |bench| async move {
        let mut watch = Watch::open(&bench).await;
        let mut recovery = RecoverySettings::default();
        recovery.node_loss = HumanDuration::secs(3);
        let config = bench.script("a", "sleep 1000").stop_grace("1s").recovery(recovery);
        let config = config.restart_policy(RestartPolicy::OnFailure { max_retries: None });
        let worker = bench.run(&config.build().unwrap()).await;
        watch.until(&worker, |status| status.phase == WorkerPhase::Running).await;
        let outage = Outage::begin("stop-kubelet", "start-kubelet").await;
        watch.until(&worker, |status| status.phase == WorkerPhase::Unknown).await;
        // Its time there is over: the cluster has it deleted, and nobody is there who does it.
        let pods: Api<Pod> = Api::namespaced(bench.provider.client(), "default");
        let name = format!("hodei.{}.a.1", bench.installation);
        let given_up = |pod: Option<&Pod>| pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
        limit(Box::pin(await_condition(pods, &name, given_up))).await.unwrap();
        let now = watch.until(&worker, |status| status.failure.is_some()).await;
        assert_eq!((now.phase, now.failure), (WorkerPhase::Unknown, Some(FailureClass::NodeLost)), "{now:?}");
        outage.end().await;
        // The node is back, and ends what it was to end.
        bench.until(&worker, |status| status.phase == WorkerPhase::Absent).await;
    }))
    .await;
    hollow.leave().await;
    given_up.unwrap();
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
