//! The log-in: got when it is needed, kept alive, and got anew when the server accepts it no more.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use hodei_worker_core::{Error, ErrorKind, Result, credential::CredentialProvider};
use http::StatusCode;
use tokio::{sync::watch, time::Instant};

use super::{
    VaultAuth,
    client::{Answer, Request},
    cluster::{Cluster, Route},
    error::Fault,
    login,
    token::{LookedUp, Token},
};

/// A log-in that was refused is not tried again sooner.
const AFTER_REFUSAL: Duration = Duration::from_secs(2);
/// A token of which nobody can tell whether it is accepted is replaced after a refusal if it is older.
const BLIND: Duration = Duration::from_secs(60);

/// Whoever is logged in to the cluster.
pub(super) struct Session {
    pub(super) cluster: Arc<Cluster>,
    pub(super) auth: VaultAuth,
    pub(super) credentials: Arc<dyn CredentialProvider>,
    token: RwLock<Option<Arc<Token>>>,
    /// Whoever logs in; the others wait for what comes of it.
    turn: tokio::sync::Mutex<()>,
    refused: Mutex<Option<(Instant, Error)>>,
    /// Tells of each log-in and renewal.
    changed: watch::Sender<u64>,
}

impl Session {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        auth: VaultAuth,
        credentials: Arc<dyn CredentialProvider>,
    ) -> Self {
        Self {
            cluster,
            auth,
            credentials,
            token: RwLock::default(),
            turn: tokio::sync::Mutex::default(),
            refused: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Sends a request as whoever is logged in. A token that is accepted no more is replaced once.
    pub(super) async fn send(&self, request: &Request, route: Route) -> Result<Answer, Fault> {
        let token = self.token().await?;
        let answer = self.cluster.send(request, Some(&token.secret), route).await?;
        if answer.status != StatusCode::FORBIDDEN {
            return Ok(answer);
        }
        // Refused, so nothing was done.
        if self.is_accepted(&token).await? {
            if answer.is_active || route != Route::Any || self.cluster.active().is_none() {
                return Ok(answer);
            }
            // A standby may not know a new token, or a new policy, yet.
            return self.cluster.send(request, Some(&token.secret), Route::Repeatable).await;
        }
        let token = self.log_in_after(token.generation).await?;
        self.cluster.send(request, Some(&token.secret), route).await
    }

    /// The answer's value for what may be repeated, or is a read.
    pub(super) async fn ask(&self, request: &Request, route: Route) -> Result<Answer> {
        self.send(request, route).await.map_err(Fault::into_error)
    }

    /// The token, got if there is none yet.
    pub(super) async fn token(&self) -> Result<Arc<Token>> {
        match self.current() {
            Some(token) => Ok(token),
            None => self.log_in_after(0).await,
        }
    }

    pub(super) fn current(&self) -> Option<Arc<Token>> {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells of each log-in and renewal from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Keeps this token, unless a later log-in has made it old.
    pub(super) fn keep(&self, token: Token) -> Arc<Token> {
        let token = Arc::new(token);
        let mut kept = self.token.write().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|kept| kept.generation <= token.generation) {
            *kept = Some(Arc::clone(&token));
        }
        drop(kept);
        self.changed.send_modify(|count| *count += 1);
        token
    }

    /// Whether the server accepts the token. Of one that may not look at itself it is guessed by its age.
    async fn is_accepted(&self, token: &Token) -> Result<bool, Fault> {
        if self.current().is_some_and(|current| current.generation > token.generation) {
            return Ok(false);
        }
        if token.ends().is_some_and(|end| end <= Instant::now()) {
            return Ok(false);
        }
        if token.is_blind {
            return Ok(token.since.elapsed() < BLIND);
        }
        let looked = self.cluster.send(&login::look_up(), Some(&token.secret), Route::Any).await?;
        Ok(looked.status != StatusCode::FORBIDDEN)
    }

    /// Logs in, unless somebody else has since that log-in.
    pub(super) async fn log_in_after(&self, generation: u64) -> Result<Arc<Token>> {
        let _turn = self.turn.lock().await;
        let known = self.current();
        if let Some(token) = known.as_ref().filter(|token| token.generation > generation) {
            return Ok(Arc::clone(token));
        }
        if let Some((at, error)) = &*self.refused.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < AFTER_REFUSAL
        {
            return Err(error.clone());
        }
        let logged_in = login::log_in(self, known.as_deref(), generation + 1).await;
        match logged_in {
            Ok(token) => {
                tracing::info!(log_in = token.generation, lease = ?token.lease.map(|(_, lease)| lease), "logged in to Vault");
                Ok(self.keep(token))
            }
            Err(error) => {
                if error.kind() == ErrorKind::Unauthenticated {
                    let refused = Some((Instant::now(), error.clone()));
                    *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
                }
                Err(error)
            }
        }
    }

    /// Looks the token's own end up.
    pub(super) async fn look_up(&self, token: &secrecy::SecretString) -> Result<Option<LookedUp>> {
        let request = login::look_up();
        let answer = self.cluster.send(&request, Some(token), Route::Any).await.map_err(Fault::into_error)?;
        if answer.status == StatusCode::FORBIDDEN { Ok(None) } else { answer.read(&request).map(Some) }
    }
}
