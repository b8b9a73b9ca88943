//! Processes that we started, known by pid *and* start time, so that none but ours is ever ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::failure::{Context, Failure, Result};
use crate::{run, stop};

/// The variable that marks everything a test run starts; its value is the run's [`mark_of`].
pub(crate) const MARK: &str = "HODEI_TEST_RUN";

/// One process at one time: a pid alone may have been given to another since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// In clock ticks since the machine's start.
    pub(crate) start: u64,
    /// The machine's start that `start` counts from.
    pub(crate) boot: String,
}

impl Identity {
    /// Who has this pid now; `None` when nobody, or only a zombie.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, start: parse_stat(&stat)?.start, boot: boot() })
    }

    pub(crate) fn alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.alive()) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// SIGTERM, and SIGKILL after `grace`. Whether it is gone.
    pub(crate) fn end(&self, grace: Duration) -> bool {
        self.signal(Signal::TERM);
        if !self.gone_within(grace) {
            self.signal(Signal::KILL);
        }
        self.gone_within(Duration::from_secs(5))
    }

    fn gone_within(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.alive() {
            if Instant::now() >= end {
                return false;
            }
            stop::settle(Duration::from_millis(20));
        }
        true
    }
}

/// A background process, as it is written down in a state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) identity: Identity,
}

impl Record {
    fn path(state: &Path, name: &str) -> PathBuf {
        state.join("processes").join(name)
    }

    pub(crate) fn read(state: &Path, name: &str) -> Option<Self> {
        let value: Value = serde_json::from_slice(&fs::read(Self::path(state, name)).ok()?).ok()?;
        Some(Self {
            name: name.to_owned(),
            identity: Identity {
                pid: i32::try_from(value["pid"].as_i64()?).ok()?,
                start: value["start"].as_u64()?,
                boot: value["boot"].as_str()?.to_owned(),
            },
        })
    }

    /// All that a state folder names.
    pub(crate) fn all(state: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(state.join("processes")) else { return Vec::new() };
        let mut records: Vec<_> =
            entries.flatten().filter_map(|entry| Self::read(state, entry.file_name().to_str()?)).collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        records
    }

    /// Forgets it.
    pub(crate) fn remove(&self, state: &Path) {
        let _ = fs::remove_file(Self::path(state, &self.name));
    }

    fn write(&self, state: &Path) -> Result<()> {
        let path = Self::path(state, &self.name);
        fs::create_dir_all(state.join("processes"))?;
        let Identity { pid, start, boot } = &self.identity;
        let text = json!({ "pid": pid, "start": start, "boot": boot }).to_string();
        // Whole or not at all: half a record reads as none. Its name while it is written is no record's either.
        let part = state.join(format!("{}.part", self.name));
        fs::write(&part, text)
            .and_then(|()| fs::rename(&part, &path))
            .context(format_args!("writing {}", path.display()))
    }
}

/// Starts a program in the background, in a session of its own, and writes down who it is.
pub(crate) fn daemon(state: &Path, name: &str, log: &Path, command: &[String]) -> Result<Record> {
    // The shell leaves at once, so that the program is nobody's child here and never our zombie.
    let script = r#"log=$1; shift; setsid "$@" </dev/null >>"$log" 2>&1 & echo $!"#;
    let output = run::output(
        Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(log)
            .args(command)
            .env_remove(MARK)
            .stderr(Stdio::null()),
    )
    .context(format_args!("starting {name}"))?;
    let pid = output.trim().parse().context(format_args!("starting {name}: its pid `{}`", output.trim()))?;
    let identity = Identity::of(pid)
        .ok_or_else(|| Failure(format!("{name} ended at once; its log ends:\n{}", run::log_tail(log))))?;
    let record = Record { name: name.to_owned(), identity };
    record.write(state)?;
    Ok(record)
}

/// What `/proc` says of a process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) identity: Identity,
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    /// The lines of its `cgroup` file.
    pub(crate) cgroups: Vec<String>,
    /// The [mark](mark_of) of the test run that it was started below.
    pub(crate) mark: Option<String>,
}

/// What marks a checkout's run. Another user's runs, and those that keep their state elsewhere, have another `base`.
pub(crate) fn mark_of(base: &Path, hash: &str) -> String {
    format!("{}:{hash}", base.display())
}

impl Process {
    /// Whether it was started below a run that keeps its state in this base folder.
    pub(crate) fn is_marked_by(&self, base: &Path) -> bool {
        let ours = mark_of(base, "");
        self.mark.as_ref().is_some_and(|mark| mark.starts_with(&ours))
    }
}

/// All processes that can be seen.
pub(crate) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| look(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn look(pid: i32) -> Option<Process> {
    let identity = Identity::of(pid)?;
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let list = |name: &str| -> Vec<String> {
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    };
    Some(Process {
        identity,
        name: fs::read_to_string(folder.join("comm")).ok()?.trim_end().to_owned(),
        arguments: list("cmdline"),
        cgroups: fs::read_to_string(folder.join("cgroup"))
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect(),
        mark: list("environ")
            .iter()
            .find_map(|entry| entry.strip_prefix(MARK)?.strip_prefix('=').map(str::to_owned)),
    })
}

struct Stat {
    parent: i32,
    start: u64,
}

/// Parent and start time from a `stat` line; `None` for a zombie. One whose other threads still end has its files and
/// ports yet, and is none.
fn parse_stat(line: &str) -> Option<Stat> {
    // The name stands in brackets and may hold anything, brackets and spaces too.
    let mut fields = line.get(line.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let threads: u32 = fields.nth(15)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    let is_gone = state == "X" || state == "Z" && threads <= 1;
    (!is_gone).then_some(Stat { parent, start })
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// This process and everything above it: never to be ended by a sweep.
pub(crate) fn lineage() -> Vec<i32> {
    let mut pids = Vec::new();
    let mut pid = i32::try_from(std::process::id()).unwrap_or_default();
    while pid > 0 {
        pids.push(pid);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        pid = parse_stat(&stat).map_or(0, |stat| stat.parent);
    }
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_past_a_name_with_brackets() {
        let line = "42 (a) S (b)) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 9 9";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.parent, stat.start), (7, 123_456));
        let zombie = "42 (a) Z 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456";
        assert!(parse_stat(zombie).is_none());
        let still_ending = zombie.replace(" 20 0 1 ", " 20 0 5 ");
        assert_eq!(parse_stat(&still_ending).unwrap().start, 123_456);
    }

    #[test]
    fn a_process_with_another_start_time_is_another_process() {
        let own = Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.alive());
        assert!(!Identity { start: own.start + 1, ..own.clone() }.alive());
        assert!(!Identity { boot: "another".into(), ..own.clone() }.alive());
        assert!(lineage().contains(&own.pid));
    }
}
