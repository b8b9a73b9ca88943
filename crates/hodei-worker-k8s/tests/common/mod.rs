//! A real cluster, seen by a provider with an installation of its own.
#![allow(dead_code)] // Each test file uses its part.

pub(crate) mod account;
pub(crate) mod adapter;
pub(crate) mod image;
pub(crate) mod proxy;

use std::{future::Future, sync::Arc, time::Duration};

use hodei_worker_core::{
    ConnectContext, WorkerConfig, WorkerProvider as _, WorkerRef, WorkerStatus,
    credential::MemoryCredentialProvider,
    model::{InstallationId, WorkerConfigBuilder, labels},
    provider::{CreateOptions, DeleteOptions, StartOptions, WorkerFilter, WorkerProviderExt as _},
};
use hodei_worker_k8s::{KubernetesOptions, KubernetesProvider, KubernetesSettings};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
};

/// Longer than anything that is waited for takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run this by `cargo xtask test --only kubernetes`"))
}

pub(crate) fn settings() -> KubernetesSettings {
    let settings = KubernetesSettings::from_kubeconfig(variable("HODEI_TEST_KUBECONFIG"));
    let mut settings = settings.in_namespace("default");
    // The clusters' networks are linked to this host.
    settings.reaches_pods = Some(true);
    settings
}

/// The cluster as its administrator sees it, without a provider.
pub(crate) async fn admin() -> Client {
    let theirs = Kubeconfig::read_from(variable("HODEI_TEST_KUBECONFIG")).unwrap();
    let config = Config::from_custom_kubeconfig(theirs, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

pub(crate) async fn limit<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, waiting).await.expect("it did not come about")
}

/// A provider with an installation of its own.
pub(crate) struct Bench {
    pub(crate) provider: KubernetesProvider,
    pub(crate) installation: InstallationId,
}

/// An installation that no other process has.
pub(crate) fn installation(name: &str) -> InstallationId {
    format!("{name}-{:08x}", std::process::id()).parse().unwrap()
}

/// Runs a test, and removes what it has made however it ends.
pub(crate) async fn on_cluster<F, Fut>(name: &str, test: F)
where
    F: FnOnce(Arc<Bench>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let installation = installation(name);
    let bench = Arc::new(Bench { provider: connect(&installation, settings()).await, installation });
    let result = tokio::spawn(test(Arc::clone(&bench))).await;
    bench.clear().await;
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}

pub(crate) async fn connect(
    installation: &InstallationId,
    settings: KubernetesSettings,
) -> KubernetesProvider {
    let secrets = MemoryCredentialProvider::new().with("db/password", "planted-hunter2").unwrap();
    let context = ConnectContext::new("cluster".parse().unwrap(), installation.clone());
    KubernetesProvider::connect(settings, context.with_credentials(Arc::new(secrets))).await.unwrap()
}

impl Bench {
    /// A worker that runs this script as nobody.
    pub(crate) fn script(&self, id: &str, script: &str) -> WorkerConfigBuilder {
        let builder = WorkerConfig::builder(id).image(variable("HODEI_TEST_KUBERNETES_IMAGE").as_str());
        builder.command(["sh", "-c", script]).options(&KubernetesOptions::default().user(65_534))
    }

    pub(crate) async fn create(&self, config: &WorkerConfig) -> WorkerRef {
        self.provider.create_worker(config, &CreateOptions::default()).await.unwrap().worker
    }

    pub(crate) async fn run(&self, config: &WorkerConfig) -> WorkerRef {
        let worker = self.create(config).await;
        self.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        worker
    }

    pub(crate) async fn until(
        &self,
        worker: &WorkerRef,
        condition: impl Fn(&WorkerStatus) -> bool + Send + Sync,
    ) -> Arc<WorkerStatus> {
        limit(self.provider.wait_until(worker, &condition)).await.unwrap()
    }

    async fn clear(&self) {
        // Its members would come again.
        let groups: Api<Deployment> = Api::namespaced(self.provider.client(), "default");
        let ours = format!("{}={}", labels::INSTALLATION, self.installation);
        let all = groups.list_metadata(&ListParams::default().labels(&ours)).await.unwrap();
        for name in all.items.into_iter().filter_map(|one| one.metadata.name) {
            groups.delete(&name, &DeleteParams::background()).await.unwrap();
        }
        let listed = self.provider.list_workers(&WorkerFilter::all()).await.unwrap();
        for status in listed.workers {
            limit(self.provider.delete_worker(&status.worker, &DeleteOptions::default())).await.unwrap();
        }
    }
}
