use std::{fmt, sync::Arc};

use async_trait::async_trait;
use hodei_worker_core::{
    Result,
    model::WorkerId,
    store::{
        Appended, Batch, Compaction, EventStore, LeaseStore, Page, StateEntry, StateStore, StateValue, Store,
        StoreInfo, WorkerSnapshot, refusal,
    },
};
use tokio::task::JoinHandle;

use super::{
    changes::Changes,
    connector::Connector,
    leases,
    link::Link,
    migrate,
    names::Names,
    read,
    request::{self, count, number},
    settings::PostgresSettings,
    state,
    writer::Writer,
};

/// Events that are compacted away in one transaction.
const CHUNK: i64 = 5_000;

/// A store in PostgreSQL 13 or newer, which several hosts share. Clones are handles of the same one.
///
/// Everything is in one schema of a database, and made there when it is first opened. Several installations in one database
/// have a schema each.
///
/// - **Writing.** Batches that come at once are written in one transaction, which is one call of a function in the
///   database: however long a host is paused, it holds nothing up. Each batch is judged by itself.
/// - **Reading.** A position becomes visible when nothing can appear before it any more. A transaction that another user
///   of the server leaves open does not hold it back.
/// - **Being told.** Hosts that wait for events hear of them by `NOTIFY`, sent once for many writes, and ask by themselves
///   now and then, so that a lost notification costs time and nothing else.
/// - **Leases** end by the database's clock, and are checked in the transaction of each write.
/// - **Damage.** Each record bears a checksum that binds it to its place; give `initdb` the option `--data-checksums`, too.
///
/// It keeps five connections open: to write, two to read, for leases, and to listen. They are made anew when they break.
///
/// # Examples
/// ```no_run
/// use hodei_worker_store::{PostgresSettings, PostgresStore};
/// # async fn f() -> hodei_worker_core::Result<()> {
/// let settings = PostgresSettings::at("postgres://hodei@db.example/workers").in_schema("build_farm");
/// let store = PostgresStore::connect(settings).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PostgresStore(Arc<Inner>);

pub(super) struct Inner {
    info: StoreInfo,
    /// For the log and other large answers.
    log: Link,
    /// For small answers.
    reader: Link,
    /// For what must not wait behind large answers: leases.
    pub(super) control: Link,
    writer: Writer,
    changes: Arc<Changes>,
    listener: JoinHandle<()>,
    read: read::Sql,
    state: state::Sql,
    pub(super) leases: leases::Sql,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("info", &self.0.info).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the store, and makes it if there is none. Runs tasks on the present runtime.
    ///
    /// # Errors
    /// [`Config`](hodei_worker_core::ErrorKind::Config) for settings that cannot be meant, and where there is no such
    /// database; [`Unauthenticated`](hodei_worker_core::ErrorKind::Unauthenticated) and
    /// [`PermissionDenied`](hodei_worker_core::ErrorKind::PermissionDenied);
    /// [`Unavailable`](hodei_worker_core::ErrorKind::Unavailable) when the server cannot be reached;
    /// [`Unsupported`](hodei_worker_core::ErrorKind::Unsupported) where the server is too old, or the store was made by a
    /// newer version of this library.
    ///
    /// # Cancel safety
    /// When dropped, the store may have been made or not.
    pub async fn connect(settings: PostgresSettings) -> Result<Self> {
        let connector = Arc::new(Connector::new(&settings)?);
        let names = Names::new(&settings.schema);
        let control = Link::new(Arc::clone(&connector));
        let log = migrate::migrate(&control, &names, &connector.place).await?;
        let mut info = StoreInfo::new("postgres", log, connector.place.to_string());
        info.shared = true;
        let changes = Changes::new();
        Ok(Self(Arc::new(Inner {
            info,
            log: Link::new(Arc::clone(&connector)),
            reader: Link::new(Arc::clone(&connector)),
            control,
            writer: Writer::start(Link::new(Arc::clone(&connector)), &names, Arc::clone(&changes)),
            listener: changes.listen(connector, &names, settings.poll.0),
            changes,
            read: read::Sql::new(&names),
            state: state::Sql::new(&names),
            leases: leases::Sql::new(&names),
        })))
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }
}

/// One more than is asked for shows whether there is more.
fn one_more(limit: usize) -> i64 {
    number(limit as u64).saturating_add(1)
}

#[async_trait]
impl EventStore for PostgresStore {
    fn info(&self) -> &StoreInfo {
        &self.0.info
    }

    async fn append(&self, batch: Batch) -> Result<Appended> {
        request::validate(&batch)?;
        if batch.is_empty() && batch.fence.is_none() {
            return Ok(Appended::default());
        }
        self.0.writer.append(batch).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Page> {
        let rows = self.0.log.read(&self.0.read.log, &[&number(after), &one_more(limit)]).await?;
        read::log(&rows, after, limit)
    }

    async fn read_stream(&self, worker: &WorkerId, after: u64, limit: usize) -> Result<Page> {
        let parameters = (worker.as_str(), number(after), one_more(limit));
        let rows =
            self.0.reader.read(&self.0.read.stream, &[&parameters.0, &parameters.1, &parameters.2]).await?;
        read::stream(&rows, after, limit)
    }

    async fn last_position(&self) -> Result<u64> {
        let rows = self.0.log.read(&self.0.read.last, &[]).await?;
        rows.first().map_or(Ok(0), |row| read::get(row, 0).map(count))
    }

    async fn changed(&self, after: u64) -> Result<()> {
        self.0.changes.after(after).await
    }

    async fn snapshots(&self, after: Option<&WorkerId>, limit: usize) -> Result<Vec<WorkerSnapshot>> {
        let after = after.map_or("", WorkerId::as_str);
        let rows = self.0.log.read(&self.0.read.snapshots, &[&after, &number(limit as u64)]).await?;
        rows.iter().map(read::snapshot).collect()
    }

    async fn compact(&self, through: u64) -> Result<Compaction> {
        let mut removed = 0;
        loop {
            let rows = self.0.log.write(&self.0.read.compact, &[&number(through), &CHUNK]).await?;
            let now: i64 = rows.first().map_or(Ok(0), |row| read::get(row, 0))?;
            removed += count(now);
            if now < CHUNK {
                break;
            }
        }
        let rows = self.0.log.read(&self.0.read.first, &[]).await?;
        let first = rows.first().map_or(Ok(1), |row| read::get(row, 0).map(count))?;
        Ok(Compaction::new(removed, first))
    }
}

#[async_trait]
impl StateStore for PostgresStore {
    async fn get(&self, key: &str) -> Result<Option<StateValue>> {
        if key.contains('\0') {
            return Ok(None);
        }
        let rows = self.0.reader.read(&self.0.state.get, &[&key]).await?;
        rows.first().map(|row| state::entry(row).map(|entry| entry.value)).transpose()
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<StateEntry>> {
        if prefix.contains('\0') {
            return Ok(Vec::new());
        }
        // No name has a zero byte, so nothing lies between what stands before it and it.
        let after = after.and_then(|after| after.split('\0').next()).unwrap_or_default();
        let end = state::end_of(prefix);
        let rows =
            self.0.reader.read(&self.0.state.list, &[&prefix, &after, &end, &number(limit as u64)]).await?;
        rows.iter().map(state::entry).collect()
    }

    async fn write(&self, batch: Batch) -> Result<()> {
        if !batch.is_state_alone() {
            return Err(refusal::not_state_alone());
        }
        self.append(batch).await.map(drop)
    }
}

impl Store for PostgresStore {
    fn leases(&self) -> Option<&dyn LeaseStore> {
        Some(self)
    }
}
