//! `chaos`: the loops that kill a host in the middle of its calls, on each real part.

use crate::failure::{Failure, Result};
use crate::lock::Lock;
use crate::parts::{self, Running};
use crate::site::Site;
use crate::{run, scratch, sweep, target, test};

const PACKAGE: &str = "hodei-worker-benches";
/// The providers that it knows, and their packages.
const PROVIDERS: [(&str, &str); 2] = [("process", "hodei-worker-process"), ("docker", "hodei-worker-docker")];

pub(crate) fn run(site: &Site, rounds: u32, only: &[String]) -> Result<()> {
    if !exists(site) {
        return Err(Failure::new("benches has no src/bin/chaos.rs"));
    }
    if let Some(unknown) = only.iter().find(|name| PROVIDERS.iter().all(|(known, _)| known != name)) {
        return Err(Failure(format!("--only: `{unknown}` is none of process, docker")));
    }
    let chosen: Vec<_> = PROVIDERS
        .iter()
        .filter(|(name, _)| only.is_empty() || only.iter().any(|other| other == name))
        .map(|(_, package)| (*package).to_owned())
        .collect();
    let _lock = Lock::take(site, "chaos")?;
    sweep::leftovers(site)?;
    site.prepare()?;
    scratch::prepare(site)?;
    target::claim(site)?;
    let mut running = parts::up(site, &parts::needed(&chosen));
    if let Some((name, error)) = running.absent().next() {
        return Err(Failure(format!("{name} is not there: {error}")));
    }
    let problems = rounds_of(site, &running, &chosen, rounds)?;
    running.stop()?;
    sweep::ours(site, "which outlived its host")?;
    if problems.is_empty() { Ok(()) } else { Err(Failure(problems.join("\n"))) }
}

/// A few rounds as part of a test run, where the loops exist. Gives what went wrong.
pub(crate) fn in_a_test_run(
    site: &Site,
    running: &Running<'_>,
    chosen: &[String],
    rounds: u32,
) -> Result<Vec<String>> {
    if exists(site) { rounds_of(site, running, chosen, rounds) } else { Ok(Vec::new()) }
}

fn exists(site: &Site) -> bool {
    site.root.join("benches/src/bin/chaos.rs").exists()
}

fn rounds_of(site: &Site, running: &Running<'_>, chosen: &[String], rounds: u32) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (provider, package) in PROVIDERS {
        let absent = running.absent().any(|(name, _)| name == provider);
        if absent || !chosen.iter().any(|name| name == package) {
            continue;
        }
        println!("chaos on {provider}, {rounds} rounds");
        let mut command = run::cargo(site);
        command
            .args(["run", "--quiet", "--release", "--package", PACKAGE, "--bin", "chaos", "--"])
            .args(["--rounds", &rounds.to_string(), "--provider", provider])
            .envs(running.environment())
            .envs(test::environment(site));
        let status = run::stream(&mut command, |line| println!("{line}"))?;
        if !status.success() {
            problems.push(format!("chaos on {provider} failed ({status})"));
        }
    }
    Ok(problems)
}
