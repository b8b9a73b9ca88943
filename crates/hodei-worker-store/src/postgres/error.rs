//! What the database says, in our words: by its codes (SQLSTATE), never by its text.

use std::{error::Error as _, io, time::Duration};

use hodei_worker_core::{Error, ErrorKind, Retry};
use tokio_postgres::{Error as DatabaseError, error::DbError};

use super::settings::Place;

/// What a statement does, if it is not known how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It reads, or does the same again.
    None,
    /// It may have been done.
    Writes,
}

impl Effect {
    fn retry(self) -> Retry {
        match self {
            Self::None => Retry::Safe { after: None },
            Self::Writes => Retry::IfIdempotent,
        }
    }
}

/// Whether another transaction was in the way, so that the same one may do well now.
pub(super) fn is_race(error: &DatabaseError) -> bool {
    matches!(code(error), Some("40001" | "40P01" | "55P03"))
}

/// Whether the connection is as before, so that it can be used again.
pub(super) fn leaves_whole(error: &DatabaseError) -> bool {
    is_race(error)
}

/// Whether the connection has ended with it, or before.
pub(super) fn is_end(error: &DatabaseError) -> bool {
    error.as_db_error().is_none()
        || code(error).is_some_and(|code| matches!(&code[..2], "57" | "08") && code != "57014")
}

/// Whether it was this statement's own fault, and another might do well.
pub(super) fn is_its_own(error: &DatabaseError) -> bool {
    code(error).is_some_and(|code| matches!(&code[..2], "22" | "23" | "54"))
}

fn code(error: &DatabaseError) -> Option<&str> {
    error.code().map(tokio_postgres::error::SqlState::code).filter(|code| code.len() == 5)
}

/// A statement has failed.
pub(super) fn statement(error: DatabaseError, effect: Effect, place: &Place) -> Error {
    if let Some(said) = error.as_db_error() {
        return database(said, effect, place);
    }
    unreachable(place).with_retry(effect.retry()).with_source(error)
}

/// No answer came in time.
pub(super) fn silent(after: Duration, effect: Effect, place: &Place) -> Error {
    Error::new(ErrorKind::Unavailable, "the database does not answer")
        .with_context("database", place)
        .with_context("after", format_args!("{} s", after.as_secs_f32()))
        .with_retry(effect.retry())
}

/// A connection has not come about.
pub(super) fn connection(error: DatabaseError, place: &Place) -> Error {
    if let Some(said) = error.as_db_error() {
        return database(said, Effect::None, place);
    }
    let mut tls = false;
    let mut broken = error.is_closed();
    let mut next = error.source();
    while let Some(cause) = next {
        next = cause.source();
        tls |= cause.is::<rustls::Error>();
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            broken = true;
            // An error that wraps another names that one's causes, not itself.
            tls |= cause.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        }
    }
    if tls {
        return Error::new(ErrorKind::Unauthenticated, "the database's certificate is not accepted")
            .with_context("database", place)
            .with_help("`sslrootcert` in the url has to name who vouches for it")
            .with_source(error);
    }
    if !broken {
        // The server answers, and the client finds no way in.
        return Error::new(
            ErrorKind::Unauthenticated,
            "the database and the url do not agree on how to log in",
        )
        .with_context("database", place)
        .with_help("is a password missing, or does `sslmode` ask for what the server does not have?")
        .with_source(error);
    }
    unreachable(place).with_retry(Retry::Safe { after: None }).with_source(error)
}

fn unreachable(place: &Place) -> Error {
    Error::new(ErrorKind::Unavailable, "the database cannot be reached")
        .with_context("database", place)
        .with_help("does the server run, and does the url name its host and port?")
}

/// What the server says. Never with its details, which hold what was to be stored.
fn database(said: &DbError, effect: Effect, place: &Place) -> Error {
    let code = said.code().code();
    let never = Retry::Never;
    // Whatever the server refuses before it does something has not been done.
    let safe = Retry::Safe { after: None };
    let (kind, retry, message, help) = match (code.get(..2).unwrap_or_default(), code) {
        (_, "53100") => {
            (ErrorKind::Capacity, safe, "the database's disk is full", "make room there; nothing was written")
        }
        (_, "53300") => (
            ErrorKind::Overloaded,
            safe,
            "the database has no connection left",
            "raise its `max_connections`, or use fewer hosts: each keeps five open",
        ),
        (_, "53200" | "53400") | ("53", _) => {
            (ErrorKind::Overloaded, safe, "the database has too little left of something", "")
        }
        (_, "57014") => {
            (ErrorKind::Unavailable, effect.retry(), "the database took too long", "is it overloaded?")
        }
        (_, "57P03") => (ErrorKind::Unavailable, safe, "the database is starting or stopping", ""),
        ("57" | "08" | "58", _) => {
            (ErrorKind::Unavailable, effect.retry(), "the database does not work at present", "")
        }
        ("28", _) => (
            ErrorKind::Unauthenticated,
            never,
            "the database does not let us in",
            "are user and password of the url right, and does its `pg_hba.conf` allow them from here?",
        ),
        (_, "3D000") => (
            ErrorKind::Config,
            never,
            "there is no such database",
            "create it, or name another one in the url",
        ),
        (_, "42501") => (
            ErrorKind::PermissionDenied,
            never,
            "the database does not allow us that",
            "the user needs all rights in the schema, and to make it the right to create in the database",
        ),
        (_, "25006") => (
            ErrorKind::Unavailable,
            safe,
            "the database only lets itself be read: is it a standby?",
            "name all servers in the url, with `target_session_attrs=read-write`",
        ),
        ("40", _) | (_, "55P03") => {
            (ErrorKind::Overloaded, safe, "too much is written to the database at once", "")
        }
        (_, "XX001" | "XX002") => (
            ErrorKind::Corrupt,
            never,
            "the database found its own data damaged",
            "restore it from a backup; its log says where the damage is",
        ),
        (_, "3F000" | "42P01" | "42883" | "42703") => (
            ErrorKind::Corrupt,
            never,
            "the schema is not as this library made it",
            "was it changed or removed by hand?",
        ),
        ("54", _) => (ErrorKind::Config, never, "this is more than the database can hold in one piece", ""),
        _ => (ErrorKind::Unexpected, never, "the database refuses a statement", ""),
    };
    let error = Error::new(kind, message)
        .with_retry(retry)
        .with_context("database", place)
        .with_context("said", said.message())
        .with_context("code", code);
    if help.is_empty() { error } else { error.with_help(help) }
}

/// A connection has ended while nothing was asked.
pub(super) fn lost(place: &Place) -> Error {
    Error::new(ErrorKind::Unavailable, "the connection to the database has ended")
        .with_context("database", place)
        .with_retry(Retry::Safe { after: None })
}
