//! The tables at the end of a test run.

use std::collections::BTreeMap;

use crate::parts::Presence;
use crate::results::{self, Case, Outcome};
use crate::{row, table};

/// Which part was there, and which not and why.
pub(crate) fn parts(presences: &[Presence], process: Option<&str>) -> String {
    let mut rows = vec![row!["part", "", "version", "ready after"]];
    if let Some(kernel) = process {
        rows.push(row!["process", "there", kernel, "-"]);
    }
    for presence in presences {
        let after = format!("{:.1} s", presence.took.as_secs_f32());
        rows.push(match &presence.version {
            Ok(version) => row![presence.name, "there", version, after],
            Err(error) => row![presence.name, "absent", error.0.lines().next().unwrap_or_default(), "-"],
        });
    }
    let mut text = format!("\nparts\n{}", table::render(&rows));
    for (name, error) in
        presences.iter().filter_map(|p| p.version.as_ref().err().map(|error| (p.name, error)))
    {
        text.push_str(&format!("\n{name} is not there: {error}\n"));
    }
    text
}

/// Counts by part, failures, why cases were ignored, and what was proven.
pub(crate) fn cases(cases: &[Case], expected: &[&str]) -> String {
    let mut rows = vec![row!["part", "passed", "failed", "ignored"]];
    let mut counts = results::by_part(cases);
    for part in expected.iter().filter(|part| cases.iter().all(|case| !case.part.starts_with(**part))) {
        // A part on which nothing ran is not to be overlooked.
        counts.entry(part).or_default();
    }
    for (part, count) in counts {
        rows.push(row![part, count.passed, count.failed, count.ignored]);
    }
    let mut text = format!("\ncases\n{}", table::render(&rows));

    let mut ignored = BTreeMap::<(&str, &str), Vec<&str>>::new();
    for case in cases.iter().filter(|case| case.outcome == Outcome::Ignored) {
        let reason = if case.reason.is_empty() { "no reason given" } else { &case.reason };
        ignored.entry((&case.part, reason)).or_default().push(&case.id);
    }
    if !ignored.is_empty() {
        let mut rows = vec![row!["part", "n", "why", "for instance"]];
        rows.extend(ignored.iter().map(|((part, why), ids)| row![part, ids.len(), why, ids[0]]));
        text.push_str(&format!("\nignored\n{}", table::render(&rows)));
    }

    let failed: Vec<_> = cases.iter().filter(|case| case.outcome == Outcome::Failed).collect();
    if !failed.is_empty() {
        let mut rows = vec![row!["part", "case", "why"]];
        rows.extend(failed.iter().map(|case| {
            row![case.part, case.id, case.reason.lines().next().unwrap_or("see its output above")]
        }));
        text.push_str(&format!("\nfailed\n{}", table::render(&rows)));
    }

    let mut rows = vec![row!["part", "ids", ""]];
    rows.extend(results::proven(cases).iter().map(|(part, ids)| row![part, ids.len(), ids.join(" ")]));
    text.push_str(&format!("\nSPEC ids proven\n{}", table::render(&rows)));
    text
}

/// The plain last line.
pub(crate) fn sum(cases: &[Case]) -> String {
    let count = |outcome| cases.iter().filter(|case| case.outcome == outcome).count();
    format!(
        "{} passed, {} failed, {} skipped",
        count(Outcome::Passed),
        count(Outcome::Failed),
        count(Outcome::Ignored)
    )
}
