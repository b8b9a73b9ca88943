//! Who else has sent a worker a signal: one event stream for all workers that we started, so that a stop need not ask
//! whether somebody has asked it to stop before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::{events::Events, memory::Asked, names, provider::Shared};

/// The stream, while it is open.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    state: Mutex<State>,
    /// Held while it is opened.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the open stream.
    open: Option<u64>,
    opened: u64,
    reader: Option<AbortHandle>,
}

impl Kills {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kills {
    fn drop(&mut self) {
        if let Some(reader) = self.state().reader.take() {
            reader.abort();
        }
    }
}

impl Shared {
    /// The number of the stream over which signals are heard of, opened if it is not. `None` where there is none: over
    /// TCP, where it could die without a sign, and where it cannot be opened, which is no reason not to start anything.
    pub(crate) async fn hear_stops(self: &Arc<Self>) -> Option<u64> {
        if !self.engine.endpoint.is_local() {
            return None;
        }
        let _opening = self.kills.opening.lock().await;
        if let Some(open) = self.kills.state().open {
            return Some(open);
        }
        let events = self.open_events(None, &["kill"]).await.ok()?;
        let mut state = self.kills.state();
        state.opened += 1;
        let number = state.opened;
        state.open = Some(number);
        // Not to keep the provider alive.
        let shared = Arc::downgrade(self);
        let reader = tokio::spawn(async move {
            let mut events = events;
            while let Some(worker) = next(&mut events).await {
                let Some(shared) = shared.upgrade() else { return };
                let ownership = names::ownership(shared.installation(), Some(&worker));
                if let Some(ownership) = ownership
                    && shared.memory.known(&ownership.worker).is_some()
                {
                    shared.memory.of(&ownership.worker).edit(|facts| {
                        facts.asked.get_or_insert(Asked::Maybe);
                    });
                }
            }
            if let Some(shared) = shared.upgrade() {
                shared.kills.state().open = None;
            }
        });
        state.reader = Some(reader.abort_handle());
        Some(number)
    }

    /// Whether every signal has been heard of since that stream was open.
    pub(crate) fn hears_stops(&self, since: Option<u64>) -> bool {
        since.is_some() && self.kills.state().open == since
    }
}

/// The labels of the next container that got a signal; `None` at the end of the stream.
async fn next(events: &mut Events) -> Option<std::collections::HashMap<String, String>> {
    let event = events.next().await.ok()?;
    Some(event.actor.and_then(|actor| actor.attributes).unwrap_or_default())
}
