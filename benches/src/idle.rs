//! F4: a hundred thousand workers that do nothing, in one host.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use std::io::{BufRead as _, BufReader};

use hodei_worker_benches::{Outcome, sample::show, table::Row};

use crate::process::beside;

const WORKERS: u32 = 100_000;
const MEMORY: f64 = 200.0;
const PROGRAM: &str = "hodei-bench-idle";

/// What a host told of itself.
#[derive(Default)]
struct Told {
    filled: Duration,
    /// Since it was begun.
    open: Duration,
    synced: Duration,
    quiet: Duration,
    resident: f64,
    proportional: f64,
    /// Of a core.
    cpu: f64,
    running: u32,
}

pub(crate) fn hundred_thousand() -> Outcome<Vec<Row>> {
    let folder = std::env::temp_dir().join("hodei-bench").join(format!("f4-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure(folder: &Path) -> Outcome<Vec<Row>> {
    let text = folder.display().to_string();
    let first = host(&["fill", &text, &WORKERS.to_string()])?;
    let again = host(&["run", &text])?;
    if again.running != WORKERS {
        return Err(format!("{} of {WORKERS} run after the restart", again.running).into());
    }
    let size = std::fs::metadata(folder.join("log").join("store.redb")).map_or(0, |file| file.len());
    let each = 1e9 * first.filled.as_secs_f64() / f64::from(WORKERS);
    let mut rows = vec![Row::new(
        "F4",
        "100,000 workers created until all run, each durable",
        format!("{}, {} each", show(first.filled), show(Duration::from_nanos(each as u64))),
    )];
    for (when, told) in [("of the host that made them", &first), ("of the next host", &again)] {
        rows.push(
            Row::new(
                "F4",
                format!("resident memory {when}, all of it: 100,000 idle workers"),
                format!("{:.0} MB, {:.0} MB proportional", told.resident, told.proportional),
            )
            .against("< 200 MB", told.resident < MEMORY),
        );
        rows.push(
            Row::new(
                "F4",
                format!("processor {when}, 10 s of quiet"),
                format!("{:.3} % of a core", told.cpu),
            )
            .against("< 1 %", told.cpu < 1.0),
        );
    }
    let result = format!("{} (log of {} MB)", show(again.open), size / 1_000_000);
    rows.push(
        Row::new("F4", "from its begin until the next host is ready, the log replayed", result)
            .against("< 2 s", again.open < Duration::from_secs(2)),
    );
    rows.push(Row::new("F4", "until it has seen all that run", show(again.synced)));
    rows.push(Row::new("F4", "until nothing is under way", show(again.quiet)));
    Ok(rows)
}

fn host(words: &[&str]) -> Outcome<Told> {
    let begun = Instant::now();
    let mut host = Command::new(beside(PROGRAM)?).args(words).stdout(Stdio::piped()).spawn()?;
    let output = BufReader::new(host.stdout.take().ok_or("no standard output")?);
    let mut told = Told::default();
    for line in output.lines() {
        let line = line?;
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["filled", nanos] => told.filled = Duration::from_nanos(nanos.parse()?),
            ["open"] => told.open = begun.elapsed(),
            ["synced"] => told.synced = begun.elapsed(),
            ["quiet"] => told.quiet = begun.elapsed(),
            ["running", count] => told.running = count.parse()?,
            ["idle", resident, proportional, cpu] => {
                told.resident = resident.parse::<f64>()? * 1024.0 / 1e6;
                told.proportional = proportional.parse::<f64>()? * 1024.0 / 1e6;
                told.cpu = cpu.parse::<f64>()? / 1e7;
            }
            _ => return Err(format!("{PROGRAM} told `{line}`").into()),
        }
    }
    let status = host.wait()?;
    if status.success() { Ok(told) } else { Err(format!("{PROGRAM} {words:?} failed: {status}").into()) }
}
