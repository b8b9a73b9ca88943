//! K12: what a cluster refuses for another reason than who asks is told as such.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use common::{connect, installation, limit, on_cluster, settings, variable};
use hodei_worker_core::{
    ErrorKind, WorkerConfig, WorkerProvider as _,
    model::SecretReference,
    provider::{CreateOptions, DeleteOptions, StartOptions},
};
use hodei_worker_k8s::{KubernetesOptions, KubernetesProvider};
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

/// A namespace of the test's own with these labels, and a provider in it.
async fn in_namespace(name: &str, labels: serde_json::Value) -> (KubernetesProvider, Client, String) {
    let installation = installation(name);
    let admin = connect(&installation, settings()).await.client();
    let namespace = installation.to_string();
    let object = json!({"metadata": {"name": namespace, "labels": labels}});
    let all: Api<Namespace> = Api::all(admin.clone());
    all.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let provider = connect(&installation, settings().in_namespace(&namespace)).await;
    (provider, admin, namespace)
}

async fn remove(admin: &Client, namespace: &str) {
    let all: Api<Namespace> = Api::all(admin.clone());
    all.delete(namespace, &DeleteParams::default()).await.unwrap();
}

fn config(options: &KubernetesOptions) -> WorkerConfig {
    let builder = WorkerConfig::builder("a").image(variable("HODEI_TEST_KUBERNETES_IMAGE").as_str());
    builder.command(["true"]).options(options).build().unwrap()
}

#[tokio::test]
async fn k12_a_secret_of_somebody_else_is_left_alone() {
    on_cluster("foreign", |bench| async move {
        let config =
            bench.script("a", "true").secret(SecretReference::file("db/password", "/run/secrets/db"));
        let worker = bench.create(&config.build().unwrap()).await;
        let name = format!("hodei.{}.a.1", bench.installation);
        let secrets: Api<Secret> = Api::namespaced(bench.provider.client(), "default");
        let theirs = serde_json::json!({"metadata": {"name": name}, "stringData": {"secret-0": "theirs"}});
        secrets.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
        let refused = bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap_err();
        let found = secrets.get(&name).await.unwrap();
        secrets.delete(&name, &DeleteParams::default()).await.unwrap();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
        assert_eq!(found.data.unwrap()["secret-0"].0, b"theirs");
        assert!(found.metadata.owner_references.is_none(), "it would go with the worker");
        bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        bench.until(&worker, |status| status.succeeded()).await;
    })
    .await;
}

#[tokio::test]
async fn k12_a_quota_that_is_used_up_is_told_as_such() {
    let (provider, admin, namespace) = in_namespace("quota", json!({})).await;
    let quota = json!({"metadata": {"name": "pods"}, "spec": {"hard": {"pods": "0"}}});
    let quotas: Api<ResourceQuota> = Api::namespaced(admin.clone(), &namespace);
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    // It holds once the cluster has counted.
    limit(async {
        while quotas.get("pods").await.unwrap().status.is_none_or(|status| status.hard.is_none()) {}
    })
    .await;
    let options = KubernetesOptions::default().user(65_534);
    let refused = provider.create_worker(&config(&options), &CreateOptions::default()).await;
    remove(&admin, &namespace).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded, "{refused}");
    assert!(!refused.is_retryable() && refused.to_string().contains("pods=0"), "{refused}");
}

#[tokio::test]
async fn k12_a_restricted_namespace_takes_workers_and_refuses_those_that_ask_for_more() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let (provider, admin, namespace) = in_namespace("restricted", labels).await;
    let options = KubernetesOptions::default().user(65_534);
    let taken = provider.create_worker(&config(&options), &CreateOptions::default()).await;
    if let Ok(taken) = &taken {
        provider.delete_worker(&taken.worker, &DeleteOptions::default()).await.unwrap();
    }
    let mut options = KubernetesOptions::default().user(0);
    options.security.allow_root = true;
    let refused = provider.create_worker(&config(&options), &CreateOptions::default()).await;
    remove(&admin, &namespace).await;
    taken.unwrap();
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config, "{refused}");
    assert!(refused.to_string().contains("PodSecurity"), "{refused}");
}
