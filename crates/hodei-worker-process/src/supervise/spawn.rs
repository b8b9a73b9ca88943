//! Starting the worker itself.

use std::{
    fmt::Display,
    fs, io,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::{
    logs::LogWriter,
    wire::{Failure, Launch, Step},
};

pub(crate) fn failure(step: Step, what: impl Display, error: &io::Error) -> Failure {
    Failure { step, what: what.to_string(), errno: error.raw_os_error().unwrap_or_default() }
}

pub(super) fn open_log(launch: &Launch) -> Result<LogWriter, Failure> {
    LogWriter::open(launch.logs.clone())
        .map_err(|error| failure(Step::Logs, launch.logs.folder.display(), &error))
}

/// A command of this launch's program, arguments, environment, folder and user, in a process group of its own.
pub(crate) fn command(launch: &Launch) -> Command {
    let words = &launch.command;
    let name = words.first().map_or("", String::as_str);
    // With a path there is nothing to search after the fork, and the quicker `posix_spawn` is used.
    let mut command = match find(name, &launch.environment) {
        Some(path) => {
            let mut command = Command::new(path);
            command.arg0(name);
            command
        }
        None => Command::new(name),
    };
    command.args(words.iter().skip(1));
    command.env_clear().envs(launch.environment.iter().map(|(name, value)| (name, value)));
    command.current_dir(&launch.working_dir).process_group(0);
    if let Some(gid) = launch.gid {
        command.gid(gid);
    }
    if let Some(uid) = launch.uid {
        command.uid(uid);
    }
    command
}

/// The executable that a bare name means in the worker's own `PATH`.
fn find(name: &str, environment: &[(String, String)]) -> Option<PathBuf> {
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let (_, path) = environment.iter().find(|(variable, _)| variable == "PATH")?;
    let executable = |path: &Path| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| executable(path))
}

/// Starts the worker with its output coming to us.
pub(super) fn spawn(launch: &Launch) -> Result<Child, Failure> {
    let mut command = command(launch);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| {
        if launch.working_dir.is_dir() {
            failure(Step::Command, launch.command.first().map_or("", String::as_str), &error)
        } else {
            failure(Step::WorkingDir, launch.working_dir.display(), &error)
        }
    })
}

/// Limits that are set on the process itself, where there are no groups for them.
pub(super) fn limit(launch: &Launch, child: &Child) -> Result<(), Failure> {
    let Some(bytes) = launch.address_space else { return Ok(()) };
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    prlimit(Some(Pid::from_child(child)), Resource::As, limit)
        .map(drop)
        .map_err(|errno| failure(Step::Limits, "RLIMIT_AS", &errno.into()))
}
