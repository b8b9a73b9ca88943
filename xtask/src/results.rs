//! What tests recorded: a line of JSON for each case.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failure::{Context, Failure, Result};
use crate::site::Site;
use crate::spec;

/// The part of tests that need none.
pub(crate) const UNIT: &str = "unit";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    Ignored,
}

/// One test on one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    /// The test's name, SPEC ids first.
    pub(crate) id: String,
    pub(crate) part: String,
    pub(crate) version: String,
    pub(crate) outcome: Outcome,
    /// Why it was ignored or has failed.
    pub(crate) reason: String,
    pub(crate) millis: u64,
}

impl Case {
    /// Reads one recorded line.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line).context("not JSON")?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let needed = |name: &str| text(name).ok_or_else(|| Failure(format!("no `{name}`")));
        let outcome = match needed("result")?.as_str() {
            "passed" => Outcome::Passed,
            "failed" => Outcome::Failed,
            "ignored" => Outcome::Ignored,
            other => return Err(Failure(format!("`result` is `{other}`, none of passed, failed, ignored"))),
        };
        Ok(Self {
            id: needed("id")?,
            part: needed("part")?,
            version: text("version").unwrap_or_default(),
            outcome,
            reason: text("reason").unwrap_or_default(),
            millis: value["millis"].as_u64().unwrap_or(0),
        })
    }

    pub(crate) fn line(&self) -> String {
        let result = match self.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Ignored => "ignored",
        };
        let Self { id, part, version, reason, millis, .. } = self;
        json!({ "id": id, "part": part, "version": version, "result": result, "reason": reason, "millis": millis })
            .to_string()
    }
}

/// The cases that the behaviour suite wrote down, from every file of the results folder.
pub(crate) fn recorded(folder: &Path) -> Result<Vec<Case>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).context(format_args!("reading {}", file.display()))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            cases.push(Case::parse(line).context(format_args!("{}:{}", file.display(), number + 1))?);
        }
    }
    Ok(cases)
}

/// Takes out of the results folder what has failed on a part, since it is run again.
pub(crate) fn forget_failures(folder: &Path, part: &str) -> Result<()> {
    for file in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let text = fs::read_to_string(&file).context(format_args!("reading {}", file.display()))?;
        let has_failed = |line: &str| {
            Case::parse(line).is_ok_and(|case| case.part == part && case.outcome == Outcome::Failed)
        };
        let rest: String =
            text.lines().filter(|line| !has_failed(line)).map(|line| format!("{line}\n")).collect();
        fs::write(&file, rest).context(format_args!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Adds to the recorded cases what cargo printed of other tests.
pub(crate) fn merge(mut recorded: Vec<Case>, printed: Vec<Case>) -> Vec<Case> {
    let known: HashSet<String> = recorded.iter().map(|case| case.id.clone()).collect();
    recorded.extend(printed.into_iter().filter(|case| !known.contains(&case.id)));
    recorded
}

/// Where the last run's cases are kept for `coverage`.
fn last(site: &Site) -> PathBuf {
    site.work.join("last.jsonl")
}

pub(crate) fn save(site: &Site, cases: &[Case]) -> Result<()> {
    let text: String = cases.iter().map(|case| case.line() + "\n").collect();
    fs::write(last(site), text).context("keeping the results")
}

pub(crate) fn load(site: &Site) -> Result<Vec<Case>> {
    let file = last(site);
    let text = fs::read_to_string(&file)
        .map_err(|_| Failure::new("there is no last run: `cargo xtask test` makes one"))?;
    text.lines().map(Case::parse).collect::<Result<_>>().context(file.display())
}

/// How many cases of a part passed, failed and were ignored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
}

impl Count {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Ignored => self.ignored += 1,
        }
    }
}

pub(crate) fn by_part(cases: &[Case]) -> BTreeMap<&str, Count> {
    let mut counts = BTreeMap::<&str, Count>::new();
    for case in cases {
        counts.entry(&case.part).or_default().add(case.outcome);
    }
    counts
}

