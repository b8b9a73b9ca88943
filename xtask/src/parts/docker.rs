//! A Docker Engine of our own (socket and TLS), with the test image, a registry that has it, and one that wants a log-in.
//!
//! Its bridge, data, sockets, cgroup and containerd are its own, so that it runs beside any other engine.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::failure::{Context, Failure, Result};
use crate::parts::{Needs, Part};
use crate::process::{self, Record};
use crate::site::Site;
use crate::tools::apt::{self, which};
use crate::tools::http::{Endpoint, Request};
use crate::tools::{certificates, control, image, port, registry};
use crate::{run, stop, sweep};

/// An engine that the user has already, to be used in the place of ours.
const HOST: &str = "HODEI_TEST_DOCKER_HOST";
const ENGINE: &str = "dockerd";
const REGISTRY: &str = "docker-registry";
/// A registry that wants a log-in.
const LOCKED: &str = "docker-registry-locked";
/// The program by which a test stops and starts the engine.
const SCRIPT: &str = "docker-engine";

/// Program and Debian package.
const PROGRAMS: [(&str, &str); 5] = [
    (ENGINE, "docker.io"),
    ("docker-registry", "docker-registry"),
    ("busybox", "busybox-static"),
    ("openssl", "openssl"),
    ("ip", "iproute2"),
];

/// The machine's firewall and its forwarding stay as they are. An engine never undoes what it has set (it would leave a
/// machine that routes without forwarding), and one that starts removes the chains of its neighbour, and with them the
/// neighbour's published ports. Ours can do without: its ports go through the proxy.
const HANDS_OFF: [&str; 3] = ["--iptables=false", "--ip6tables=false", "--ip-forward=false"];

#[derive(Debug)]
pub(crate) struct Docker;

