//! The behaviour suite of the stores against the stores in files.

mod common;

use std::{process::ExitCode, sync::Arc};

use async_trait::async_trait;
use common::Engine;
use hodei_worker_core::{
    Result,
    store::Store,
    testkit::stores::{FolderSubject as _, StorePlace, StoreSubject, run},
};
use tempfile::TempDir;

fn main() -> ExitCode {
    run(Engine::ALL)
}

#[async_trait]
impl StoreSubject for Engine {
    fn name(&self) -> String {
        Self::name(*self).to_owned()
    }
    async fn place(&self) -> Result<Arc<dyn StorePlace>> {
        Ok(Arc::new(Place { engine: *self, folder: common::folder() }))
    }
}

struct Place {
    engine: Engine,
    folder: TempDir,
}

#[async_trait]
impl StorePlace for Place {
    async fn open(&self) -> Result<Arc<dyn Store>> {
        self.engine.open(&self.folder.path().join("store")).await
    }
}
