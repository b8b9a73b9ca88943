//! What one host asks of another that answers for a worker: a value in the store for the question, one for the answer.

use std::time::Duration;

use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerId,
    error::ErrorReport,
    lifecycle::Command,
    store::{Batch, Expected, Store},
};
use serde::{Deserialize, Serialize};

const QUESTIONS: &str = "request/";
const ANSWERS: &str = "answer/";
/// How many are read at once.
const PAGE: usize = 100;
/// How often an answer is looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    #[serde(skip)]
    name: String,
    pub(super) worker: WorkerId,
    wanted: Wanted,
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
}

fn as_data<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "a request cannot be kept as data").with_source(error)
    })
}

impl Request {
    /// The request that a command makes, if it can be made of another host.
    pub(super) fn of(worker: &WorkerId, command: &Command) -> Option<Self> {
        let wanted = match command {
            Command::Start => Wanted::Start,
            Command::Stop { grace, .. } => Wanted::Stop { grace: *grace },
            Command::Remove { grace, keep_volumes, .. } => {
                Wanted::Remove { grace: *grace, keep_volumes: *keep_volumes }
            }
            _ => return None,
        };
        Some(Self { name: format!("{:016x}", fastrand::u64(..)), worker: worker.clone(), wanted })
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

    /// Asks, and waits for the answer, whichever host gives it.
    pub(super) async fn ask(self, store: &dyn Store) -> Result<()> {
        let (question, answer) = (format!("{QUESTIONS}{}", self.name), format!("{ANSWERS}{}", self.name));
        store.write(Batch::new().put(&question, Expected::Absent, as_data(&self)?)).await?;
        loop {
            if let Some(found) = store.get(&answer).await? {
                store.write(Batch::new().remove(&answer, Expected::Any)).await?;
                let answer: Answer = serde_json::from_slice(&found.value).map_err(|error| {
                    Error::new(ErrorKind::Corrupt, "an answer cannot be understood").with_source(error)
                })?;
                return answer.error.map_or(Ok(()), |error| Err(error.into()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Answers.
    pub(super) async fn answer(&self, store: &dyn Store, result: Result<()>) -> Result<()> {
        let (question, answer) = (format!("{QUESTIONS}{}", self.name), format!("{ANSWERS}{}", self.name));
        let said = as_data(&Answer { error: result.err().map(|error| error.report()) })?;
        store.write(Batch::new().remove(&question, Expected::Any).put(&answer, Expected::Any, said)).await
    }
}

/// The requests that nobody has answered yet.
pub(super) async fn open(store: &dyn Store) -> Result<Vec<Request>> {
    let entries = store.list(QUESTIONS, None, PAGE).await?;
    let read = |entry: hodei_worker_core::store::StateEntry| {
        let request: Result<Request, _> = serde_json::from_slice(&entry.value.value);
        // One that a newer version wrote is left to that.
        request.ok().map(|request| Request { name: entry.key[QUESTIONS.len()..].to_owned(), ..request })
    };
    Ok(entries.into_iter().filter_map(read).collect())
}
