//! What one host asks of another that answers for a worker: a value in the store for the question, one for the answer.

use std::time::Duration;

use hodei_worker_core::{
    Error, ErrorKind, Result, Retry, Timestamp, WorkerId,
    error::ErrorReport,
    lifecycle::{Command, Worker},
    store::{Batch, Expected, StateEntry, Store},
};
use serde::{Deserialize, Serialize};

const QUESTIONS: &str = "request/";
const ANSWERS: &str = "answer/";
/// How many are read at once.
const PAGE: usize = 100;
/// A question that stands: it is written once, and removed when it is answered.
const ASKED: Expected = Expected::Version(1);
/// After how many looks for an answer it is looked whether the question still stands.
const LOOKS: u32 = 20;
/// How often an answer is looked for.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a question stands. Who asked may be gone; nobody expects a command to be carried out that much later. Long
/// beside what the clocks of hosts differ by.
const STANDS: Duration = Duration::from_secs(300);

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    #[serde(skip)]
    name: String,
    pub(super) worker: WorkerId,
    /// Which worker of that name: another may come after it.
    pub(super) born: u64,
    wanted: Wanted,
    /// When it was asked, by the clock of who asked.
    asked: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Start,
    Stop { grace: Option<Duration> },
    Remove { grace: Option<Duration>, keep_volumes: bool },
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    error: Option<ErrorReport>,
    /// The version of the worker's stream by then: who asked sees what became of it once it has seen that.
    #[serde(default)]
    version: u64,
    /// By the clock of who answered.
    given: Timestamp,
}

fn as_data<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "a request cannot be kept as data").with_source(error)
    })
}

impl Request {
    /// The request that a command makes, if it can be made of another host.
    pub(super) fn of(worker: &Worker, command: &Command, now: Timestamp) -> Option<Self> {
        let wanted = match command {
            Command::Start => Wanted::Start,
            Command::Stop { grace, .. } => Wanted::Stop { grace: *grace },
            Command::Remove { grace, keep_volumes, .. } => {
                Wanted::Remove { grace: *grace, keep_volumes: *keep_volumes }
            }
            _ => return None,
        };
        Some(Self {
            name: format!("{:016x}", fastrand::u64(..)),
            worker: worker.id.clone(),
            born: worker.born,
            wanted,
            asked: now,
        })
    }

    /// Whether it is too old to be carried out.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        is_old(self.asked, now)
    }

    /// What tells it from others.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The command that it makes for the host that answers.
    pub(super) fn command(&self) -> Command {
        match self.wanted {
            Wanted::Start => Command::Start,
            Wanted::Stop { grace } => Command::Stop { grace, jobs: 0 },
            Wanted::Remove { grace, keep_volumes } => Command::Remove { grace, jobs: 0, keep_volumes },
        }
    }

    /// Asks, and waits for the answer, whichever host gives it. Gives the version from which on what became of it can be seen.
    pub(super) async fn ask(&self, store: &dyn Store) -> Result<u64> {
        let (question, answer) = (format!("{QUESTIONS}{}", self.name), format!("{ANSWERS}{}", self.name));
        // Where it was answered already, it is not asked again: the first try was written, and nobody heard of it.
        let asked =
            Batch::new().put(&question, Expected::Absent, as_data(&self)?).remove(&answer, Expected::Absent);
        while let Err(error) = store.write(asked.clone()).await {
            match error.kind() {
                // It was written, and the answer lost.
                ErrorKind::Conflict => break,
                // Whether it was written is not known; it is written once.
                _ if error.is_retryable() => tokio::time::sleep(PAUSE).await,
                _ => return Err(error),
            }
        }
        let mut looks: u32 = 0;
        loop {
            looks = looks.wrapping_add(1);
            // Whether it still stands is asked before its answer is looked for: what is answered stands no more.
            let may_be_lost =
                looks.is_multiple_of(LOOKS) && store.get(&question).await.is_ok_and(|found| found.is_none());
            // From here on it may be carried out: nobody but the answer can say that it was not.
            let found = match store.get(&answer).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "the answer of another host cannot be read yet");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if let Some(found) = found {
                // One that stays is removed with the old ones.
                let _ = store.write(Batch::new().remove(&answer, Expected::Any)).await;
                let answer: Answer = serde_json::from_slice(&found.value).map_err(|error| {
                    Error::new(ErrorKind::Corrupt, "an answer cannot be understood").with_source(error)
                })?;
                return answer.error.map_or(Ok(answer.version), |error| Err(error.into()));
            }
            if may_be_lost {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    "the other host's answer is too old to be there still",
                )
                .with_retry(Retry::IfIdempotent)
                .with_context("worker", &self.worker));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Adds to what is written for it that it is answered: whoever comes later with the same request writes nothing.
    pub(super) fn settle(&self, batch: Batch, version: u64, now: Timestamp) -> Result<Batch> {
        self.answered(batch, Ok(version), now)
    }

    fn answered(&self, batch: Batch, result: Result<u64>, now: Timestamp) -> Result<Batch> {
        let (question, answer) = (format!("{QUESTIONS}{}", self.name), format!("{ANSWERS}{}", self.name));
        let (version, error) = match result {
            Ok(version) => (version, None),
            Err(error) => (0, Some(error.report())),
        };
        let said = as_data(&Answer { error, version, given: now })?;
        Ok(batch.remove(question, ASKED).put(answer, Expected::Any, said))
    }

    /// Answers, unless that has been done.
    pub(super) async fn answer(&self, store: &dyn Store, result: Result<u64>, now: Timestamp) -> Result<()> {
        match store.write(self.answered(Batch::new(), result, now)?).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            written => written,
        }
    }
}

