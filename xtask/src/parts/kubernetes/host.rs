//! The host that a cluster is: one process that holds its namespaces, the link to it, and its cgroups.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;
use std::time::Duration;

use super::Kubernetes;
use super::cluster::Cluster;
use super::network::{self, Network};
use crate::failure::{Context, Failure, Result};
use crate::process;
use crate::site::Site;
use crate::tools::subnet;
use crate::{run, stop, sweep};

/// Holds the namespaces, and is the image of every pod's first container.
const PAUSE: &str = include_str!("../../../kubernetes/pause.c");
/// What the host is called among the recorded processes.
pub(super) const HOST: &str = "host";
/// Written by the host once it is made.
const MADE: &str = "host.made";

/// The host's side of the link.
const INSIDE: &str = "eth0";

/// What a kubelet sets for the whole machine. In its own host it may, where this is nobody else's.
const TUNABLES: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Makes the host with its network. Nothing runs on it yet.
pub(super) fn make<'a>(site: &'a Site, part: &'a Kubernetes) -> Result<Cluster<'a>> {
    let state = site.state.join(part.name);
    for folder in ["var", "var.work", "tmp", "tmp.work", "run", "tunables"] {
        make_folder(&state.join(folder))?;
    }
    // Where containerd's shims have their sockets, whatever it is told.
    make_folder(Path::new("/run/containerd"))?;
    let _one = subnet::ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let network =
        Network::free(&subnet::taken()?).ok_or_else(|| Failure::new("no free networks for a cluster"))?;
    // Before anything is made of it, so that the sweep knows.
    fs::write(state.join("network"), network.number().to_string())?;
    let cluster = Cluster::new(site, part, network);
    network::fence(network, &site.hash)?;
    let pid = start(&cluster)?;
    link(&cluster, pid)?;
    cgroups(&part.id(&site.hash))?;
    Ok(cluster)
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context(format_args!("creating {}", folder.display()))
}

/// Compiles the program that does nothing, unless it is there.
pub(super) fn pause(site: &Site) -> Result<PathBuf> {
    let (source, program) = (site.bin().join("pause.c"), site.bin().join("pause"));
    if program.exists() && fs::read_to_string(&source).is_ok_and(|known| known == PAUSE) {
        return Ok(program);
    }
    // So that a compilation that was cut off is not taken for done.
    let _ = fs::remove_file(&program);
    fs::write(&source, PAUSE).context(format_args!("writing {}", source.display()))?;
    let part = site.bin().join("pause.part");
    run::output(Command::new("cc").args(["-Os", "-static", "-s", "-o"]).arg(&part).arg(&source))?;
    fs::rename(&part, &program)?;
    Ok(program)
}

fn start(cluster: &Cluster<'_>) -> Result<i32> {
    let script = cluster.state.join("host.sh");
    fs::write(&script, setup(cluster, &pause(cluster.site)?))
        .context(format_args!("writing {}", script.display()))?;
    let made = cluster.state.join(MADE);
    let _ = fs::remove_file(&made);
    let words = ["unshare", "--net", "--mount", "--propagation", "private", "sh", &cluster.path("host.sh")];
    let log = cluster.log(HOST);
    let record =
        process::daemon(&cluster.site.state, &cluster.process(HOST), &log, &words.map(str::to_owned))?;
    stop::wait_for("the cluster's host", Duration::from_secs(20), || {
        if !record.identity.alive() {
            return Err(Failure(format!("the cluster's host ended; it said:\n{}", run::log_tail(&log))));
        }
        Ok(made.exists().then_some(()))
    })?;
    Ok(record.identity.pid)
}

/// What the host does first. Nothing that it mounts is seen outside.
fn setup(cluster: &Cluster<'_>, pause: &Path) -> String {
    let state = cluster.state.display();
    let mut text = "set -e\n".to_owned();
    // What is written there by names that cannot be chosen stays in the cluster's folder.
    for folder in ["var", "tmp"] {
        text += &format!(
            "mount -t overlay overlay -o lowerdir=/{folder},upperdir={state}/{folder},workdir={state}/{folder}.work /{folder}\n"
        );
    }
    text += &format!("chmod 1777 /tmp\nmount --bind {state}/run /run/containerd\n");
    // A disk that others write to stalls, and containerd gives what a pod wrote last two seconds to get there.
    text += &format!("mkdir -p {state}/logs\nmount -t tmpfs -o size=2g logs {state}/logs\n");
    for tunable in TUNABLES {
        let copy = format!("{state}/tunables/{}", tunable.replace('/', "."));
        text += &format!(
            "if [ -e /proc/sys/{tunable} ]; then cat /proc/sys/{tunable} >{copy}; mount --bind {copy} /proc/sys/{tunable}; fi\n"
        );
    }
    // As on other hosts: pods may ask for volumes whose mounts come and go.
    text += "mount --make-rshared /\nip link set lo up\necho 1 >/proc/sys/net/ipv4/ip_forward\n";
    text + &format!("touch {state}/{MADE}\nexec {} {state}\n", pause.display())
}

