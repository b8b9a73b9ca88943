use std::{fmt, time::Duration};

use super::{PerformanceReport, Spread, WorkerReport};

/// Three digits and a unit.
fn short(duration: impl Into<Duration>) -> String {
    let seconds = duration.into().as_secs_f64();
    match seconds {
        0.0 => "0".into(),
        s if s < 0.001 => format!("{:.0}µs", s * 1e6),
        s if s < 0.01 => format!("{:.2}ms", s * 1e3),
        s if s < 1.0 => format!("{:.0}ms", s * 1e3),
        s if s < 100.0 => format!("{s:.2}s"),
        s if s < 7200.0 => format!("{:.1}min", s / 60.0),
        s => format!("{:.1}h", s / 3600.0),
    }
}

fn quantiles(spread: &Spread) -> String {
    if spread.count == 0 {
        return "-".into();
    }
    format!("{} / {} / {}", short(spread.p50), short(spread.p95), short(spread.max))
}

fn percent(part: Option<f64>) -> String {
    part.map_or_else(|| "-".into(), |part| format!("{:.0} %", part * 100.0))
}

const HEAD: [&str; 11] = [
    "type",
    "provider",
    "workers",
    "running",
    "starts",
    "start p50 / p95 / max",
    "costliest phase",
    "jobs",
    "job p50 / p95 / max",
    "busy",
    "restarts, recovery p50 / p95 / max",
];

impl fmt::Display for PerformanceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![HEAD.map(str::to_owned)];
        for group in &self.groups {
            let phase = group.costliest.map(|it| format!("{} {}", it.phase, percent(Some(it.share))));
            rows.push([
                group.worker_type.as_ref().map_or_else(|| "-".into(), ToString::to_string),
                group.provider.as_ref().map_or_else(|| "(others)".into(), ToString::to_string),
                group.workers.to_string(),
                group.running.to_string(),
                group.starts.count.to_string(),
                quantiles(&group.starts),
                phase.unwrap_or_else(|| "-".into()),
                group.jobs.count.to_string(),
                quantiles(&group.jobs),
                percent(group.utilisation()),
                match group.restarts {
                    0 => "0".into(),
                    restarts => format!("{restarts}, {}", quantiles(&group.recoveries)),
                },
            ]);
        }
        let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: [usize; HEAD.len()] = std::array::from_fn(|column| widest(column).unwrap_or(0));
        for row in &rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        if self.unmeasured > 0 {
            writeln!(f, "{} starts were not measured", self.unmeasured)?;
        }
        Ok(())
    }
}

impl fmt::Display for WorkerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.worker)?;
        if let Some(start) = &self.start {
            write!(f, ": started in {}", short(start.total))?;
            for (n, (phase, took)) in start.phases.iter().enumerate() {
                write!(f, "{}{phase} {}", if n == 0 { " (" } else { ", " }, short(*took))?;
            }
            if !start.phases.is_empty() {
                f.write_str(")")?;
            }
        }
        write!(f, "; ran {}, busy {}", short(self.running_time), percent(self.utilisation()))?;
        write!(f, ", {} jobs, {} restarts", self.jobs, self.restarts)
    }
}
