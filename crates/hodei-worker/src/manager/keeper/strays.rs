//! Objects of ours that no worker stands behind: listed, and removed where this log knows that they may go.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use hodei_worker_core::{
    Result, Timestamp, WorkerId, WorkerRef, WorkerStatus, model::ProviderName, provider::DeleteOptions,
};
use tokio::time::Instant;

use super::Keeper;
use crate::manager::{Found, Stray, Sweep};

/// How often they are looked through, while there are any.
pub(super) const INTERVAL: Duration = Duration::from_millis(500);
/// How many are removed at once.
const AT_ONCE: usize = 8;
/// The pause after a removal that failed.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Strays {
    all: BTreeMap<(ProviderName, WorkerRef), Entry>,
    removals: tokio::task::JoinSet<(ProviderName, WorkerRef, Result<()>)>,
}

struct Entry {
    found: Found,
    /// When it may be removed.
    not_before: Option<Instant>,
    is_going: bool,
}

impl Strays {
    pub(super) fn any(&self) -> bool {
        !self.all.is_empty() || !self.removals.is_empty()
    }

    pub(super) fn list(&self) -> Vec<Found> {
        self.all.values().map(|entry| entry.found.clone()).collect()
    }

    pub(super) fn seen(
        &mut self,
        provider: &ProviderName,
        status: &WorkerStatus,
        reason: Stray,
        now: Timestamp,
    ) {
        let key = (provider.clone(), status.worker.clone());
        if let Some(known) = self.all.get_mut(&key) {
            known.found.reason = reason;
            return;
        }
        let found = Found {
            provider: provider.clone(),
            worker: status.worker.clone(),
            native_id: status.native_id.clone(),
            reason,
            since: now,
        };
        if found.is_quarantined() {
            tracing::warn!(provider = %provider, worker = %status.worker, ?reason, "an object of ours is left alone");
        }
        self.all.insert(key, Entry { found, not_before: None, is_going: false });
    }

    pub(super) fn gone(&mut self, provider: &ProviderName, worker: &WorkerRef) {
        self.all.remove(&(provider.clone(), worker.clone()));
    }

    /// Forgets what a whole listing does not show.
    pub(super) fn listed(&mut self, provider: &ProviderName, listed: &HashSet<WorkerId>) {
        self.all.retain(|(on, worker), _| on != provider || listed.contains(&worker.id));
    }
}

impl Keeper {
    /// Removes what may go and is old enough.
    pub(super) fn sweep(&mut self) {
        while let Some(removed) = self.strays.removals.try_join_next() {
            if let Ok((provider, worker, result)) = removed {
                self.swept(provider, worker, result);
            }
        }
        if self.settings.sweep == Sweep::DryRun || self.is_closing() {
            return;
        }
        let now = Instant::now();
        let after = self.settings.sweep_after.get();
        for (key, entry) in &mut self.strays.all {
            let not_before = *entry.not_before.get_or_insert(now + after);
            let may_go = !entry.found.is_quarantined() && !entry.is_going && now >= not_before;
            if !may_go || self.strays.removals.len() >= AT_ONCE {
                continue;
            }
            let Some(provider) = self.providers.get(&key.0) else { continue };
            entry.is_going = true;
            let (name, worker) = key.clone();
            let provider = std::sync::Arc::clone(&provider.provider);
            tracing::info!(provider = %name, %worker, reason = ?entry.found.reason, "an object of ours is removed");
            self.strays.removals.spawn(async move {
                let result = provider.delete_worker(&worker, &DeleteOptions::default()).await;
                (name, worker, result)
            });
        }
    }

    pub(super) fn swept(&mut self, provider: ProviderName, worker: WorkerRef, result: Result<()>) {
        let key = (provider, worker);
        match result {
            Ok(()) => {
                self.strays.all.remove(&key);
            }
            Err(error) => {
                tracing::warn!(provider = %key.0, worker = %key.1, %error, "an object of ours could not be removed");
                if let Some(entry) = self.strays.all.get_mut(&key) {
                    (entry.is_going, entry.not_before) = (false, Some(Instant::now() + PAUSE));
                }
            }
        }
    }
}
