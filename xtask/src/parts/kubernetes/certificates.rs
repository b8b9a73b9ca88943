//! Who is who in a cluster: a certificate for each, all of one authority, and the files by which they find the API server.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::cluster::Cluster;
use super::node::NAME;
use crate::failure::{Context, Result};
use crate::run;
use crate::tools::certificates::{self, Wanted};

/// Those who talk to the API server by a file that says how.
const CLIENTS: [&str; 5] = ["admin", "controller-manager", "scheduler", "proxy", "node"];

/// Makes all of it anew.
pub(super) fn make(cluster: &Cluster<'_>) -> Result<()> {
    let folder = cluster.state.join("certificates");
    certificates::authority(&folder)?;
    let (node, service) = (cluster.network.node(), cluster.network.api_service());
    let server = format!(
        "IP:{node}, IP:{service}, IP:127.0.0.1, DNS:localhost, DNS:kubernetes, DNS:kubernetes.default, \
         DNS:kubernetes.default.svc"
    );
    let of_node = format!("/O=system:nodes/CN=system:node:{NAME}");
    let on_node = format!("IP:{node}, DNS:{NAME}");
    let of_metrics = format!("IP:{node}, DNS:metrics-server.kube-system.svc");
    let (both, client) = ("serverAuth, clientAuth", "clientAuth");
    for (name, subject, usage, names) in [
        ("apiserver", "/CN=kube-apiserver", "serverAuth", server.as_str()),
        ("node", &of_node, both, &on_node),
        ("metrics", "/CN=metrics-server", "serverAuth", &of_metrics),
        ("admin", "/O=system:masters/CN=admin", client, ""),
        ("controller-manager", "/CN=system:kube-controller-manager", client, ""),
        ("scheduler", "/CN=system:kube-scheduler", client, ""),
        ("proxy", "/CN=system:kube-proxy", client, ""),
        ("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", client, ""),
        ("front-proxy", "/CN=front-proxy-client", client, ""),
    ] {
        let wanted = Wanted { subject, usage, names };
        certificates::issue(&folder, &wanted, &format!("{name}.pem"), &format!("{name}-key.pem"))?;
    }
    // What the tokens of service accounts are signed with.
    let key = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", "accounts.pem"];
    run::output(Command::new("openssl").current_dir(&folder).arg("genpkey").args(key))?;
    let public = ["-pubout", "-in", "accounts.pem", "-out", "accounts-public.pem"];
    run::output(Command::new("openssl").current_dir(&folder).arg("pkey").args(public))?;
    CLIENTS.iter().try_for_each(|who| kubeconfig(cluster, who))
}

/// With the certificates in it, so that it can be carried elsewhere.
fn kubeconfig(cluster: &Cluster<'_>, who: &str) -> Result<()> {
    let name = cluster.part.name;
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": {
            "server": cluster.server(),
            "certificate-authority-data": encoded(cluster, "ca.pem")?,
        } }],
        "users": [{ "name": who, "user": {
            "client-certificate-data": encoded(cluster, &format!("{who}.pem"))?,
            "client-key-data": encoded(cluster, &format!("{who}-key.pem"))?,
        } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": who } }],
        "current-context": name,
    });
    let file = cluster.state.join(format!("{who}.kubeconfig"));
    // JSON is YAML.
    fs::write(&file, format!("{text:#}\n")).context(format_args!("writing {}", file.display()))
}

/// A file of the certificates in base64.
pub(super) fn encoded(cluster: &Cluster<'_>, name: &str) -> Result<String> {
    let file = cluster.state.join("certificates").join(name);
    let text = run::output(Command::new("openssl").args(["base64", "-A", "-in"]).arg(file))?;
    Ok(text.trim().to_owned())
}
