//! `chaos`: the loops that kill, pause, damage and cut off, on each real part, and what came of it in one table.

use crate::failure::{Failure, Result};
use crate::lock::Lock;
use crate::parts::{self, Running};
use crate::row;
use crate::site::Site;
use crate::{run, scratch, sweep, table, target, test};

const PACKAGE: &str = "hodei-worker-benches";

/// One loop, and what it needs.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    name: &'static str,
    /// It belongs to the test run of this package.
    package: &'static str,
    /// The parts that have to be there.
    parts: &'static [&'static str],
    /// The program of the benches, and its arguments.
    program: &'static str,
    arguments: &'static [&'static str],
    /// The argument that says how often.
    count: &'static str,
    /// How often, unless the user says otherwise.
    rounds: u32,
    /// How often in a test run, for seconds; 0 where it takes longer.
    few: u32,
}

impl Scenario {
    const fn new(name: &'static str, package: &'static str, program: &'static str) -> Self {
        Self { name, package, parts: &[], program, arguments: &[], count: "--rounds", rounds: 100, few: 5 }
    }
    const fn on(self, parts: &'static [&'static str]) -> Self {
        Self { parts, ..self }
    }
    const fn with(self, arguments: &'static [&'static str]) -> Self {
        Self { arguments, ..self }
    }
    const fn rounds(self, rounds: u32, few: u32) -> Self {
        Self { rounds, few, ..self }
    }

    /// Whether a word of the user's means it: its name, or one of its name's parts.
    fn is_meant(&self, word: &str) -> bool {
        self.name == word || self.name.split('-').any(|part| part == word)
    }
}

const PROCESS: &str = "hodei-worker-process";
const DOCKER: &str = "hodei-worker-docker";
const KUBERNETES: &str = "hodei-worker-k8s";
const STORE: &str = "hodei-worker-store";
const HOST: &str = "hodei-worker";

const SCENARIOS: [Scenario; 11] = [
    Scenario::new("calls-process", PROCESS, "chaos").with(&["--provider", "process"]),
    Scenario::new("calls-docker", DOCKER, "chaos").with(&["--provider", "docker"]).on(&["docker"]),
    Scenario::new("manager-process", HOST, "hodei-chaos-manager")
        .with(&["--provider", "process"])
        .rounds(1000, 10),
    Scenario::new("manager-docker", HOST, "hodei-chaos-manager")
        .with(&["--provider", "docker"])
        .on(&["docker"])
        .rounds(100, 3),
    Scenario::new("calls-kubernetes", KUBERNETES, "chaos")
        .with(&["--provider", "kubernetes"])
        .on(&["kubernetes"])
        .rounds(30, 0),
    Scenario::new("manager-kubernetes", HOST, "hodei-chaos-manager")
        .with(&["--provider", "kubernetes"])
        .on(&["kubernetes"])
        .rounds(50, 0),
    Scenario::new("hosts-postgres", HOST, "hodei-chaos-hosts").on(&["postgres"]).rounds(30, 3),
    Scenario::new("flips-redb", STORE, "flips").with(&["--store", "redb"]).rounds(10_000, 100),
    Scenario::new("flips-sled", STORE, "flips").with(&["--store", "sled"]).rounds(10_000, 100),
    power("power-redb", &["--store", "redb"]),
    power("power-sled", &["--store", "sled"]),
];

