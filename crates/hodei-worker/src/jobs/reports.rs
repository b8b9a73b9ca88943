//! Reading what workers say of themselves.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures::StreamExt as _;
use hodei_worker_core::{
    Capability, ErrorKind, ProviderCapabilities, Result, Timestamp, WorkerId, WorkerProvider, WorkerRef,
    model::RunId,
    policy::{Backoff, RetrySettings},
    provider::{LogItem, LogOptions, LogStream},
};
use tokio::task::AbortHandle;

use super::{
    Jobs,
    line::{Lines, Said},
};
use crate::health::HealthMonitor;

/// Follows the output of workers that report for themselves, and tells [`Jobs`] and the [`HealthMonitor`] what they say.
/// One log stream and one task for each that is followed. Clones are the same; with the last one all following ends.
#[derive(Debug, Clone)]
pub struct Reports(Arc<Inner>);

struct Inner {
    jobs: Jobs,
    health: HealthMonitor,
    followed: Mutex<HashMap<WorkerId, Followed>>,
}

struct Followed {
    worker: WorkerRef,
    run: RunId,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lines before now that are looked at, to know whether a worker that has run for a while is busy.
const TAIL: u64 = 1000;

impl Reports {
    /// Follows nobody yet.
    pub fn new(jobs: Jobs, health: HealthMonitor) -> Self {
        Self(Arc::new(Inner { jobs, health, followed: Mutex::default() }))
    }

    /// Whether what workers say can be read on a provider with these capabilities.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) with the reason where it cannot.
    pub fn check(capabilities: &ProviderCapabilities) -> Result<()> {
        capabilities.require([Capability::Logs])
    }

    /// Follows a run of a worker, which began at that time where it is known, and no other run of that worker any more.
    /// What it has said in its last 1,000 lines counts. Goes on after errors, until the run is [forgotten](Self::forget)
    /// or the worker is deleted. Of a run that is followed already, nothing changes.
    ///
    /// Call it inside a Tokio runtime with a timer.
    pub fn follow(
        &self,
        provider: Arc<dyn WorkerProvider>,
        worker: &WorkerRef,
        run: &RunId,
        began: Option<Timestamp>,
    ) {
        let mut followed = self.0.followed();
        if followed.get(&worker.id).is_some_and(|known| (&known.worker, &known.run) == (worker, run)) {
            return;
        }
        // Whatever another run said, this one is idle until it says otherwise.
        followed.remove(&worker.id);
        self.0.jobs.reported(&worker.id, false);
        let reader = Reader {
            provider,
            worker: worker.clone(),
            run: run.clone(),
            reports: Arc::downgrade(&self.0),
            since: began,
            seen: false,
        };
        let task = tokio::spawn(reader.read()).abort_handle();
        followed.insert(worker.id.clone(), Followed { worker: worker.clone(), run: run.clone(), task });
    }

    /// The worker's run is over, or nobody wants to know: it is not busy any more.
    pub fn forget(&self, worker: &WorkerRef) {
        let mut followed = self.0.followed();
        if followed.get(&worker.id).is_some_and(|known| known.worker == *worker) {
            followed.remove(&worker.id);
            self.0.jobs.reported(&worker.id, false);
        }
    }

    /// How many workers are followed.
    pub fn len(&self) -> usize {
        self.0.followed().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn followed(&self) -> MutexGuard<'_, HashMap<WorkerId, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("followed", &self.followed().len()).finish_non_exhaustive()
    }
}

/// Reads one worker's output.
struct Reader {
    provider: Arc<dyn WorkerProvider>,
    worker: WorkerRef,
    run: RunId,
    reports: Weak<Inner>,
    /// What is older does not count.
    since: Option<Timestamp>,
    /// Something was read: from there it goes on, without a look at the lines before.
    seen: bool,
}

impl Reader {
    async fn read(mut self) {
        let backoff = Backoff::new(&RetrySettings::default());
        let mut failed = 0_u32;
        loop {
            let before = self.since;
            match self.read_once().await {
                Ok(()) => return,
                Err(error) if is_final(error.kind()) => {
                    tracing::debug!(worker = %self.worker, %error, "a worker's reports are not read any more");
                    return;
                }
                Err(error) => {
                    tracing::debug!(worker = %self.worker, %error, "a worker's reports cannot be read at present");
                }
            }
            failed = if self.since == before { failed.saturating_add(1) } else { 1 };
            tokio::time::sleep(backoff.wait(failed)).await;
        }
    }

    /// Reads until the worker is deleted. While it cannot be read, no sign of life reaches us.
    async fn read_once(&mut self) -> Result<()> {
        let mut options = LogOptions::following().only(LogStream::Stdout);
        options.since = self.since;
        if !self.seen {
            options.tail = Some(TAIL);
        }
        let opened = self.provider.worker_logs(&self.worker, &options).await;
        let mut output = opened.inspect_err(|_| self.hears(false))?;
        self.hears(true);
        let mut lines = Lines::default();
        while let Some(item) = output.next().await {
            match item.inspect_err(|_| self.hears(false))? {
                LogItem::Chunk(chunk) => {
                    (self.since, self.seen) = (Some(chunk.time), true);
                    lines.feed(&chunk.bytes).into_iter().for_each(|said| self.hear(said));
                }
                LogItem::Gap { .. } => lines.lose(),
                _ => {}
            }
        }
        Ok(())
    }

    fn hears(&self, hears: bool) {
        self.tell(|reports| reports.health.hears(&self.worker, hears));
    }

    fn hear(&self, said: Said) {
        self.tell(|reports| {
            match said {
                Said::Busy => reports.jobs.reported(&self.worker.id, true),
                Said::Idle => reports.jobs.reported(&self.worker.id, false),
                Said::Heartbeat => {}
            }
            reports.health.heartbeat(&self.worker);
        });
    }

    /// Tells something, unless the run was forgotten meanwhile: nobody would ever take it back.
    fn tell(&self, tell: impl FnOnce(&Inner)) {
        let Some(reports) = self.reports.upgrade() else { return };
        let followed = reports.followed();
        let known = followed.get(&self.worker.id);
        if known.is_some_and(|known| (&known.worker, &known.run) == (&self.worker, &self.run)) {
            tell(&reports);
        }
    }
}

/// Whether there will never be anything to read.
fn is_final(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Config)
}
