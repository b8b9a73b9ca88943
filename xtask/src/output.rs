//! Reading what `cargo test` prints.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::parts;
use crate::results::{Case, Count, Outcome, UNIT};
use crate::spec;

/// The test binaries, by file name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Binaries(BTreeMap<String, Binary>);

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub(crate) path: PathBuf,
    pub(crate) package: String,
    /// The folder of its package.
    pub(crate) manifest: PathBuf,
    /// The part that it belongs to.
    pub(crate) part: String,
}

impl Binaries {
    /// Takes in one line of `cargo test --no-run --message-format=json`.
    pub(crate) fn note(&mut self, line: &str) {
        let Ok(message) = serde_json::from_str::<Value>(line) else { return };
        let Some(file) = message["executable"].as_str() else { return };
        let package = package_name(message["package_id"].as_str().unwrap_or_default());
        let kind = message["target"]["kind"][0].as_str().unwrap_or_default();
        let name = message["target"]["name"].as_str().unwrap_or_default();
        let part = if kind == "test" { parts::home_of_test(package, name) } else { None };
        let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
        let binary = Binary {
            path: file.into(),
            package: package.to_owned(),
            manifest: manifest.parent().unwrap_or(manifest).to_owned(),
            part: part.unwrap_or(UNIT).to_owned(),
        };
        self.0.insert(file_name(file).to_owned(), binary);
    }

