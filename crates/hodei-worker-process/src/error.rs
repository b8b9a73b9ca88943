//! The system's errors as the library's, by their codes.

use std::{io, path::Path};

use hodei_worker_core::{Error, ErrorKind, Retry};

use crate::wire::{Failure, Step};

/// An operation on a file of our own that failed.
pub(crate) fn file(doing: &'static str, path: &Path, error: io::Error) -> Error {
    let (kind, retry, help) = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::PermissionDenied, Retry::Never, Some("name another folder in the settings"))
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Capacity, Retry::Safe { after: None }, Some("make room on that file system"))
        }
        io::ErrorKind::InvalidData => (ErrorKind::Corrupt, Retry::Never, None),
        _ => match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                (ErrorKind::Overloaded, Retry::Safe { after: None }, Some("raise the limit of open files"))
            }
            Some(_) => (ErrorKind::Unavailable, Retry::Never, None),
            // What serde reports, for instance.
            None => (ErrorKind::Corrupt, Retry::Never, None),
        },
    };
    let wrong = Error::new(kind, format!("{doing} failed: {error}"))
        .with_retry(retry)
        .with_context("path", path.display())
        .with_source(error);
    match help {
        Some(help) => wrong.with_help(help),
        None => wrong,
    }
}

/// A process that could not be made.
pub(crate) fn spawn(what: &str, error: io::Error) -> Error {
    let wrong =
        |kind, retry| Error::new(kind, format!("{what} could not be started: {error}")).with_retry(retry);
    match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::AGAIN | rustix::io::Errno::NOMEM) => {
            wrong(ErrorKind::Capacity, Retry::Safe { after: None })
                .with_help("the machine has no room for another process, or a limit of the user's is reached")
        }
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
            wrong(ErrorKind::Overloaded, Retry::Safe { after: None })
                .with_help("raise the limit of open files")
        }
        _ => wrong(ErrorKind::Unavailable, Retry::Never),
    }
    .with_source(error)
}

/// Something of ours that could not begin, by the code that it told.
pub(crate) fn broken(what: &str, why: &str, errno: i32) -> Error {
    let error = |kind| Error::new(kind, format!("{what}: {why}"));
    match is_capacity(errno) {
        true => error(ErrorKind::Capacity).with_retry(Retry::Safe { after: None }),
        false => error(ErrorKind::Unavailable),
    }
}

/// Whether there is no room on a file system, or none left of what the user may have there.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the machine had no room at that moment, or a program was just being written.
fn is_capacity(errno: i32) -> bool {
    use rustix::io::Errno;
    [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::NOSPC, Errno::DQUOT, Errno::TXTBSY]
        .iter()
        .any(|one| one.raw_os_error() == errno)
}

impl Failure {
    /// What is wrong, for people.
    pub(crate) fn describe(&self) -> String {
        let why = io::Error::from_raw_os_error(self.errno);
        let what = &self.what;
        match (self.step, why.kind()) {
            (Step::Command, io::ErrorKind::NotFound) => format!("there is no command `{what}`"),
            (Step::Command, _) => format!("the command `{what}` cannot be executed: {why}"),
            (Step::WorkingDir, _) => format!("the working folder `{what}` cannot be entered: {why}"),
            (Step::Limits, _) => format!("a limit cannot be set (`{what}`): {why}"),
        }
    }

    /// Whether the machine had no room, rather than the configuration being wrong.
    pub(crate) fn is_capacity(&self) -> bool {
        is_capacity(self.errno)
    }

    /// The error of the start that failed so.
    pub(crate) fn to_error(&self) -> Error {
        let field = match self.step {
            Step::Command => "command[0]",
            Step::WorkingDir => "working_dir",
            Step::Limits => "resources",
        };
        if self.is_capacity() {
            return Error::new(ErrorKind::Capacity, self.describe());
        }
        let error = Error::config(field, self.describe());
        match self.step {
            Step::Command => error.with_help("is it installed, executable, and in the worker's `PATH`?"),
            _ => error,
        }
    }
}
