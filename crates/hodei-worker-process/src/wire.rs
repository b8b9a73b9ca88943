//! What a host and a supervisor tell each other, and what is kept of a worker.

use std::{fmt, path::PathBuf, time::Duration};

use hodei_worker_core::{Timestamp, WorkerConfig, model::Ownership};
use serde::{Deserialize, Serialize};

/// `config.json`: a worker as it was created.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) nonce: String,
    pub(crate) created: Timestamp,
    pub(crate) ownership: Ownership,
    pub(crate) config: WorkerConfig,
}

/// What the supervisor needs to run a worker once. It comes through a pipe, since it may hold secrets; never printed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// Program and arguments, at least the program.
    pub(crate) command: Vec<String>,
    /// The whole environment.
    pub(crate) environment: Vec<(String, String)>,
    /// The machine's boot.
    pub(crate) boot: String,
    /// The value of the variable by which its processes are known.
    pub(crate) mark: String,
    pub(crate) working_dir: PathBuf,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) stop_signal: i32,
    pub(crate) stop_grace_ms: u64,
    /// There is no supervisor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) attached: bool,
    /// Removed at the end of the run.
    pub(crate) secrets: Option<PathBuf>,
    pub(crate) logs: LogPlan,
    pub(crate) groups: GroupPlan,
    /// Address space of each process, in bytes, where there is nothing better.
    pub(crate) address_space: Option<u64>,
}

/// Where a worker's output goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LogPlan {
    pub(crate) folder: PathBuf,
    pub(crate) max_size: u64,
    pub(crate) max_files: u32,
}

/// The control groups of one run. Made when it starts, removed when it has ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct GroupPlan {
    /// In the unified hierarchy, for containment, and for limits where its controllers are there.
    pub(crate) unified: Option<Group>,
    /// One per old hierarchy that a limit needs.
    pub(crate) legacy: Vec<Group>,
}

impl GroupPlan {
    /// Whether a limit hangs on the groups, and not containment alone.
    pub(crate) fn is_limiting(&self) -> bool {
        self.all().any(|group| !group.before.is_empty() || !group.after.is_empty())
    }
    pub(crate) fn all(&self) -> impl Iterator<Item = &Group> {
        self.unified.iter().chain(&self.legacy)
    }
}

/// A control group and what is written into it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) path: PathBuf,
    /// The group of the same hierarchy to which the supervisor returns.
    pub(crate) home: PathBuf,
    /// File and content that hand the controllers down, when the groups above had to be made again.
    pub(crate) above: Vec<(PathBuf, String)>,
    /// File and content, in order, before the worker is in it.
    pub(crate) before: Vec<(String, String)>,
    /// The same, when the supervisor, which counts as a process, is about to leave.
    pub(crate) after: Vec<(String, String)>,
}

/// `started/<run>`: a worker's process, and its supervisor's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) boot: String,
    pub(crate) time: Timestamp,
    pub(crate) process: ProcessId,
    /// Of an attached worker the host that started it.
    pub(crate) supervisor: ProcessId,
    /// There is no supervisor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) attached: bool,
    /// Where its secret files are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secrets: Option<PathBuf>,
    pub(crate) groups: GroupPlan,
}

/// A process, told from any other that gets its number later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    /// Field 22 of `/proc/<pid>/stat`, clock ticks since boot.
    pub(crate) start: u64,
}

/// `exits/<run>`: how a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) time: Timestamp,
    pub(crate) end: End,
    /// The kernel killed a process of it for want of memory.
    #[serde(default)]
    pub(crate) out_of_memory: bool,
    /// Some of its processes could not be killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) outlived: bool,
}

impl Exit {
    pub(crate) fn new(time: Timestamp, end: End) -> Self {
        Self { time, end, out_of_memory: false, outlived: false }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// The raw status of `wait(2)`.
    Wait(i32),
    /// It never ran.
    Failed(Failure),
    /// Its supervisor was lost, and it is gone.
    Lost,
}

/// Why a worker could not be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    /// What it was done with: the command, the folder, the group.
    pub(crate) what: String,
    pub(crate) errno: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Executing the command.
    Command,
    /// Entering its folder.
    WorkingDir,
    /// Making its control groups or setting its limits.
    Limits,
}

/// The supervisor's answer, one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// It runs.
    Started,
    /// It could not be run; the exit is recorded.
    Failed(Failure),
    /// It could not be run for want of room, and may be tried again: nothing is recorded.
    Full(Failure),
    /// Another supervisor runs this run, or has run it.
    Taken,
    /// The worker has been deleted meanwhile.
    Gone,
    /// The supervisor itself could not go on; nothing was run.
    Broken { what: String, errno: i32 },
}

/// What a supervisor is asked for, a line each in the control FIFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Ask the worker to end, and kill it after this time.
    Stop(Duration),
    Kill,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop(grace) => writeln!(f, "stop {}", millis(*grace)),
            Self::Kill => writeln!(f, "kill"),
        }
    }
}

/// Whole milliseconds, as many as there can be.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes of the control FIFO on their way to [`Request`]s.
#[derive(Debug, Default)]
pub(crate) struct Requests(Vec<u8>);

impl Requests {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole request. Lines that are none are skipped.
    pub(crate) fn next(&mut self) -> Option<Request> {
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let mut words = line.split_ascii_whitespace();
            match (words.next(), words.next()) {
                (Some("stop"), Some(grace)) if grace.bytes().all(|byte| byte.is_ascii_digit()) => {
                    // Of what is too long to be counted the longest is meant.
                    return Some(Request::Stop(Duration::from_millis(grace.parse().unwrap_or(u64::MAX))));
                }
                (Some("kill"), None) => return Some(Request::Kill),
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_the_longest_grace_still_asks() {
        let mut requests = Requests::default();
        requests.push(Request::Stop(Duration::MAX).to_string().as_bytes());
        requests.push(b"stop 99999999999999999999999\n");
        for _ in 0..2 {
            assert_eq!(requests.next(), Some(Request::Stop(Duration::from_millis(u64::MAX))));
        }
    }

    #[test]
    fn l5_requests_are_read_as_they_were_written_however_they_arrive() {
        let wanted = [Request::Stop(Duration::from_millis(1500)), Request::Kill];
        let text = format!("{}nonsense\nstop soon\n{}", wanted[0], wanted[1]);
        let mut requests = Requests::default();
        let mut found = Vec::new();
        for byte in text.bytes() {
            requests.push(&[byte]);
            found.extend(std::iter::from_fn(|| requests.next()));
        }
        assert_eq!(found, wanted);
    }
}
