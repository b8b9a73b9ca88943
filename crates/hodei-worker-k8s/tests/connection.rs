//! K1: the way to a cluster, and what is wrong with it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::path::PathBuf;

use common::{limit, on_cluster, settings, variable};
use hodei_worker_core::{ConnectContext, Error, ErrorKind, WorkerProvider as _, provider::CreateOptions};
use hodei_worker_k8s::{KubernetesProvider, KubernetesSettings};

fn context() -> ConnectContext {
    ConnectContext::new("cluster".parse().unwrap(), "nobody".parse().unwrap())
}

async fn refused(settings: KubernetesSettings) -> Error {
    limit(KubernetesProvider::connect(settings, context())).await.unwrap_err()
}

/// The cluster's kubeconfig with something changed in it.
struct Changed(PathBuf);

impl Changed {
    fn new(name: &str, change: impl FnOnce(String) -> String) -> Self {
        let text = std::fs::read_to_string(variable("HODEI_TEST_KUBECONFIG")).unwrap();
        let path = std::env::temp_dir().join(format!("hodei-kubeconfig-{}-{name}", std::process::id()));
        std::fs::write(&path, change(text)).unwrap();
        Self(path)
    }
    fn settings(&self) -> KubernetesSettings {
        KubernetesSettings::from_kubeconfig(&self.0)
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn k1_the_cluster_tells_its_version() {
    let provider = KubernetesProvider::connect(settings(), context()).await.unwrap();
    let capabilities = provider.get_capabilities().await.unwrap();
    assert!(capabilities.version.starts_with("Kubernetes v1."), "{}", capabilities.version);
}

#[tokio::test]
async fn k1_each_fault_of_a_kubeconfig_is_another_error() {
    let error = refused(KubernetesSettings::from_kubeconfig("/no/such/kubeconfig")).await;
    assert_eq!((error.kind(), error.context_value("field")), (ErrorKind::Config, Some("kubeconfig")));
    assert!(error.to_string().contains("/no/such/kubeconfig"), "{error}");
    let error = refused(settings().in_context("elsewhere")).await;
    assert_eq!((error.kind(), error.context_value("field")), (ErrorKind::Config, Some("context")));
    assert!(error.to_string().contains("no context `elsewhere`"), "{error}");
    let broken = Changed::new("broken", |_| "clusters: [".to_owned());
    let error = refused(broken.settings()).await;
    assert_eq!((error.kind(), error.context_value("field")), (ErrorKind::Config, Some("kubeconfig")));
    let server = |text: String, to: &str| {
        let begin = text.find("https://").unwrap();
        let end = begin + text[begin..].find(['"', '\n', ',']).unwrap();
        format!("{}{to}{}", &text[..begin], &text[end..])
    };
    // A port of this machine at which nobody listens.
    let nobody = Changed::new("nobody", |text| server(text, "https://127.0.0.1:1"));
    let error = refused(nobody.settings()).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error:?}");
    assert!(error.to_string().contains("no API server listens"), "{error}");
}

#[tokio::test]
async fn k1_a_namespace_that_does_not_exist_is_named() {
    on_cluster("nowhere", |bench| async move {
        let provider = common::connect(&bench.installation, settings().in_namespace("no-such")).await;
        let config = bench.script("a", "true").build().unwrap();
        let error = provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.context_value("field")), (ErrorKind::Config, Some("namespace")));
        assert!(error.to_string().contains("no namespace `no-such`"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn k1_labels_that_kubernetes_refuses_are_refused_before_anything_exists() {
    on_cluster("labels", |bench| async move {
        for (key, value, part) in [
            ("not good", "x", "metadata.labels.not good"),
            ("team", "not good", "cannot be a label's value"),
            ("hodei-worker/id", "x", "one of this library's own"),
        ] {
            let config = bench.script("a", "true").label(key, value).build();
            let Ok(config) = config else { continue };
            let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains(part), "{part} is missing in {error}");
        }
        let listed = bench.provider.list_workers(&Default::default()).await.unwrap();
        assert!(listed.workers.is_empty());
    })
    .await;
}
