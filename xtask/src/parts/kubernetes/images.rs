//! The images of a cluster, made here: that of the tests, and the one that holds a pod's namespaces.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::cluster::{Cluster, Program};
use crate::failure::{Context, Failure, Result};
use crate::run;
use crate::tools::image;
use crate::tools::registry::USER;

/// The image of every pod's first container. No registry has it.
pub(super) const PAUSE: &str = "docker.io/hodei-test/pause:1";

/// Puts both into the node, and that of the tests into the registries too, as soon as they answer.
pub(super) fn load(cluster: &Cluster<'_>) -> Result<()> {
    let busybox = image::archive(&cluster.state)?;
    // What a pod calls it by stands for this.
    let name = format!("docker.io/{}", image::NAME);
    let of_tests = pack(cluster, "busybox", &busybox, &name, &json!({ "Cmd": ["sh"] }))?;
    let root = pause_root(cluster)?;
    let of_pods = pack(cluster, "pause", &root, PAUSE, &json!({ "Entrypoint": ["/pause"] }))?;
    cluster.await_answer(Program::Containerd)?;
    for archive in [&of_pods, &of_tests] {
        ctr(cluster, &["images", "import", &archive.display().to_string()])?;
    }
    let (user, password) = USER;
    let login = format!("--user={user}:{password}");
    for (program, registry, options) in [
        (Program::Registry, cluster.registry(), vec!["--plain-http"]),
        (Program::LockedRegistry, cluster.locked_registry(), vec!["--plain-http", &login]),
    ] {
        cluster.await_answer(program)?;
        let remote = format!("{registry}/{}", image::NAME);
        ctr(cluster, &["images", "tag", &name, &remote])?;
        ctr(cluster, &[&["images", "push"][..], &options, &[&remote]].concat())?;
        // The node has to pull it by this name.
        ctr(cluster, &["images", "remove", "--sync", &remote])?;
    }
    Ok(())
}

/// Asks containerd, in the namespace that the kubelet's containers are in.
pub(super) fn ctr(cluster: &Cluster<'_>, words: &[&str]) -> Result<String> {
    let mut command = Command::new("ctr");
    command.args(["--address", &cluster.path("containerd.sock"), "--namespace", "k8s.io"]);
    run::output(command.args(words).env("NO_PROXY", "*"))
}

fn pause_root(cluster: &Cluster<'_>) -> Result<PathBuf> {
    let file = cluster.state.join("pause.tar");
    tar(&file, &cluster.site.bin(), &["pause"])?;
    Ok(file)
}

/// An archive as `docker save` writes it, of one layer.
fn pack(cluster: &Cluster<'_>, name: &str, layer: &Path, reference: &str, config: &Value) -> Result<PathBuf> {
    let folder = cluster.state.join(format!("{name}.image"));
    fs::create_dir_all(&folder)?;
    fs::copy(layer, folder.join("layer.tar")).context(format_args!("copying {}", layer.display()))?;
    let sum = run::output(Command::new("sha256sum").arg(layer))?;
    let digest = sum.split_whitespace().next().ok_or_else(|| Failure::new("sha256sum said nothing"))?;
    fs::write(folder.join("config.json"), configuration(config, digest).to_string())?;
    let manifest = json!([{ "Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"] }]);
    fs::write(folder.join("manifest.json"), manifest.to_string())?;
    let archive = cluster.state.join(format!("{name}.image.tar"));
    tar(&archive, &folder, &["manifest.json", "config.json", "layer.tar"])?;
    fs::remove_dir_all(&folder)?;
    Ok(archive)
}

fn configuration(config: &Value, digest: &str) -> Value {
    json!({
        "architecture": architecture(ARCH),
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        "history": [{ "created_by": "xtask" }],
    })
}

/// As images call it.
fn architecture(ours: &str) -> &str {
    match ours {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn tar(file: &Path, folder: &Path, names: &[&str]) -> Result<()> {
    let options = ["--create", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--file"];
    run::output(Command::new("tar").args(options).arg(file).arg("--directory").arg(folder).args(names))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_its_layer_and_the_machine_it_is_for() {
        let config = configuration(&json!({ "Cmd": ["sh"] }), "0a");
        assert_eq!(config["rootfs"]["diff_ids"][0], "sha256:0a");
        assert_eq!(config["config"]["Cmd"][0], "sh");
        assert_eq!(architecture("x86_64"), "amd64");
        assert_eq!(architecture("riscv64"), "riscv64");
    }
}