const fn power(name: &'static str, arguments: &'static [&'static str]) -> Scenario {
    let scenario = Scenario::new(name, STORE, "powercut").with(arguments).on(&["uml"]).rounds(100, 1);
    Scenario { count: "--cuts", ..scenario }
}

/// What came of one of them.
#[derive(Debug)]
struct Ended {
    name: &'static str,
    result: String,
    /// What it said: what was lost, doubled, orphaned, detected.
    lines: Vec<String>,
}

/// The scenarios that the user's words mean; without any, all.
fn choose(only: &[String]) -> Result<Vec<Scenario>> {
    if let Some(unknown) = only.iter().find(|word| !SCENARIOS.iter().any(|one| one.is_meant(word))) {
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        return Err(Failure(format!("--only: `{unknown}` is none of {}", names.join(", "))));
    }
    let meant = |one: &Scenario| only.is_empty() || only.iter().any(|word| one.is_meant(word));
    Ok(SCENARIOS.into_iter().filter(meant).collect())
}

pub(crate) fn run(site: &Site, rounds: Option<u32>, only: &[String]) -> Result<()> {
    let chosen = choose(only)?;
    let _lock = Lock::take(site, "chaos")?;
    sweep::leftovers(site)?;
    site.prepare()?;
    scratch::prepare(site)?;
    target::claim(site)?;
    let needed: Vec<_> = parts::all()
        .iter()
        .copied()
        .filter(|part| chosen.iter().any(|scenario| scenario.parts.contains(&part.name())))
        .collect();
    let mut running = parts::up(site, &needed);
    let mut problems: Vec<_> =
        running.absent().map(|(name, error)| format!("{name} is not there: {error}")).collect();
    problems.extend(all(site, &running, &chosen, |scenario| rounds.unwrap_or(scenario.rounds))?);
    running.stop()?;
    sweep::ours(site, "which outlived its host")?;
    if problems.is_empty() { Ok(()) } else { Err(Failure(problems.join("\n"))) }
}

/// A few rounds as part of a test run. Gives what went wrong.
pub(crate) fn in_a_test_run(site: &Site, running: &Running<'_>, chosen: &[String]) -> Result<Vec<String>> {
    let chosen: Vec<_> = SCENARIOS
        .into_iter()
        .filter(|scenario| scenario.few > 0 && chosen.iter().any(|package| package == scenario.package))
        // What a part is needed for that was not brought up is left out, as the tests on it are.
        .filter(|scenario| scenario.parts.iter().all(|part| running.has(part)))
        .collect();
    all(site, running, &chosen, |scenario| scenario.few)
}

/// Runs them, prints the table, and gives what went wrong.
fn all(
    site: &Site,
    running: &Running<'_>,
    chosen: &[Scenario],
    rounds: impl Fn(&Scenario) -> u32,
) -> Result<Vec<String>> {
    let mut ends = Vec::new();
    for scenario in chosen {
        ends.push(match scenario.parts.iter().find(|part| !running.has(part)) {
            Some(absent) => {
                Ended { name: scenario.name, result: format!("not run: no {absent}"), lines: Vec::new() }
            }
            None => one(site, running, scenario, rounds(scenario))?,
        });
    }
    if !ends.is_empty() {
        print!("\n{}", shown(&ends));
    }
    let failed = ends.iter().filter(|end| end.result.starts_with("FAILED"));
    let said = |end: &Ended| end.lines.last().map_or_else(String::new, |line| format!(": {line}"));
    Ok(failed.map(|end| format!("chaos {}: {}{}", end.name, end.result, said(end))).collect())
}

fn one(site: &Site, running: &Running<'_>, scenario: &Scenario, rounds: u32) -> Result<Ended> {
    println!("chaos {}, {rounds} rounds", scenario.name);
    let mut command = run::cargo(site);
    command
        .args(["run", "--quiet", "--release", "--package", PACKAGE, "--bin", scenario.program, "--"])
        .args(scenario.arguments)
        .args([scenario.count, &rounds.to_string()])
        .envs(running.environment())
        .envs(test::environment(site));
    let mut lines = Vec::new();
    let status = run::stream(&mut command, |line| {
        println!("{line}");
        lines.push(line.to_owned());
    })?;
    let result = if status.success() { "ok".to_owned() } else { format!("FAILED ({status})") };
    Ok(Ended { name: scenario.name, result, lines })
}

fn shown(ends: &[Ended]) -> String {
    let mut rows = vec![row!["chaos", "result", "what was lost, doubled, orphaned, detected"]];
    for end in ends {
        let mut lines = end.lines.iter();
        rows.push(row![end.name, end.result, lines.next().map_or("", String::as_str)]);
        rows.extend(lines.map(|line| row!["", "", line]));
    }
    table::render(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<&'static str> {
        let only: Vec<_> = only.iter().map(ToString::to_string).collect();
        choose(&only).unwrap().into_iter().map(|scenario| scenario.name).collect()
    }

    #[test]
    fn a_word_means_a_scenario_or_all_that_it_is_a_part_of() {
        assert_eq!(names(&[]).len(), SCENARIOS.len());
        assert_eq!(names(&["docker"]), ["calls-docker", "manager-docker"]);
        assert_eq!(names(&["flips-sled", "process"]), ["calls-process", "manager-process", "flips-sled"]);
        assert!(choose(&["dockr".to_owned()]).unwrap_err().0.contains("manager-docker"));
    }

    #[test]
    fn every_scenario_has_its_program_and_its_parts() {
        let root = Site::find().unwrap().root;
        for scenario in SCENARIOS {
            let source = root.join("benches/src/bin").join(format!("{}.rs", scenario.program));
            assert!(source.exists(), "{} has no {}", scenario.name, source.display());
            assert!(scenario.parts.iter().all(|part| parts::find(part).is_some()), "{}", scenario.name);
        }
    }

    #[test]
    fn each_line_that_was_said_is_a_row() {
        let ends =
            [Ended { name: "flips-redb", result: "ok".into(), lines: vec!["lost 0".into(), "more".into()] }];
        let text = shown(&ends);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().nth(1).unwrap().ends_with("ok      lost 0"), "{text}");
    }
}
