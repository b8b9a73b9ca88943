//! Two whole clusters of two versions of Kubernetes, on which pods really run: etcd, API server, controllers, scheduler,
//! containerd, kubelet, kube-proxy, metrics-server, an image registry and one that wants a log-in.
//!
//! Each is a host of its own: one process holds a network namespace, in which everything listens on the usual ports, and
//! a mount namespace, in which `/var` and `/tmp` are its own and nothing that it sets or mounts is the machine's. With its
//! last process a cluster is gone, but for its cgroups and the routes to it, which the sweep knows by their names.
//!
//! What is not there: name resolution inside of the cluster, and an agent that filters packets by NetworkPolicies.

mod api;
mod certificates;
mod cluster;
mod control_plane;
mod host;
mod images;
mod metrics;
mod network;
mod node;
mod storage;
pub(crate) mod sweep;

use std::env;
use std::path::Path;
use std::time::Duration;

use self::cluster::{Cluster, Program};
use crate::failure::{Failure, Result};
use crate::parts::{Needs, Part};
use crate::site::Site;
use crate::tools::go::Module;
use crate::tools::{apt, control, image, registry};

/// How tests get in, as an administrator. A cluster that the user has already is used in the place of ours.
const CONFIG: &str = "HODEI_TEST_KUBECONFIG";

