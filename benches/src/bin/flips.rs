//! Damages copies of a store, one flipped bit or one truncation at a time: each is detected, or does no harm.
//! `flips --store redb|sled --rounds N`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;
use hodei_worker::{
    Result,
    store::Store,
    testkit::stores::{FolderSubject, damage},
};
use hodei_worker_benches::{Outcome, program};
use hodei_worker_store::{FileSettings, RedbStore, SledStore};

fn main() -> ExitCode {
    program::run("flips", |runtime, words| match *words {
        ["--store", store, "--rounds", rounds] | ["--rounds", rounds, "--store", store] => {
            runtime.block_on(flip(store, rounds))
        }
        _ => Err("usage: flips --store redb|sled --rounds N".into()),
    })
}

#[derive(Debug, Clone, Copy)]
enum Engine {
    Redb,
    Sled,
}

#[async_trait]
impl FolderSubject for Engine {
    async fn open(&self, folder: &Path) -> Result<Arc<dyn Store>> {
        let settings = FileSettings::default();
        Ok(match self {
            Self::Redb => Arc::new(RedbStore::open(folder, settings).await?),
            Self::Sled => Arc::new(SledStore::open(folder, settings).await?),
        })
    }
}

async fn flip(store: &str, rounds: &str) -> Outcome {
    let engine = match store {
        "redb" => Engine::Redb,
        "sled" => Engine::Sled,
        other => return Err(format!("`{other}` is none of redb, sled").into()),
    };
    let rounds: usize = rounds.parse().map_err(|_| format!("`{rounds}` is no number of rounds"))?;
    // Engines panic at what they never wrote, which is caught: only what goes unnoticed is of interest.
    std::panic::set_hook(Box::new(|_| {}));
    let folder = place(store);
    let begun = Instant::now();
    let seed = fastrand::u64(..);
    std::fs::create_dir_all(&folder)?;
    let report = damage(&engine, &folder, rounds, seed).await;
    std::fs::remove_dir_all(&folder)?;
    let report = report?;
    println!("{store:<8} {rounds} flipped bits and truncations in {:.0?}: {report}", begun.elapsed());
    if report.missed.is_empty() { Ok(()) } else { Err("damage went unnoticed".into()) }
}

/// In memory, where there is a place for it: thousands of stores are opened and none has to last.
fn place(store: &str) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    base.join(format!("hodei-flips-{store}-{}", std::process::id()))
}
