//! The store of one's own on redb and on sled: it behaves as every store of credentials does.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hodei_credentials::{FileAnchor, MasterKey, SimpleCredentialProvider, SimpleSettings};
use hodei_worker_core::{
    Result,
    credential::CredentialProvider,
    store::Store,
    testkit::credentials::{CredentialSubject, run},
};
use hodei_worker_store::{FileSettings, RedbStore, SledStore};
use tempfile::TempDir;

/// A folder for each case; they go with the test.
struct OnDisk {
    engine: &'static str,
    anchored: bool,
    folders: Mutex<Vec<TempDir>>,
}

impl OnDisk {
    fn new(engine: &'static str, anchored: bool) -> Self {
        Self { engine, anchored, folders: Mutex::default() }
    }
}

#[async_trait]
impl CredentialSubject for OnDisk {
    fn name(&self) -> String {
        format!("simple on {}{}", self.engine, if self.anchored { ", anchored" } else { "" })
    }

    async fn connect(&self) -> Result<Arc<dyn CredentialProvider>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store: Arc<dyn Store> = match self.engine {
            "sled" => Arc::new(SledStore::open(path, FileSettings::default()).await?),
            _ => Arc::new(RedbStore::open(path, FileSettings::default()).await?),
        };
        let mut settings = SimpleSettings::new(MasterKey::Given(vec![7; 32].into()));
        if self.anchored {
            settings = settings.anchored(Arc::new(FileAnchor::new(folder.path().join("anchor"))));
        }
        self.folders.lock().unwrap().push(folder);
        Ok(Arc::new(SimpleCredentialProvider::open(store, settings).await?))
    }

    async fn connect_again(&self) -> Result<Option<Arc<dyn CredentialProvider>>> {
        Ok(None)
    }
}

fn main() -> std::process::ExitCode {
    run([OnDisk::new("redb", false), OnDisk::new("redb", true), OnDisk::new("sled", false)])
}