impl Part for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["hodei-worker-docker", "hodei-worker", "hodei-worker-examples", "hodei-worker-benches"]
    }

    fn needs(&self) -> &'static [Needs] {
        const {
            &[
                Needs { package: "hodei-worker-docker", binary: None, test: None },
                Needs { package: "hodei-worker", binary: Some("matrix"), test: None },
                Needs { package: "hodei-worker", binary: Some("health_docker"), test: None },
                Needs {
                    package: "hodei-worker-examples",
                    binary: Some("examples"),
                    test: Some("d2_the_docker_example_runs_on_a_real_engine"),
                },
            ]
        }
    }

    fn stand_ins(&self) -> &'static [(&'static str, &'static str)] {
        &[(HOST, "unix:///nowhere"), ("HODEI_TEST_IMAGE", "none")]
    }

    fn install(&self, site: &Site) -> Result<()> {
        if given(site).is_none() && !rustix::process::geteuid().is_root() {
            return Err(Failure(format!(
                "an engine of our own needs root; {HOST} names another to use instead"
            )));
        }
        apt::install(&PROGRAMS)
    }

    fn start(&self, site: &Site) -> Result<()> {
        if given(site).is_none()
            && Record::read(&site.state, ENGINE).is_none_or(|record| !record.identity.alive())
        {
            certificates::make(&site.state.join("certificates"))?;
            fs::write(site.state.join("docker.port"), port::free()?.to_string())?;
            let program = which(ENGINE).ok_or_else(|| Failure::new("no dockerd"))?;
            fs::write(site.state.join("docker.arguments"), arguments(site, &program)?.join("\n"))?;
            make_bridge(&sweep::bridge(&site.hash))?;
            start_engine(site)?;
            control::write(site, SCRIPT, self.name())?;
        }
        registry::start(site, REGISTRY, false)?;
        registry::start(site, LOCKED, true).map(drop)
    }

    fn ready(&self, site: &Site) -> Result<String> {
        let endpoint = endpoint(site)?;
        await_answer(site, &endpoint)?;
        let version: Value =
            serde_json::from_str(&endpoint.get("/version")?).context("the engine's version")?;
        load_image(site, &endpoint)?;
        let text = |name: &str| version[name].as_str().unwrap_or("?").to_owned();
        Ok(format!("{} (API {})", text("Version"), text("ApiVersion")))
    }

    fn environment(&self, site: &Site) -> Result<Vec<(String, String)>> {
        let mut environment = vec![("HODEI_TEST_IMAGE", image::NAME.to_owned())];
        match given(site) {
            Some(host) => environment.push((HOST, host)),
            None => {
                let record =
                    Record::read(&site.state, ENGINE).ok_or_else(|| Failure::new("no engine runs"))?;
                let port = fs::read_to_string(site.state.join("docker.port"))?;
                let path = |name: &str| site.state.join(name).display().to_string();
                environment.push((HOST, format!("unix://{}", path("docker.sock"))));
                environment.push(("HODEI_TEST_DOCKER_PID", record.identity.pid.to_string()));
                environment.push(("HODEI_TEST_DOCKER_PIDFILE", path("docker.pid")));
                environment.push(("HODEI_TEST_DOCKER_TLS", format!("tcp://127.0.0.1:{port}")));
                environment.push(("HODEI_TEST_DOCKER_CERTS", path("certificates")));
                environment.push(("HODEI_TEST_ENGINE", control::path(site, SCRIPT).display().to_string()));
            }
        }
        if let Some(address) = registry::address(site, REGISTRY) {
            environment.push(("HODEI_TEST_REGISTRY", address));
        }
        if let Some(address) = registry::address(site, LOCKED) {
            let (user, password) = registry::USER;
            environment.push(("HODEI_TEST_REGISTRY_LOCKED", address));
            environment.push(("HODEI_TEST_REGISTRY_USER", user.to_owned()));
            environment.push(("HODEI_TEST_REGISTRY_PASSWORD", password.to_owned()));
        }
        Ok(environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn stop(&self, site: &Site) -> Result<()> {
        registry::stop(site, REGISTRY);
        registry::stop(site, LOCKED);
        let Some(record) = Record::read(&site.state, ENGINE).filter(|record| record.identity.alive()) else {
            return Ok(());
        };
        // An engine that does not answer (a test has stopped it) is ended all the same.
        if let Err(error) = empty(&endpoint_of_ours(site)) {
            println!("removing what runs in the engine: {error}");
        }
        if record.identity.end(Duration::from_secs(15)) {
            Ok(())
        } else {
            Err(Failure::new("the engine lives on"))
        }
    }

    fn control(&self, site: &Site, verb: &str) -> Result<()> {
        let record =
            Record::read(&site.state, ENGINE).ok_or_else(|| Failure::new("no engine of ours has run"))?;
        let ended = match verb {
            "start" if record.identity.alive() => return Ok(()),
            "start" => {
                start_engine(site)?;
                return await_answer(site, &endpoint_of_ours(site));
            }
            "stop" => record.identity.end(Duration::from_secs(30)),
            "kill" => {
                record.identity.signal(Signal::KILL);
                record.identity.end(Duration::ZERO)
            }
            _ => return Err(Failure(format!("docker: `{verb}` is none of start, stop, kill"))),
        };
        if ended { Ok(()) } else { Err(Failure::new("the engine lives on")) }
    }
}

/// The user's engine; ours, named to a test or to a shell, is not that.
fn given(site: &Site) -> Option<String> {
    let ours = format!("unix://{}", site.state.join("docker.sock").display());
    env::var(HOST).ok().filter(|host| !host.is_empty() && *host != ours)
}

fn endpoint_of_ours(site: &Site) -> Endpoint {
    Endpoint::Unix(site.state.join("docker.sock"))
}

fn endpoint(site: &Site) -> Result<Endpoint> {
    given(site).map_or_else(|| Ok(endpoint_of_ours(site)), |host| Endpoint::parse(&host).context(HOST))
}

fn arguments(site: &Site, program: &Path) -> Result<Vec<String>> {
    let path = |name: &str| site.state.join(name).display().to_string();
    let port = fs::read_to_string(site.state.join("docker.port"))?;
    let mut words = vec![program.display().to_string()];
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
    option("--bridge", sweep::bridge(&site.hash));
    // Ports of the tests are published for this machine alone.
    option("--ip", "127.0.0.1".to_owned());
    option("--exec-opt", "native.cgroupdriver=cgroupfs".to_owned());
    // Whatever happens to the engine, its containers can be found by this.
    option("--cgroup-parent", sweep::cgroup(&site.hash));
    words.push("--tlsverify".to_owned());
    words.extend(HANDS_OFF.map(str::to_owned));
    fs::write(site.state.join("daemon.json"), "{}")?;
    Ok(words)
}

fn engine_arguments(site: &Site) -> Vec<String> {
    let text = fs::read_to_string(site.state.join("docker.arguments")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn log(site: &Site) -> PathBuf {
    site.logs().join("dockerd.log")
}

fn start_engine(site: &Site) -> Result<()> {
    // A killed engine leaves both, and refuses to start on a pid file whose pid has been given to another.
    for name in ["docker.pid", "docker.sock"] {
        let _ = fs::remove_file(site.state.join(name));
    }
    await_end_of_containerd(site);
    process::daemon(&site.state, ENGINE, &log(site), &engine_arguments(site)).map(drop)
}

/// The kernel kills containerd with its engine. A new engine that still finds its pid, if only as
/// a zombie, takes it for alive and waits for it in vain.
fn await_end_of_containerd(site: &Site) {
    let file = site.state.join("exec/containerd/containerd.pid");
    let Ok(pid) = fs::read_to_string(&file) else { return };
    let process = Path::new("/proc").join(pid.trim());
    let end = Instant::now() + Duration::from_secs(5);
    while process.exists() && Instant::now() < end {
        stop::settle(Duration::from_millis(10));
    }
    let _ = fs::remove_file(file);
}

fn await_answer(site: &Site, endpoint: &Endpoint) -> Result<()> {
    let record = Record::read(&site.state, ENGINE);
    stop::wait_for("the engine's answer", Duration::from_secs(60), || {
        if given(site).is_none() && record.as_ref().is_some_and(|record| !record.identity.alive()) {
            return Err(Failure(format!("dockerd ended; its log ends:\n{}", run::log_tail(&log(site)))));
        }
        Ok(endpoint.get("/_ping").ok().map(drop))
    })
}

/// A bridge with a network that nobody else uses here.
fn make_bridge(name: &str) -> Result<()> {
    if sweep::links().iter().any(|link| link == name) {
        return Ok(());
    }
    let taken = run::output(Command::new("ip").args(["-4", "-o", "address", "show"]))?
        + &run::output(Command::new("ip").args(["-4", "route", "show"]))?;
    let gateway =
        free_gateway(&taken).ok_or_else(|| Failure::new("no free network for the engine's bridge"))?;
    run::output(Command::new("ip").args(["link", "add", name, "type", "bridge"]))?;
    run::output(Command::new("ip").args(["address", "add", &format!("{gateway}/24"), "dev", name]))?;
    run::output(Command::new("ip").args(["link", "set", name, "up"])).map(drop)
}

/// The first address of a network of 256 that overlaps with none in `taken`.
fn free_gateway(taken: &str) -> Option<Ipv4Addr> {
    let taken: Vec<_> = taken.split_whitespace().filter_map(parse_network).collect();
    // A cloud's default network may be all of the first.
    let bases = [[172, 31], [10, 231]].into_iter();
    let mut gateways =
        bases.flat_map(|[one, two]| (200..=250).map(move |third| Ipv4Addr::new(one, two, third, 1)));
    gateways.find(|gateway| {
        let overlaps = |(address, width): &(Ipv4Addr, u32)| {
            let mask = u32::MAX << (32 - (*width).min(24));
            address.to_bits() & mask == gateway.to_bits() & mask
        };
        !taken.iter().any(overlaps)
    })
}

/// An address, or one with the width of its network; the way to everywhere is no network.
fn parse_network(word: &str) -> Option<(Ipv4Addr, u32)> {
    let (address, width) = word.split_once('/').unwrap_or((word, "32"));
    let width = width.parse().ok().filter(|width| (1..=32).contains(width))?;
    Some((address.parse().ok()?, width))
}

/// The image in the engine, and in the registry under a name that the engine has to pull.
fn load_image(site: &Site, engine: &Endpoint) -> Result<()> {
    let archive = image::archive(&site.state)?;
    let (repository, tag) = image::NAME.split_once(':').unwrap_or((image::NAME, "latest"));
    let exists = Request::new("GET", "/images/hodei-test/busybox:1/json");
    if engine.send(&exists)?.status != 200 {
        // Labels as images have them: none of them is a worker's.
        let path = format!(
            "/images/create?fromSrc=-&repo={repository}&tag={tag}&changes=CMD%20%5B%22sh%22%5D\
             &changes=LABEL%20maintainer%3Dnobody%20hodei-worker%2Ftype%3Dimage%20hodei-worker%2Fstop-grace%3D30d"
        );
        let answer = engine.call(
            &Request::new("POST", &path).headers("Content-Type: application/x-tar\r\n").file(&archive),
        )?;
        refuse_error(&answer).context("importing the test image")?;
    }
    let Some(registry) = registry::address(site, REGISTRY) else { return Ok(()) };
    let remote = format!("{registry}/{repository}");
    engine.call(&Request::new("POST", &format!("/images/{}/tag?repo={remote}&tag={tag}", image::NAME)))?;
    let push = format!("/images/{remote}/push?tag={tag}");
    // An empty JSON object: no credentials.
    let answer = engine.call(&Request::new("POST", &push).headers("X-Registry-Auth: e30=\r\n"))?;
    refuse_error(&answer).context("pushing the test image")?;
    engine.call(&Request::new("DELETE", &format!("/images/{remote}:{tag}"))).map(drop)
}

/// Progress comes with status 200 whatever happens; an error is one of its lines.
fn refuse_error(progress: &str) -> Result<()> {
    let lines = progress.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    match lines.filter_map(|line| line["error"].as_str().map(str::to_owned)).next() {
        Some(error) => Err(Failure(error)),
        None => Ok(()),
    }
}

/// Removes every container and network, so that the engine stops at once and leaves nothing.
fn empty(engine: &Endpoint) -> Result<()> {
    let each = |path: &str| -> Result<Vec<Value>> {
        let list: Value = serde_json::from_str(&engine.get(path)?).context(path)?;
        Ok(list.as_array().cloned().unwrap_or_default())
    };
    for id in each("/containers/json?all=1")?.iter().filter_map(|item| item["Id"].as_str()) {
        engine.send(&Request::new("DELETE", &format!("/containers/{id}?force=1&v=1")))?;
    }
    for network in each("/networks")? {
        let name = network["Name"].as_str().unwrap_or_default();
        if !matches!(name, "bridge" | "host" | "none") {
            engine.send(&Request::new("DELETE", &format!("/networks/{name}")))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_gets_a_network_that_no_address_and_no_route_has() {
        let free = |taken| free_gateway(taken).unwrap().to_string();
        assert_eq!(free("default via 10.0.0.1 dev eth0"), "172.31.200.1");
        assert_eq!(free("inet 172.31.200.1/24\n172.31.201.0/24 dev x"), "172.31.202.1");
        assert_eq!(free("172.31.0.0/20 dev eth0"), "172.31.200.1");
        assert_eq!(free("172.31.0.0/16 dev eth0"), "10.231.200.1");
        assert_eq!(free("172.16.0.0/12 via 10.0.0.1"), "10.231.200.1");
        assert_eq!(free_gateway("172.16.0.0/12\n10.0.0.0/8"), None);
    }

    #[test]
    fn the_engine_leaves_the_firewall_of_the_machine_alone() {
        let state = env::temp_dir().join(format!("hodei-xtask-arguments-{}", std::process::id()));
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("docker.port"), "1").unwrap();
        let site = Site { state: state.clone(), ..Site::find().unwrap() };
        let words = arguments(&site, Path::new("/usr/sbin/dockerd")).unwrap();
        fs::remove_dir_all(state).unwrap();
        for word in ["--iptables=false", "--ip6tables=false", "--ip-forward=false"] {
            assert!(words.iter().any(|one| one == word), "{word} is missing in {words:?}");
        }
    }

    #[test]
    fn an_error_among_progress_lines_is_an_error() {
        assert!(refuse_error("{\"status\":\"Pushing\"}\n{\"status\":\"Done\"}\n").is_ok());
        assert_eq!(refuse_error("{\"status\":\"x\"}\r\n{\"error\":\"denied\"}\r\n").unwrap_err().0, "denied");
    }
}
