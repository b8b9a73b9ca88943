//! Docker Engines of our own, with the test image, a registry that has it, and one that wants a log-in: Debian's
//! (socket and TLS), the newest release, and one that gives the users of its containers other numbers outside.
//!
//! Bridge, data, sockets, cgroup and containerd of each are its own, so that it runs beside any other engine.

mod content;
mod engine;
mod inspected;
mod network;
mod pulse;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

pub(crate) use self::inspected::Watch;
use crate::failure::{Context, Failure, Result};
use crate::parts::{Needs, Part};
use crate::process::Record;
use crate::site::Site;
use crate::sweep;
use crate::tools::apt;
use crate::tools::go::Module;
use crate::tools::http::Endpoint;
use crate::tools::{certificates, control, image, port, registry};

/// An engine that the user has already, to be used in the place of ours.
const HOST: &str = "HODEI_TEST_DOCKER_HOST";
/// The engine that gives users other numbers.
const REMAPPED: &str = "HODEI_TEST_DOCKER_REMAPPED";

/// Program and Debian package.
const PROGRAMS: [(&str, &str); 5] = [
    ("dockerd", "docker.io"),
    ("docker-registry", "docker-registry"),
    ("busybox", "busybox-static"),
    ("openssl", "openssl"),
    ("ip", "iproute2"),
];

/// The release after Debian's by some years: its image store is containerd's.
const MOBY: Module = Module {
    folder: "moby",
    programs: &[
        ("github.com/moby/moby/v2/cmd/dockerd", "dockerd"),
        ("github.com/moby/moby/v2/cmd/docker-proxy", "docker-proxy"),
    ],
    linked: "-X github.com/moby/moby/v2/dockerversion.Version=29.0.0-test",
    tags: "exclude_graphdriver_btrfs",
    c: false,
};
/// It asks for namespaces that Debian's runc does not know.
const RUNC: Module = Module {
    folder: "runc",
    programs: &[("github.com/opencontainers/runc", "runc")],
    linked: "-X main.version=1.5.2",
    tags: "seccomp",
    c: true,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Debian,
    Newest,
    /// Debian's with `--userns-remap`.
    Remapped,
}

/// One engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Docker {
    kind: Kind,
    name: &'static str,
    /// Its process, as it is written down.
    process: &'static str,
    registry: &'static str,
    /// A registry that wants a log-in.
    locked: &'static str,
    /// The program by which a test stops and starts it.
    script: &'static str,
}

/// Debian's.
pub(crate) const DEBIAN: Docker = Docker {
    kind: Kind::Debian,
    name: "docker",
    process: "dockerd",
    registry: "docker-registry",
    locked: "docker-registry-locked",
    script: "docker-engine",
};
/// The newest release.
pub(crate) const NEWEST: Docker = Docker {
    kind: Kind::Newest,
    name: "docker-newest",
    process: "dockerd-newest",
    registry: "docker-registry-newest",
    locked: "docker-registry-newest-locked",
    script: "docker-engine-newest",
};
/// With users that are others outside.
pub(crate) const REMAPPING: Docker = Docker {
    kind: Kind::Remapped,
    name: "docker-remapped",
    process: "dockerd-remapped",
    registry: "",
    locked: "",
    script: "docker-engine-remapped",
};

