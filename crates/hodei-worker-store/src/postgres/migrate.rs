//! The schema, made and brought up to date when a store is opened.

use hodei_worker_core::{Error, ErrorKind, Result, model::LogId};

use super::{link::Link, names::Names, read::get, request::count, settings::Place};

/// Each version of the schema, as a step from the one before. What was released is never changed.
const STEPS: [&str; 1] = [include_str!("schema/0001.sql")];

/// PostgreSQL 13.
const OLDEST_SERVER: i32 = 130_000;

/// Makes the schema what this library knows, and gives the identity of the log in it.
pub(super) async fn migrate(link: &Link, names: &Names, place: &Place) -> Result<LogId> {
    check_server(link, place).await?;
    let known = STEPS.len() as u64;
    let mut found = version(link, names).await?;
    if found < known {
        link.run(&steps(names)).await?;
        found = version(link, names).await?;
    }
    if found > known {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the store was made by a newer version of this library",
        )
        .with_context("database", place)
        .with_context("its schema", format_args!("version {found}"))
        .with_context("known here", format_args!("up to version {known}"))
        .with_help("update hodei-worker on this host"));
    }
    link.run(&resettle(names)).await?;
    let rows = link.read(&names.fill("SELECT id FROM {schema}.log"), &[]).await?;
    let id: &str = rows.first().map_or(Ok(""), |row| get(row, 0))?;
    LogId::new(id).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "the store has no identity")
            .with_context("database", place)
            .with_source(error)
    })
}

async fn check_server(link: &Link, place: &Place) -> Result<()> {
    let ask = "SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
        current_setting('server_encoding')";
    let rows = link.read(ask, &[]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (number, version, encoding): (i32, &str, &str) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
    if number < OLDEST_SERVER {
        return Err(Error::new(ErrorKind::Unsupported, "the database's server is too old")
            .with_context("database", place)
            .with_context("version", version)
            .with_help("it takes PostgreSQL 13 or newer"));
    }
    if encoding != "UTF8" {
        return Err(Error::new(ErrorKind::Unsupported, "the database's encoding is not UTF8")
            .with_context("database", place)
            .with_context("encoding", encoding)
            .with_help("create a database with `ENCODING 'UTF8'`"));
    }
    Ok(())
}

/// 0 where there is nothing.
async fn version(link: &Link, names: &Names) -> Result<u64> {
    let exists = link
        .read("SELECT to_regclass($1 || '.migrations') IS NOT NULL", &[&names.schema])
        .await?
        .first()
        .map_or(Ok(false), |row| get(row, 0))?;
    if !exists {
        return Ok(0);
    }
    let rows =
        link.read(&names.fill("SELECT coalesce(max(version), 0) FROM {schema}.migrations"), &[]).await?;
    rows.first().map_or(Ok(0), |row| get::<i32>(row, 0).map(|version| count(version.into())))
}

/// One transaction: whoever comes second waits, and finds that it has been done.
fn steps(names: &Names) -> String {
    let mut sql = names.fill(&format!(
        "BEGIN;
        SELECT pg_advisory_xact_lock({});
        CREATE SCHEMA IF NOT EXISTS {{schema}};
        CREATE TABLE IF NOT EXISTS {{schema}}.migrations (
            version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), by text NOT NULL
        );",
        names.migrate
    ));
    for (step, version) in STEPS.iter().zip(1..) {
        let step = names.fill(step).replace("{log}", LogId::random().as_str());
        sql.push_str(&names.fill(&format!(
            "DO $migration$ BEGIN
            IF (SELECT coalesce(max(version), 0) FROM {{schema}}.migrations) = {version} - 1 THEN
                {step}
                INSERT INTO {{schema}}.migrations (version, by) VALUES ({version}, 'hodei-worker-store {}');
            END IF;
            END $migration$;",
            env!("CARGO_PKG_VERSION")
        )));
    }
    sql.push_str("COMMIT;");
    sql
}

/// A database that was restored on another server has transactions' numbers from the old one, which would not count as
/// over for a long time. The server's own are always below the next one. Hosts that went on may have written since, so
/// that all of them are looked at.
fn resettle(names: &Names) -> String {
    names.fill(
        "DO $settle$ DECLARE
            newest xid8 := (SELECT written_by FROM {schema}.events ORDER BY written_by DESC LIMIT 1);
        BEGIN
            IF newest >= pg_snapshot_xmax(pg_current_snapshot()) AND newest >= pg_current_xact_id() THEN
                UPDATE {schema}.events SET written_by = '3' WHERE written_by <> '3';
            END IF;
        END $settle$;",
    )
}
