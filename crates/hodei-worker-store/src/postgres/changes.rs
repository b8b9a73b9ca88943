//! Hearing of what others write: a notification is a hint to ask, and it is asked now and then anyway.

use std::{future::pending, sync::Arc, time::Duration};

use hodei_worker_core::{Error, ErrorKind, Result};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    connector::{Connector, Session},
    error::{self, Effect},
    names::Names,
};

/// At most one notification is sent in this time, since each holds all that notify in the database up for a moment.
const THROTTLE: Duration = Duration::from_millis(50);
/// Nor is it asked more often.
const BREATH: Duration = Duration::from_millis(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What those who wait look at.
#[derive(Debug, Clone, Default)]
struct Seen {
    last: u64,
    /// Why nothing can be heard.
    deaf: Option<Error>,
}

/// The last position that can be seen, as far as it is known here.
#[derive(Debug)]
pub(super) struct Changes {
    seen: watch::Sender<Seen>,
    /// Something was written here.
    wrote: Notify,
    /// Somebody waits.
    waits: Notify,
}

impl Changes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { seen: watch::Sender::default(), wrote: Notify::new(), waits: Notify::new() })
    }

    /// Others are to be told, and those who wait here.
    pub(super) fn wrote(&self) {
        self.wrote.notify_one();
    }

    /// Waits until something after that position can be seen.
    pub(super) async fn after(&self, after: u64) -> Result<()> {
        let mut seen = self.seen.subscribe();
        if seen.borrow().last > after {
            return Ok(());
        }
        self.waits.notify_one();
        let found = seen.wait_for(|seen| seen.last > after || seen.deaf.is_some()).await;
        let found = found.map_err(|_| Error::new(ErrorKind::Unavailable, "the store was closed"))?;
        match &found.deaf {
            Some(error) if found.last <= after => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Starts the task that listens.
    pub(super) fn listen(
        self: &Arc<Self>,
        connector: Arc<Connector>,
        names: &Names,
        poll: Duration,
    ) -> JoinHandle<()> {
        let listener = Listener {
            changes: Arc::clone(self),
            connector,
            listen: format!("LISTEN {}; SET synchronous_commit = off", names.channel),
            notify: format!("NOTIFY {}", names.channel),
            ask: format!("SELECT visible, written FROM {}.last_positions()", names.schema),
            poll,
        };
        tokio::spawn(listener.run())
    }
}

struct Listener {
    changes: Arc<Changes>,
    connector: Arc<Connector>,
    listen: String,
    notify: String,
    ask: String,
    poll: Duration,
}

impl Listener {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let since = Instant::now();
            let error = self.hear().await;
            tracing::debug!(error = %error, "listening to the database ended");
            self.changes.seen.send_modify(|seen| seen.deaf = Some(error));
            pause = if since.elapsed() > 2 * self.poll { FIRST_PAUSE } else { (pause * 2).min(self.poll) };
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
    }

    /// Listens until the connection breaks.
    async fn hear(&self) -> Error {
        let heard = Arc::new(Notify::new());
        let session = match self.connector.open(Some(Arc::clone(&heard))).await {
            Ok(session) => session,
            Err(error) => return error,
        };
        if let Err(error) = self.told(session.execute(&self.listen)).await {
            return error;
        }
        // What was written before it was listened to is asked for.
        if let Err(error) = self.refresh(&session).await {
            return error;
        }
        let mut ask_at = None;
        let mut unsettled = BREATH;
        let mut notify_at = None;
        let mut notified = Instant::now() - THROTTLE;
        let mut asked = Instant::now();
        loop {
            let waited_for = self.changes.seen.receiver_count() > 0;
            let next = if waited_for { Some(ask_at.unwrap_or(asked + self.poll)) } else { None };
            tokio::select! {
                () = heard.notified() => {
                    if session.is_closed() {
                        return self.lost();
                    }
                    ask_at = Some(ask_at.unwrap_or(asked + BREATH));
                }
                () = self.changes.wrote.notified() => {
                    ask_at = Some(ask_at.unwrap_or(asked + BREATH));
                    notify_at = Some(notify_at.unwrap_or(notified + THROTTLE));
                }
                () = self.changes.waits.notified() => ask_at = Some(ask_at.unwrap_or(asked + BREATH)),
                () = at(notify_at) => {
                    if let Err(error) = self.told(session.execute(&self.notify)).await {
                        return error;
                    }
                    (notify_at, notified) = (None, Instant::now());
                }
                () = at(next) => match self.refresh(&session).await {
                    Ok(settled) => {
                        asked = Instant::now();
                        // What was written and cannot be seen yet will be, in a moment.
                        unsettled = if settled { BREATH } else { (unsettled * 2).min(self.poll) };
                        ask_at = (!settled).then_some(asked + unsettled);
                    }
                    Err(error) => return error,
                },
            }
        }
    }

    /// Asks for the last position, and tells whether it is the last that was written, too.
    async fn refresh(&self, session: &Session) -> Result<bool> {
        let rows = self.told(session.query(&self.ask, &[])).await?;
        let positions = rows.first().map(|row| (row.try_get::<_, i64>(0), row.try_get::<_, i64>(1)));
        let Some((Ok(visible), Ok(written))) = positions else { return Ok(true) };
        self.changes.seen.send_if_modified(|seen| {
            let last = super::request::count(visible).max(seen.last);
            let changed = last > seen.last || seen.deaf.is_some();
            *seen = Seen { last, deaf: None };
            changed
        });
        Ok(visible == written)
    }

    async fn told<T>(&self, asked: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        match timeout(self.connector.limit, asked).await {
            Ok(answer) => {
                answer.map_err(|cause| error::statement(cause, Effect::None, &self.connector.place))
            }
            Err(_) => Err(error::silent(self.connector.limit, Effect::None, &self.connector.place)),
        }
    }

    fn lost(&self) -> Error {
        error::lost(&self.connector.place)
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
