//! Objects of ours that no worker stands behind: listed, and removed where this log knows that they may go.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use hodei_worker_core::{
    Result, Timestamp, WorkerRef, WorkerStateEvent, WorkerStatus,
    lifecycle::Change,
    model::{IntentMark, ProviderName},
    provider::DeleteOptions,
    store::Store,
};
use tokio::time::Instant;

use super::Keeper;
use crate::manager::{Found, Stray, Sweep, adopt::Judgement};

/// How often they are looked through, while there are any.
pub(super) const INTERVAL: Duration = Duration::from_millis(500);
/// How many are removed at once.
const AT_ONCE: usize = 8;
/// The pause after a removal that failed.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Strays {
    all: BTreeMap<(ProviderName, WorkerRef), Entry>,
    removals: tokio::task::JoinSet<(ProviderName, WorkerRef, Result<bool>)>,
}

struct Entry {
    found: Found,
    /// What was told of it last.
    status: Arc<WorkerStatus>,
    /// When it may be removed.
    not_before: Option<Instant>,
    is_going: bool,
    /// Whether this log does not hold the intent that it names: it is left alone for good.
    is_unproven: bool,
    /// Whether it was said that it is left alone.
    is_told: bool,
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
        status: &Arc<WorkerStatus>,
        reason: Stray,
        now: Timestamp,
    ) {
        let key = (provider.clone(), status.worker.clone());
        if let Some(known) = self.all.get_mut(&key) {
            if !known.is_unproven {
                known.found.reason = reason;
            }
            known.status = Arc::clone(status);
            return;
        }
        let found = Found {
            provider: provider.clone(),
            worker: status.worker.clone(),
            native_id: status.native_id.clone(),
            reason,
            since: now,
        };
        let status = Arc::clone(status);
        self.all.insert(
            key,
            Entry { found, status, not_before: None, is_going: false, is_unproven: false, is_told: false },
        );
    }

    pub(super) fn gone(&mut self, provider: &ProviderName, worker: &WorkerRef) {
        self.all.remove(&(provider.clone(), worker.clone()));
    }

    /// Forgets what a whole listing does not show.
    pub(super) fn listed(&mut self, provider: &ProviderName, listed: &HashSet<WorkerRef>) {
        self.all.retain(|(on, worker), _| on != provider || listed.contains(worker));
    }
}

impl Keeper {
    /// Judges them again by what is known now: the worker of one that was seen first may have been heard of since.
    pub(super) fn judge_strays(&mut self) {
        let all: Vec<_> =
            self.strays.all.iter().map(|((on, _), entry)| (on.clone(), Arc::clone(&entry.status))).collect();
        for (provider, status) in all {
            match self.judged(&provider, &status) {
                Judgement::Stray(reason) => {
                    self.strays.seen(&provider, &status, reason, self.clock.now());
                }
                Judgement::Ours => {
                    self.strays.gone(&provider, &status.worker);
                    self.told(&provider, &status);
                }
            }
        }
    }

    /// Removes what may go and is old enough.
    pub(super) fn sweep(&mut self) {
        while let Some(removed) = self.strays.removals.try_join_next() {
            if let Ok((provider, worker, result)) = removed {
                self.swept(provider, worker, result);
            }
        }
        self.judge_strays();
        for entry in self.strays.all.values_mut().filter(|entry| entry.found.is_quarantined()) {
            if !std::mem::replace(&mut entry.is_told, true) {
                let Found { provider, worker, reason, .. } = &entry.found;
                tracing::warn!(%provider, %worker, ?reason, "an object of ours is left alone");
            }
        }
        let may_call = !self.others.shared || self.others.hold.is_some_and(|hold| hold.may_call());
        if self.settings.sweep == Sweep::DryRun || self.is_closing() || !may_call {
            return;
        }
        let now = Instant::now();
        let after = self.settings.sweep_after.get();
        for (key, entry) in &mut self.strays.all {
            if entry.found.is_quarantined() {
                entry.not_before = None;
                continue;
            }
            let not_before = *entry.not_before.get_or_insert(now + after);
            let may_go =
                !entry.found.is_quarantined() && !entry.is_going && !entry.is_unproven && now >= not_before;
            if !may_go || self.strays.removals.len() >= AT_ONCE {
                continue;
            }
            let Some(provider) = self.providers.get(&key.0) else { continue };
            entry.is_going = true;
            let (name, worker) = key.clone();
            let provider = Arc::clone(&provider.provider);
            tracing::info!(provider = %name, %worker, reason = ?entry.found.reason, "an object of ours is removed");
            let (store, intent) = (
                Arc::clone(&self.store),
                entry.status.ownership.as_ref().and_then(|mark| mark.intent.clone()),
            );
            self.strays.removals.spawn(async move {
                let result = match is_proven(&*store, &name, &worker, intent.as_ref()).await {
                    Ok(true) => provider
                        .delete_worker(&worker, &DeleteOptions::keeping_volumes())
                        .await
                        .map(|()| true),
                    proven => proven,
                };
                (name, worker, result)
            });
        }
    }

    pub(super) fn swept(&mut self, provider: ProviderName, worker: WorkerRef, result: Result<bool>) {
        let key = (provider, worker);
        match result {
            Ok(true) => {
                self.strays.all.remove(&key);
            }
            Ok(false) => {
                if let Some(entry) = self.strays.all.get_mut(&key) {
                    (entry.is_going, entry.is_unproven, entry.found.reason) = (false, true, Stray::Unproven);
                }
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

/// Whether this log holds the intent that an object names: to create that worker, in that generation, on that provider.
async fn is_proven(
    store: &dyn Store,
    provider: &ProviderName,
    worker: &WorkerRef,
    intent: Option<&IntentMark>,
) -> Result<bool> {
    let Some(intent) = intent else { return Ok(false) };
    let Some(event) = event_at(store, intent.position).await? else { return Ok(false) };
    Ok(event.worker_id == worker.id
        && matches!(&event.change, Change::CreateIntended { provider: on, generation, .. }
            if on == provider && *generation == worker.generation))
}

/// Whether an object of a worker's name and generation is proven to be made by another intent than the worker's: under
/// another log, or for what this one holds something else. A log that was repaired has its events at other positions:
/// there, the object's own are not to be found.
pub(super) async fn is_of_another(
    store: &dyn Store,
    worker: &WorkerRef,
    own: &IntentMark,
    mark: &IntentMark,
) -> Result<bool> {
    if mark == own {
        return Ok(false);
    }
    if mark.log != own.log {
        return Ok(true);
    }
    let is_the_workers = |event: WorkerStateEvent| {
        event.worker_id == worker.id
            && matches!(event.change, Change::CreateIntended { generation, .. } if generation == worker.generation)
    };
    Ok(event_at(store, mark.position).await?.is_some_and(|event| !is_the_workers(event)))
}

/// The event at that position, if it was not compacted away.
async fn event_at(store: &dyn Store, position: u64) -> Result<Option<WorkerStateEvent>> {
    let Some(before) = position.checked_sub(1) else { return Ok(None) };
    let page = store.read(before, 1).await?;
    let stored = page.events.first().filter(|stored| stored.position == position);
    stored.map(WorkerStateEvent::from_stored).transpose()
}
