//! Batches as the database's function `append` takes them, and what it answers.

use hodei_worker_core::{
    Error, ErrorKind, Result,
    model::WorkerId,
    store::{Appended, Batch, Expected, Fence, LeaseId, SnapshotWrite, refusal},
};
use tokio_postgres::{Row, types::ToSql};

use super::names::Names;

/// Several batches, each thing in a row with others of its kind.
#[derive(Default)]
pub(super) struct Request<'a> {
    leases: Vec<i64>,
    streams: Streams<'a>,
    events: Events<'a>,
    values: Values<'a>,
    snapshots: Snapshots<'a>,
}

#[derive(Default)]
struct Streams<'a> {
    batch: Vec<i32>,
    worker: Vec<&'a str>,
    expected: Vec<i64>,
    first: Vec<i64>,
    count: Vec<i64>,
}

#[derive(Default)]
struct Events<'a> {
    batch: Vec<i32>,
    worker: Vec<&'a str>,
    version: Vec<i64>,
    event: Vec<&'a [u8]>,
}

#[derive(Default)]
struct Values<'a> {
    batch: Vec<i32>,
    key: Vec<&'a str>,
    expected: Vec<i64>,
    value: Vec<Option<&'a [u8]>>,
}

#[derive(Default)]
struct Snapshots<'a> {
    batch: Vec<i32>,
    worker: Vec<&'a str>,
    version: Vec<i64>,
    state: Vec<Option<&'a [u8]>>,
}

/// A number as the database has them. None of ours grows so large.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of the database, none of which is negative.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Checks what can be told without the database.
pub(super) fn validate(batch: &Batch) -> Result<()> {
    batch.validate()?;
    if let Some(write) = batch.state.iter().find(|write| write.key.contains('\0')) {
        return Err(Error::new(ErrorKind::Config, "in this store a key has no zero bytes")
            .with_context("key", write.key.escape_debug()));
    }
    if batch.fence.is_none() && !batch.is_state_alone() {
        return Err(refusal::unfenced());
    }
    Ok(())
}

impl<'a> Request<'a> {
    pub(super) fn sql(names: &Names) -> String {
        let parameters: Vec<_> = (1..=18).map(|n| format!("${n}")).collect();
        format!(
            "SELECT batch, problem, name, present FROM {}.append({})",
            names.schema,
            parameters.join(", ")
        )
    }

    pub(super) fn new(batches: impl IntoIterator<Item = &'a Batch>) -> Self {
        let mut all = Self::default();
        for (batch, n) in batches.into_iter().zip(1..) {
            all.add(batch, n);
        }
        all
    }

    fn add(&mut self, batch: &'a Batch, n: i32) {
        self.leases.push(batch.fence.map_or(0, |fence| number(fence.lease.0)));
        for stream in &batch.streams {
            self.streams.batch.push(n);
            self.streams.worker.push(stream.worker.as_str());
            self.streams.expected.push(number(stream.expected));
            self.streams.first.push(self.events.event.len() as i64 + 1);
            self.streams.count.push(stream.events.len() as i64);
            for (event, added) in stream.events.iter().zip(1..) {
                self.events.batch.push(n);
                self.events.worker.push(stream.worker.as_str());
                self.events.version.push(number(stream.expected).saturating_add(added));
                self.events.event.push(event);
            }
        }
        for write in &batch.state {
            self.values.batch.push(n);
            self.values.key.push(&write.key);
            self.values.expected.push(match write.expected {
                Expected::Any => -1,
                Expected::Absent => 0,
                // Versions begin at 1: the value of no version is never there.
                Expected::Version(0) => i64::MAX,
                Expected::Version(version) => number(version),
            });
            self.values.value.push(write.value.as_deref());
        }
        for snapshot in &batch.snapshots {
            self.snapshots.batch.push(n);
            self.snapshots.worker.push(snapshot.worker().as_str());
            let (version, state) = match snapshot {
                SnapshotWrite::Forget { version, .. } => (*version, None),
                SnapshotWrite::Save { version, state, .. } => (*version, Some(&**state)),
            };
            self.snapshots.version.push(number(version));
            self.snapshots.state.push(state);
        }
    }

    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 18] {
        let Self { leases, streams: s, events: e, values: v, snapshots: n } = self;
        [
            leases,
            &s.batch,
            &s.worker,
            &s.expected,
            &s.first,
            &s.count,
            &e.batch,
            &e.worker,
            &e.version,
            &e.event,
            &v.batch,
            &v.key,
            &v.expected,
            &v.value,
            &n.batch,
            &n.worker,
            &n.version,
            &n.state,
        ]
    }
}

/// What became of each batch.
pub(super) fn outcomes<'a>(
    batches: impl IntoIterator<Item = &'a Batch>,
    answer: &[Row],
) -> Result<Vec<Result<Appended>>> {
    let mut base = 0;
    let mut refused = Vec::new();
    for row in answer {
        let (batch, problem, name, found): (i32, &str, &str, i64) = (
            row.try_get(0).map_err(odd)?,
            row.try_get(1).map_err(odd)?,
            row.try_get(2).map_err(odd)?,
            row.try_get(3).map_err(odd)?,
        );
        if batch == 0 {
            base = count(found);
        } else {
            refused.push((batch, problem, name, count(found)));
        }
    }
    let mut next = base;
    let outcomes = batches.into_iter().zip(1..).map(|(batch, n)| {
        let mut appended = Appended::default();
        for stream in &batch.streams {
            appended.first.push(next);
            next += stream.events.len() as u64;
            appended.last = next - 1;
        }
        match refused.iter().find(|(batch, ..)| *batch == n) {
            Some((_, problem, name, found)) => Err(refuse(batch, problem, name, *found)?),
            None => Ok(appended),
        }
    });
    Ok(outcomes.collect())
}

/// The database answers something that this library does not know.
pub(super) fn odd(error: tokio_postgres::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "the database's answer is not as expected").with_source(error)
}

fn refuse(batch: &Batch, problem: &str, name: &str, found: u64) -> Result<Error> {
    let lease = batch.fence.as_ref().map_or(LeaseId(0), |Fence { lease, .. }| *lease);
    if problem == "ended" {
        return Ok(refusal::ended(lease));
    }
    if problem == "value" {
        let expected =
            batch.state.iter().find(|write| write.key == name).map_or(Expected::Any, |w| w.expected);
        return Ok(refusal::value(name, expected, (found > 0).then_some(found)));
    }
    let worker = WorkerId::new(name)?;
    let appended = batch.streams.iter().find(|stream| stream.worker == worker);
    let snapshot = batch.snapshots.iter().find(|snapshot| *snapshot.worker() == worker);
    let covered = match snapshot {
        Some(SnapshotWrite::Save { version, .. } | SnapshotWrite::Forget { version, .. }) => *version,
        _ => 0,
    };
    Ok(match problem {
        "owned" => refusal::owned(&worker, lease, (found > 0).then_some(LeaseId(found))),
        "version" => refusal::version(&worker, appended.map_or(0, |stream| stream.expected), found),
        "forget" => refusal::version(&worker, covered, found),
        "unreached" => refusal::unreached(&worker, covered, found),
        "older" => refusal::older(&worker, covered, found),
        _ => Error::new(ErrorKind::Unexpected, "the database refuses a batch")
            .with_context("said", problem.to_owned()),
    })
}
