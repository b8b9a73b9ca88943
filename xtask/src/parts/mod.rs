//! The real parts that tests run against: a file each.

mod compose;
pub(crate) mod docker;
mod keycloak;
pub(crate) mod kubernetes;
mod moto;
mod openbao;
mod postgres;
mod uml;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::process;
use crate::site::Site;
use crate::sweep;

/// Tests that a part is needed for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    pub(crate) package: &'static str,
    /// One file of its integration tests; `None` for all.
    pub(crate) binary: Option<&'static str>,
    /// One test of it; `None` for all.
    pub(crate) test: Option<&'static str>,
}

/// One real part: how it comes here, starts, answers and stops.
///
/// What a part has to remember (ports, pids) lies in the state folder, so that each method works
/// in another process than the one that started it.
pub(crate) trait Part: Sync {
    /// Its name in tables, and in the results that tests record.
    fn name(&self) -> &'static str;
    /// The packages whose tests need it; the first is the one that it is the proof of.
    fn packages(&self) -> &'static [&'static str];
    /// The tests that cannot be without it. Those of `packages` that are not named here do without.
    fn needs(&self) -> &'static [Needs];
    /// Whether tests run on it. One that is prepared for tests to come is brought up when it is asked for by its name alone.
    fn has_tests(&self) -> bool {
        true
    }
    /// Variables with which its tests can be listed while it is not there.
    fn stand_ins(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    /// Brings the programs here, if they are not.
    fn install(&self, site: &Site) -> Result<()>;
    /// Starts it in the background; nothing happens where it runs already.
    fn start(&self, site: &Site) -> Result<()>;
    /// Waits until it answers, and gives its version.
    fn ready(&self, site: &Site) -> Result<String>;
    /// What tells tests where it is.
    fn environment(&self, site: &Site) -> Result<Vec<(String, String)>>;
    /// Ends it in good order. What is left after it, the sweep of the state folder removes.
    fn stop(&self, site: &Site) -> Result<()>;
    /// The part of which it is another version: that one's own tests run on it once more.
    fn stands_in_for(&self) -> Option<&'static str> {
        None
    }
    /// Does to it what a test asks for in the middle of its run: `start`, `stop`, `kill`.
    fn control(&self, _site: &Site, verb: &str) -> Result<()> {
        Err(Failure(format!("{} cannot {verb}", self.name())))
    }
}

/// Every part there is.
pub(crate) fn all() -> &'static [&'static dyn Part] {
    &[
        &compose::Compose,
        &docker::DEBIAN,
        &docker::NEWEST,
        &docker::REMAPPING,
        &keycloak::Keycloak,
        &kubernetes::SETTLED,
        &kubernetes::NEWEST,
        &moto::Moto,
        &openbao::ONE,
        &openbao::THREE,
        &postgres::Postgres,
        &uml::Uml,
    ]
}

pub(crate) fn find(name: &str) -> Option<&'static dyn Part> {
    all().iter().copied().find(|part| part.name() == name)
}

/// The parts that the tests of these packages need.
pub(crate) fn needed(packages: &[String]) -> Vec<&'static dyn Part> {
    let wanted =
        |part: &&dyn Part| part.packages().iter().any(|name| packages.iter().any(|have| have == name));
    all().iter().copied().filter(|part| part.has_tests()).filter(wanted).collect()
}

/// The package whose tests run on local processes, which are as a part that need not be brought up.
const PROCESSES: (&str, &str) = ("hodei-worker-process", "process");

/// The parts that integration tests of a package run on, but for those that stand in for another.
pub(crate) fn homes_of(package: &str) -> Vec<&'static str> {
    if package == PROCESSES.0 {
        return vec![PROCESSES.1];
    }
    let is_home = |part: &&dyn Part| {
        let on_it = |binary| home_of_test(package, binary) == Some(part.name());
        part.needs().iter().any(|need| need.package == package && need.binary.is_none_or(on_it))
    };
    proofs_of(package).filter(is_home).map(|part| part.name()).collect()
}

/// The parts that are there for a package first of all.
fn proofs_of(package: &str) -> impl Iterator<Item = &'static dyn Part> {
    let is_one =
        move |part: &&dyn Part| part.packages().first() == Some(&package) && part.stands_in_for().is_none();
    all().iter().filter(|part| part.has_tests()).copied().filter(is_one)
}

/// Tests of packages that stand over several parts, and run on local processes.
const ON_PROCESSES: [(&str, &str); 1] = [("hodei-worker", "health")];

/// Whether there is a part of that name, local processes being one that is always there.
pub(crate) fn is_known(name: &str) -> bool {
    name == PROCESSES.1 || find(name).is_some()
}

/// The part that one of a package's integration tests runs on: others of its tests may do without.
pub(crate) fn home_of_test(package: &str, binary: &str) -> Option<&'static str> {
    if package == PROCESSES.0 || ON_PROCESSES.contains(&(package, binary)) {
        return Some(PROCESSES.1);
    }
    let mut proofs = proofs_of(package).peekable();
    if proofs.peek().is_none() {
        // A package that stands over several: the part that the test names.
        let names =
            |need: &Needs| need.package == package && need.binary == Some(binary) && need.test.is_none();
        return all().iter().find(|part| part.needs().iter().any(names)).map(|part| part.name());
    }
    let needs = |part: &&dyn Part| part.needs().iter().any(|need| need.is_of(package, binary));
    proofs.find(needs).map(|part| part.name())
}

/// How bringing up a part ended.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) name: &'static str,
    /// Its version, or why it is not there.
    pub(crate) version: Result<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) took: Duration,
}

