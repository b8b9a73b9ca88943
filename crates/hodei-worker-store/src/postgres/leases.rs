//! Who may write. Time is the database's own.

use std::time::Duration;

use async_trait::async_trait;
use hodei_worker_core::{
    Error, ErrorKind, Result,
    model::WorkerId,
    store::{HostId, Lease, LeaseId, LeaseStore, TakenOver, refusal},
};
use tokio_postgres::Row;

use super::{
    names::Names,
    read::get,
    request::{count, number},
    store::PostgresStore,
};

/// The statements.
#[derive(Debug)]
pub(super) struct Sql {
    acquire: String,
    renew: String,
    release: String,
    ended: String,
    take_over: String,
    owned: String,
}

impl Sql {
    pub(super) fn new(names: &Names) -> Self {
        let fill = |sql: &str| names.fill(sql);
        Self {
            // What has ended long ago and owns nothing is nobody's any more; its number never comes back.
            acquire: fill(
                "WITH old AS (
                    DELETE FROM {schema}.leases l WHERE l.ends_at < clock_timestamp() - interval '1 day'
                        AND NOT EXISTS (SELECT FROM {schema}.heads h WHERE h.lease = l.id)
                )
                INSERT INTO {schema}.leases (id, host, ttl, ends_at)
                VALUES (nextval('{schema}.lease_ids'), $1, make_interval(secs => $2),
                    clock_timestamp() + make_interval(secs => $2))
                RETURNING id",
            ),
            renew: fill(
                "UPDATE {schema}.leases SET ends_at = clock_timestamp() + ttl
                WHERE id = $1 AND NOT is_over AND ends_at > clock_timestamp()
                RETURNING host, extract(epoch FROM ttl)::double precision",
            ),
            release: fill("UPDATE {schema}.leases SET is_over = true WHERE id = $1 AND NOT is_over"),
            ended: fill(
                "WITH RECURSIVE owners AS (
                    (SELECT lease FROM {schema}.heads ORDER BY lease LIMIT 1)
                    UNION ALL
                    SELECT (SELECT h.lease FROM {schema}.heads h WHERE h.lease > o.lease ORDER BY h.lease LIMIT 1)
                    FROM owners o WHERE o.lease IS NOT NULL
                )
                SELECT o.lease FROM owners o WHERE o.lease IS NOT NULL AND NOT EXISTS (
                    SELECT FROM {schema}.leases l
                    WHERE l.id = o.lease AND NOT l.is_over AND l.ends_at > clock_timestamp()
                ) ORDER BY o.lease",
            ),
            take_over: fill(
                "SELECT worker, version, first, owner_epoch, outcome FROM {schema}.take_over($1, $2, $3)",
            ),
            owned: fill(
                "SELECT worker, version, first, owner_epoch FROM {schema}.heads
                WHERE lease = $1 AND worker > $2 ORDER BY worker LIMIT $3",
            ),
        }
    }
}

/// The longest that a lease is given for: what a clock can add to the present.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn taken(row: &Row) -> Result<TakenOver> {
    let worker: &str = get(row, 0)?;
    Ok(TakenOver::new(WorkerId::new(worker)?, count(get(row, 1)?), count(get(row, 2)?), count(get(row, 3)?)))
}

#[async_trait]
impl LeaseStore for PostgresStore {
    async fn acquire(&self, host: &HostId, ttl: Duration) -> Result<Lease> {
        let ttl = ttl.min(LONGEST);
        let inner = self.inner();
        let rows = inner.control.write(&inner.leases.acquire, &[&host.as_str(), &ttl.as_secs_f64()]).await?;
        let row =
            rows.first().ok_or_else(|| Error::new(ErrorKind::Unexpected, "the database gave no lease"))?;
        Ok(Lease::new(LeaseId(count(get(row, 0)?)), host.clone(), ttl))
    }

    async fn renew(&self, lease: LeaseId) -> Result<Lease> {
        let inner = self.inner();
        let rows = inner.control.write(&inner.leases.renew, &[&number(lease.0)]).await?;
        let row = rows.first().ok_or_else(|| refusal::ended(lease))?;
        let (host, ttl): (String, f64) = (get(row, 0)?, get(row, 1)?);
        let ttl = Duration::try_from_secs_f64(ttl).unwrap_or(LONGEST);
        Ok(Lease::new(lease, HostId::new(host)?, ttl))
    }

    async fn release(&self, lease: LeaseId) -> Result<()> {
        let inner = self.inner();
        inner.control.write(&inner.leases.release, &[&number(lease.0)]).await.map(drop)
    }

    async fn ended(&self) -> Result<Vec<LeaseId>> {
        let inner = self.inner();
        let rows = inner.control.read(&inner.leases.ended, &[]).await?;
        rows.iter().map(|row| Ok(LeaseId(count(get(row, 0)?)))).collect()
    }

    async fn take_over(&self, lease: LeaseId, from: LeaseId, limit: usize) -> Result<Vec<TakenOver>> {
        let inner = self.inner();
        let limit = number(limit as u64);
        let rows = inner
            .control
            .write(&inner.leases.take_over, &[&number(lease.0), &number(from.0), &limit])
            .await?;
        let outcome = rows.first().map_or(Ok("taken"), |row| get(row, 4))?;
        match outcome {
            "ended" => Err(refusal::ended(lease)),
            "holds" => Err(refusal::still_holds(from)),
            _ => rows.iter().map(taken).collect(),
        }
    }

    async fn owned(&self, lease: LeaseId, after: Option<&WorkerId>, limit: usize) -> Result<Vec<TakenOver>> {
        let inner = self.inner();
        let after = after.map_or("", WorkerId::as_str);
        let limit = number(limit as u64);
        let rows = inner.control.read(&inner.leases.owned, &[&number(lease.0), &after, &limit]).await?;
        rows.iter().map(taken).collect()
    }
}
