//! How an engine is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Docker, Kind, MOBY, RUNC};
use crate::failure::{Failure, Result};
use crate::process::{self, Record};
use crate::site::Site;
use crate::tools::apt::which;
use crate::tools::http::Endpoint;
use crate::tools::script;
use crate::{run, stop, sweep};

/// The machine's firewall and its forwarding stay as they are. An engine never undoes what it has set (it would leave a
/// machine that routes without forwarding), and one that starts removes the chains of its neighbour, and with them the
/// neighbour's published ports. Ours can do without: its ports go through the proxy.
const HANDS_OFF: [&str; 3] = ["--iptables=false", "--ip6tables=false", "--ip-forward=false"];

/// The numbers outside of the users inside: a range that Debian gives to nobody by itself. The machine's root may not be
/// the one in whose name it is taken.
const RANGE: &str = "nobody:1879048192:65536\nnogroup:1879048192:65536\n";

impl Docker {
    /// Its command line.
    pub(super) fn arguments(&self, site: &Site) -> Result<Vec<String>> {
        let mut words = self.program(site)?;
        words.extend(self.options(site)?);
        Ok(words)
    }

    fn options(&self, site: &Site) -> Result<Vec<String>> {
        let state = self.state(site);
        let path = |name: &str| state.join(name).display().to_string();
        let port = fs::read_to_string(state.join("docker.port"))?;
        let mut words = Vec::new();
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        option("--data-root", path("data"));
        option("--exec-root", path("exec"));
        option("--pidfile", path("docker.pid"));
        // An engine that the machine configures for itself has its own settings.
        option("--config-file", path("daemon.json"));
        option("--host", format!("unix://{}", path("docker.sock")));
        option("--host", format!("tcp://127.0.0.1:{port}"));
        option("--tlscacert", path("certificates/ca.pem"));
        option("--tlscert", path("certificates/server.pem"));
        option("--tlskey", path("certificates/server-key.pem"));
        option("--bridge", self.bridge(site));
        // Ports of the tests are published for this machine alone.
        option("--ip", "127.0.0.1".to_owned());
        option("--exec-opt", "native.cgroupdriver=cgroupfs".to_owned());
        // Whatever happens to the engine, its containers can be found by this.
        option("--cgroup-parent", sweep::cgroup(&site.hash));
        if self.kind == Kind::Remapped {
            option("--userns-remap", "nobody:nogroup".to_owned());
        }
        words.push("--tlsverify".to_owned());
        words.extend(HANDS_OFF.map(str::to_owned));
        fs::write(state.join("daemon.json"), "{}")?;
        Ok(words)
    }

    /// The program, with what has to stand before it.
    fn program(&self, site: &Site) -> Result<Vec<String>> {
        let debian = || which("dockerd").ok_or_else(|| Failure::new("no dockerd"));
        Ok(match self.kind {
            Kind::Debian => vec![debian()?.display().to_string()],
            Kind::Newest => {
                let folder = MOBY.built(site)?;
                let path = std::env::var("PATH").unwrap_or_default();
                let path = format!("PATH={}:{}:{path}", folder.display(), RUNC.built(site)?.display());
                vec!["env".to_owned(), path, folder.join("dockerd").display().to_string()]
            }
            Kind::Remapped => {
                // Who has which range is the machine's matter: ours is seen by this engine alone.
                let state = self.state(site);
                fs::write(state.join("range"), RANGE)?;
                let inside = state.join("inside");
                let text = format!(
                    "#!/bin/sh\nset -e\nmount --bind '{0}' /etc/subuid\nmount --bind '{0}' /etc/subgid\nexec '{1}' \"$@\"\n",
                    state.join("range").display(),
                    debian()?.display()
                );
                script::write(&inside, &text)?;
                ["unshare", "--mount", "sh"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain([inside.display().to_string()])
                    .collect()
            }
        })
    }

    fn log(&self, site: &Site) -> PathBuf {
        site.logs().join(format!("{}.log", self.process))
    }

    pub(super) fn start_engine(&self, site: &Site) -> Result<()> {
        let state = self.state(site);
        // A killed engine leaves both, and refuses to start on a pid file whose pid has been given to another.
        for name in ["docker.pid", "docker.sock"] {
            let _ = fs::remove_file(state.join(name));
        }
        await_end_of_containerd(&state);
        let text = fs::read_to_string(state.join("docker.arguments")).unwrap_or_default();
        let arguments: Vec<String> = text.lines().map(str::to_owned).collect();
        process::daemon(&site.state, self.process, &self.log(site), &arguments).map(drop)
    }

    pub(super) fn await_answer(&self, site: &Site, endpoint: &Endpoint) -> Result<()> {
        let record = Record::read(&site.state, self.process);
        stop::wait_for("the engine's answer", Duration::from_secs(60), || {
            if self.given(site).is_none() && record.as_ref().is_some_and(|record| !record.identity.alive()) {
                let tail = run::log_tail(&self.log(site));
                return Err(Failure(format!("{} ended; its log ends:\n{tail}", self.process)));
            }
            Ok(endpoint.get("/_ping").ok().map(drop))
        })
    }
}

/// The kernel kills containerd with its engine. A new engine that still finds its pid, if only as
/// a zombie, takes it for alive and waits for it in vain.
fn await_end_of_containerd(state: &Path) {
    let file = state.join("exec/containerd/containerd.pid");
    let Ok(pid) = fs::read_to_string(&file) else { return };
    let process = Path::new("/proc").join(pid.trim());
    let end = Instant::now() + Duration::from_secs(5);
    while process.exists() && Instant::now() < end {
        stop::settle(Duration::from_millis(10));
    }
    let _ = fs::remove_file(file);
}

#[cfg(test)]
mod tests {
    use super::super::DEBIAN;
    use super::*;

    #[test]
    fn the_engine_leaves_the_firewall_of_the_machine_alone() {
        let state = std::env::temp_dir().join(format!("hodei-xtask-arguments-{}", std::process::id()));
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("docker.port"), "1").unwrap();
        let site = Site { state: state.clone(), ..Site::find().unwrap() };
        let words = DEBIAN.options(&site).unwrap();
        fs::remove_dir_all(state).unwrap();
        for word in ["--iptables=false", "--ip6tables=false", "--ip-forward=false"] {
            assert!(words.iter().any(|one| one == word), "{word} is missing in {words:?}");
        }
    }
}
