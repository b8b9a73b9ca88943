//! Events and snapshots, as they are read.

use bytes::Bytes;
use hodei_worker_core::{
    Error, ErrorKind, Result,
    model::WorkerId,
    store::{Page, StoredEvent, WorkerSnapshot},
};
use tokio_postgres::{Row, types::FromSql};

use super::{
    names::Names,
    request::{count, odd},
    seal,
};

/// The statements.
#[derive(Debug)]
pub(super) struct Sql {
    pub(super) log: String,
    pub(super) stream: String,
    pub(super) last: String,
    pub(super) snapshots: String,
    pub(super) compact: String,
    pub(super) first: String,
}

impl Sql {
    pub(super) fn new(names: &Names) -> Self {
        let fill = |sql: &str| names.fill(sql);
        Self {
            log: fill(
                "SELECT compacted, position, worker, version, event, seal FROM {schema}.read_log($1, $2)",
            ),
            stream: fill(
                "SELECT h.version, e.position, e.worker, e.version, e.event, e.seal
                FROM {schema}.heads h LEFT JOIN LATERAL (
                    SELECT * FROM {schema}.events s
                    WHERE s.worker = h.worker AND s.version > $2 AND s.position >= h.first
                    ORDER BY s.version LIMIT $3
                ) e ON true
                WHERE h.worker = $1 ORDER BY e.version",
            ),
            last: fill("SELECT visible FROM {schema}.last_positions()"),
            snapshots: fill(
                "SELECT worker, version, position, state, seal FROM {schema}.snapshots
                WHERE worker > $1 ORDER BY worker LIMIT $2",
            ),
            compact: fill("SELECT {schema}.compact($1, $2)"),
            first: fill(
                "SELECT coalesce(
                    (SELECT min(e.position) FROM {schema}.events e), (SELECT p.visible + 1 FROM {schema}.last_positions() p)
                )",
            ),
        }
    }
}

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(odd)
}

fn id(text: &str) -> Result<WorkerId> {
    WorkerId::new(text)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "a stored record does not add up").with_source(error))
}

/// Position, worker, version, event and seal, from the second column on; `None` in a row that has no event.
fn event(row: &Row) -> Result<Option<StoredEvent>> {
    let Some(position) = get::<Option<i64>>(row, 1)? else { return Ok(None) };
    let (worker, version, bytes): (&str, i64, &[u8]) = (get(row, 2)?, get(row, 3)?, get(row, 4)?);
    seal::check(&format!("event/{worker}"), position, version, bytes, get(row, 5)?)?;
    let bytes = Bytes::copy_from_slice(bytes);
    Ok(Some(StoredEvent::new(count(position), id(worker)?, count(version), bytes)))
}

fn events(rows: &[Row], limit: usize) -> Result<(Vec<StoredEvent>, bool)> {
    let mut events = Vec::with_capacity(rows.len().min(limit));
    for row in rows {
        let Some(event) = event(row)? else { break };
        if events.len() == limit {
            return Ok((events, false));
        }
        events.push(event);
    }
    Ok((events, true))
}

/// A page of the log, of rows with one event more than `limit`, if there are so many.
pub(super) fn log(rows: &[Row], after: u64, limit: usize) -> Result<Page> {
    let compacted = rows.first().map_or(Ok(0), |row| get(row, 0).map(count))?;
    let (events, is_last) = events(rows, limit)?;
    let mut page = Page::default();
    page.compacted = after < compacted;
    page.next =
        events.last().map_or(if is_last { after.max(compacted) } else { after }, |last| last.position);
    page.is_last = is_last;
    page.events = events;
    Ok(page)
}

/// A page of a stream, of rows with one event more than `limit`, if there are so many.
pub(super) fn stream(rows: &[Row], after: u64, limit: usize) -> Result<Page> {
    let head = rows.first().map_or(Ok(after), |row| get(row, 0).map(count))?;
    let (events, is_last) = events(rows, limit)?;
    let mut page = Page::default();
    // Its versions have no gaps.
    page.compacted = match events.first() {
        Some(first) => first.version > after + 1,
        None => is_last && head > after,
    };
    page.next = if is_last { head.max(after) } else { events.last().map_or(after, |last| last.version) };
    page.is_last = is_last;
    page.events = events;
    Ok(page)
}

pub(super) fn snapshot(row: &Row) -> Result<WorkerSnapshot> {
    let (worker, version, position, state): (&str, i64, i64, &[u8]) =
        (get(row, 0)?, get(row, 1)?, get(row, 2)?, get(row, 3)?);
    seal::check(&format!("snapshot/{worker}"), position, version, state, get(row, 4)?)?;
    let state = Bytes::copy_from_slice(state);
    Ok(WorkerSnapshot::new(id(worker)?, count(version), count(position), state))
}
