//! F6: two hundred workers as local processes, against raw spawns and peers in the same run.

use std::{path::PathBuf, process::Command, time::Duration};

use hodei_worker_benches::{
    Outcome,
    sample::{Samples, show},
    table::Row,
};

use crate::peers::PEERS;

const WORKERS: usize = 200;
const REPEATS: usize = 9;
/// What 200 supervisors may hold by themselves.
const MEMORY: f64 = 30.0;

/// One way to start them all, and what was measured of it.
struct Way {
    name: &'static str,
    start: Start,
    /// Before the clock runs, as the peers' folders are made.
    created: Samples,
    started: Samples,
    adopted: Samples,
    private_bytes: u64,
}

enum Start {
    /// By a host of our own.
    Fleet,
    Peer(crate::peers::Peer),
}

impl Way {
    fn new(name: &'static str, start: Start) -> Self {
        Self {
            name,
            start,
            created: Samples::new(),
            started: Samples::new(),
            adopted: Samples::new(),
            private_bytes: 0,
        }
    }

    fn measure(&mut self) -> Outcome {
        if let Start::Peer(peer) = &self.start {
            self.started.push(peer.start(WORKERS)?);
            return Ok(());
        }
        let program = beside("hodei-bench-fleet")?;
        let output = Command::new(program).arg(self.name).arg(WORKERS.to_string()).output()?;
        if !output.status.success() {
            return Err(format!("{}: {}", self.name, String::from_utf8_lossy(&output.stderr).trim()).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let numbers: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [created, started, adopted, private] = numbers[..] else {
            return Err(format!("answered `{text}`").into());
        };
        self.created.push(Duration::from_nanos(created));
        self.started.push(Duration::from_nanos(started));
        self.adopted.push(Duration::from_nanos(adopted));
        self.private_bytes = self.private_bytes.max(private);
        Ok(())
    }

    fn millis(&self) -> f64 {
        self.started.median().as_secs_f64() * 1e3
    }

    /// How much longer than another way, with the interval in which that lies.
    fn times(&self, other: &Self) -> String {
        let (low, high) = self.started.ratio_interval(&other.started);
        format!("{:.2}× ({low:.2}–{high:.2}) {}", self.millis() / other.millis(), other.name)
    }
}

/// A program that was built beside this one.
pub(crate) fn beside(name: &str) -> Outcome<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() { Ok(path) } else { Err(format!("`{}` was not built", path.display()).into()) }
}

pub(crate) fn two_hundred() -> Outcome<Vec<Row>> {
    let mut ways: Vec<_> =
        ["raw", "attached", "adoptable"].into_iter().map(|name| Way::new(name, Start::Fleet)).collect();
    ways.extend(
        PEERS.into_iter().filter(|peer| peer.is_there()).map(|peer| Way::new(peer.name, Start::Peer(peer))),
    );
    for repeat in 0..REPEATS {
        // Nobody always comes first, or always after the same.
        let count = ways.len();
        for n in 0..count {
            ways[(n + repeat) % count].measure()?;
        }
    }
    Ok(rows(&ways))
}

fn rows(ways: &[Way]) -> Vec<Row> {
    let way = |name: &str| ways.iter().find(|way| way.name == name);
    let Some(raw) = way("raw") else { return Vec::new() };
    let bars: Vec<_> = ways.iter().map(|way| (way.name, way.millis())).collect();
    let mut rows = vec![
        Row::new("F6", "200 raw spawns of `sleep`, one after the other", show(raw.started.median()))
            .bars("ms", bars),
    ];
    let started = |way: &Way, what: &str| {
        let told = format!("{}, {}", show(way.started.median()), way.times(raw));
        Row::new("F6", format!("200 {what} until all run"), told)
    };
    if let Some(attached) = way("attached") {
        let rate = 100.0 * raw.millis() / attached.millis();
        let mut row = started(attached, "attached workers");
        row.result += &format!(", {rate:.0} % of its rate");
        rows.push(row.against("≥ 80 % of the raw rate", rate >= 80.0));
    }
    if let Some(ours) = way("adoptable") {
        let mut row = started(ours, "adoptable workers");
        match way("s6") {
            Some(s6) => {
                row.result += &format!(", {}", ours.times(s6));
                row = row.against("≤ 0.75× s6", ours.millis() <= 0.75 * s6.millis());
            }
            None => row.result += ", s6 is not installed",
        }
        rows.push(row);
        let mebibytes = ours.private_bytes as f64 / f64::from(1 << 20);
        rows.push(
            Row::new("F6", "private memory of 200 supervisors", format!("{mebibytes:.1} MiB"))
                .against("≤ 30 MiB", mebibytes <= MEMORY),
        );
    }
    rows.extend(PEERS.iter().map(|peer| match way(peer.name) {
        Some(way) => started(way, &format!("under {}", peer.name)),
        None => Row::new("F6", format!("200 under {} until all run", peer.name), "not installed"),
    }));
    if let Some(adoptable) = way("adoptable") {
        let each = adoptable.created.median() / WORKERS as u32;
        rows.push(Row::new("F6", "creating them before that, each", show(each)));
        let each = adoptable.adopted.median() / WORKERS as u32;
        rows.push(Row::new("F6", "adoption: connect and list 200, each", show(each)));
    }
    rows
}
