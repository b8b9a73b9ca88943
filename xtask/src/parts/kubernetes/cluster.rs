//! What a cluster consists of, and how its programs are started, asked and ended.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::network::Network;
use super::{CONTAINERD, Kubernetes, METRICS_SERVER, control_plane, host, images, metrics, node, storage};
use crate::failure::{Failure, Result};
use crate::process::{self, Record};
use crate::site::Site;
use crate::tools::apt::which;
use crate::{run, stop};

/// One program of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
    Containerd,
    Registry,
    LockedRegistry,
    Kubelet,
    Proxy,
    Metrics,
}

impl Program {
    pub(super) const ALL: [Self; 10] = [
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Containerd,
        Self::Registry,
        Self::LockedRegistry,
        Self::Kubelet,
        Self::Proxy,
        Self::Metrics,
    ];

    /// As tests and logs call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "apiserver",
            Self::ControllerManager => "controller-manager",
            Self::Scheduler => "scheduler",
            Self::Containerd => "containerd",
            Self::Registry => "registry",
            Self::LockedRegistry => "registry-locked",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
            Self::Metrics => "metrics-server",
        }
    }
}

/// One cluster of a checkout's.
#[derive(Debug)]
pub(super) struct Cluster<'a> {
    pub(super) site: &'a Site,
    pub(super) part: &'a Kubernetes,
    pub(super) network: Network,
    /// Everything of it lies below.
    pub(super) state: PathBuf,
}

impl<'a> Cluster<'a> {
    pub(super) fn new(site: &'a Site, part: &'a Kubernetes, network: Network) -> Self {
        Self { site, part, network, state: site.state.join(part.name) }
    }

    /// The one that has been made, whether it runs or not.
    pub(super) fn find(site: &'a Site, part: &'a Kubernetes) -> Option<Self> {
        let number = fs::read_to_string(site.state.join(part.name).join("network")).ok()?;
        Some(Self::new(site, part, Network::parse(&number)?))
    }

    /// A file of its.
    pub(super) fn path(&self, name: &str) -> String {
        self.state.join(name).display().to_string()
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.site.logs().join(format!("{}.log", self.process(name)))
    }

    /// What one of its processes is called in the checkout's records.
    pub(super) fn process(&self, name: &str) -> String {
        format!("{}-{name}", self.part.name)
    }

    pub(super) fn record(&self, name: &str) -> Option<Record> {
        Record::read(&self.site.state, &self.process(name))
    }

    fn living(&self, name: &str) -> Option<Record> {
        self.record(name).filter(|record| record.identity.alive())
    }

    /// Whether everything of it lives.
    pub(super) fn runs(&self) -> bool {
        Program::ALL
            .iter()
            .map(|program| program.name())
            .chain([host::HOST])
            .all(|name| self.living(name).is_some())
    }

    /// Where the nodes find the registry. It is the same from outside.
    pub(super) fn registry(&self) -> String {
        format!("{}:5000", self.network.node())
    }

    /// The same for one that lets only [`USER`](crate::tools::registry::USER) in.
    pub(super) fn locked_registry(&self) -> String {
        format!("{}:5001", self.network.node())
    }

    /// The words that enter the host's namespaces.
    fn enter(&self, more: &[&str]) -> Result<Vec<String>> {
        let host = self
            .living(host::HOST)
            .ok_or_else(|| Failure(format!("{}: its host does not run", self.part.name)))?;
        let pid = host.identity.pid.to_string();
        let words = ["nsenter", "--target", &pid, "--net"].into_iter().chain(more.iter().copied());
        Ok(words.map(str::to_owned).collect())
    }

    /// Runs a program in the cluster's network, to its end.
    pub(super) fn inside(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let words = self.enter(&[program])?;
        run::output(Command::new(&words[0]).args(&words[1..]).args(arguments))
    }

    /// Brings up all of it on its host.
    pub(super) fn start(&self) -> Result<()> {
        control_plane::configure(self)?;
        node::configure(self)?;
        let first = [Program::Etcd, Program::Containerd, Program::Registry, Program::LockedRegistry];
        for program in first.into_iter().chain([Program::ApiServer]) {
            self.launch(program)?;
        }
        // The API server takes longest, and needs none of it.
        images::load(self)?;
        self.await_answer(Program::ApiServer)?;
        for program in [Program::Kubelet, Program::ControllerManager, Program::Scheduler, Program::Proxy] {
            self.launch(program)?;
        }
        metrics::announce(self)?;
        storage::announce(self)?;
        // It looks for nodes when it starts, and then after ten seconds only.
        node::await_announced(self)?;
        self.launch(Program::Metrics)
    }

    /// Waits until all of it answers.
    pub(super) fn await_whole(&self) -> Result<()> {
        for program in Program::ALL {
            self.await_answer(program)?;
        }
        node::await_ready(self)?;
        metrics::await_served(self)
    }

    pub(super) fn version(&self) -> Result<String> {
        let version = self.api().get("/version")?;
        Ok(version["gitVersion"].as_str().unwrap_or("?").to_owned())
    }

    fn launch(&self, program: Program) -> Result<()> {
        // Nobody between us is asked for addresses that lead nowhere else.
        let mut words = self.enter(&["--mount", "--", "env", "NO_PROXY=*", "no_proxy=*"])?;
        words.extend(self.words(program)?);
        let (state, name) = (&self.site.state, self.process(program.name()));
        process::daemon(state, &name, &self.log(program.name()), &words).map(drop)
    }

