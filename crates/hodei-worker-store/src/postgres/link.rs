use std::{future::Future, sync::Arc, time::Duration};

use hodei_worker_core::{Error, Result, Retry};
use tokio::{sync::Mutex, time::Instant};
use tokio_postgres::{Error as DatabaseError, Row, types::ToSql};

use super::{
    connector::{Connector, Session},
    error::{self, Effect},
};

/// The pause after the first connection that did not come about; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long the server's own limit is given to be told.
const MARGIN: Duration = Duration::from_secs(2);
/// Who is dropped after that long without an answer has waited on a connection that may be dead.
const LONG: Duration = Duration::from_secs(1);
/// How often a statement is repeated that another was in the way of.
const RACES: u32 = 5;

/// A connection that is made anew when it breaks.
pub(super) struct Link {
    connector: Arc<Connector>,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    session: Option<Arc<Session>>,
    failures: u32,
    /// Until when nothing is tried, and why.
    pause: Option<(Instant, Error)>,
}

impl Link {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Self { connector, slot: Mutex::default() }
    }

    /// The connection, which is made if there is none. After a failure the same error is given for a while.
    pub(super) async fn session(&self) -> Result<Arc<Session>> {
        let mut slot = self.slot.lock().await;
        if let Some(session) = slot.session.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Arc::clone(session));
        }
        slot.session = None;
        if let Some((until, error)) = &slot.pause
            && let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            return Err(match error.retry() {
                Retry::Safe { .. } => error.clone().with_retry(Retry::Safe { after: Some(left) }),
                _ => error.clone(),
            });
        }
        match self.connector.open(None).await {
            Ok(session) => {
                let session = Arc::new(session);
                *slot = Slot { session: Some(Arc::clone(&session)), ..Slot::default() };
                Ok(session)
            }
            Err(error) => {
                let pause = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(slot.failures.min(10)));
                slot.failures += 1;
                slot.pause =
                    Some((Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0), error.clone()));
                Err(error)
            }
        }
    }

    /// Reads; on a connection that turns out to be broken, once more on a new one.
    pub(super) async fn read(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let mut again = true;
        loop {
            let session = self.session().await?;
            let answer = self.attempt(&session, session.query(sql, parameters)).await;
            match answer {
                Ok(rows) => return Ok(rows),
                Err(Failed::Database(cause)) if again && error::is_end(&cause) => again = false,
                Err(failed) => return Err(self.explain(failed, Effect::None)),
            }
        }
    }

    /// Does what can't be done twice without harm, unless another transaction was in the way.
    pub(super) async fn write(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.try_write(sql, parameters).await.map_err(|failed| self.explain(failed, Effect::Writes))
    }

    /// As [`write`](Self::write), with the cause of a failure.
    pub(super) async fn try_write(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failed> {
        let mut races = 0;
        loop {
            let session = self.session().await.map_err(Failed::Connection)?;
            match self.attempt(&session, session.query(sql, parameters)).await {
                Err(Failed::Database(cause)) if races < RACES && error::is_race(&cause) => races += 1,
                answer => return answer,
            }
        }
    }

    /// Runs statements without parameters that may be run again.
    pub(super) async fn run(&self, sql: &str) -> Result<()> {
        let mut races = 0;
        loop {
            let session = self.session().await?;
            match self.attempt(&session, session.execute(sql)).await {
                Ok(()) => return Ok(()),
                Err(Failed::Database(cause)) if races < RACES && error::is_race(&cause) => races += 1,
                Err(failed) => return Err(self.explain(failed, Effect::None)),
            }
        }
    }

    /// Waits for an answer, and gives the connection up where it is not sure in what state it is.
    async fn attempt<T>(
        &self,
        session: &Session,
        asked: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, Failed> {
        let waiting = Waiting { session, since: Instant::now() };
        let answer = tokio::time::timeout(self.connector.limit + MARGIN, asked).await;
        std::mem::forget(waiting);
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cause)) => {
                if !error::leaves_whole(&cause) {
                    session.give_up();
                }
                Err(Failed::Database(cause))
            }
            Err(_) => {
                session.give_up();
                Err(Failed::Silent)
            }
        }
    }

    pub(super) fn explain(&self, failed: Failed, effect: Effect) -> Error {
        match failed {
            Failed::Connection(error) => error,
            Failed::Database(cause) => error::statement(cause, effect, &self.connector.place),
            Failed::Silent => error::silent(self.connector.limit + MARGIN, effect, &self.connector.place),
        }
    }
}

/// Somebody who waits for an answer. Dropped while it waits, it may have lost patience with a connection that is dead.
struct Waiting<'a> {
    session: &'a Session,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.since.elapsed() >= LONG {
            self.session.give_up();
        }
    }
}

/// Why there is no answer.
pub(super) enum Failed {
    /// Nothing was sent.
    Connection(Error),
    Database(DatabaseError),
    /// None came in time.
    Silent,
}
