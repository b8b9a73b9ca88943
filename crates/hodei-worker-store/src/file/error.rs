use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use hodei_worker_core::{Error, ErrorKind, Retry};

use crate::{
    engine::{Fault, Outcome},
    format::{FORMAT, Unreadable},
};

const WAY_OUT: &str = "`verify` tells all that is wrong with it, `repair` salvages what is whole into a new store; or \
                       bring back a backup";

/// What does not add up, and the way out.
pub(crate) fn corrupt(place: &Path, what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the store does not add up: {}", what.into()))
        .with_context("store", place.display())
        .with_help(WAY_OUT)
}

pub(crate) fn newer(place: &Path, version: u8) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("the store was written by format {version}, and this version reads up to format {FORMAT}"),
    )
    .with_context("store", place.display())
    .with_help("use a newer version of hodei-worker, or bring back the backup from before the upgrade")
}

pub(crate) fn unreadable(place: &Path, what: &str, why: Unreadable) -> Error {
    match why {
        Unreadable::Damaged => corrupt(place, format!("{what} is not what was written there")),
        Unreadable::Newer(version) => newer(place, version),
    }
}

pub(crate) fn in_use(place: &Path) -> Error {
    Error::new(ErrorKind::Conflict, "another process has the store open")
        .with_context("store", place.display())
        .with_help(
            "end the other host, or give each its own store; several hosts can share a PostgreSQL store",
        )
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the store was closed")
}

/// What the operating system refused, doing this.
pub(crate) fn from_io(place: &Path, doing: &'static str, error: io::Error) -> Error {
    let (kind, help, retry) = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::PermissionDenied, "the store's folder has to be writable for this user", Retry::Never)
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            (ErrorKind::Capacity, "make room on its disk; writing goes on then", Retry::Safe { after: None })
        }
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "is the path right?", Retry::Never),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            (ErrorKind::Config, "a store is a folder; name one that is there or can be made", Retry::Never)
        }
        _ => (
            ErrorKind::Unavailable,
            "what does the system's log say of the disk?",
            Retry::Safe { after: None },
        ),
    };
    Error::new(kind, doing)
        .with_context("store", place.display())
        .with_help(help)
        .with_retry(retry)
        .with_source(error)
}

pub(crate) fn from_fault(place: &Path, doing: &'static str, fault: Fault) -> Error {
    match fault {
        Fault::Locked => in_use(place),
        Fault::Damaged(what) => corrupt(place, what),
        Fault::Io(error) => from_io(place, doing, error),
        Fault::Broken(what) => Error::new(ErrorKind::Unavailable, doing)
            .with_context("store", place.display())
            .with_context("engine", what)
            .with_retry(Retry::Safe { after: None }),
    }
}

/// Calls an engine, which panics where it meets what it never wrote.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(Fault::Damaged(format!("its engine gave up: {}", said.unwrap_or_default())))
        }
    }
}
