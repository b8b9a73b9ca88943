use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hodei_worker_core::Result;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_postgres::{
    AsyncMessage, Client, Error as DatabaseError, Row, Statement,
    types::{ToSql, Type},
};

use super::{
    error,
    settings::{Place, PostgresSettings},
    tls::Tls,
};

/// Makes connections.
pub(super) struct Connector {
    config: tokio_postgres::Config,
    tls: Tls,
    pub(super) place: Place,
    /// How long a connection is waited for.
    patience: Duration,
    /// How long a statement is waited for.
    pub(super) limit: Duration,
}

impl Connector {
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self> {
        let resolved = settings.resolve()?;
        Ok(Self {
            tls: resolved.tls.connector()?,
            config: resolved.config,
            place: resolved.place,
            patience: settings.connect_timeout.0,
            limit: settings.statement_timeout.0,
        })
    }

    /// Opens a connection. What it is notified of, it tells `hint`.
    pub(super) async fn open(&self, hint: Option<Arc<Notify>>) -> Result<Session> {
        let opening = async {
            let (client, mut connection) =
                self.config.connect(self.tls.clone()).await.map_err(|error| self.refused(error))?;
            let driver = tokio::spawn(async move {
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    if let (AsyncMessage::Notification(_), Some(hint)) = (message, &hint) {
                        hint.notify_one();
                    }
                }
                // Whoever listens learns that there is nothing to hear any more.
                if let Some(hint) = hint {
                    hint.notify_one();
                }
            });
            let session =
                Session { client, driver, statements: Mutex::default(), given_up: AtomicBool::new(false) };
            session.client.batch_execute(&self.manners()).await.map_err(|error| self.refused(error))?;
            Ok(session)
        };
        match tokio::time::timeout(self.patience, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(error::silent(self.patience, error::Effect::None, &self.place)),
        }
    }

    fn refused(&self, error: DatabaseError) -> hodei_worker_core::Error {
        error::connection(error, &self.place)
    }

    /// What holds for each connection. Plans are made once, for tables that grow: they may be empty then.
    fn manners(&self) -> String {
        let limit = self.limit.as_millis();
        format!(
            "SET statement_timeout = {limit}; SET lock_timeout = {limit}; \
             SET idle_in_transaction_session_timeout = {limit}; SET synchronous_commit = on; \
             SET default_transaction_isolation = 'read committed'; SET jit = off; SET enable_seqscan = off; \
             SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan"
        )
    }
}

/// One connection.
pub(super) struct Session {
    client: Client,
    driver: JoinHandle<()>,
    /// What was prepared on it.
    statements: Mutex<HashMap<String, Statement>>,
    /// Somebody has waited in vain on it.
    given_up: AtomicBool,
}

impl Session {
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed() || self.given_up.load(Ordering::Relaxed)
    }

    /// Never uses this one again.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    async fn prepared(&self, sql: &str) -> Result<Statement, DatabaseError> {
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let made = self.client.prepare_typed(sql, &[] as &[Type]).await?;
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).insert(sql.to_owned(), made.clone());
        Ok(made)
    }

    /// Runs a statement that is used often.
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        self.client.query(&self.prepared(sql).await?, parameters).await
    }

    /// Runs statements without parameters, or answers.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), DatabaseError> {
        self.client.batch_execute(sql).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Without it a server that has fallen silent would keep the task for ever.
        self.driver.abort();
    }
}
