//! What a worker uses: by its control groups where they count, by the process table where they do not.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use hodei_worker_core::{Result, WorkerRef, provider::WorkerStats};
use procfs::process::Process;

use crate::{host::Host, proc, supervise::groups, wire::Started};

impl Host {
    pub(crate) fn stats(&self, worker: &WorkerRef) -> Result<WorkerStats> {
        let (stored, _, started) = self.running(worker)?;
        let mut stats = WorkerStats::new(self.clock.now());
        let counted = Counted::read(&started);
        let summed = Summed::read(&started);
        stats.cpu_time = counted.cpu_time.or(summed.cpu_time);
        stats.memory = counted.memory.or(summed.memory);
        stats.memory_limit = stored.config.resources.memory_limit.map(|size| size.bytes());
        stats.pids = counted.pids.or(summed.threads);
        stats.disk_read = summed.read;
        stats.disk_written = summed.written;
        Ok(stats)
    }
}

/// What the kernel counts per control group.
#[derive(Debug, Default)]
struct Counted {
    cpu_time: Option<Duration>,
    memory: Option<u64>,
    pids: Option<u64>,
}

impl Counted {
    fn read(started: &Started) -> Self {
        let mut counted = Self::default();
        for group in started.groups.all() {
            let number = |name: &str| {
                fs::read_to_string(group.path.join(name))
                    .ok()
                    .and_then(|text| text.trim().parse::<u64>().ok())
            };
            let field = |file: &str, name: &str| field(&group.path.join(file), name);
            counted.cpu_time =
                counted.cpu_time.or(field("cpu.stat", "usage_usec").map(Duration::from_micros));
            // Cached files can be given back at any time, so they are not in use.
            let in_use = |total: Option<u64>, cache: &str| {
                total.map(|total| total.saturating_sub(field("memory.stat", cache).unwrap_or(0)))
            };
            counted.memory = counted
                .memory
                .or(in_use(number("memory.current"), "inactive_file"))
                .or(in_use(number("memory.usage_in_bytes"), "total_inactive_file"));
            counted.pids = counted.pids.or(number("pids.current"));
        }
        counted
    }
}

fn field(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(' '));
    fields.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

/// What the process table says, added up over the worker's processes.
#[derive(Debug, Default)]
struct Summed {
    cpu_time: Option<Duration>,
    memory: Option<u64>,
    threads: Option<u64>,
    read: Option<u64>,
    written: Option<u64>,
}

impl Summed {
    fn read(started: &Started) -> Self {
        let mut all: BTreeSet<i32> = groups::processes(&started.groups).into_iter().collect();
        all.insert(started.process.pid);
        all.extend(proc::descendants(started.process.pid));
        // Orphans are the supervisor's children. An attached worker's parent is a host, whose children are many.
        let supervisor =
            Some(started.supervisor.pid).filter(|_| !started.attached && proc::is_alive(started.supervisor));
        all.extend(supervisor.into_iter().flat_map(proc::descendants));
        let ticks = procfs::ticks_per_second();
        let mut sum = Self::default();
        let add = |sum: &mut Option<u64>, value: Option<u64>| {
            if let Some(value) = value {
                *sum = Some(sum.unwrap_or(0) + value);
            }
        };
        let (mut used, page) = (0, procfs::page_size());
        for pid in all {
            let Ok(process) = Process::new(pid) else { continue };
            let Ok(stat) = process.stat() else { continue };
            // With those of children that have ended and were waited for.
            used += stat.utime + stat.stime + stat.cutime.max(0) as u64 + stat.cstime.max(0) as u64;
            add(&mut sum.threads, Some(stat.num_threads.max(0) as u64));
            // A page that several share counts for each in part, where the kernel tells.
            let share = process.smaps_rollup().ok().and_then(|maps| {
                maps.memory_map_rollup.0.first().and_then(|map| map.extension.map.get("Pss").copied())
            });
            add(&mut sum.memory, share.or(Some(stat.rss * page)));
            let io = process.io().ok();
            add(&mut sum.read, io.map(|io| io.read_bytes));
            add(&mut sum.written, io.map(|io| io.write_bytes));
        }
        if let Some(stat) = supervisor.and_then(|pid| Process::new(pid).ok()?.stat().ok()) {
            used += stat.cutime.max(0) as u64 + stat.cstime.max(0) as u64;
        }
        sum.cpu_time = Some(Duration::from_millis(used * 1000 / ticks.max(1)));
        sum
    }
}
