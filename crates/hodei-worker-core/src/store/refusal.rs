//! What stores answer to a batch that they refuse, in one wording.

use super::{Expected, LeaseId};
use crate::{
    error::{Error, ErrorKind},
    model::WorkerId,
};

/// A worker's stream has another version than was expected.
pub fn version(worker: &WorkerId, expected: u64, found: u64) -> Error {
    Error::new(ErrorKind::Conflict, "the worker's stream has another version than expected")
        .with_context("worker", worker)
        .with_context("expected", expected)
        .with_context("found", found)
        .with_help("somebody else wrote to it: read the stream and decide again")
}

/// A value is not what was expected; `found` is its version, if it is there.
pub fn value(key: &str, expected: Expected, found: Option<u64>) -> Error {
    let expected = match expected {
        Expected::Any => "anything".to_owned(),
        Expected::Absent => "nothing".to_owned(),
        Expected::Version(version) => format!("version {version}"),
    };
    let found = found.map_or_else(|| "nothing".to_owned(), |version| format!("version {version}"));
    Error::new(ErrorKind::Conflict, "the value is another than expected")
        .with_context("key", key)
        .with_context("expected", expected)
        .with_context("found", found)
        .with_help("somebody else wrote it: read it and decide again")
}

/// A snapshot would cover more than the stream has, which is at version `reached`.
pub fn unreached(worker: &WorkerId, version: u64, reached: u64) -> Error {
    Error::new(ErrorKind::Conflict, "the snapshot covers more than the worker's stream has")
        .with_context("worker", worker)
        .with_context("version", version)
        .with_context("found", reached)
}

/// A snapshot would replace one that covers more, up to version `kept`.
pub fn older(worker: &WorkerId, version: u64, kept: u64) -> Error {
    Error::new(ErrorKind::Conflict, "there is a snapshot that covers more")
        .with_context("worker", worker)
        .with_context("version", version)
        .with_context("found", kept)
}

/// A batch that changes workers names no lease, in a store that several hosts share.
pub fn unfenced() -> Error {
    Error::new(ErrorKind::Config, "several hosts share this store, and the batch names no lease")
        .with_help("acquire a lease and put it into the batch's fence")
}

/// A batch names a lease, in a store that has none.
pub fn no_leases() -> Error {
    Error::new(
        ErrorKind::Config,
        "the batch names a lease, and this store has none: one host has it to itself",
    )
}

/// The lease has run out, was given up or taken over.
pub fn ended(lease: LeaseId) -> Error {
    Error::new(ErrorKind::Fenced, "the lease does not hold any more")
        .with_context("lease", lease)
        .with_help("another host may act for its workers: stop acting, and acquire a new lease")
}

/// Another lease owns the worker's stream.
pub fn owned(worker: &WorkerId, lease: LeaseId, owner: Option<LeaseId>) -> Error {
    let owner = owner.map_or_else(|| "nobody".to_owned(), |owner| owner.to_string());
    Error::new(ErrorKind::Fenced, "another host owns the worker")
        .with_context("worker", worker)
        .with_context("lease", lease)
        .with_context("owner", owner)
}

/// The lease to be taken over still holds.
pub fn still_holds(lease: LeaseId) -> Error {
    Error::new(ErrorKind::Conflict, "the lease still holds").with_context("lease", lease)
}

/// [`StateStore::write`](super::StateStore::write) was given more than state.
pub fn not_state_alone() -> Error {
    Error::new(ErrorKind::Config, "the batch has more than state: events and snapshots are appended")
}