/// The way from this machine to the nodes, the pods and the Services, and back.
fn link(cluster: &Cluster<'_>, pid: i32) -> Result<()> {
    let (network, name) = (cluster.network, cluster.part.id(&cluster.site.hash));
    let (node, outside) = (network.node().to_string(), network.outside());
    let pid = pid.to_string();
    let ip = |line: &str| run::output(Command::new("ip").args(line.split(' '))).map(drop);
    ip(&format!("link add {name} type veth peer name {INSIDE} netns {pid}"))?;
    ip(&format!("address add {outside}/24 dev {name}"))?;
    ip(&format!("link set {name} up"))?;
    let inside = |line: &str| {
        let words = ["--target", pid.as_str(), "--net", "ip"].into_iter().chain(line.split(' '));
        run::output(Command::new("nsenter").args(words)).map(drop)
    };
    inside(&format!("address add {node}/24 dev {INSIDE}"))?;
    inside(&format!("link set {INSIDE} up"))?;
    let services = network::text(network.services());
    // No way leads to a Service but its translation into that of a pod, before which the kernel wants to see a way.
    inside(&format!("route add {services} dev lo src {node}"))?;
    ip(&format!("route add {} via {node}", network::text(network.pods())))?;
    ip(&format!("route add {services} via {node}"))
}

/// The cgroup below which the kubelet has its pods: it would end those of another kubelet.
fn cgroups(name: &str) -> Result<()> {
    for root in sweep::hierarchies() {
        let group = root.join(name);
        fs::create_dir_all(&group).context(format_args!("creating {}", group.display()))?;
        // Empty in a new one, and nothing can be put into it then.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (from, to) = (root.join(file), group.join(file));
            if from.exists() && to.exists() {
                fs::write(&to, fs::read(from)?).context(format_args!("writing {}", to.display()))?;
            }
        }
        // In the unified hierarchy a group has what its parent hands on.
        let handed_on = root.join("cgroup.subtree_control");
        for controller in
            fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default().split_whitespace()
        {
            let _ = fs::write(&handed_on, format!("+{controller}"));
        }
    }
    Ok(())
}

/// Calls from outside find nobody from here on, and time out. Inside, all goes on.
pub(super) fn cut(cluster: &Cluster<'_>) -> Result<()> {
    cluster.inside("ip", &["link", "set", INSIDE, "down"]).map(drop)
}

/// Calls from outside find it again.
pub(super) fn mend(cluster: &Cluster<'_>) -> Result<()> {
    cluster.inside("ip", &["link", "set", INSIDE, "up"])?;
    // This machine remembers for a while that nobody was there.
    let link = cluster.part.id(&cluster.site.hash);
    run::output(Command::new("ip").args(["neighbour", "flush", "dev", &link]))?;
    let place = SocketAddr::from((cluster.network.node(), 6443));
    stop::wait_for("the way to the cluster", Duration::from_secs(20), || {
        // A refusal comes from there, too.
        let reached = match TcpStream::connect_timeout(&place, Duration::from_secs(1)) {
            Err(error) => error.kind() == ErrorKind::ConnectionRefused,
            Ok(_) => true,
        };
        Ok(reached.then_some(()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::SETTLED;
    use super::*;

    #[test]
    fn what_a_host_mounts_lies_in_its_folder_and_what_a_kubelet_sets_stays_there() {
        let site = Site::find().unwrap();
        let cluster = Cluster::new(&site, &SETTLED, Network::parse("1").unwrap());
        let text = setup(&cluster, Path::new("/x/pause"));
        let state = cluster.state.display().to_string();
        let mounts: Vec<_> =
            text.lines().filter(|line| line.contains("--bind") || line.contains("overlay")).collect();
        assert_eq!(mounts.len(), 2 + 1 + TUNABLES.len());
        assert!(mounts.iter().all(|line| line.contains(&state)), "{text}");
        assert!(TUNABLES.iter().all(|tunable| text.contains(&format!(" /proc/sys/{tunable};"))), "{text}");
        assert!(text.ends_with(&format!("\nexec /x/pause {state}\n")), "{text}");
    }
}