/// The requests that nobody has answered yet.
pub(super) async fn open(store: &dyn Store) -> Result<Vec<Request>> {
    let mut requests = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let entries = store.list(QUESTIONS, after.as_deref(), PAGE).await?;
        let Some(last) = entries.last() else { return Ok(requests) };
        after = Some(last.key.clone());
        let read = |entry: StateEntry| {
            let request: Result<Request, _> = serde_json::from_slice(&entry.value.value);
            // One that a newer version wrote is left to that.
            request.ok().map(|request| Request { name: entry.key[QUESTIONS.len()..].to_owned(), ..request })
        };
        requests.extend(entries.into_iter().filter_map(read));
    }
}

/// Whether something of that time is over.
fn is_old(at: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(at)).is_ok_and(|age| age > STANDS)
}

/// Removes answers that nobody fetched: who asked is gone. Says how long that need not be done again.
pub(super) async fn forget_answers(store: &dyn Store, now: Timestamp) -> Result<Duration> {
    let mut after: Option<String> = None;
    loop {
        let entries = store.list(ANSWERS, after.as_deref(), PAGE).await?;
        let Some(last) = entries.last() else { return Ok(STANDS) };
        after = Some(last.key.clone());
        for entry in entries {
            let answer: Result<Answer, _> = serde_json::from_slice(&entry.value.value);
            if answer.is_ok_and(|answer| is_old(answer.given, now)) {
                store.write(Batch::new().remove(&entry.key, Expected::Any)).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::{
        ErrorKind,
        store::{MemoryStore, StateStore as _},
    };

    use super::*;

    fn now() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    fn request() -> Request {
        let worker = "a".parse().unwrap();
        Request { name: "r".into(), worker, born: 1, wanted: Wanted::Start, asked: now() }
    }

    async fn count(store: &MemoryStore) -> usize {
        store.list("", None, 10).await.unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn l6_a_question_is_answered_once() {
        let store = MemoryStore::new();
        let request = request();
        let answers = async {
            let asked = loop {
                match open(&store).await.unwrap().pop() {
                    Some(asked) => break asked,
                    None => tokio::time::sleep(PAUSE).await,
                }
            };
            asked.answer(&store, Ok(7), now()).await.unwrap();
            // Somebody else had it too.
            asked.answer(&store, Ok(8), now()).await.unwrap();
        };
        let (version, ()) = tokio::join!(request.ask(&store), answers);
        assert_eq!(version.unwrap(), 7);
        assert_eq!(count(&store).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn l6_answers_that_nobody_fetches_are_removed_and_who_comes_too_late_is_told() {
        let store = MemoryStore::new();
        let request = request();
        let forgets = async {
            while open(&store).await.unwrap().is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
            request.answer(&store, Ok(7), now()).await.unwrap();
            forget_answers(&store, now() + STANDS).await.unwrap();
            assert_eq!(count(&store).await, 1);
            forget_answers(&store, now() + STANDS + Duration::from_secs(1)).await.unwrap();
        };
        // Who asked stands still between asking and looking: here, it asks first of all.
        let asked = request.ask(&store);
        tokio::pin!(asked);
        assert!(futures::poll!(asked.as_mut()).is_pending());
        forgets.await;
        assert_eq!(count(&store).await, 0);
        let error = asked.await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::IfIdempotent), "{error}");
    }

    #[test]
    fn l6_a_question_does_not_stand_for_ever() {
        let request = request();
        assert!(!request.is_over(now() + STANDS));
        assert!(request.is_over(now() + STANDS + Duration::from_secs(1)));
        // A clock that is behind.
        assert!(!request.is_over(now() - Duration::from_secs(60)));
    }
}
