//! The store on an embedded engine: one thread writes, in groups; the log is keyed by position; the ends of all streams
//! are in memory.

mod anchor;
mod checks;
mod error;
mod folder;
mod group;
mod index;
mod open;
mod read;
mod rows;
mod salvage;
mod scan;
mod scratch;
mod verify;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, atomic::AtomicBool},
    thread::JoinHandle,
};

use hodei_worker_core::{
    Error, ErrorKind, Result, Retry,
    store::{Appended, Batch, Compaction, StoreInfo, refusal},
};
use tokio::sync::{mpsc, oneshot, watch};

use self::{index::Index, writer::Job};
use crate::{FileSettings, Salvage, Verification, engine::Engine, format::Seal};

/// What the writer and readers share.
#[derive(Debug)]
pub(crate) struct Shared<E> {
    info: StoreInfo,
    place: PathBuf,
    seal: Seal,
    /// `None` while the engine does not work, and when the store is closed.
    engine: RwLock<Option<E>>,
    index: RwLock<Index>,
    /// The last position that can be seen.
    last: watch::Sender<u64>,
    /// The engine has failed a reader: it works again when it is opened anew.
    failing: AtomicBool,
}

impl<E> Shared<E> {
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store on an engine.
#[derive(Debug)]
pub(crate) struct FileStore<E: Engine> {
    shared: Arc<Shared<E>>,
    inbox: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl<E: Engine> Drop for FileStore<E> {
    fn drop(&mut self) {
        // The writer ends when nobody can send it anything; what it has taken in is written.
        self.inbox = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(store = %self.shared.place.display(), "the store's writer failed");
        }
    }
}

impl<E: Engine> FileStore<E> {
    pub(crate) async fn open(path: &Path, settings: FileSettings) -> Result<Self> {
        let path = path.to_owned();
        aside(move || open::open(&path, &settings)).await
    }

    pub(crate) async fn verify(path: &Path) -> Result<Verification> {
        let path = path.to_owned();
        aside(move || verify::verify::<E>(&path)).await
    }

    pub(crate) async fn repair(path: &Path, into: &Path) -> Result<Salvage> {
        let (path, into) = (path.to_owned(), into.to_owned());
        aside(move || salvage::repair::<E>(&path, &into)).await
    }

    pub(crate) fn info(&self) -> &StoreInfo {
        &self.shared.info
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T>>) -> Job) -> Result<T> {
        let inbox = self.inbox.as_ref().ok_or_else(error::closed)?;
        let (answer, answered) = oneshot::channel();
        inbox.send(job(answer)).await.map_err(|_| error::closed())?;
        let lost = || error::closed().with_retry(Retry::IfIdempotent);
        answered.await.map_err(|_| lost())?
    }

    pub(crate) async fn append(&self, batch: Batch) -> Result<Appended> {
        batch.validate()?;
        if batch.fence.is_some() {
            return Err(refusal::no_leases());
        }
        if batch.is_empty() {
            return Ok(Appended::default());
        }
        self.ask(|answer| Job::Append { batch, answer }).await
    }

    pub(crate) async fn compact(&self, through: u64) -> Result<Compaction> {
        let mut total = Compaction::new(0, 0);
        loop {
            let done = self.ask(|answer| Job::Compact { through, answer }).await?;
            total = Compaction::new(total.removed + done.removed, done.first);
            if done.removed == 0 {
                return Ok(total);
            }
        }
    }

    /// Reads on a thread that may wait for the disk.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&Shared<E>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let (shared, read, first) = aside(move || {
            let first = read(&shared);
            Ok((shared, read, first))
        })
        .await?;
        if first.as_ref().err().is_none_or(|error| error.kind() != ErrorKind::Unavailable) {
            return first;
        }
        // What failed may have been the disk for a moment; the engine has to be opened again all the same.
        self.ask(|answer| Job::Mend { answer }).await?;
        aside(move || read(&shared)).await
    }

    pub(crate) fn last_position(&self) -> u64 {
        *self.shared.last.borrow()
    }

    pub(crate) async fn changed(&self, after: u64) -> Result<()> {
        let mut last = self.shared.last.subscribe();
        last.wait_for(|last| *last > after).await.map(drop).map_err(|_| error::closed())
    }
}

/// Does it on a thread that may wait for the disk.
pub(crate) async fn aside<T: Send + 'static>(act: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let failed = |error| Error::new(ErrorKind::Unexpected, "a call of the store failed").with_source(error);
    tokio::task::spawn_blocking(act).await.map_err(failed)?
}

#[cfg(test)]
#[cfg(feature = "redb")]
mod tests;
