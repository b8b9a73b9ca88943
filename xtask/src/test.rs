//! `test`: parts up, everything run, parts down, and what it proved.

use std::fs;
use std::process::{Command, ExitStatus, Stdio};

use crate::cli::TestOptions;
use crate::failure::{Context, Failure, Result};
use crate::lock::Lock;
use crate::output::{Binaries, Reader};
use crate::parts::docker::Watch;
use crate::parts::{self, Running};
use crate::results::{self, Case};
use crate::site::Site;
use crate::{absent, chaos, ci, packages, process, report, run, scratch, stop, sweep, target};

pub(crate) fn run(site: &Site, options: &TestOptions) -> Result<()> {
    let members = packages::all(site)?;
    let chosen = packages::choose(&members, &options.only)?;
    let _lock = Lock::take(site, "test")?;
    sweep::leftovers(site)?;
    target::claim(site)?;
    let _ = fs::remove_dir_all(site.results());
    site.prepare()?;
    scratch::prepare(site)?;

    let mut problems = Vec::new();
    let needed = parts::needed(&chosen);
    // The parts come up while the tests are compiled.
    let (running, built) = std::thread::scope(|scope| {
        let up = scope.spawn(|| parts::up(site, &needed));
        let built = build(site, options, &chosen);
        (up.join(), built)
    });
    let mut running = running.map_err(|_| Failure::new("bringing up the parts panicked"))?;
    if options.keep {
        running.keep()?;
    }
    let watches = running.watches();
    let ran =
        built.and_then(|binaries| tests(site, options, &chosen, &running, &watches, binaries, &mut problems));
    if ran.is_ok() && options.arguments.is_empty() {
        problems.extend(chaos::in_a_test_run(site, &running, &chosen)?);
    }
    let mut looked = String::new();
    for watch in watches {
        match watch.finish(options.arguments.is_empty()) {
            Ok(seen) => looked.push_str(&format!("\n{seen}")),
            Err(error) => problems.push(error.to_string()),
        }
    }
    let stopped = running.stop();
    if let Err(error) = sweep::ours(site, "which outlived its test") {
        problems.push(format!("sweeping: {error}"));
    }
    let mut cases = ran?;
    stop::check()?;

    if let Err(error) = stopped {
        problems.push(format!("stopping the parts: {error}"));
    }
    let kernel = chosen.iter().any(|name| parts::homes_of(name).contains(&"process")).then(kernel);
    for case in cases.iter_mut().filter(|case| case.version.is_empty()) {
        case.version = version_of(&running, kernel.as_deref(), &case.part);
    }
    results::save(site, &cases)?;
    let tables =
        report::parts(&running.presences, kernel.as_deref()) + &report::cases(&cases, &expected(&chosen));
    if options.require_all {
        problems.extend(missing(&running, &chosen, &cases));
    }
    if options.arguments.is_empty() {
        problems.extend(if options.require_all { ci::all(site)? } else { ci::cheap(site)? });
    }
    println!("{tables}{looked}");
    if !problems.is_empty() {
        println!("\nproblems");
        problems.iter().for_each(|problem| println!("  {problem}"));
    }
    println!("\n{}", report::sum(&cases));
    // All is said, and the sum is the last line.
    if problems.is_empty() { Ok(()) } else { Err(Failure::told()) }
}

/// `cargo test` over the chosen packages, without its last arguments.
fn cargo_test(site: &Site, options: &TestOptions, chosen: &[String]) -> std::process::Command {
    let mut command = run::cargo(site);
    command.args(["test", "--all-features"]);
    if options.only.is_empty() {
        command.arg("--workspace");
    } else {
        for name in chosen {
            command.args(["--package", name]);
        }
    }
    command
}

fn build(site: &Site, options: &TestOptions, chosen: &[String]) -> Result<Binaries> {
    let mut binaries = Binaries::default();
    let mut command = cargo_test(site, options, chosen);
    command.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let status = run::stream(&mut command, |line| {
        if line.starts_with('{') {
            binaries.note(line);
        } else {
            println!("{line}");
        }
    })?;
    if status.success() { Ok(binaries) } else { Err(Failure::new("the tests do not compile")) }
}

fn tests(
    site: &Site,
    options: &TestOptions,
    chosen: &[String],
    running: &Running<'_>,
    watches: &[Watch],
    binaries: Binaries,
    problems: &mut Vec<String>,
) -> Result<Vec<Case>> {
    let mut reader = Reader::new(binaries.clone());
    let mut command = cargo_test(site, options, chosen);
    absent::wrap(site, running, &mut command)?;
    command.arg("--no-fail-fast").arg("--").args(&options.arguments);
    command.envs(running.environment()).envs(environment(site));
    let status = follow(&mut command, &mut reader)?;
    let bench = Bench { site, options, running };
    let mut is_known = false;
    for watch in watches.iter().filter(|watch| watch.hung() > 0) {
        bench.run_again(watch.name(), &mut reader, problems)?;
        is_known = reader.not_well.is_empty();
    }
    if !status.success() && !is_known {
        problems.push(format!("cargo test failed ({status})"));
    }
    problems.extend(std::mem::take(&mut reader.odd));
    for presence in running.presences.iter().filter(|presence| presence.version.is_ok()) {
        let Some(other) = parts::find(presence.name).and_then(|part| part.stands_in_for()) else { continue };
        let watch = watches.iter().find(|watch| watch.name() == presence.name);
        reader.cases.extend(bench.once_more(&binaries, (other, presence.name), watch, problems)?);
    }
    let recorded = results::recorded(&site.results()).context("what the behaviour suite recorded")?;
    Ok(results::merge(recorded, reader.cases))
}