/// The SPEC ids of which every case on a part that ran has passed, by part.
pub(crate) fn proven(cases: &[Case]) -> BTreeMap<&str, Vec<String>> {
    let ids = |outcome: Outcome| {
        let chosen = cases.iter().filter(move |case| case.outcome == outcome);
        chosen.flat_map(|case| spec::proven_by(&case.id).into_iter().map(|id| (case.part.as_str(), id)))
    };
    let failed: HashSet<_> = ids(Outcome::Failed).collect();
    let mut proven = BTreeMap::<&str, Vec<String>>::new();
    for (part, id) in ids(Outcome::Passed).filter(|pair| !failed.contains(pair)) {
        let list = proven.entry(part).or_default();
        if !list.contains(&id) {
            list.push(id);
        }
    }
    proven.values_mut().for_each(|list| list.sort_by_key(|id| spec::position(id)));
    proven
}

/// Whether a part is a real one, and not the fake or none at all.
pub(crate) fn is_real(part: &str) -> bool {
    part != UNIT && !part.starts_with("fake")
}

/// One row for each SPEC id: id, number of tests, the real parts that proved it, or `-`.
pub(crate) fn coverage(cases: &[Case]) -> String {
    let proven = proven(cases);
    let mut text = String::new();
    for id in spec::ids() {
        let tests: HashSet<_> = cases
            .iter()
            .filter(|case| spec::proven_by(&case.id).contains(&id))
            .map(|case| &case.id)
            .collect();
        let parts: Vec<_> = proven
            .iter()
            .filter(|(part, ids)| is_real(part) && ids.contains(&id))
            .map(|(part, _)| *part)
            .collect();
        let parts = if parts.is_empty() { "-".to_owned() } else { parts.join(",") };
        text.push_str(&format!("{id}\t{}\t{parts}\n", tests.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(id: &str, part: &str, outcome: Outcome) -> Case {
        Case {
            id: id.into(),
            part: part.into(),
            version: String::new(),
            outcome,
            reason: String::new(),
            millis: 0,
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line =
            r#"{"id":"p1_x","part":"docker","version":"20","result":"ignored","reason":"no","millis":12}"#;
        let case = Case::parse(line).unwrap();
        assert_eq!((case.outcome, case.reason.as_str(), case.millis), (Outcome::Ignored, "no", 12));
        assert_eq!(Case::parse(&case.line()).unwrap(), case);
        assert!(Case::parse(r#"{"id":"p1_x","part":"docker","result":"skipped"}"#).is_err());
        assert!(Case::parse("p1_x ok").is_err());
    }

    #[test]
    fn coverage_has_a_row_for_each_id_and_names_real_parts_only() {
        let cases = [
            case("p1_a", "docker", Outcome::Passed),
            case("p1_a", "process", Outcome::Passed),
            case("p1_b", "process", Outcome::Failed),
            case("p6_c", "unit", Outcome::Passed),
            case("p7_d", "fake", Outcome::Passed),
            case("d1_e", "docker", Outcome::Ignored),
        ];
        let text = coverage(&cases);
        assert_eq!(text.lines().count(), 92);
        let row = |id: &str| text.lines().find(|line| line.split('\t').next() == Some(id)).unwrap();
        assert_eq!(row("P1"), "P1\t2\tdocker");
        assert_eq!(row("P6"), "P6\t1\t-");
        assert_eq!(row("P7"), "P7\t1\t-");
        assert_eq!(row("D1"), "D1\t1\t-");
        assert_eq!(row("T7"), "T7\t0\t-");
    }

    #[test]
    fn what_the_suite_recorded_is_not_counted_again_from_the_output() {
        let recorded = vec![case("p1_a", "docker", Outcome::Passed), case("p1_a", "fake", Outcome::Passed)];
        let printed = vec![case("p1_a", "docker", Outcome::Passed), case("p2_b", "unit", Outcome::Passed)];
        let merged = merge(recorded, printed);
        assert_eq!(merged.len(), 3);
        assert_eq!(by_part(&merged)["unit"], Count { passed: 1, failed: 0, ignored: 0 });
    }
}
