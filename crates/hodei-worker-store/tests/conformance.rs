//! The behaviour suite of the stores against the stores in files.

use std::{process::ExitCode, sync::Arc};

use async_trait::async_trait;
use hodei_worker_core::{
    Error, ErrorKind, Result,
    store::Store,
    testkit::stores::{StorePlace, StoreSubject, run},
};
use hodei_worker_store::{FileSettings, RedbStore};
use tempfile::TempDir;

fn main() -> ExitCode {
    run([Engine::Redb])
}

#[derive(Debug, Clone, Copy)]
enum Engine {
    Redb,
}

#[async_trait]
impl StoreSubject for Engine {
    fn name(&self) -> String {
        match self {
            Self::Redb => "redb",
        }
        .to_owned()
    }
    async fn place(&self) -> Result<Arc<dyn StorePlace>> {
        let failed = |error| Error::new(ErrorKind::Unavailable, "no folder for the test").with_source(error);
        let folder = TempDir::with_prefix_in("store-", env!("CARGO_TARGET_TMPDIR")).map_err(failed)?;
        Ok(Arc::new(Place { engine: *self, folder }))
    }
}

struct Place {
    engine: Engine,
    folder: TempDir,
}

#[async_trait]
impl StorePlace for Place {
    async fn open(&self) -> Result<Arc<dyn Store>> {
        let settings = FileSettings::default();
        let path = self.folder.path().join("store");
        Ok(match self.engine {
            Engine::Redb => Arc::new(RedbStore::open(path, settings).await?),
        })
    }
}
