//! Events and folds as bytes: JSON with short names, so that a stored log can be read by people and by older versions.
//! What a reader does not know is skipped; what it cannot do without makes the record's version grow.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value::StrDeserializer},
};
use serde_json::Value;

use super::{Change, CorrelationId, Worker, WorkerState, WorkerStateEvent};
use crate::{
    clock::Timestamp,
    error::{Error, ErrorKind, Result},
    store::StoredEvent,
};

/// The version of the form that is written.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    /// The form's version.
    v: u32,
    /// The state before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    o: Option<WorkerState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<WorkerState>,
    /// The time.
    t: Timestamp,
    /// Inferred.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    i: bool,
    /// Metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    m: BTreeMap<String, String>,
    /// The correlation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<CorrelationId>,
    /// The change.
    c: std::borrow::Cow<'a, Change>,
}

impl Record<'_> {
    fn read(bytes: &[u8]) -> Result<Self> {
        match serde_json::from_slice::<Record<'_>>(bytes) {
            Ok(record) if record.v <= VERSION => Ok(record),
            Ok(record) => Err(newer(record.v)),
            Err(error) => Self::read_newer(bytes).ok_or_else(|| refused("an event of the log", bytes, error)),
        }
    }

    /// A record of this form whose change a newer version knows; its data do not fit a variant without any.
    fn read_newer(bytes: &[u8]) -> Option<Self> {
        let mut record: Value = serde_json::from_slice(bytes).ok()?;
        let change = record.get_mut("c")?;
        let mut names = change.as_object()?.keys();
        let (Some(name), None) = (names.next(), names.next()) else { return None };
        let name: StrDeserializer<'_, serde::de::value::Error> = name.as_str().into_deserializer();
        if Change::deserialize(name).ok()? != Change::Unknown {
            return None;
        }
        *change = serde_json::to_value(Change::Unknown).ok()?;
        serde_json::from_value(record).ok()
    }
}

/// Why it cannot be read: before anything else, a newer form.
fn refused(what: &str, bytes: &[u8], error: serde_json::Error) -> Error {
    #[derive(Deserialize)]
    struct Form {
        v: u32,
    }
    match serde_json::from_slice::<Form>(bytes) {
        Ok(form) if form.v > VERSION => newer(form.v),
        _ => unreadable(what, error),
    }
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "it cannot be kept as data").with_source(error)
}

fn unreadable(what: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what} cannot be understood")).with_source(error)
}

fn newer(version: u32) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("it was written in form {version}, this program knows {VERSION}"),
    )
    .with_help("use the version of the program that wrote it, or a later one")
}

impl WorkerStateEvent {
    /// The event as bytes for a store.
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`], never seen.
    pub fn to_bytes(&self) -> Result<Bytes> {
        let record = Record {
            v: VERSION,
            o: self.old_state,
            n: self.new_state,
            t: self.timestamp,
            i: self.inferred,
            m: self.metadata.clone(),
            k: self.correlation_id.clone(),
            c: std::borrow::Cow::Borrowed(&self.change),
        };
        serde_json::to_vec(&record).map(Bytes::from).map_err(unwritable)
    }

    /// The event that a store keeps.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when it cannot be understood; [`ErrorKind::Unsupported`] when a newer version wrote it.
    pub fn from_stored(stored: &StoredEvent) -> Result<Self> {
        let about = |error: Error| {
            error.with_context("position", stored.position).with_context("worker", &stored.worker)
        };
        let record = Record::read(&stored.event).map_err(about)?;
        Ok(Self {
            event_id: stored.position,
            worker_id: stored.worker.clone(),
            version: stored.version,
            old_state: record.o,
            new_state: record.n,
            timestamp: record.t,
            inferred: record.i,
            metadata: record.m,
            correlation_id: record.k,
            change: record.c.into_owned(),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Folded<'a> {
    v: u32,
    w: std::borrow::Cow<'a, Worker>,
}

impl Worker {
    /// The fold as bytes for a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`], never seen.
    pub fn to_bytes(&self) -> Result<Bytes> {
        let folded = Folded { v: VERSION, w: std::borrow::Cow::Borrowed(self) };
        serde_json::to_vec(&folded).map(Bytes::from).map_err(unwritable)
    }

    /// The fold of a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when it cannot be understood; [`ErrorKind::Unsupported`] when a newer version wrote it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let folded: Folded<'_> =
            serde_json::from_slice(bytes).map_err(|error| refused("a snapshot", bytes, error))?;
        if folded.v > VERSION { Err(newer(folded.v)) } else { Ok(folded.w.into_owned()) }
    }
}
