//! K10, T5: the manager and pods that the cluster takes away, on the cluster that `HODEI_TEST_KUBECONFIG` names. Alone in
//! its binary, since it takes the cluster's node away.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

use std::{process::Command, sync::Arc, time::Duration};

use hodei_worker::{
    ConnectContext, WorkerConfig, WorkerProvider as _, WorkerState,
    kubernetes::{KubernetesOptions, KubernetesProvider, KubernetesSettings},
    lifecycle::{DegradedBy, Escalation, Worker},
    manager::{RemoveWorker, Shutdown, WorkerManager, WorkerQuery},
    model::{InstallationId, RestartPolicy, WorkerConfigBuilder},
    provider::{DeleteOptions, WorkerFilter},
    status::FailureClass,
    store::{MemoryStore, Store},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::EvictParams};
use tokio::{sync::Mutex, time::timeout};

/// What is to take less than two minutes (T5), on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(240);

/// They share the node.
static NODE: Mutex<()> = Mutex::const_new(());

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

async fn kubelet(verb: &'static str) {
    let control = move || Command::new(variable("HODEI_TEST_CLUSTER")).arg(verb).status().unwrap();
    assert!(tokio::task::spawn_blocking(control).await.unwrap().success(), "{verb}");
}

struct Bed {
    provider: KubernetesProvider,
    installation: InstallationId,
    manager: WorkerManager,
}

impl Bed {
    async fn until(&self, config: &WorkerConfig, is_so: impl Fn(&Worker) -> bool + Send + 'static) -> Worker {
        let seen = timeout(PATIENCE, self.manager.wait_for(&config.worker_id, is_so)).await;
        seen.expect("it did not come about").unwrap()
    }

    async fn running(&self, config: &WorkerConfig) -> Worker {
        self.until(config, |worker| worker.state == Some(WorkerState::Running)).await
    }

    async fn remove(&self, config: &WorkerConfig) {
        self.manager.remove_worker(&config.worker_id, &RemoveWorker::kill()).await.unwrap();
        timeout(PATIENCE, self.manager.wait_until_gone(&config.worker_id)).await.unwrap().unwrap();
    }
}

fn sleeper(id: &str) -> WorkerConfigBuilder {
    let image = variable("HODEI_TEST_KUBERNETES_IMAGE");
    let builder = WorkerConfig::builder(id).image(image.as_str()).command(["sleep", "1000"]);
    builder.stop_grace("1s").options(&KubernetesOptions::default().user(65_534))
}

const ON_FAILURE: RestartPolicy = RestartPolicy::OnFailure { max_retries: None };

/// Runs a test, and removes what it left, however it ends.
async fn on_cluster<F: Future<Output = ()> + Send + 'static>(name: &str, test: impl FnOnce(Arc<Bed>) -> F) {
    let _alone = NODE.lock().await;
    let installation: InstallationId = format!("{name}-{:08x}", std::process::id()).parse().unwrap();
    let settings = KubernetesSettings::from_kubeconfig(variable("HODEI_TEST_KUBECONFIG"));
    let context = ConnectContext::new("cluster".parse().unwrap(), installation.clone());
    let provider = KubernetesProvider::connect(settings.in_namespace("default"), context).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let manager = WorkerManager::builder(store).provider(Arc::new(provider.clone())).open().await.unwrap();
    let bed = Arc::new(Bed { provider, installation, manager });
    let ended = tokio::spawn(test(Arc::clone(&bed))).await;
    if ended.is_err() {
        kubelet("start-kubelet").await;
        // It would make anew what is deleted.
        bed.manager.shutdown(Shutdown::HandOver).await.ok();
        let listed = bed.provider.list_workers(&WorkerFilter::all()).await.unwrap();
        for left in listed.workers {
            bed.provider.delete_worker(&left.worker, &DeleteOptions::default()).await.unwrap();
        }
    }
    if let Err(failure) = ended {
        std::panic::resume_unwind(failure.into_panic());
    }
}

/// What a lost node runs may run on: a person is called, the removal waits, and once the node is back the worker is made
/// anew.
#[tokio::test(flavor = "multi_thread")]
async fn k10_a_lost_node_calls_a_person_and_its_workers_are_made_anew_when_it_is_back() {
    on_cluster("lost", |bed| async move {
        let restarted = sleeper("restarted").restart_policy(ON_FAILURE).build().unwrap();
        // The cluster does not take it away either.
        let left = sleeper("left").build().unwrap();
        for config in [&restarted, &left] {
            bed.manager.create_worker(config).await.unwrap();
        }
        let first = bed.running(&restarted).await;
        let kept = bed.running(&left).await;
        kubelet("stop-kubelet").await;
        let unreachable = bed.until(&left, |worker| worker.degraded == [DegradedBy::Unreachable]).await;
        assert_eq!((unreachable.state, unreachable.alive), (Some(WorkerState::Degraded), true));
        let called = |worker: &Worker| worker.escalated() == Some(Escalation::NodeLost);
        let called_for = bed.until(&restarted, called).await;
        assert_eq!(called_for.recovery.as_ref().unwrap().failure, Some(FailureClass::NodeLost));
        assert_eq!(called_for.generation, first.generation, "nothing else is made of it yet");
        bed.until(&left, called).await;
        assert_eq!(bed.manager.workers(&WorkerQuery::escalated()).await.unwrap().len(), 2);
        kubelet("start-kubelet").await;
        let again = bed.until(&restarted, move |worker| {
            worker.state == Some(WorkerState::Running) && worker.generation > first.generation
        });
        assert_eq!(again.await.escalated(), None);
        // Who may not be restarted has run all the time.
        let back = bed.running(&left).await;
        assert_eq!((&back.run, back.escalated()), (&kept.run, None));
        for config in [&restarted, &left] {
            bed.remove(config).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k10_an_evicted_worker_is_made_anew() {
    on_cluster("evicted", |bed| async move {
        let config = sleeper("a").restart_policy(ON_FAILURE).build().unwrap();
        bed.manager.create_worker(&config).await.unwrap();
        let first = bed.running(&config).await;
        let pods: Api<Pod> = Api::namespaced(bed.provider.client(), "default");
        let name = format!("hodei.{}.a.1", bed.installation);
        pods.evict(&name, &EvictParams::default()).await.unwrap();
        let again = bed.until(&config, move |worker| {
            worker.state == Some(WorkerState::Running) && worker.generation > first.generation
        });
        let failure = again.await.recovery.unwrap().failure;
        assert!(matches!(failure, Some(FailureClass::Evicted)), "{failure:?}");
        bed.remove(&config).await;
    })
    .await;
}
