//! What the tests against a real PostgreSQL share.
#![allow(dead_code)] // Each test binary uses a part of it.

pub(crate) mod proxy;

use std::{future::Future, time::Duration};

use hodei_worker_core::{
    Result,
    model::WorkerId,
    store::{Appended, Batch, EventStore as _, Fence, HostId, Lease, LeaseStore as _, StoredEvent},
};
use hodei_worker_store::{PostgresSettings, PostgresStore};
use tokio_postgres::{Client, NoTls};

/// Longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Fails rather than to hang.
pub(crate) async fn limit<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("it takes too long")
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need PostgreSQL; run `cargo xtask test --only store`")
    })
}

/// The server that the test run brought up.
pub(crate) fn url() -> String {
    variable("HODEI_TEST_POSTGRES")
}

/// Does something to the server: `start`, `stop` or `kill`.
pub(crate) async fn control(verb: &str) {
    let mut program = tokio::process::Command::new(variable("HODEI_TEST_POSTGRES_CONTROL"));
    assert!(
        limit(program.arg(verb).status()).await.unwrap().success(),
        "the server cannot be told to {verb}"
    );
}

/// A schema that no other test has, removed with everything in it when this is dropped.
pub(crate) struct Database {
    pub(crate) schema: String,
}

impl Database {
    pub(crate) fn new() -> Self {
        Self { schema: format!("t_{:016x}", fastrand::u64(..)) }
    }
    pub(crate) fn settings(&self) -> PostgresSettings {
        self.settings_at(&url())
    }
    pub(crate) fn settings_at(&self, url: &str) -> PostgresSettings {
        PostgresSettings::at(url).in_schema(&self.schema)
    }
    pub(crate) async fn open(&self) -> Result<PostgresStore> {
        PostgresStore::connect(self.settings()).await
    }
    /// A host with a lease for an hour.
    pub(crate) async fn host(&self) -> Host {
        Host::new(self.open().await.unwrap(), Duration::from_secs(3600)).await
    }
    /// Fills the schema's name into SQL, for `S`.
    pub(crate) fn sql(&self, sql: &str) -> String {
        sql.replace("S.", &format!("{}.", self.schema))
    }
}

/// The address of the server with another host and port.
pub(crate) fn url_by(port: u16) -> String {
    let url = url();
    let (start, rest) = url.split_at(url.find('@').unwrap() + 1);
    format!("{start}127.0.0.1:{port}{}", &rest[rest.find('/').unwrap()..])
}

/// The server's host and port.
pub(crate) fn address() -> String {
    let url = url();
    let rest = &url[url.find('@').unwrap() + 1..];
    rest[..rest.find('/').unwrap()].to_owned()
}

/// A store as a host has it.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) store: PostgresStore,
    pub(crate) lease: Lease,
}

impl Host {
    pub(crate) async fn new(store: PostgresStore, ttl: Duration) -> Self {
        let lease = store.acquire(&HostId::new("test").unwrap(), ttl).await.unwrap();
        Self { store, lease }
    }
    pub(crate) fn fence(&self) -> Option<Fence> {
        Some(Fence::new(self.lease.id))
    }
    pub(crate) async fn say(&self, id: &str, expected: u64, text: &str) -> Result<Appended> {
        let batch = Batch::new().append(worker(id), expected, [text.to_owned().into()]);
        limit(self.store.append(batch.fenced(self.fence()))).await
    }
    /// The texts of everything that can be seen.
    pub(crate) async fn seen(&self) -> Vec<String> {
        let page = self.store.read(0, 100_000).await.unwrap();
        assert!(page.is_last);
        texts(&page.events)
    }
    /// The texts of a worker's stream.
    pub(crate) async fn stream(&self, id: &str) -> Vec<String> {
        texts(&self.store.read_stream(&worker(id), 0, 100_000).await.unwrap().events)
    }
}

pub(crate) fn worker(id: &str) -> WorkerId {
    id.parse().unwrap()
}

fn texts(events: &[StoredEvent]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8_lossy(&event.event).into_owned()).collect()
}

/// Somebody else's connection.
pub(crate) async fn raw() -> Client {
    let (client, connection) = tokio_postgres::connect(&url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Drop for Database {
    fn drop(&mut self) {
        let schema = self.schema.clone();
        // A runtime of its own: the test's may be on its way down.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = raw().await;
                client.batch_execute(&format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE")).await.unwrap();
            });
        });
        let dropped = dropping.join();
        if !std::thread::panicking() {
            dropped.expect("the schema could not be removed");
        }
    }
}