    fn words(&self, program: Program) -> Result<Vec<String>> {
        let debian = |name: &str| {
            let found = which(name).ok_or_else(|| Failure(format!("no {name}")))?;
            Ok::<_, Failure>(found.display().to_string())
        };
        let ours = |name: &str| {
            Ok::<_, Failure>(self.part.module.built(self.site)?.join(name).display().to_string())
        };
        let (program, options) = match program {
            Program::Etcd => (debian("etcd")?, control_plane::etcd(self)),
            Program::ApiServer => (ours("kube-apiserver")?, control_plane::api_server(self)),
            Program::ControllerManager => {
                (ours("kube-controller-manager")?, control_plane::controller_manager(self))
            }
            Program::Scheduler => (ours("kube-scheduler")?, control_plane::scheduler(self)),
            Program::Containerd => {
                let folder = CONTAINERD.built(self.site)?;
                (folder.join("containerd").display().to_string(), node::containerd(self))
            }
            Program::Registry | Program::LockedRegistry => {
                (debian("docker-registry")?, node::registry(self, program.name()))
            }
            Program::Kubelet => (ours("kubelet")?, node::kubelet(self)),
            Program::Proxy => (ours("kube-proxy")?, node::proxy(self)),
            Program::Metrics => {
                let folder = METRICS_SERVER.built(self.site)?;
                (folder.join("metrics-server").display().to_string(), metrics::server(self))
            }
        };
        Ok([program].into_iter().chain(options).collect())
    }

    /// Where a program says that it is well, seen from inside of the host.
    fn health(&self, program: Program) -> Option<String> {
        let node = self.network.node();
        Some(match program {
            Program::Etcd => "http://127.0.0.1:2379/health".to_owned(),
            Program::ApiServer => format!("https://{node}:6443/readyz"),
            Program::ControllerManager => "https://127.0.0.1:10257/healthz".to_owned(),
            Program::Scheduler => "https://127.0.0.1:10259/healthz".to_owned(),
            // What it answers to there, it answers to everybody.
            Program::Registry => format!("http://{}/", self.registry()),
            Program::LockedRegistry => format!("http://{}/", self.locked_registry()),
            Program::Kubelet => "http://127.0.0.1:10248/healthz".to_owned(),
            Program::Proxy => "http://127.0.0.1:10256/livez".to_owned(),
            Program::Metrics => format!("https://{node}:4443/livez"),
            Program::Containerd => return None,
        })
    }

    fn is_well(&self, program: Program) -> bool {
        match self.health(program) {
            Some(url) => {
                let options = ["--silent", "--insecure", "--fail", "--noproxy", "*", "--max-time", "5"];
                self.inside("curl", &[&options[..], &[&url]].concat()).is_ok()
            }
            None => images::ctr(self, &["version"]).is_ok(),
        }
    }

    pub(super) fn await_answer(&self, program: Program) -> Result<()> {
        let name = self.process(program.name());
        let log = self.log(program.name());
        stop::wait_for(&format!("an answer of {name}"), Duration::from_secs(120), || {
            if self.living(program.name()).is_none() {
                return Err(Failure(format!("{name} ended; its log ends:\n{}", run::log_tail(&log))));
            }
            Ok(self.is_well(program).then_some(()))
        })
    }

    /// Starts a program again, and waits until it answers.
    pub(super) fn bring(&self, program: Program) -> Result<()> {
        if self.living(program.name()).is_none() {
            self.launch(program)?;
        }
        self.await_answer(program)
    }

    pub(super) fn end(&self, program: Program, grace: Duration) -> Result<()> {
        match self.living(program.name()) {
            Some(record) if !record.identity.end(grace) => {
                Err(Failure(format!("{} lives on", self.process(program.name()))))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn kill(&self, program: Program) -> Result<()> {
        if let Some(record) = self.living(program.name()) {
            record.identity.signal(Signal::KILL);
        }
        self.end(program, Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{NEWEST, SETTLED};
    use super::*;

    #[test]
    fn a_cluster_is_told_of_nothing_outside_of_its_folder() {
        let site = Site::find().unwrap();
        for part in [&SETTLED, &NEWEST] {
            let cluster = Cluster::new(&site, part, Network::parse("3").unwrap());
            let mut words = [control_plane::etcd(&cluster), control_plane::api_server(&cluster)].concat();
            words.extend([control_plane::controller_manager(&cluster), metrics::server(&cluster)].concat());
            words.extend(
                [node::kubelet(&cluster), node::proxy(&cluster), node::containerd(&cluster)].concat(),
            );
            let values = words.iter().filter_map(|word| word.split_once('=')).map(|(_, value)| value);
            let paths: Vec<_> = values.filter(|value| value.starts_with('/')).collect();
            assert!(paths.len() > 20, "{paths:?}");
            assert!(paths.iter().all(|path| Path::new(path).starts_with(&cluster.state)), "{paths:?}");
        }
    }

    #[test]
    fn what_two_programs_listen_on_is_not_the_same() {
        let site = Site::find().unwrap();
        let cluster = Cluster::new(&site, &SETTLED, Network::parse("3").unwrap());
        let mut places: Vec<_> = Program::ALL.iter().filter_map(|program| cluster.health(*program)).collect();
        let all = places.len();
        places.sort();
        places.dedup();
        assert_eq!((all, places.len()), (Program::ALL.len() - 1, all));
    }
}
