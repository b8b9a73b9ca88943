use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use hodei_worker_core::{
    Error, ErrorKind, Result,
    store::{Appended, Batch, Compaction},
};
use tokio::sync::{
    mpsc::{Receiver, error::TryRecvError},
    oneshot,
};

use super::{
    Shared,
    anchor::AnchorFile,
    error,
    folder::Folder,
    group::{Changes, Group},
    rows::Rows,
};
use crate::{
    FileSettings,
    engine::{Engine, Fault, Write},
    format::{Anchor, Manifest},
};

mod compact;
mod revive;

/// More than that is not written by one commit.
const GROUP_BYTES: usize = 4 << 20;
const GROUP_BATCHES: usize = 4096;

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Job {
    Append {
        batch: Batch,
        answer: oneshot::Sender<Result<Appended>>,
    },
    /// Removes a part of what can be removed.
    Compact {
        through: u64,
        answer: oneshot::Sender<Result<Compaction>>,
    },
    /// Opens the engine anew if it has failed a reader.
    Mend {
        answer: oneshot::Sender<Result<()>>,
    },
}

type Answer = oneshot::Sender<Result<Appended>>;

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Writer<E> {
    pub(super) shared: Arc<Shared<E>>,
    pub(super) folder: Folder,
    pub(super) anchor: AnchorFile,
    pub(super) manifest: Manifest,
    pub(super) settings: FileSettings,
    pub(super) inbox: Receiver<Job>,
    /// The manifest of what may have been written, or not: known when the engine works again.
    pub(super) unknown: Option<Manifest>,
    /// Why nothing can be written any more.
    pub(super) lost: Option<Error>,
    /// How many writers there are: those whose batches the last commit had, and those that waited for it to end.
    pub(super) crowd: usize,
}

impl<E: Engine> Writer<E> {
    pub(crate) fn run(mut self) {
        let mut next = self.inbox.blocking_recv();
        while let Some(job) = next.take() {
            let mut other = None;
            match job {
                Job::Append { batch, answer } => other = self.append(batch, answer),
                Job::Compact { through, answer } => drop(answer.send(self.compact(through))),
                Job::Mend { answer } => drop(answer.send(self.revive())),
            }
            next = other.or_else(|| self.inbox.blocking_recv());
        }
        // Readers that are still at it end first; the folder is free when the engine is closed.
        let mut engine = self.shared.engine.write().unwrap_or_else(PoisonError::into_inner);
        let closing = error::guarded(|| {
            drop(engine.take());
            Ok(())
        });
        if let Err(fault) = closing {
            tracing::warn!(store = %self.folder.path.display(), ?fault, "the store's engine did not close well");
        }
    }

    /// Gathers more batches, and writes them. Returns a job of another kind that it met.
    fn append(&mut self, batch: Batch, answer: Answer) -> Option<Job> {
        let mut batches = vec![(batch, answer)];
        let other = self.gather(&mut batches);
        let size = batches.len();
        if let Err(error) = self.revive() {
            for (_, answer) in batches {
                drop(answer.send(Err(error.clone())));
            }
            return other;
        }
        let mut written = Vec::with_capacity(size);
        let shared = Arc::clone(&self.shared);
        // What says nothing about the store's content or the batch is a failure of the engine.
        let note = |error: &Error| {
            use ErrorKind::{Config, Conflict, Corrupt, Unsupported};
            if !matches!(error.kind(), Config | Conflict | Corrupt | Unsupported) {
                shared.failing.store(true, Ordering::Relaxed);
            }
        };
        let outcome = self.write(|group| {
            let mut failed = Ok(());
            for (batch, answer) in batches {
                // What is refused fails alone; what fails later takes the others with it.
                let added = match (&failed, group.check(&batch)) {
                    (Ok(()), Ok(values)) => group.add(&batch, values),
                    (Ok(()), Err(error)) => {
                        note(&error);
                        drop(answer.send(Err(error)));
                        continue;
                    }
                    (Err(_), _) => Ok(Appended::default()),
                };
                match added {
                    Ok(appended) => written.push((appended, answer)),
                    Err(error) => {
                        note(&error);
                        written.push((Appended::default(), answer));
                        failed = Err(error);
                    }
                }
            }
            failed
        });
        // Those that get their answers now, and those that came meanwhile: written together from now on, not in turns.
        self.crowd = size + self.inbox.len();
        for (appended, answer) in written {
            drop(answer.send(outcome.clone().map(|()| appended)));
        }
        other
    }