/// Runs tests, shows what they print, and has it read.
fn follow(command: &mut Command, reader: &mut Reader) -> Result<ExitStatus> {
    let status = run::stream(command, |line| {
        println!("{line}");
        reader.line(line);
    })?;
    stop::check()?;
    Ok(status)
}

/// Where single binaries are run.
struct Bench<'a> {
    site: &'a Site,
    options: &'a TestOptions,
    running: &'a Running<'a>,
}

impl Bench<'_> {
    /// The tests of one part on another that stands in for it.
    fn once_more(
        &self,
        binaries: &Binaries,
        (other, part): (&str, &str),
        watch: Option<&Watch>,
        problems: &mut Vec<String>,
    ) -> Result<Vec<Case>> {
        println!("\nthe tests of {other} once more, on {part}");
        let moved = binaries.moved(other, part);
        let mut reader = Reader::new(moved.clone());
        let hung = || watch.map_or(0, Watch::hung);
        let before = hung();
        let mut failures = self.run(&moved, part, &mut reader)?;
        if hung() > before {
            failures.clear();
            self.run_again(part, &mut reader, &mut failures)?;
        }
        problems.append(&mut failures);
        problems.append(&mut reader.odd);
        Ok(reader.cases)
    }

    /// What was not well on a part whose engine hung meanwhile. It says nothing of the rest: that has passed.
    fn run_again(&self, part: &str, reader: &mut Reader, problems: &mut Vec<String>) -> Result<()> {
        results::forget_failures(&self.site.results(), part)?;
        let again = reader.forget_failures(part);
        println!("\n{} binaries run again on {part}: its engine hung meanwhile", again.iter().count());
        problems.extend(self.run(&again, part, reader)?);
        Ok(())
    }

    /// Which of them failed.
    fn run(&self, binaries: &Binaries, part: &str, reader: &mut Reader) -> Result<Vec<String>> {
        let mut failed = Vec::new();
        for binary in binaries.iter() {
            let path = binary.path.display();
            reader.line(&format!("Running {} ({path})", binary.package));
            println!("     Running {path} on {part}");
            let mut command = Command::new(&binary.path);
            command.current_dir(&binary.manifest).args(&self.options.arguments).stdin(Stdio::null());
            command.env("CARGO_MANIFEST_DIR", &binary.manifest).env("CARGO_PKG_NAME", &binary.package);
            command.envs(self.running.environment()).envs(environment(self.site));
            command.envs(self.running.environment_of(part));
            let status = follow(&mut command, reader)?;
            if !status.success() {
                failed.push(format!("{path} failed on {part} ({status})"));
            }
        }
        Ok(failed)
    }
}

/// What everything that is run below this task is told, besides where the parts are.
pub(crate) fn environment(site: &Site) -> Vec<(&'static str, String)> {
    vec![
        (process::MARK, process::mark_of(&site.base, &site.hash)),
        ("TMPDIR", site.scratch.display().to_string()),
        ("HODEI_TEST_MEMORY", site.memory.display().to_string()),
        ("HODEI_TEST_RESULTS", site.results().display().to_string()),
        ("HODEI_TEST_LOGS", site.logs().display().to_string()),
    ]
}

/// Parts that a complete run has to have had.
fn missing(running: &Running<'_>, chosen: &[String], cases: &[Case]) -> Vec<String> {
    let mut problems = Vec::new();
    for presence in running.presences.iter().filter(|presence| presence.version.is_err()) {
        problems.push(format!("{} was not there", presence.name));
    }
    for part in expected(chosen) {
        // The fake is recorded once for each arrangement of layers.
        let ran = |case: &&Case| case.part == part || (part == "fake" && case.part.starts_with(part));
        if cases.iter().find(ran).is_none() {
            problems.push(format!("no case was recorded on {part}"));
        }
    }
    problems
}

/// The version that a case ran on, where it did not record one.
fn version_of(running: &Running<'_>, kernel: Option<&str>, part: &str) -> String {
    if part == "process" {
        return kernel.unwrap_or_default().to_owned();
    }
    let presence = running.presences.iter().find(|presence| presence.name == part);
    presence.and_then(|presence| presence.version.as_ref().ok()).cloned().unwrap_or_default()
}

/// The parts on which the chosen packages have cases.
fn expected(chosen: &[String]) -> Vec<&'static str> {
    let fake = chosen.iter().any(|name| name == packages::CORE).then_some("fake");
    let homes: Vec<_> = chosen.iter().flat_map(|name| parts::homes_of(name)).collect();
    let others =
        parts::all().iter().filter(|part| part.stands_in_for().is_some_and(|one| homes.contains(&one)));
    let others: Vec<_> = others.map(|part| part.name()).collect();
    homes.into_iter().chain(others).chain(fake).collect()
}

fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let unified = fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false);
    format!("Linux {}, cgroup {}", release.trim(), if unified { "v2" } else { "v1" })
}
