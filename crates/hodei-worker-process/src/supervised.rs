//! Workers with a supervisor: starting that, and hearing whether it could begin.

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use hodei_worker_core::{Error, ErrorKind, Result, Retry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    error,
    host::Host,
    layout::RunKey,
    supervise::{ARGUMENT, NAME},
    wire::{Launch, Reply},
};

/// How long a program may take before it has claimed its run: one that supervises takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a pipe takes at once, whoever reads.
const PIPE: usize = 64 * 1024;
/// What is kept of what a program says that is no answer.
const SAID: usize = 4 * 1024;

impl Host {
    /// Starts a supervisor and waits for its answer, which comes when the worker runs or cannot.
    pub(crate) fn start_supervised(&self, program: &Path, key: &RunKey, launch: &Launch) -> Result<Reply> {
        let failed =
            |error| error::spawn("the worker's supervisor", error).with_context("path", program.display());
        let mut command = Command::new(program);
        command.arg0(NAME).arg(ARGUMENT).arg(self.layout.root()).arg(key.to_string()).env_clear();
        // Where the host needs it to find its libraries, so does its supervisor; the worker's is built apart.
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        // What the loader says comes with the answer, or in its stead.
        let (stdin, ours) = io::pipe().map_err(failed)?;
        let (answers, stdout) = io::pipe().map_err(failed)?;
        command.stderr(stdout.try_clone().map_err(failed)?).stdin(stdin).stdout(stdout);
        let spawned = command.spawn();
        // Its ends of the pipes are its alone, or it could never be heard to be gone.
        drop(command);
        let mut child = spawned.map_err(failed)?;
        let claimed = || self.layout.claim(key).exists();
        match converse(&mut child, ours.into(), answers.into(), launch, &claimed, PATIENCE) {
            Ok(Reply::Started) => {
                let run = key.to_string();
                self.children.insert(run.clone(), child);
                // One that has ended since was not there to be reaped when its lock was released.
                self.children.reap(&self.layout, &run);
                Ok(Reply::Started)
            }
            Ok(reply) => {
                let _ = child.wait();
                Ok(reply)
            }
            Err(silence) => {
                let ended = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(silence.to_error(&ended).with_context("path", program.display()))
            }
        }
    }
}

/// There was no answer.
struct Silence {
    /// It was waited for in vain, rather than the program having ended.
    late: bool,
    said: Vec<u8>,
}

impl Silence {
    fn to_error(&self, ended: &str) -> Error {
        let what = match self.late {
            true => "the worker's supervisor does not answer, and was killed".to_owned(),
            false => format!("the worker's supervisor ended without an answer ({ended})"),
        };
        let error = Error::new(ErrorKind::Unexpected, what).with_retry(Retry::IfIdempotent).with_help(
            "the first line of `main` must be `hodei_worker_process::init()`, or the setting `supervisor` name the \
             program `hodei-supervise` of the same version",
        );
        match String::from_utf8_lossy(&self.said).trim() {
            "" => error,
            said => error.with_context("it said", said),
        }
    }
}

/// Tells a supervisor what to run and waits for its answer. One that has not even claimed its run in that time is
/// killed.
fn converse(
    child: &mut Child,
    told: OwnedFd,
    answers: OwnedFd,
    launch: &Launch,
    claimed: &dyn Fn() -> bool,
    patience: Duration,
) -> std::result::Result<Reply, Silence> {
    let deadline = Instant::now() + patience;
    let mut said = Vec::new();
    let mut late = tell(told, &serde_json::to_vec(launch).unwrap_or_default(), deadline).is_err();
    let mut answers = std::fs::File::from(answers);
    let mut bytes = [0; 1024];
    loop {
        if !late && !ready(&answers, PollFlags::IN, deadline) {
            late = !claimed();
            if !late {
                // It has begun, and answers when the machine lets it.
                let _ = poll(&mut [PollFd::new(&answers, PollFlags::IN)], None);
            }
        }
        if late {
            let _ = child.kill();
        }
        match answers.read(&mut bytes) {
            Ok(read @ 1..) if said.len() < PIPE => said.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            _ => {
                said.truncate(SAID);
                return Err(Silence { late, said });
            }
        }
        if let Some(reply) = answer(&said) {
            return Ok(reply);
        }
    }
}

/// The answer among the whole lines that have come.
fn answer(said: &[u8]) -> Option<Reply> {
    let whole = said.iter().rposition(|byte| *byte == b'\n')?;
    said[..whole].split(|byte| *byte == b'\n').find_map(|line| serde_json::from_slice(line).ok())
}

/// Writes all of it, for that long at most. A reader that is gone is heard of by its silence.
fn tell(pipe: OwnedFd, bytes: &[u8], deadline: Instant) -> std::result::Result<(), ()> {
    let mut pipe = std::fs::File::from(pipe);
    if bytes.len() > PIPE {
        let _ = rustix::io::ioctl_fionbio(&pipe, true);
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        match pipe.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !ready(&pipe, PollFlags::OUT, deadline) {
                    return Err(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    Ok(())
}

/// Whether there is something to be read, or room to write, before the deadline.
fn ready(pipe: &impl AsFd, what: PollFlags, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(pipe, what)], Some(&left)) {
            Ok(found) => return found > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> (Child, OwnedFd, OwnedFd) {
        let ((stdin, told), (answers, stdout)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(stdin).stderr(stdout.try_clone().unwrap()).stdout(stdout);
        (command.spawn().unwrap(), told.into(), answers.into())
    }

    fn launch(size: usize) -> Launch {
        let text = serde_json::json!({
            "command": ["x".repeat(size)], "environment": [], "boot": "", "mark": "", "working_dir": "/", "uid": null,
            "gid": null, "stop_signal": 15, "stop_grace_ms": 0, "secrets": null, "address_space": null,
            "logs": {"folder": "/", "max_size": 0, "max_files": 0}, "groups": {"unified": null, "legacy": []},
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn l5_who_does_not_answer_is_not_waited_for() {
        // It neither reads nor answers.
        for size in [1, 1 << 20] {
            let (mut child, told, answers) = start("exec sleep 1000");
            let patience = Duration::from_millis(10);
            let silence = converse(&mut child, told, answers, &launch(size), &|| false, patience);
            assert!(silence.is_err_and(|silence| silence.late), "{size}");
            child.wait().unwrap();
        }
    }

    #[test]
    fn l5_the_answer_is_found_among_what_else_is_said() {
        let body = "echo odd >&2; cat > /dev/null; echo '\"started\"'; exec sleep 1000";
        let (mut child, told, answers) = start(body);
        let patience = Duration::from_secs(60);
        let reply = converse(&mut child, told, answers, &launch(1 << 20), &|| false, patience);
        assert!(matches!(reply, Ok(Reply::Started)));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn l5_what_a_program_says_that_cannot_begin_is_told() {
        let (mut child, told, answers) = start("echo 'libx.so: cannot open' >&2; exit 127");
        let patience = Duration::from_secs(60);
        let silence = converse(&mut child, told, answers, &launch(1), &|| false, patience).err().unwrap();
        let error = silence.to_error(&child.wait().unwrap().to_string()).to_string();
        assert!(error.contains("libx.so: cannot open") && error.contains("127"), "{error}");
    }
}
