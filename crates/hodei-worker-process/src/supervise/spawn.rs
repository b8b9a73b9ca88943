//! Starting the worker itself.

use std::{
    ffi::OsStr,
    fmt::Display,
    fs, io,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::wire::{Failure, Launch, Step};

pub(crate) fn failure(step: Step, what: impl Display, error: &io::Error) -> Failure {
    Failure { step, what: what.to_string(), errno: error.raw_os_error().unwrap_or_default() }
}

/// The worker's own command.
pub(crate) fn worker(launch: &Launch) -> Command {
    let environment = launch.environment.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    command(&launch.command, environment, &launch.working_dir, launch.uid, launch.gid)
}

/// A command with exactly this environment, in this folder, as this user, in a process group of its own.
pub(crate) fn command<'a>(
    words: &[String],
    environment: impl Iterator<Item = (&'a OsStr, &'a OsStr)> + Clone,
    working_dir: &Path,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Command {
    let name = words.first().map_or("", String::as_str);
    let path = environment.clone().find(|(variable, _)| *variable == "PATH").map(|(_, path)| path);
    // With a path there is nothing to search after the fork, and the quicker `posix_spawn` is used.
    let mut command = match find(name, path) {
        Some(path) => {
            let mut command = Command::new(path);
            command.arg0(name);
            command
        }
        None => Command::new(name),
    };
    command.args(words.iter().skip(1)).env_clear().envs(environment);
    command.current_dir(working_dir).process_group(0);
    if let Some(gid) = gid {
        command.gid(gid);
    }
    if let Some(uid) = uid {
        command.uid(uid);
    }
    command
}

/// The executable that a bare name means in this `PATH`.
fn find(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let executable = |path: &Path| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path?)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| executable(path))
}

/// What went wrong when the worker was started.
pub(crate) fn refused(launch: &Launch, error: &io::Error) -> Failure {
    if launch.working_dir.is_dir() {
        failure(Step::Command, launch.command.first().map_or("", String::as_str), error)
    } else {
        failure(Step::WorkingDir, launch.working_dir.display(), error)
    }
}

/// Starts the worker with its output coming to us.
pub(super) fn spawn(launch: &Launch) -> Result<Child, Failure> {
    let mut command = worker(launch);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What it inherits holds from its first instruction on; that it cannot raise it again is seen to afterwards, and that
    // it has less than this process needs to start it.
    let before = launch.address_space.map(|bytes| lower(bytes.max(own_size() + SPARE))).transpose()?;
    let spawned = command.spawn();
    if let Some(before) = before {
        let _ = setrlimit(Resource::As, before);
    }
    spawned.map_err(|error| refused(launch, &error))
}

/// What starting a process may take beyond what is taken already, in bytes: its environment, a few times.
const SPARE: u64 = 16 << 20;

/// The address space of this process, in bytes.
fn own_size() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    pages.unwrap_or(0) * procfs::page_size()
}

/// Lowers what this process may use itself; returns what it could before.
fn lower(bytes: u64) -> Result<Rlimit, Failure> {
    let before = getrlimit(Resource::As);
    let current = Some(before.maximum.map_or(bytes, |most| most.min(bytes)));
    setrlimit(Resource::As, Rlimit { current, ..before })
        .map(|()| before)
        .map_err(|errno| failure(Step::Limits, "RLIMIT_AS", &errno.into()))
}

/// Limits the address space of a process, for good.
pub(crate) fn limit(address_space: Option<u64>, pid: Pid) -> Result<(), Failure> {
    let Some(bytes) = address_space else { return Ok(()) };
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    prlimit(Some(pid), Resource::As, limit)
        .map(drop)
        .map_err(|errno| failure(Step::Limits, "RLIMIT_AS", &errno.into()))
}