/// Parts that run, and are stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    site: &'a Site,
    pub(crate) presences: Vec<Presence>,
    keep: bool,
    stopped: bool,
}

/// Brings parts up, all at once. One that fails does not keep the others from coming up.
pub(crate) fn up<'a>(site: &'a Site, parts: &[&'static dyn Part]) -> Running<'a> {
    // Before anything starts, so that a panic on the way still stops what runs.
    let keep = site.state.join(sweep::KEPT).exists();
    let mut running = Running { site, presences: Vec::new(), keep, stopped: false };
    let presences = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for part in parts {
            scope.spawn(|| {
                let presence = bring_up(site, *part);
                presences.lock().unwrap_or_else(PoisonError::into_inner).push(presence);
            });
        }
    });
    running.presences = presences.into_inner().unwrap_or_else(PoisonError::into_inner);
    running.presences.sort_by_key(|presence| presence.name);
    running
}

fn bring_up(site: &Site, part: &'static dyn Part) -> Presence {
    let since = Instant::now();
    let result = part
        .install(site)
        .and_then(|()| part.start(site))
        .and_then(|()| part.ready(site))
        .and_then(|version| Ok((version, part.environment(site)?)));
    let took = since.elapsed();
    match result {
        Ok((version, environment)) => Presence { name: part.name(), version: Ok(version), environment, took },
        Err(error) => Presence { name: part.name(), version: Err(error), environment: Vec::new(), took },
    }
}

impl Running<'_> {
    /// What tells tests where the parts are. Those that stand in for another are told of by
    /// [`environment_of`](Self::environment_of).
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.presences
            .iter()
            .filter(|presence| find(presence.name).is_none_or(|part| part.stands_in_for().is_none()))
            .flat_map(|presence| &presence.environment)
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What tells tests where that part is.
    pub(crate) fn environment_of(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let presences = self.presences.iter().filter(move |presence| presence.name == name);
        presences.flat_map(|one| &one.environment).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Begins to look at what the tests make in the engines. None of it may show a secret.
    pub(crate) fn watches(&self) -> Vec<docker::Watch> {
        let engines = [&docker::DEBIAN, &docker::NEWEST, &docker::REMAPPING];
        engines
            .into_iter()
            .filter(|one| self.has(one.name()))
            .filter_map(|one| one.watch(self.site))
            .collect()
    }

    /// Whether that part came up.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.presences.iter().any(|presence| presence.name == name && presence.version.is_ok())
    }

    /// What did not come up, and why.
    pub(crate) fn absent(&self) -> impl Iterator<Item = (&'static str, &Failure)> {
        self.presences.iter().filter_map(|presence| Some((presence.name, presence.version.as_ref().err()?)))
    }

    /// Leaves them running after this process, if any came up.
    pub(crate) fn keep(&mut self) -> Result<()> {
        if self.presences.iter().all(|presence| presence.version.is_err()) {
            return Ok(());
        }
        std::fs::write(self.site.state.join(sweep::KEPT), "")?;
        self.keep = true;
        Ok(())
    }

    /// Stops them, unless they are to be kept.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.stopped, true) || self.keep {
            return Ok(());
        }
        down(self.site)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            println!("stopping the parts: {error}");
        }
    }
}

/// Stops every part of this checkout and removes its state.
pub(crate) fn down(site: &Site) -> Result<()> {
    if site.state.exists() {
        std::thread::scope(|scope| {
            for part in all() {
                scope.spawn(|| {
                    if let Err(error) = part.stop(site) {
                        println!("stopping {}: {error}", part.name());
                    }
                });
            }
        });
    }
    sweep::folder(&site.state, &site.hash)
}

/// The recorded processes of this checkout that live.
pub(crate) fn alive(site: &Site) -> Vec<process::Record> {
    process::Record::all(&site.state).into_iter().filter(|record| record.identity.alive()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_runs_on_its_packages_part_where_it_needs_it() {
        assert_eq!(home_of_test("hodei-worker-docker", "watch"), Some("docker"));
        assert_eq!(home_of_test("hodei-worker-docker", "remapped"), Some("docker"));
        assert_eq!(home_of_test("hodei-worker-process", "use"), Some("process"));
        assert_eq!(home_of_test("hodei-worker-store", "postgres"), Some("postgres"));
        assert_eq!(home_of_test("hodei-worker-store", "files"), None);
        assert_eq!(home_of_test("hodei-worker", "health_docker"), Some("docker"));
        assert_eq!(home_of_test("hodei-worker", "health"), Some("process"));
        assert_eq!(home_of_test("hodei-worker", "connect"), None);
    }

    #[test]
    fn a_package_of_several_parts_has_each_of_its_tests_on_the_one_that_it_needs() {
        let home = |binary| home_of_test("hodei-credentials", binary);
        assert_eq!(home("vault_database"), Some("openbao"));
        assert_eq!(home("vault_kubernetes"), Some("openbao"));
        assert_eq!(home("vault_cluster"), Some("openbao-cluster"));
        assert_eq!(home("simple"), None);
        assert_eq!(homes_of("hodei-credentials"), ["openbao", "openbao-cluster"]);
        assert_eq!(homes_of("hodei-worker-docker"), ["docker"]);
        assert_eq!(homes_of("hodei-worker-k8s"), ["kubernetes"]);
        assert_eq!(homes_of("hodei-worker-compose"), ["compose"]);
        assert_eq!(homes_of("hodei-worker-store"), ["postgres"]);
        assert_eq!(homes_of("hodei-worker-process"), ["process"]);
        assert_eq!(homes_of("hodei-worker"), Vec::<&str>::new());
    }
}
