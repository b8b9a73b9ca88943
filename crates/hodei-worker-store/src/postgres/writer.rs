//! The one task that writes: batches that come while it writes are written together next.

use std::sync::Arc;

use hodei_worker_core::{
    Error, ErrorKind, Result,
    store::{Appended, Batch},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    changes::Changes,
    error::{self, Effect},
    group::Group,
    link::{Failed, Link},
    names::Names,
    request::{Request, outcomes},
};

/// Batches that wait; more wait to be let in.
const WAITING: usize = 4096;

/// Hands batches to the task.
pub(super) struct Writer {
    queue: mpsc::Sender<Job>,
}

struct Job {
    batch: Batch,
    reply: oneshot::Sender<Result<Appended>>,
}

impl Writer {
    /// Starts the task, which ends when this is dropped and everything was written.
    pub(super) fn start(link: Link, names: &Names, changes: Arc<Changes>) -> Self {
        let (queue, jobs) = mpsc::channel(WAITING);
        let task = Task { link, sql: Request::sql(names), changes };
        tokio::spawn(task.run(jobs));
        Self { queue }
    }

    pub(super) async fn append(&self, batch: Batch) -> Result<Appended> {
        let (reply, answer) = oneshot::channel();
        let closed = || Error::new(ErrorKind::Unavailable, "the store was closed");
        self.queue.send(Job { batch, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

struct Task {
    link: Link,
    sql: String,
    changes: Arc<Changes>,
}

impl Task {
    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut held = None;
        loop {
            let first = match held.take() {
                Some(job) => job,
                None => match jobs.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            // Those who are about to write are let do so.
            tokio::task::yield_now().await;
            let mut group = Group::default();
            group.admit(&first.batch);
            let mut taken = vec![first];
            while let Ok(job) = jobs.try_recv() {
                if !group.admit(&job.batch) {
                    held = Some(job);
                    break;
                }
                taken.push(job);
            }
            self.write(taken).await;
        }
    }

    async fn write(&self, jobs: Vec<Job>) {
        let together = self.attempt(jobs.iter().map(|job| &job.batch)).await;
        let results = match together {
            Ok(results) => results,
            // One of them is at fault: each is written alone, and it alone fails.
            Err(Failed::Database(cause)) if jobs.len() > 1 && error::is_its_own(&cause) => {
                let mut results = Vec::new();
                for job in &jobs {
                    let alone = self.attempt([&job.batch]).await;
                    let alone = alone.map_err(|failed| self.link.explain(failed, Effect::Writes));
                    results
                        .push(alone.and_then(|mut one| one.pop().unwrap_or_else(|| Ok(Appended::default()))));
                }
                results
            }
            Err(failed) => {
                let error = self.link.explain(failed, Effect::Writes);
                jobs.iter().map(|_| Err(error.clone())).collect()
            }
        };
        let last = results.iter().flatten().map(|appended| appended.last).max().unwrap_or(0);
        if last > 0 {
            self.changes.wrote();
        }
        for (job, result) in jobs.into_iter().zip(results) {
            // Who has gone away does not want to know.
            let _ = job.reply.send(result);
        }
    }

    async fn attempt<'a>(
        &self,
        batches: impl IntoIterator<Item = &'a Batch> + Clone,
    ) -> Result<Vec<Result<Appended>>, Failed> {
        let request = Request::new(batches.clone());
        let answer = self.link.try_write(&self.sql, &request.parameters()).await?;
        outcomes(batches, &answer).map_err(Failed::Connection)
    }
}