    /// Those of a part, as if they were of another that stands in for it.
    pub(crate) fn moved(&self, part: &str, to: &str) -> Self {
        let moved = |binary: &Binary| Binary { part: to.to_owned(), ..binary.clone() };
        let those = self.0.iter().filter(|(_, binary)| binary.part == part);
        Self(those.map(|(name, binary)| (name.clone(), moved(binary))).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Binary> {
        self.0.values()
    }
}

/// The package's name in an id like `path+file:///x/crates/name#0.1.0` or `path+file:///x/dir#name@0.1.0`.
fn package_name(id: &str) -> &str {
    let (path, fragment) = id.split_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => file_name(path),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Follows the output line by line.
#[derive(Debug)]
pub(crate) struct Reader {
    binaries: Binaries,
    part: String,
    binary: String,
    since: Count,
    pub(crate) cases: Vec<Case>,
    /// Binaries that have not said that all is well.
    pub(crate) not_well: BTreeSet<String>,
    /// Where a binary's own sum differs from the cases that were read.
    pub(crate) odd: Vec<String>,
}

impl Reader {
    pub(crate) fn new(binaries: Binaries) -> Self {
        Self {
            binaries,
            part: UNIT.to_owned(),
            binary: String::new(),
            since: Count::default(),
            cases: Vec::new(),
            not_well: BTreeSet::new(),
            odd: Vec::new(),
        }
    }

    /// Takes in one line, which may be coloured: a test inside of a machine writes to a terminal of its own.
    pub(crate) fn line(&mut self, line: &str) {
        let line = &*plain(line);
        let trimmed = line.trim_start();
        if let Some(rest) = trimmed.strip_prefix("Running ").and_then(|rest| rest.strip_suffix(')')) {
            if let Some((_, path)) = rest.rsplit_once('(') {
                self.binary = file_name(path).to_owned();
                self.part = self.binaries.0.get(&self.binary).map_or(UNIT, |one| &one.part).to_owned();
                self.begin();
            }
        } else if let Some(name) = trimmed.strip_prefix("Doc-tests ") {
            self.binary = format!("doc-tests of {name}");
            UNIT.clone_into(&mut self.part);
            self.begin();
        } else if let Some(sum) = line.strip_prefix("test result: ").and_then(parse_sum) {
            if sum != self.since {
                self.odd.push(format!("{}: its sum is {sum:?}, its lines say {:?}", self.binary, self.since));
            }
            if sum.failed == 0 {
                self.not_well.remove(&self.binary);
            }
            self.since = Count::default();
        } else if let Some((name, outcome, reason)) = parse_test(line) {
            self.since.add(outcome);
            let (name, part) = case_on_part(name).unwrap_or((name, &self.part));
            self.cases.push(Case {
                id: case_name(name).to_owned(),
                part: part.to_owned(),
                version: String::new(),
                outcome,
                reason: reason.to_owned(),
                millis: 0,
            });
        }
    }
}

impl Reader {
    fn begin(&mut self) {
        self.since = Count::default();
        self.not_well.insert(self.binary.clone());
    }

    /// Forgets what has failed on a part. Its binaries, if nothing else is not well.
    pub(crate) fn forget_failures(&mut self, part: &str) -> Binaries {
        self.cases.retain(|case| case.part != part || case.outcome != Outcome::Failed);
        let of_part = |name: &String| self.binaries.0.get(name).is_some_and(|one| one.part == part);
        let again: BTreeSet<String> = self.not_well.iter().filter(|name| of_part(name)).cloned().collect();
        self.not_well.retain(|name| !again.contains(name));
        Binaries(
            again
                .iter()
                .filter_map(|name| Some((name.clone(), self.binaries.0.get(name)?.clone())))
                .collect(),
        )
    }
}

/// Without the escape sequences that set colours (`ESC [ … m`).
fn plain(line: &str) -> Cow<'_, str> {
    if !line.contains("\x1b[") {
        return Cow::Borrowed(line);
    }
    let mut parts = line.split("\x1b[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    Cow::Owned(text)
}

/// `test NAME ... ok`, `... FAILED`, `... ignored, REASON`.
fn parse_test(line: &str) -> Option<(&str, Outcome, &str)> {
    let (name, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let word = result.split([' ', ',']).next().unwrap_or_default();
    let reason = result[word.len()..].trim_start_matches([' ', ',']);
    let outcome = match word {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        "ignored" => Outcome::Ignored,
        _ => return None,
    };
    Some((name.trim_end(), outcome, reason))
}

/// A case that says itself which part it runs on: `l6_NAME::docker`.
fn case_on_part(name: &str) -> Option<(&str, &str)> {
    let (case, part) = name.rsplit_once("::")?;
    (!spec::proven_by(case).is_empty() && parts::is_known(part)).then_some((case, part))
}

/// The test's own name: without its modules, a kind in brackets before it or a remark after it.
fn case_name(name: &str) -> &str {
    // A doc test is `path - item (line n)`, and has no better name.
    if name.contains(" - ") && name.contains("(line ") {
        return name;
    }
    let name = name.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(name, |(_, name)| name);
    let name = name.split(' ').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name)
}

/// `ok. 3 passed; 0 failed; 1 ignored; …`
fn parse_sum(text: &str) -> Option<Count> {
    let number = |word: &str| -> Option<usize> {
        let before = text.split(word).next()?.trim_end();
        before.rsplit([' ', ';']).next()?.parse().ok()
    };
    Some(Count { passed: number("passed")?, failed: number("failed;")?, ignored: number("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: &str = r#"{"reason":"compiler-artifact","package_id":"path+file:///w/crates/hodei-worker-docker#0.1.0","target":{"kind":["test"],"name":"live"},"executable":"/w/target/debug/deps/live-12ab"}
{"reason":"compiler-artifact","package_id":"path+file:///w/benches#hodei-worker-benches@0.1.0","target":{"kind":["lib"],"name":"b"},"executable":"/w/target/debug/deps/b-1"}
{"reason":"build-finished","success":true}"#;

    const PRINTED: &str = "\
     Running unittests src/lib.rs (target/debug/deps/b-1)

running 3 tests
test model::tests::p1_id_is_short ... ok
test p6_waits - should panic ... FAILED
test slow ... ignored, needs an hour

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/live.rs (target/debug/deps/live-12ab)
test [docker] d1_socket ... ok
test d8_logs (2 of 3) ... ok
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
   Doc-tests hodei_worker_core
test crates/hodei-worker-core/src/lib.rs - (line 12) - compile ... ok
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    #[test]
    fn lines_become_cases_of_the_part_whose_binary_printed_them() {
        let mut binaries = Binaries::default();
        BUILT.lines().for_each(|line| binaries.note(line));
        let mut reader = Reader::new(binaries);
        PRINTED.lines().for_each(|line| reader.line(line));
        let short: Vec<_> =
            reader.cases.iter().map(|case| (case.id.as_str(), case.part.as_str(), case.outcome)).collect();
        assert_eq!(
            short,
            [
                ("p1_id_is_short", "unit", Outcome::Passed),
                ("p6_waits", "unit", Outcome::Failed),
                ("slow", "unit", Outcome::Ignored),
                ("d1_socket", "docker", Outcome::Passed),
                ("d8_logs", "docker", Outcome::Passed),
                ("crates/hodei-worker-core/src/lib.rs - (line 12) - compile", "unit", Outcome::Passed),
            ]
        );
        assert_eq!(reader.cases[2].reason, "needs an hour");
        // The second binary claims one more than it printed.
        assert_eq!(reader.odd.len(), 1);
        assert!(reader.odd[0].starts_with("live-12ab"));
    }

    #[test]
    fn a_case_that_names_its_part_counts_there() {
        let mut reader = Reader::new(Binaries::default());
        for line in [
            "test l6_is_adopted::process ... ok",
            "test l6_is_adopted::docker ... ignored",
            "test l6_is_shared::postgres ... FAILED",
            "test bed::process ... ok",
            "test l6_is_adopted::elsewhere ... ok",
        ] {
            reader.line(line);
        }
        let short: Vec<_> = reader.cases.iter().map(|case| (case.id.as_str(), case.part.as_str())).collect();
        assert_eq!(
            short,
            [
                ("l6_is_adopted", "process"),
                ("l6_is_adopted", "docker"),
                ("l6_is_shared", "postgres"),
                ("process", "unit"),
                ("elsewhere", "unit"),
            ]
        );
    }

    #[test]
    fn what_failed_on_a_part_is_forgotten_and_its_binary_known() {
        let mut binaries = Binaries::default();
        BUILT.lines().for_each(|line| binaries.note(line));
        let mut reader = Reader::new(binaries);
        PRINTED.lines().for_each(|line| reader.line(line));
        assert_eq!(reader.not_well, BTreeSet::from(["b-1".to_owned()]));
        reader.line("     Running tests/live.rs (target/debug/deps/live-12ab)");
        reader.line("test d8_follows ... FAILED");
        // It ended without a word.
        let again = reader.forget_failures("docker");
        assert_eq!(
            again.iter().map(|binary| binary.package.as_str()).collect::<Vec<_>>(),
            ["hodei-worker-docker"]
        );
        assert!(reader.cases.iter().all(|case| case.id != "d8_follows"));
        assert!(reader.cases.iter().any(|case| case.id == "p6_waits" && case.outcome == Outcome::Failed));
        assert_eq!(reader.not_well, BTreeSet::from(["b-1".to_owned()]));
    }

    #[test]
    fn coloured_lines_are_read_as_plain_ones() {
        let mut reader = Reader::new(Binaries::default());
        reader.line("     Running tests/live.rs (target/debug/deps/live-12ab)");
        reader.line("test a ... \x1b[32mok\x1b[0m");
        reader.line("test b ... \x1b[33mignored\x1b[0m, no such part");
        reader.line("test result: \x1b[32mok\x1b[0m. 1 passed; 0 failed; 1 ignored; 0 measured");
        let short: Vec<_> =
            reader.cases.iter().map(|case| (case.id.as_str(), case.reason.as_str())).collect();
        assert_eq!(short, [("a", ""), ("b", "no such part")]);
        assert_eq!(reader.odd, Vec::<String>::new());
    }

    #[test]
    fn a_package_id_gives_its_name_in_both_forms() {
        assert_eq!(package_name("path+file:///w/crates/hodei-worker-core#0.1.0"), "hodei-worker-core");
        assert_eq!(package_name("path+file:///w/benches#hodei-worker-benches@0.1.0"), "hodei-worker-benches");
    }
}