/// Program and Debian package.
const PROGRAMS: [(&str, &str); 15] = [
    ("etcd", "etcd-server"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("conntrack", "conntrack"),
    ("ipset", "ipset"),
    ("iptables", "iptables"),
    ("docker-registry", "docker-registry"),
    ("busybox", "busybox-static"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("ip", "iproute2"),
    ("cc", "gcc"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
];

/// By packages that have no program: a file of each.
const FILES: [(&str, &str); 2] =
    [("/usr/lib/cni/bridge", "containernetworking-plugins"), ("/usr/include/unistd.h", "libc6-dev")];

/// The programs of every release.
const OF_KUBERNETES: &[(&str, &str)] = &[
    ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
    ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
    ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
    ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
    ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
];

const METRICS_SERVER: Module = Module {
    folder: "metrics-server",
    programs: &[("sigs.k8s.io/metrics-server/cmd/metrics-server", "metrics-server")],
    linked: "",
    tags: "",
    c: false,
};

/// Debian's closes what a container writes to when the container ends, before it has read all of it: `Task.Delete` of
/// containerd 1.6.20 does that.
const CONTAINERD: Module = Module {
    folder: "containerd",
    programs: &[
        ("github.com/containerd/containerd/cmd/containerd", "containerd"),
        ("github.com/containerd/containerd/cmd/containerd-shim-runc-v2", "containerd-shim-runc-v2"),
    ],
    linked: "-X github.com/containerd/containerd/version.Version=1.7.30",
    tags: "no_aufs no_btrfs no_devmapper no_zfs",
    c: false,
};

/// One cluster.
#[derive(Debug)]
pub(crate) struct Kubernetes {
    name: &'static str,
    /// What the names of its interface and its cgroup begin with; a checkout's hash follows.
    start: &'static str,
    module: Module,
    /// The program by which a test stops and starts what it consists of.
    script: &'static str,
}

/// The release that most clusters run.
pub(crate) const SETTLED: Kubernetes = Kubernetes {
    name: "kubernetes",
    start: "hodei-k",
    module: Module {
        folder: "kubernetes-1.34",
        programs: OF_KUBERNETES,
        linked: "-X k8s.io/component-base/version.gitVersion=v1.34.4 \
                 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34",
        tags: "",
        c: false,
    },
    script: "kubernetes-cluster",
};
/// The newest release.
pub(crate) const NEWEST: Kubernetes = Kubernetes {
    name: "kubernetes-newest",
    start: "hodei-l",
    module: Module {
        folder: "kubernetes-1.37",
        programs: OF_KUBERNETES,
        linked: "-X k8s.io/component-base/version.gitVersion=v1.37.2 \
                 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37",
        tags: "",
        c: false,
    },
    script: "kubernetes-cluster-newest",
};

/// Every cluster there is.
const CLUSTERS: [&Kubernetes; 2] = [&SETTLED, &NEWEST];

impl Part for Kubernetes {
    fn name(&self) -> &'static str {
        self.name
    }

    fn packages(&self) -> &'static [&'static str] {
        &[
            "hodei-worker-k8s",
            "hodei-worker",
            "hodei-worker-examples",
            "hodei-worker-benches",
            "hodei-credentials",
        ]
    }

    fn needs(&self) -> &'static [Needs] {
        const SETTLED: &[Needs] = &[
            Needs { package: "hodei-worker-k8s", binary: None, test: None },
            Needs { package: "hodei-credentials", binary: Some("vault_kubernetes"), test: None },
            Needs { package: "hodei-worker", binary: Some("matrix"), test: None },
            Needs { package: "hodei-worker", binary: Some("manager_kubernetes"), test: None },
            Needs { package: "hodei-worker", binary: Some("health_kubernetes"), test: None },
            Needs {
                package: "hodei-worker-examples",
                binary: Some("examples"),
                test: Some("k1_the_kubernetes_example_runs_on_a_real_cluster"),
            },
            TWO_CLUSTERS,
        ];
        const TWO_CLUSTERS: Needs = Needs {
            package: "hodei-worker-examples",
            binary: Some("examples"),
            test: Some("k11_the_example_of_two_clusters_places_and_lists_on_both"),
        };
        // What runs on the settled one runs on the newest once more, if it is there.
        if self.is_newest() { &[TWO_CLUSTERS] } else { SETTLED }
    }

    fn stand_ins(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (CONFIG, "/nowhere"),
            ("HODEI_TEST_KUBERNETES_IMAGE", "none"),
            ("HODEI_TEST_KUBERNETES_PART", "kubernetes"),
        ]
    }

    fn stands_in_for(&self) -> Option<&'static str> {
        self.is_newest().then_some(SETTLED.name)
    }

    fn install(&self, site: &Site) -> Result<()> {
        if self.given(site).is_some() {
            return Ok(());
        }
        if !rustix::process::geteuid().is_root() {
            return Err(Failure(format!(
                "a cluster of our own needs root; {CONFIG} names another to use instead"
            )));
        }
        apt::install(&PROGRAMS)?;
        for (file, package) in FILES {
            if !Path::new(file).exists() {
                apt::install_package(package)?;
            }
        }
        self.module.build(site)?;
        CONTAINERD.build(site)?;
        METRICS_SERVER.build(site).map(drop)
    }

    fn start(&self, site: &Site) -> Result<()> {
        if self.given(site).is_some() {
            return Ok(());
        }
        if Cluster::find(site, self).is_some_and(|cluster| cluster.runs()) {
            return Ok(());
        }
        // Half a cluster is none.
        sweep::one(site, self)?;
        let cluster = host::make(site, self)?;
        cluster.start()?;
        control::write(site, self.script, self.name, &verbs())
    }

    fn ready(&self, site: &Site) -> Result<String> {
        if let Some(file) = self.given(site) {
            return Ok(format!("the cluster of {file}"));
        }
        let cluster = self.cluster(site)?;
        cluster.await_whole()?;
        cluster.version()
    }

    fn environment(&self, site: &Site) -> Result<Vec<(String, String)>> {
        let mut environment = vec![("HODEI_TEST_KUBERNETES_PART", self.name.to_owned())];
        if let Some(file) = self.given(site) {
            environment.push((CONFIG, file));
        } else {
            let cluster = self.cluster(site)?;
            let script = |part: &Self| control::path(site, part.script).display().to_string();
            environment.push((CONFIG, self.kubeconfig(site)));
            environment.push(("HODEI_TEST_KUBERNETES_IMAGE", image::NAME.to_owned()));
            environment.push(("HODEI_TEST_KUBERNETES_REGISTRY", cluster.registry()));
            let (user, password) = registry::USER;
            environment.push(("HODEI_TEST_KUBERNETES_REGISTRY_LOCKED", cluster.locked_registry()));
            environment.push(("HODEI_TEST_KUBERNETES_REGISTRY_USER", user.to_owned()));
            environment.push(("HODEI_TEST_KUBERNETES_REGISTRY_PASSWORD", password.to_owned()));
            environment.push(("HODEI_TEST_KUBERNETES_AUDIT", cluster.path(control_plane::AUDIT)));
            environment.push(("HODEI_TEST_CLUSTER", script(self)));
            // Both come up together, for tests that have several.
            let other = if self.is_newest() { &SETTLED } else { &NEWEST };
            environment.push(("HODEI_TEST_KUBECONFIG_SECOND", other.kubeconfig(site)));
            environment.push(("HODEI_TEST_CLUSTER_SECOND", script(other)));
        }
        Ok(environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn stop(&self, site: &Site) -> Result<()> {
        sweep::one(site, self)
    }

    fn control(&self, site: &Site, verb: &str) -> Result<()> {
        let cluster = self.cluster(site)?;
        match Verb::parse(verb) {
            Some(Verb::Cut) => host::cut(&cluster),
            Some(Verb::Mend) => host::mend(&cluster),
            Some(Verb::Start(program)) => cluster.bring(program),
            // An API server waits a minute for those who watch.
            Some(Verb::Stop(program)) => cluster.end(program, Duration::from_secs(5)),
            Some(Verb::Kill(program)) => cluster.kill(program),
            None => Err(Failure(format!("{}: `{verb}` is none of {}", self.name, verbs()))),
        }
    }
}

impl Kubernetes {
    fn is_newest(&self) -> bool {
        self.name == NEWEST.name
    }

    fn cluster<'a>(&'a self, site: &'a Site) -> Result<Cluster<'a>> {
        Cluster::find(site, self).ok_or_else(|| Failure(format!("{}: no cluster of ours has run", self.name)))
    }

    /// The name of its interface and its cgroup.
    fn id(&self, hash: &str) -> String {
        format!("{}{hash}", self.start)
    }

    /// Whether a recorded process is one of its.
    fn owns(&self, process: &str) -> bool {
        let mut names = Program::ALL.iter().map(|program| program.name()).chain([host::HOST]);
        let name = process.strip_prefix(self.name).and_then(|rest| rest.strip_prefix('-'));
        name.is_some_and(|name| names.any(|one| one == name))
    }

    fn kubeconfig(&self, site: &Site) -> String {
        site.state.join(self.name).join("admin.kubeconfig").display().to_string()
    }

    /// The user's cluster; ours, named to a test or to a shell, is not that. It stands in the place of the first alone.
    fn given(&self, site: &Site) -> Option<String> {
        if self.is_newest() {
            return None;
        }
        let file = env::var(CONFIG).ok().filter(|file| !file.is_empty())?;
        CLUSTERS.iter().all(|part| part.kubeconfig(site) != file).then_some(file)
    }
}

/// What a test can have done to a cluster.
#[derive(Debug, PartialEq, Eq)]
enum Verb {
    /// Nothing outside reaches it any more, and the other way round.
    Cut,
    Mend,
    Start(Program),
    Stop(Program),
    Kill(Program),
}

impl Verb {
    fn parse(verb: &str) -> Option<Self> {
        if let Some((what, name)) = verb.split_once('-') {
            let program = Program::ALL.into_iter().find(|program| program.name() == name)?;
            return match what {
                "start" => Some(Self::Start(program)),
                "stop" => Some(Self::Stop(program)),
                "kill" => Some(Self::Kill(program)),
                _ => None,
            };
        }
        match verb {
            "cut" => Some(Self::Cut),
            "mend" => Some(Self::Mend),
            _ => None,
        }
    }
}

fn verbs() -> String {
    let names: Vec<_> = Program::ALL.iter().map(|program| program.name()).collect();
    format!("cut|mend|{{start,stop,kill}}-{{{}}}", names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_names_what_is_meant() {
        assert_eq!(Verb::parse("kill-apiserver"), Some(Verb::Kill(Program::ApiServer)));
        assert_eq!(Verb::parse("start-controller-manager"), Some(Verb::Start(Program::ControllerManager)));
        assert_eq!(Verb::parse("cut"), Some(Verb::Cut));
        assert_eq!(Verb::parse("kill"), None);
        assert_eq!(Verb::parse("kill-nothing"), None);
    }

    #[test]
    fn an_interfaces_name_is_no_longer_than_the_kernel_allows() {
        let names = CLUSTERS.map(|part| part.id("0a1b2c3d"));
        assert!(names.iter().all(|name| name.len() <= 15), "{names:?}");
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn the_clusters_of_ours_are_not_taken_for_a_users() {
        let site = Site::find().unwrap();
        assert!(CLUSTERS.iter().all(|part| part.kubeconfig(&site).starts_with("/")));
        assert_ne!(SETTLED.kubeconfig(&site), NEWEST.kubeconfig(&site));
    }
}
