//! K1: a host that is itself a pod of the cluster.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use common::{account::Account, admin, image, limit, variable};
use hodei_worker_core::{
    Capability, ConnectContext, WorkerConfig, WorkerPhase, WorkerProvider as _, WorkerProviderExt as _,
    model::Port,
    provider::{CreateOptions, DeleteOptions, LogOptions, StartOptions},
};
use hodei_worker_k8s::{
    ClusterFeature, KubernetesOptions, KubernetesProvider, KubernetesSettings, Permissions,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, LogParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::json;

/// Set in the pod, with the image that its worker is of.
const INSIDE: &str = "HODEI_TEST_INSIDE";

/// The pod that is the host runs this very program, in an image of its own.
fn host(name: &str, image: &str, test: &str) -> Pod {
    let pod = json!({
        "metadata": {"name": name},
        "spec": {
            "serviceAccountName": name,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "host",
                "image": image,
                "command": [image::PROGRAM, "--exact", test, "--nocapture"],
                "env": [{"name": INSIDE, "value": variable("HODEI_TEST_KUBERNETES_IMAGE")}],
            }],
        },
    });
    serde_json::from_value(pod).unwrap()
}

#[tokio::test]
async fn k1_a_pod_is_a_host_by_its_service_account() {
    if let Ok(image) = std::env::var(INSIDE) {
        return inside(&image).await;
    }
    let admin = admin().await;
    let name = format!("inside-{:08x}", std::process::id());
    let permissions = Permissions::for_workers().and(ClusterFeature::Logs);
    let account = Account::new(admin.clone(), &name, &permissions, None).await;
    let pods: Api<Pod> = Api::namespaced(admin, "default");
    let image = image::of(&std::env::current_exe().unwrap()).await;
    let pod = host(&name, &image, "k1_a_pod_is_a_host_by_its_service_account");
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let phase = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.clone());
    let over = |pod: Option<&Pod>| matches!(phase(pod).as_deref(), Some("Succeeded" | "Failed"));
    let ended = limit(Box::pin(await_condition(pods.clone(), &name, over))).await.unwrap();
    let output = pods.logs(&name, &LogParams::default()).await.unwrap();
    pods.delete(&name, &DeleteParams::default()).await.unwrap();
    account.remove().await;
    assert_eq!(phase(ended.as_ref()).as_deref(), Some("Succeeded"), "{output}");
    assert!(output.contains("1 passed"), "{output}");
}

/// Without a kubeconfig: the account's token, and the address that the cluster gives to its pods.
async fn inside(image: &str) {
    assert!(std::env::var_os("KUBECONFIG").is_none());
    let installation = format!("inside-{}", variable("HOSTNAME"));
    let context = ConnectContext::new("inside".parse().unwrap(), installation.parse().unwrap());
    let provider = KubernetesProvider::connect(KubernetesSettings::default(), context).await.unwrap();
    // Pods reach each other.
    assert!(provider.get_capabilities().await.unwrap().supports(Capability::OwnAddresses));
    let web =
        "mkdir -p /tmp/web; echo hello > /tmp/web/index.html; echo ready; exec httpd -f -p 8080 -h /tmp/web";
    let config = WorkerConfig::builder("a").image(image).command(["sh", "-c", web]).port(Port::tcp(8080));
    let config = config.options(&KubernetesOptions::default().user(65_534)).stop_grace("1s").build().unwrap();
    let worker = provider.create_worker(&config, &CreateOptions::default()).await.unwrap().worker;
    provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
    let is_up = |status: &hodei_worker_core::WorkerStatus| {
        status.phase == WorkerPhase::Running && !status.addresses.is_empty()
    };
    let status = limit(provider.wait_until(&worker, &is_up)).await.unwrap();
    let address = status.addresses.first().unwrap();
    limit(async {
        while tokio::net::TcpStream::connect((address.host.as_str(), address.host_port)).await.is_err() {}
    })
    .await;
    let logs = provider.collect_logs(&worker, &LogOptions::all()).await.unwrap();
    assert_eq!(logs, b"ready\n");
    limit(provider.delete_worker(&worker, &DeleteOptions::default())).await.unwrap();
}
