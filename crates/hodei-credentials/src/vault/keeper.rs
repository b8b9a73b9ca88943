//! The one task in the background: it keeps the log-in alive and looks after nodes that do not work.

use std::{sync::Arc, time::Duration};

use hodei_worker_core::Result;
use tokio::{task::JoinHandle, time::Instant};

use super::{cluster::jittered, login, session::Session, token::Token};

/// After a failed renewal it is tried again no sooner.
const SHORTEST: Duration = Duration::from_millis(200);
/// Nor later.
const LONGEST: Duration = Duration::from_secs(30);

/// The task; it ends with this.
#[derive(Debug)]
pub(super) struct Keeper(JoinHandle<()>);

impl Keeper {
    pub(super) fn start(session: Arc<Session>) -> Self {
        Self(tokio::spawn(async move {
            let cluster = Arc::clone(&session.cluster);
            // Neither ends by itself.
            tokio::select! { () = keep_alive(&session) => {}, () = cluster.keep_looking() => {} }
        }))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep_alive(session: &Session) {
    let mut changes = session.changes();
    loop {
        changes.mark_unchanged();
        let due = session.current().and_then(|token| Some((token.due()?, token)));
        let Some((due, token)) = due else {
            // The sender lives as long as the session.
            drop(changes.changed().await);
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            _ = changes.changed() => continue,
        }
        if let Err(error) = prolong(session, &token).await {
            let left = token.ends().map_or(LONGEST, |end| end.saturating_duration_since(Instant::now()));
            let pause = match left.is_zero() {
                true => LONGEST,
                false => (left / 4).clamp(SHORTEST, LONGEST),
            };
            tracing::warn!(%error, ?left, "the Vault log-in could not be prolonged");
            tokio::select! { () = tokio::time::sleep(jittered(pause)) => {}, _ = changes.changed() => {} }
        }
    }
}

/// Renews the token, or logs in anew where that does not help.
async fn prolong(session: &Session, token: &Token) -> Result<()> {
    if token.renewable
        && let Some(renewed) = login::renew(session, token).await?
    {
        let is_enough = !renewed.nears_its_last_end();
        session.keep(renewed);
        tracing::debug!("the Vault log-in was prolonged");
        if is_enough {
            return Ok(());
        }
    }
    session.log_in_after(token.generation).await.map(drop)
}
