//! metrics-server: what pods and nodes use, as an API that the API server passes on to it.

use serde_json::json;

use super::api::has_condition;
use super::certificates;
use super::cluster::Cluster;
use super::control_plane::options;
use crate::failure::Result;

const NAME: &str = "metrics-server";
const SERVED: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io";

/// It runs beside the kubelet, not in a pod: its image would have to be made first.
pub(super) fn server(cluster: &Cluster<'_>) -> Vec<String> {
    let pem = |name: &str| cluster.path(&format!("certificates/{name}.pem"));
    let admin = cluster.path("admin.kubeconfig");
    options([
        ("kubeconfig", admin.clone()),
        ("authentication-kubeconfig", admin.clone()),
        ("authorization-kubeconfig", admin),
        ("bind-address", cluster.network.node().to_string()),
        ("secure-port", "4443".into()),
        ("tls-cert-file", pem("metrics")),
        ("tls-private-key-file", pem("metrics-key")),
        ("kubelet-certificate-authority", pem("ca")),
        ("kubelet-client-certificate", pem("kubelet-client")),
        ("kubelet-client-key", pem("kubelet-client-key")),
        ("kubelet-preferred-address-types", "InternalIP".into()),
        // The shortest that it takes.
        ("metric-resolution", "10s".into()),
        ("kubelet-request-timeout", "5s".into()),
    ])
}

/// Tells the API server where it is.
pub(super) fn announce(cluster: &Cluster<'_>) -> Result<()> {
    let api = cluster.api();
    api.wait_for("the system's namespace", "/api/v1/namespaces/kube-system", |_| true)?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": NAME },
        "spec": { "ports": [{ "port": 443, "targetPort": 4443 }] },
    });
    api.apply(&format!("/api/v1/namespaces/kube-system/services/{NAME}"), &service)?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": format!("{NAME}-1"), "labels": { "kubernetes.io/service-name": NAME } },
        "addressType": "IPv4",
        "ports": [{ "name": "", "port": 4443, "protocol": "TCP" }],
        "endpoints": [{ "addresses": [cluster.network.node().to_string()], "conditions": { "ready": true } }],
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices";
    api.apply(&format!("{slices}/{NAME}-1"), &slice)?;
    let served = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": { "name": "v1beta1.metrics.k8s.io" },
        "spec": {
            "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": { "name": NAME, "namespace": "kube-system" },
            "caBundle": certificates::encoded(cluster, "ca.pem")?,
        },
    });
    api.apply(SERVED, &served)
}

/// Waits until the API server passes requests on to it.
pub(super) fn await_served(cluster: &Cluster<'_>) -> Result<()> {
    cluster.api().wait_for("the API of the metrics", SERVED, |served| has_condition(served, "Available"))
}
