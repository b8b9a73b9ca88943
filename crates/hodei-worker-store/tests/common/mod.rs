//! The stores in files, by name.
#![allow(dead_code, unreachable_pub)] // Each test uses some of it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may panic, its helpers too.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use hodei_worker_core::{
    Result,
    model::WorkerId,
    store::{Batch, Store},
    testkit::stores::FolderSubject,
};
use hodei_worker_store::{FileSettings, RedbStore, Salvage, SledStore, Verification};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Redb,
    Sled,
}

impl Engine {
    pub const ALL: [Self; 2] = [Self::Redb, Self::Sled];

    pub fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Sled => "sled",
        }
    }
    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|engine| engine.name() == name).unwrap()
    }
    /// Its file or folder, in the store's folder.
    pub fn entry(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::Redb => "store.redb",
            Self::Sled => "sled",
        })
    }
    /// The file that holds its data.
    pub fn data(self, folder: &Path) -> PathBuf {
        match self {
            Self::Redb => self.entry(folder),
            Self::Sled => self.entry(folder).join("db"),
        }
    }
    pub async fn open_with(self, folder: &Path, settings: FileSettings) -> Result<Arc<dyn Store>> {
        Ok(match self {
            Self::Redb => Arc::new(RedbStore::open(folder, settings).await?),
            Self::Sled => Arc::new(SledStore::open(folder, settings).await?),
        })
    }
    pub async fn verify(self, folder: &Path) -> Result<Verification> {
        match self {
            Self::Redb => RedbStore::verify(folder).await,
            Self::Sled => SledStore::verify(folder).await,
        }
    }
    pub async fn repair(self, folder: &Path, into: &Path) -> Result<Salvage> {
        match self {
            Self::Redb => RedbStore::repair(folder, into).await,
            Self::Sled => SledStore::repair(folder, into).await,
        }
    }
}

#[async_trait]
impl FolderSubject for Engine {
    async fn open(&self, folder: &Path) -> Result<Arc<dyn Store>> {
        self.open_with(folder, FileSettings::default()).await
    }
}

/// A folder that goes with the test.
pub fn folder() -> TempDir {
    TempDir::with_prefix_in("store-", env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// In memory, where there is a place for it: for what does not depend on the disk.
pub fn fast_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::with_prefix_in("hodei-store-", memory).unwrap() } else { folder() }
}

pub fn worker(name: &str) -> WorkerId {
    name.parse().unwrap()
}

/// Appends an event of that text.
pub async fn say(store: &Arc<dyn Store>, name: &str, expected: u64, text: &str) -> Result<u64> {
    let batch = Batch::new().append(worker(name), expected, [text.to_owned().into()]);
    Ok(store.append(batch).await?.last)
}

/// The texts of the whole log.
pub async fn log(store: &Arc<dyn Store>) -> Vec<String> {
    let page = store.read(0, 1_000_000).await.unwrap();
    page.events.iter().map(|event| String::from_utf8_lossy(&event.event).into_owned()).collect()
}
