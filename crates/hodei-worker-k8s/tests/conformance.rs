//! The behaviour suite against a real cluster: the one that `HODEI_TEST_KUBECONFIG` leads to. What it looks at is seen by
//! an administrator; the provider is a host that is allowed what its generated Role says, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::{
    fmt::Debug,
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use common::{account::Account, settings, variable};
use hodei_worker_core::{
    ConnectContext, Error, ErrorKind, ProviderSettings as _, Result, WorkerProvider, WorkerRef,
    model::{InstallationId, WorkerConfigBuilder, labels},
    testkit::{Planted, Subject, run},
};
use hodei_worker_k8s::{KubernetesOptions, KubernetesSettings, Permissions};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service},
        networking::v1::NetworkPolicy,
    },
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use serde::de::DeserializeOwned;

struct Cluster {
    image: String,
}

/// The host's, once there is its account.
static HOST: OnceLock<KubernetesSettings> = OnceLock::new();

/// The cluster seen past the provider.
async fn raw() -> Result<Client> {
    let context = ConnectContext::new("raw".parse()?, "raw".parse()?);
    Ok(settings().connect(context).await?.client())
}

fn unexpected(error: kube::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "the test cannot look past the provider").with_source(error)
}

#[async_trait]
impl Subject for Cluster {
    fn name(&self) -> String {
        // The suite runs on several clusters, each a part of its own.
        variable("HODEI_TEST_KUBERNETES_PART")
    }

    async fn connect(&self, context: ConnectContext) -> Result<Arc<dyn WorkerProvider>> {
        let settings = HOST.get().cloned().unwrap_or_else(settings);
        Ok(Arc::new(settings.connect(context).await?))
    }

    fn prepare(&self, builder: WorkerConfigBuilder) -> WorkerConfigBuilder {
        builder.image(self.image.as_str()).options(&KubernetesOptions::default().user(65_534))
    }

    async fn plant_unowned(
        &self,
        installation: &InstallationId,
        worker: &WorkerRef,
    ) -> Result<Option<Box<dyn Planted>>> {
        let name = format!("hodei.{installation}.{}.{}", worker.id, worker.generation);
        let pod = serde_json::json!({
            "metadata": {"name": name},
            "spec": {
                "schedulingGates": [{"name": "hodei-worker/start"}],
                "containers": [{"name": "worker", "image": self.image}],
            },
        });
        let pod: Pod = serde_json::from_value(pod)
            .map_err(|error| Error::new(ErrorKind::Unexpected, "no pod").with_source(error))?;
        let pods: Api<Pod> = Api::namespaced(raw().await?, "default");
        let made = pods.create(&PostParams::default(), &pod).await.map_err(unexpected)?;
        let uid = made.metadata.uid;
        Ok(Some(Box::new(Unowned { pods, name, uid })))
    }

    async fn leftovers(&self, installation: &InstallationId) -> Result<Vec<String>> {
        let client = raw().await?;
        let selected = ListParams::default().labels(&format!("{}={installation}", labels::INSTALLATION));
        let mut left = named::<Pod>(&client, &selected).await?;
        left.extend(named::<Secret>(&client, &selected).await?);
        left.extend(named::<PersistentVolumeClaim>(&client, &selected).await?);
        left.extend(named::<Service>(&client, &selected).await?);
        left.extend(named::<ConfigMap>(&client, &selected).await?);
        left.extend(named::<NetworkPolicy>(&client, &selected).await?);
        left.extend(named::<Deployment>(&client, &selected).await?);
        left.extend(named::<HorizontalPodAutoscaler>(&client, &selected).await?);
        Ok(left)
    }
}

async fn named<K>(client: &Client, selected: &ListParams) -> Result<Vec<String>>
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let all: Api<K> = Api::namespaced(client.clone(), "default");
    let listed = all.list_metadata(selected).await.map_err(unexpected)?;
    Ok(listed.items.into_iter().filter_map(|one| one.metadata.name).collect())
}

struct Unowned {
    pods: Api<Pod>,
    name: String,
    uid: Option<String>,
}

#[async_trait]
impl Planted for Unowned {
    async fn is_untouched(&self) -> Result<bool> {
        let seen = self.pods.get(&self.name).await.map_err(unexpected)?;
        // The cluster's own controllers write its status.
        let gated =
            seen.spec.is_some_and(|spec| spec.scheduling_gates.is_some_and(|gates| !gates.is_empty()));
        Ok(gated && seen.metadata.uid == self.uid && seen.metadata.deletion_timestamp.is_none())
    }
    async fn remove(&self) -> Result<()> {
        let now = DeleteParams::default().grace_period(0);
        self.pods.delete(&self.name, &now).await.map(drop).map_err(unexpected)
    }
}

fn main() -> ExitCode {
    let cluster = Cluster { image: variable("HODEI_TEST_KUBERNETES_IMAGE") };
    if std::env::args().any(|word| word == "--list") {
        return run([cluster]);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let account = runtime.block_on(async {
        let name = format!("suite-{:08x}", std::process::id());
        Account::new(raw().await.unwrap(), &name, &Permissions::all(), None).await
    });
    HOST.set(account.settings()).unwrap();
    let ended = run([cluster]);
    runtime.block_on(account.remove());
    ended
}
