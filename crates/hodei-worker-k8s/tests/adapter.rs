//! K5: what the other tests of autoscalers rest on.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use common::{adapter::Adapter, admin, limit, variable};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    runtime::wait::{await_condition, conditions::is_deleted},
};
use serde_json::json;

async fn create(client: &Client, name: &str) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let labels = json!({ "app": name });
    let deployment = json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "main",
                        "image": variable("HODEI_TEST_KUBERNETES_IMAGE"),
                        "command": ["sh", "-c", "sleep 1000"],
                    }],
                },
            },
        },
    });
    let parameters = PostParams::default();
    deployments.create(&parameters, &serde_json::from_value(deployment).unwrap()).await.unwrap();
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), "default");
    // Averages, because with them a number of replicas is reached and kept: a total that stays too high asks for more
    // at each look.
    let autoscaler = json!({
        "metadata": { "name": name },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [
                { "type": "Pods", "pods": {
                    "metric": { "name": "requests" }, "target": { "type": "AverageValue", "averageValue": "10" },
                } },
                { "type": "External", "external": {
                    "metric": { "name": "queue" }, "target": { "type": "AverageValue", "averageValue": "10" },
                } },
            ],
        },
    });
    autoscalers.create(&parameters, &serde_json::from_value(autoscaler).unwrap()).await.unwrap();
}

async fn until_replicas(client: &Client, name: &str, wanted: i32) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let reached = |found: Option<&Deployment>| {
        found.and_then(|found| found.spec.as_ref()?.replicas).is_some_and(|replicas| replicas == wanted)
    };
    limit(Box::pin(await_condition(deployments, name, reached))).await.unwrap();
}

async fn remove(client: &Client, name: &str) {
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), "default");
    autoscalers.delete(name, &DeleteParams::default()).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let found = deployments.get(name).await.unwrap();
    // It is gone when its pods are.
    deployments.delete(name, &DeleteParams::foreground()).await.unwrap();
    limit(Box::pin(await_condition(deployments, name, is_deleted(&found.metadata.uid.unwrap()))))
        .await
        .unwrap();
}

#[tokio::test]
async fn k5_the_tests_adapter_feeds_an_autoscaler() {
    let client = admin().await;
    let name = format!("hodei-test-scaled-{}", std::process::id());
    let adapter = Adapter::start(client.clone()).await;
    let (its, named) = (client.clone(), name.clone());
    let result = tokio::spawn(async move {
        adapter.each_pod("requests", 1);
        adapter.external("queue", 20);
        create(&its, &named).await;
        until_replicas(&its, &named, 2).await;
        adapter.each_pod("requests", 15);
        until_replicas(&its, &named, 3).await;
        adapter.remove().await;
    })
    .await;
    remove(&client, &name).await;
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}
