//! What the tests against a real PostgreSQL share.
#![allow(dead_code)] // Each test binary uses a part of it.

use hodei_worker_core::Result;
use hodei_worker_store::postgres::{PostgresSettings, PostgresStore};
use tokio_postgres::{Client, NoTls};

/// The server that the test run brought up.
pub(crate) fn url() -> String {
    std::env::var("HODEI_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!(
            "HODEI_TEST_POSTGRES is not set: these tests need PostgreSQL; run `cargo xtask test --only store`"
        )
    })
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
        PostgresSettings::at(url()).in_schema(&self.schema)
    }
    pub(crate) async fn open(&self) -> Result<PostgresStore> {
        PostgresStore::connect(self.settings()).await
    }
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
