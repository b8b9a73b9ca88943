//! The behaviour suite against a real PostgreSQL: the one that `HODEI_TEST_POSTGRES` names.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

mod server;

use std::{process::ExitCode, sync::Arc};

use async_trait::async_trait;
use hodei_worker_core::{
    Result,
    store::Store,
    testkit::stores::{StorePlace, StoreSubject, run},
};
use server::Database;

struct Postgres;

#[async_trait]
impl StoreSubject for Postgres {
    fn name(&self) -> String {
        "postgres".to_owned()
    }
    async fn place(&self) -> Result<Arc<dyn StorePlace>> {
        Ok(Arc::new(Place(Database::new())))
    }
}

struct Place(Database);

#[async_trait]
impl StorePlace for Place {
    async fn open(&self) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(self.0.open().await?))
    }
}

fn main() -> ExitCode {
    server::url();
    run([Postgres])
}
