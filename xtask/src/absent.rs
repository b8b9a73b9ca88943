//! Tests whose part is not there: each becomes an ignored case with the reason, instead of a failure.
//!
//! Cargo runs every test binary through this program then (`runner`), which alone knows what the binary needs.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::failure::{Context, Failure, Result};
use crate::parts::{self, Needs, Running};
use crate::results::{Case, Outcome};
use crate::run;
use crate::site::Site;

/// The parts that are not there: on each line a name, a tab and the reason.
const ABSENT: &str = "HODEI_TEST_ABSENT";

/// Has cargo run the tests through us, where a part is absent.
pub(crate) fn wrap(site: &Site, running: &Running<'_>, command: &mut Command) -> Result<()> {
    let reason = |error: &Failure| error.0.lines().next().unwrap_or_default().replace('\t', " ");
    let absent: Vec<_> = running.absent().map(|(name, error)| format!("{name}\t{}", reason(error))).collect();
    if absent.is_empty() {
        return Ok(());
    }
    let program = site.copy_of_ourselves()?;
    let runner = format!("target.'cfg(all())'.runner=[\"{}\", \"runner\"]", program.display());
    command.args(["--config", &runner]).env(ABSENT, absent.join("\n"));
    Ok(())
}

/// Runs one test binary, without those of its tests whose part is absent. Gives its end.
pub(crate) fn run(words: &[String]) -> Result<ExitCode> {
    let (program, arguments) = words.split_first().ok_or_else(|| Failure::new("runner: PROGRAM …"))?;
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let manifest = variable("CARGO_MANIFEST_DIR");
    let mut command = Command::new(program);
    command.args(arguments);
    // What is compiled into a library or a program needs no part.
    if let Some(binary) = integration_test(program, Path::new(&manifest)) {
        for line in variable(ABSENT).lines() {
            let (name, why) = line.split_once('\t').unwrap_or((line, ""));
            let Some(part) = parts::find(name) else { continue };
            let needs: Vec<_> =
                part.needs().iter().filter(|need| need.is_of(&variable("CARGO_PKG_NAME"), binary)).collect();
            if needs.is_empty() {
                continue;
            }
            let why = format!("{name} is not there: {why}");
            let whole = needs.iter().any(|need| need.test.is_none());
            let tests = if whole {
                list(program, arguments, part.stand_ins(), binary)
            } else {
                needs.iter().filter_map(|need| need.test).map(str::to_owned).collect()
            };
            ignore(&tests, name, &why)?;
            if whole {
                return Ok(ExitCode::SUCCESS);
            }
            for test in &tests {
                command.args(["--skip", test]);
            }
        }
    }
    use std::os::unix::process::CommandExt;
    Err(Failure(format!("running {program}: {}", command.exec())))
}

impl Needs {
    pub(crate) fn is_of(&self, package: &str, binary: &str) -> bool {
        self.package == package && self.binary.is_none_or(|own| own == binary)
    }
}

/// The name of the integration test that this binary is, if it is one.
fn integration_test<'a>(program: &'a str, manifest: &Path) -> Option<&'a str> {
    let (name, _) = Path::new(program).file_name()?.to_str()?.rsplit_once('-')?;
    source(manifest, name).exists().then_some(name)
}

/// Where an integration test of that name begins: in a file of its own, or in a folder.
fn source(manifest: &Path, name: &str) -> PathBuf {
    let file = manifest.join("tests").join(format!("{name}.rs"));
    if file.exists() { file } else { manifest.join("tests").join(name).join("main.rs") }
}

/// The tests of a binary; where it does not tell them, its own name stands for all.
fn list(program: &str, arguments: &[String], stand_ins: &[(&str, &str)], binary: &str) -> Vec<String> {
    let mut command = Command::new(program);
    command.args(arguments).arg("--list").envs(stand_ins.iter().copied());
    let listed = run::output(&mut command).unwrap_or_default();
    let names: Vec<_> = listed.lines().filter_map(listed_name).collect();
    if names.is_empty() { vec![binary.to_owned()] } else { names }
}

/// `[kind] module::name: test`
fn listed_name(line: &str) -> Option<String> {
    let name = line.strip_suffix(": test")?;
    Some(name.split_once("] ").map_or(name, |(_, name)| name).to_owned())
}

/// Says of each that it is ignored, to the reader and to the results.
fn ignore(tests: &[String], part: &str, why: &str) -> Result<()> {
    println!("\nrunning {} tests", tests.len());
    let mut lines = String::new();
    for test in tests {
        println!("test {test} ... ignored, {why}");
        let case = Case {
            id: test.rsplit("::").next().unwrap_or(test).to_owned(),
            part: part.to_owned(),
            version: String::new(),
            outcome: Outcome::Ignored,
            reason: why.to_owned(),
            millis: 0,
        };
        lines.push_str(&(case.line() + "\n"));
    }
    println!("\ntest result: ok. 0 passed; 0 failed; {} ignored; 0 measured; 0 filtered out\n", tests.len());
    let Some(folder) = std::env::var_os("HODEI_TEST_RESULTS") else { return Ok(()) };
    fs::create_dir_all(&folder)?;
    let file = Path::new(&folder).join(format!("absent-{}.jsonl", std::process::id()));
    let mut file = OpenOptions::new().create(true).append(true).open(&file).context(file.display())?;
    Ok(file.write_all(lines.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_test_is_named_without_its_kind() {
        assert_eq!(listed_name("[docker] p1_create: test").as_deref(), Some("p1_create"));
        assert_eq!(listed_name("tests::p1_create: test").as_deref(), Some("tests::p1_create"));
        assert_eq!(listed_name("3 tests, 0 benchmarks"), None);
    }

    #[test]
    fn a_binary_is_an_integration_test_by_its_source() {
        let root = Site::find().unwrap().root;
        let docker = root.join("crates/hodei-worker-docker");
        assert_eq!(integration_test("/t/debug/deps/watch-0a1b", &docker), Some("watch"));
        assert_eq!(integration_test("/t/debug/deps/hodei_worker_docker-0a1b", &docker), None);
        assert_eq!(integration_test("/tmp/rustdoctest/rust_out", &docker), None);
    }

    fn is_package(folder: &Path, name: &str) -> bool {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.contains(&format!("name = \"{name}\""))
    }

    #[test]
    fn every_test_that_needs_a_part_exists() {
        let root = Site::find().unwrap().root;
        let parts = parts::all().iter().filter(|part| part.has_tests());
        for need in parts.flat_map(|part| part.needs()) {
            let folders = [root.join("crates").join(need.package), root.join("examples")];
            // A part may be here before the package that is tested on it.
            let Some(folder) = folders.iter().find(|folder| is_package(folder, need.package)) else {
                continue;
            };
            let Some(binary) = need.binary else { continue };
            let source = source(folder, binary);
            let text = fs::read_to_string(&source).unwrap();
            if let Some(test) = need.test {
                assert!(text.contains(&format!("fn {test}(")), "{test} is not in {}", source.display());
            }
        }
    }
}