    fn gather(&mut self, batches: &mut Vec<(Batch, Answer)>) -> Option<Job> {
        let mut begun = None;
        let mut size = 0;
        while batches.len() < GROUP_BATCHES && size < GROUP_BYTES {
            match self.inbox.try_recv() {
                Ok(Job::Append { batch, answer }) => {
                    size += batch
                        .streams
                        .iter()
                        .flat_map(|stream| &stream.events)
                        .map(|event| event.len())
                        .sum::<usize>();
                    batches.push((batch, answer));
                }
                Ok(other) => return Some(other),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {
                    // Those of the last commit have their answers, and come back soon. Who is alone does not wait.
                    if batches.len() >= self.crowd || self.settings.gather == Duration::ZERO {
                        return None;
                    }
                    if begun.get_or_insert_with(Instant::now).elapsed() >= self.settings.gather {
                        return None;
                    }
                    // Far shorter than a timer's tick; others run meanwhile.
                    std::thread::yield_now();
                }
            }
        }
        None
    }

    /// Writes what `fill` puts into a group, in one commit.
    pub(super) fn write(&mut self, fill: impl FnOnce(&mut Group<'_, E>) -> Result<()>) -> Result<()> {
        let (writes, manifest, changes) = {
            let engine = self.shared.engine.read().unwrap_or_else(PoisonError::into_inner);
            let engine = engine.as_ref().ok_or_else(error::closed)?;
            let index = self.shared.index();
            let rows = Rows::new(engine, &self.folder.path, self.shared.seal, self.manifest.last + 1);
            let mut group = Group::new(rows, &index, &self.manifest);
            fill(&mut group)?;
            if group.is_empty() {
                return Ok(());
            }
            error::guarded(|| engine.reserve(group.size)).map_err(|fault| self.fault(fault))?;
            group.finish()
        };
        // Who reads beside a compaction finds rows gone before they are known to be.
        let first = self.begin_at(manifest.first);
        match self.commit(&writes) {
            Ok(()) => {
                self.done(manifest, changes);
                Ok(())
            }
            Err(fault) => {
                self.begin_at(first);
                self.failed(fault, manifest)
            }
        }
    }

    /// Says where the log begins. Returns where it began.
    fn begin_at(&self, first: u64) -> u64 {
        let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut index.first, first)
    }

    fn commit(&self, writes: &[Write]) -> Result<(), Fault> {
        let engine = self.shared.engine.read().unwrap_or_else(PoisonError::into_inner);
        match engine.as_ref() {
            Some(engine) => error::guarded(|| engine.commit(writes)),
            None => Err(Fault::Broken("the engine is closed".to_owned())),
        }
    }

    /// It is durable: everybody may see it.
    pub(super) fn done(&mut self, manifest: Manifest, changes: Changes) {
        let anchor = Anchor { log: manifest.log.clone(), commits: manifest.commits, last: manifest.last };
        if let Err(error) = self.anchor.note(&anchor) {
            tracing::warn!(store = %self.folder.path.display(), %error, "cannot write the store's anchor");
        }
        let last = manifest.last;
        self.manifest = manifest;
        changes.apply(&mut self.shared.index.write().unwrap_or_else(PoisonError::into_inner));
        self.shared.last.send_if_modified(|seen| std::mem::replace(seen, last) != last);
    }

    fn fault(&self, fault: Fault) -> Error {
        error::from_fault(&self.folder.path, "cannot write to the store", fault)
    }
}
