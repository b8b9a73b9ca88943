//! How the node's programs are told to run: containerd, the image registry, kubelet and kube-proxy.

use std::fs;

use serde_json::{Value, json};

use super::api::has_condition;
use super::cluster::{Cluster, Program};
use super::control_plane::options;
use super::{images, network};
use crate::failure::{Context, Result};
use crate::tools::registry::HTPASSWD;

/// The node's name.
pub(super) const NAME: &str = "node1";

/// Writes what their command lines name.
pub(super) fn configure(cluster: &Cluster<'_>) -> Result<()> {
    let write = |name: &str, text: String| {
        fs::write(cluster.state.join(name), text).context(format_args!("writing {name}"))
    };
    fs::create_dir_all(cluster.state.join("cni"))?;
    write("cni/10-hodei.conflist", pod_network(cluster).to_string())?;
    write("containerd.toml", containerd_config(cluster))?;
    write("registry.htpasswd", HTPASSWD.to_owned())?;
    let (open, locked) = (Program::Registry.name(), Program::LockedRegistry.name());
    write(&format!("{open}.json"), registry_config(cluster, open, &cluster.registry()).to_string())?;
    let mut config = registry_config(cluster, locked, &cluster.locked_registry());
    config["auth"] = json!({ "htpasswd": { "realm": "hodei", "path": cluster.path("registry.htpasswd") } });
    write(&format!("{locked}.json"), config.to_string())?;
    write("kubelet.json", kubelet_config(cluster).to_string())?;
    write("kube-proxy.json", proxy_config(cluster).to_string())
}

/// A bridge for the pods. Their addresses are seen as they are, from inside and outside.
fn pod_network(cluster: &Cluster<'_>) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "hodei",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": network::text(cluster.network.pods()) }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    "dataDir": cluster.path("addresses"),
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

fn containerd_config(cluster: &Cluster<'_>) -> String {
    let (state, pause) = (cluster.state.display(), images::PAUSE);
    // Neither has a certificate.
    let plain = [cluster.registry(), cluster.locked_registry()].map(|registry| {
        let plugin = "io.containerd.grpc.v1.cri";
        format!(
            "[plugins.\"{plugin}\".registry.mirrors.\"{registry}\"]\nendpoint = [\"http://{registry}\"]\n"
        )
    });
    let config = format!(
        r#"version = 2
root = "{state}/containerd/root"
state = "{state}/containerd/state"
# It would make folders below /opt.
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{state}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Whoever may not lower the score of a process gets no container otherwise.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{state}/runc"
"#
    );
    config + &plain.concat()
}

fn registry_config(cluster: &Cluster<'_>, name: &str, address: &str) -> Value {
    json!({
        "version": "0.1",
        "log": { "level": "warn" },
        "storage": { "filesystem": { "rootdirectory": cluster.path(name) }, "delete": { "enabled": true } },
        "http": { "addr": address },
    })
}

fn kubelet_config(cluster: &Cluster<'_>) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": cluster.network.node().to_string(),
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": false },
            "x509": { "clientCAFile": cluster.path("certificates/ca.pem") },
        },
        "authorization": { "mode": "AlwaysAllow" },
        "tlsCertFile": cluster.path("certificates/node.pem"),
        "tlsPrivateKeyFile": cluster.path("certificates/node-key.pem"),
        "containerRuntimeEndpoint": format!("unix://{}", cluster.path("containerd.sock")),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", cluster.part.id(&cluster.site.hash)),
        "enforceNodeAllocatable": ["pods"],
        // As machines of developers are.
        "failSwapOn": false,
        "failCgroupV1": false,
        "resolvConf": "",
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "5s",
        // How full the machine's disk is, is not the cluster's matter.
        "evictionHard": { "memory.available": "100Mi" },
        "imageGCHighThresholdPercent": 100,
        // So often it looks at how much pods have written.
        "volumeStatsAggPeriod": "5s",
        // The API shows what was written since the last rotation.
        "containerLogMaxSize": "64Mi",
        "podLogsDir": cluster.path("logs"),
        "volumePluginDir": cluster.path("volume-plugins"),
    })
}

fn proxy_config(cluster: &Cluster<'_>) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": cluster.path("proxy.kubeconfig") },
        "bindAddress": cluster.network.node().to_string(),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "hostnameOverride": NAME,
        "mode": "iptables",
        "clusterCIDR": network::text(cluster.network.pods()),
        // It would set these for the whole machine.
        "conntrack": { "maxPerCore": 0, "min": 0 },
    })
}

pub(super) fn containerd(cluster: &Cluster<'_>) -> Vec<String> {
    options([("config", cluster.path("containerd.toml"))])
}

/// The registry called `name`.
pub(super) fn registry(cluster: &Cluster<'_>, name: &str) -> Vec<String> {
    vec!["serve".to_owned(), cluster.path(&format!("{name}.json"))]
}

pub(super) fn kubelet(cluster: &Cluster<'_>) -> Vec<String> {
    options([
        ("config", cluster.path("kubelet.json")),
        ("kubeconfig", cluster.path("node.kubeconfig")),
        ("root-dir", cluster.path("kubelet")),
        ("cert-dir", cluster.path("kubelet/pki")),
        ("hostname-override", NAME.to_owned()),
        ("node-ip", cluster.network.node().to_string()),
    ])
}

pub(super) fn proxy(cluster: &Cluster<'_>) -> Vec<String> {
    options([("config", cluster.path("kube-proxy.json"))])
}

fn path() -> String {
    format!("/api/v1/nodes/{NAME}")
}

/// Waits until the kubelet has told of its node.
pub(super) fn await_announced(cluster: &Cluster<'_>) -> Result<()> {
    cluster.api().wait_for("the node", &path(), |_| true)
}

/// Waits until pods can run.
pub(super) fn await_ready(cluster: &Cluster<'_>) -> Result<()> {
    let api = cluster.api();
    api.wait_for("the node's readiness", &path(), |node| has_condition(node, "Ready"))?;
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    api.wait_for("the default service account", account, |_| true)
}