impl Part for Docker {
    fn name(&self) -> &'static str {
        self.name
    }

    fn packages(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Debian => {
                &["hodei-worker-docker", "hodei-worker", "hodei-worker-examples", "hodei-worker-benches"]
            }
            Kind::Newest => &["hodei-worker-docker", "hodei-worker-benches"],
            Kind::Remapped => &["hodei-worker-docker"],
        }
    }

    fn needs(&self) -> &'static [Needs] {
        const DEBIAN: &[Needs] = &[
            Needs { package: "hodei-worker-docker", binary: None, test: None },
            Needs { package: "hodei-worker", binary: Some("matrix"), test: None },
            Needs { package: "hodei-worker", binary: Some("health_docker"), test: None },
            Needs {
                package: "hodei-worker-examples",
                binary: Some("examples"),
                test: Some("d2_the_docker_example_runs_on_a_real_engine"),
            },
            Needs {
                package: "hodei-worker-examples",
                binary: Some("examples"),
                test: Some("d10_the_compose_example_runs_on_a_real_engine"),
            },
            Needs {
                package: "hodei-worker-examples",
                binary: Some("examples"),
                test: Some("d11_an_external_command_judges_images"),
            },
            Needs { package: "hodei-worker", binary: Some("compose_docker"), test: None },
            Needs { package: "hodei-worker", binary: Some("compose_images"), test: None },
            Needs { package: "hodei-worker", binary: Some("compose_more"), test: None },
            Needs { package: "hodei-worker", binary: Some("compose_restart"), test: None },
        ];
        const REMAPPED: &[Needs] =
            &[Needs { package: "hodei-worker-docker", binary: Some("remapped"), test: None }];
        match self.kind {
            Kind::Debian => DEBIAN,
            // What runs on Debian's runs on it once more, if it is there.
            Kind::Newest => &[],
            Kind::Remapped => REMAPPED,
        }
    }

    fn stand_ins(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (HOST, "unix:///nowhere"),
            (REMAPPED, "unix:///nowhere"),
            ("HODEI_TEST_IMAGE", "none"),
            ("HODEI_TEST_DOCKER_PART", "docker"),
        ]
    }

    fn stands_in_for(&self) -> Option<&'static str> {
        (self.kind == Kind::Newest).then_some("docker")
    }

    fn install(&self, site: &Site) -> Result<()> {
        if self.given(site).is_none() && !rustix::process::geteuid().is_root() {
            return Err(Failure(format!(
                "an engine of our own needs root; {HOST} names another to use instead"
            )));
        }
        apt::install(&PROGRAMS)?;
        if self.kind == Kind::Newest {
            apt::install(&[("pkg-config", "pkg-config"), ("cc", "gcc")])?;
            if !Path::new("/usr/include/seccomp.h").exists() {
                apt::install_package("libseccomp-dev")?;
            }
            MOBY.build(site)?;
            RUNC.build(site)?;
        }
        Ok(())
    }

    fn start(&self, site: &Site) -> Result<()> {
        if self.given(site).is_none()
            && Record::read(&site.state, self.process).is_none_or(|record| !record.identity.alive())
        {
            let state = self.state(site);
            certificates::make(&state.join("certificates"))?;
            fs::write(state.join("docker.port"), port::free()?.to_string())?;
            fs::write(state.join("docker.arguments"), self.arguments(site)?.join("\n"))?;
            network::make_bridge(&self.bridge(site))?;
            self.start_engine(site)?;
            control::write(site, self.script, self.name(), control::VERBS)?;
        }
        if self.registry.is_empty() {
            return Ok(());
        }
        registry::start(site, self.registry, false)?;
        registry::start(site, self.locked, true).map(drop)
    }

    fn ready(&self, site: &Site) -> Result<String> {
        let endpoint = self.endpoint(site)?;
        self.await_answer(site, &endpoint)?;
        let version: Value =
            serde_json::from_str(&endpoint.get("/version")?).context("the engine's version")?;
        let registry = registry::address(site, self.registry);
        content::load_image(&self.state(site), &endpoint, registry.as_deref())?;
        let text = |name: &str| version[name].as_str().unwrap_or("?").to_owned();
        Ok(format!("{} (API {})", text("Version"), text("ApiVersion")))
    }

    fn environment(&self, site: &Site) -> Result<Vec<(String, String)>> {
        let path = |name: &str| self.state(site).join(name).display().to_string();
        let socket = || format!("unix://{}", path("docker.sock"));
        if self.kind == Kind::Remapped {
            self.record(site)?;
            return Ok(vec![(REMAPPED.to_owned(), socket())]);
        }
        let mut environment = vec![
            ("HODEI_TEST_IMAGE", image::NAME.to_owned()),
            ("HODEI_TEST_DOCKER_PART", self.name.to_owned()),
        ];
        match self.given(site) {
            Some(host) => environment.push((HOST, host)),
            None => {
                let record = self.record(site)?;
                let port = fs::read_to_string(self.state(site).join("docker.port"))?;
                environment.push((HOST, socket()));
                environment.push(("HODEI_TEST_DOCKER_PID", record.identity.pid.to_string()));
                environment.push(("HODEI_TEST_DOCKER_PIDFILE", path("docker.pid")));
                environment.push(("HODEI_TEST_DOCKER_TLS", format!("tcp://127.0.0.1:{port}")));
                environment.push(("HODEI_TEST_DOCKER_CERTS", path("certificates")));
                let script = control::path(site, self.script);
                environment.push(("HODEI_TEST_ENGINE", script.display().to_string()));
            }
        }
        if let Some(address) = registry::address(site, self.registry) {
            environment.push(("HODEI_TEST_REGISTRY", address));
        }
        if let Some(address) = registry::address(site, self.locked) {
            let (user, password) = registry::USER;
            environment.push(("HODEI_TEST_REGISTRY_LOCKED", address));
            environment.push(("HODEI_TEST_REGISTRY_USER", user.to_owned()));
            environment.push(("HODEI_TEST_REGISTRY_PASSWORD", password.to_owned()));
        }
        Ok(environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn stop(&self, site: &Site) -> Result<()> {
        registry::stop(site, self.registry);
        registry::stop(site, self.locked);
        let Some(record) = Record::read(&site.state, self.process).filter(|record| record.identity.alive())
        else {
            return Ok(());
        };
        // An engine that does not answer (a test has stopped it) is ended all the same.
        if let Err(error) = content::empty(&self.endpoint_of_ours(site)) {
            println!("removing what runs in the engine: {error}");
        }
        if record.identity.end(Duration::from_secs(15)) {
            Ok(())
        } else {
            Err(Failure::new("the engine lives on"))
        }
    }

    fn control(&self, site: &Site, verb: &str) -> Result<()> {
        let record = self.record(site)?;
        let ended = match verb {
            "start" if record.identity.alive() => return Ok(()),
            "start" => {
                self.start_engine(site)?;
                return self.await_answer(site, &self.endpoint_of_ours(site));
            }
            "stop" => record.identity.end(Duration::from_secs(30)),
            "kill" => {
                record.identity.signal(Signal::KILL);
                record.identity.end(Duration::ZERO)
            }
            _ => return Err(Failure(format!("{}: `{verb}` is none of start, stop, kill", self.name))),
        };
        if ended { Ok(()) } else { Err(Failure::new("the engine lives on")) }
    }
}

impl Docker {
    /// Its folder.
    fn state(&self, site: &Site) -> PathBuf {
        match self.kind {
            Kind::Debian => site.state.clone(),
            Kind::Newest => site.state.join("newest"),
            Kind::Remapped => site.state.join("remapped"),
        }
    }

    fn bridge(&self, site: &Site) -> String {
        match self.kind {
            Kind::Debian => sweep::bridge(&site.hash),
            Kind::Newest => sweep::bridge_of_newest(&site.hash),
            Kind::Remapped => sweep::bridge_of_remapped(&site.hash),
        }
    }

    fn record(&self, site: &Site) -> Result<Record> {
        Record::read(&site.state, self.process)
            .ok_or_else(|| Failure(format!("{}: no engine of ours has run", self.name)))
    }

    /// The user's engine; ours, named to a test or to a shell, is not that. It stands in the place of the first alone.
    fn given(&self, site: &Site) -> Option<String> {
        let ours = format!("unix://{}", site.state.join("docker.sock").display());
        let host = env::var(HOST).ok().filter(|host| !host.is_empty() && *host != ours);
        host.filter(|_| self.kind == Kind::Debian)
    }

    fn endpoint_of_ours(&self, site: &Site) -> Endpoint {
        Endpoint::Unix(self.state(site).join("docker.sock"))
    }

    fn endpoint(&self, site: &Site) -> Result<Endpoint> {
        self.given(site)
            .map_or_else(|| Ok(self.endpoint_of_ours(site)), |host| Endpoint::parse(&host).context(HOST))
    }
}
