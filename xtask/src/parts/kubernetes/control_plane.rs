//! How etcd, the API server and what works by it are told to run.

use std::fs;

use serde_json::json;

use super::certificates;
use super::cluster::Cluster;
use super::network;
use crate::failure::{Context, Result};

/// Every request to the API server, a line each when its answer begins and when it has ended.
pub(super) const AUDIT: &str = "audit.log";
const POLICY: &str = "audit-policy.json";

/// Writes what their command lines name.
pub(super) fn configure(cluster: &Cluster<'_>) -> Result<()> {
    certificates::make(cluster)?;
    // Who asked for what, but no bodies.
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{ "level": "Metadata" }],
    });
    fs::write(cluster.state.join(POLICY), policy.to_string()).context("writing the audit policy")
}

/// Options as programs take them, `--name=value`.
pub(super) fn options<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

fn certificate(cluster: &Cluster<'_>, name: &str) -> String {
    cluster.path(&format!("certificates/{name}.pem"))
}

pub(super) fn etcd(cluster: &Cluster<'_>) -> Vec<String> {
    // What is written here is not to outlive the machine.
    options([("data-dir", cluster.path("etcd")), ("unsafe-no-fsync", "true".into())])
}

pub(super) fn api_server(cluster: &Cluster<'_>) -> Vec<String> {
    let node = cluster.network.node().to_string();
    let pem = |name: &str| certificate(cluster, name);
    let mut words = options([
        ("etcd-servers", "http://127.0.0.1:2379".into()),
        ("bind-address", node.clone()),
        ("advertise-address", node),
        ("secure-port", "6443".into()),
        ("tls-cert-file", pem("apiserver")),
        ("tls-private-key-file", pem("apiserver-key")),
        ("client-ca-file", pem("ca")),
        ("service-account-issuer", "https://kubernetes.default.svc".into()),
        ("service-account-signing-key-file", pem("accounts")),
        ("service-account-key-file", pem("accounts-public")),
        ("service-cluster-ip-range", network::text(cluster.network.services())),
        ("authorization-mode", "Node,RBAC".into()),
        ("enable-admission-plugins", "NodeRestriction".into()),
        ("allow-privileged", "true".into()),
        ("audit-policy-file", cluster.path(POLICY)),
        ("audit-log-path", cluster.path(AUDIT)),
    ]);
    words.extend(options([
        // For logs, exec and attach.
        ("kubelet-client-certificate", pem("kubelet-client")),
        ("kubelet-client-key", pem("kubelet-client-key")),
        ("kubelet-certificate-authority", pem("ca")),
        ("kubelet-preferred-address-types", "InternalIP".into()),
    ]));
    words.extend(options([
        // For APIs that others serve, such as that of the metrics.
        ("requestheader-client-ca-file", pem("ca")),
        ("requestheader-allowed-names", "front-proxy-client".into()),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".into()),
        ("requestheader-group-headers", "X-Remote-Group".into()),
        ("requestheader-username-headers", "X-Remote-User".into()),
        ("proxy-client-cert-file", pem("front-proxy")),
        ("proxy-client-key-file", pem("front-proxy-key")),
        ("enable-aggregator-routing", "true".into()),
    ]));
    words
}

pub(super) fn controller_manager(cluster: &Cluster<'_>) -> Vec<String> {
    let pem = |name: &str| certificate(cluster, name);
    options([
        ("kubeconfig", cluster.path("controller-manager.kubeconfig")),
        ("bind-address", "127.0.0.1".into()),
        ("leader-elect", "false".into()),
        ("use-service-account-credentials", "true".into()),
        ("service-account-private-key-file", pem("accounts")),
        ("root-ca-file", pem("ca")),
        ("cluster-signing-cert-file", pem("ca")),
        ("cluster-signing-key-file", pem("ca-key")),
        ("allocate-node-cidrs", "true".into()),
        ("cluster-cidr", network::text(cluster.network.pods())),
        ("node-cidr-mask-size", "24".into()),
        // Tests wait for what takes minutes elsewhere.
        ("horizontal-pod-autoscaler-sync-period", "2s".into()),
        ("node-monitor-period", "2s".into()),
        ("node-monitor-grace-period", "10s".into()),
        // Thousands of pods come and go together.
        ("kube-api-qps", "500".into()),
        ("kube-api-burst", "1000".into()),
    ])
}

pub(super) fn scheduler(cluster: &Cluster<'_>) -> Vec<String> {
    options([
        ("kubeconfig", cluster.path("scheduler.kubeconfig")),
        ("bind-address", "127.0.0.1".into()),
        ("leader-elect", "false".into()),
        ("kube-api-qps", "500".into()),
        ("kube-api-burst", "1000".into()),
    ])
}
