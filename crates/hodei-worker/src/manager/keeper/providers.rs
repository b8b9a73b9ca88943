//! What providers tell.

use std::{collections::HashSet, sync::Arc};

use hodei_worker_core::{
    Capability, WorkerId, WorkerObservation, WorkerProvider, WorkerRef, WorkerStatus,
    capability::ProviderCapabilities,
    lifecycle::{self, Call, Input, Pending},
    model::ProviderName,
};

use super::{Keeper, decide::Cause, slot::Slot};
use crate::manager::{
    Stray,
    adopt::{Judgement, judge},
};

pub(super) struct Provider {
    pub(super) provider: Arc<dyn WorkerProvider>,
    pub(super) capabilities: Option<Arc<ProviderCapabilities>>,
    /// Whether what it told is whole.
    pub(super) synced: bool,
    /// Whether what stood out for its workers at the start has been gone on with.
    resumed: bool,
    /// The objects of the listing that is under way.
    listing: Option<Listed>,
}

/// What a listing has shown.
#[derive(Default)]
struct Listed {
    all: HashSet<WorkerRef>,
    /// Those that are not a worker's own, although they may have its name and generation.
    strays: HashSet<WorkerRef>,
}

impl Provider {
    pub(super) fn new(provider: Arc<dyn WorkerProvider>) -> Self {
        Self { provider, capabilities: None, synced: false, resumed: false, listing: None }
    }

    fn can(&self, capability: Capability) -> bool {
        self.capabilities.as_ref().is_none_or(|capabilities| capabilities.supports(capability))
    }
    pub(super) fn restarts_in_place(&self) -> bool {
        self.can(Capability::RestartInPlace)
    }
    pub(super) fn keeps_stopped(&self) -> bool {
        self.can(Capability::KeepsStopped)
    }
}

impl Keeper {
    pub(super) fn capable(&mut self, name: &ProviderName, capabilities: Arc<ProviderCapabilities>) {
        if let Some(provider) = self.providers.get_mut(name) {
            provider.capabilities = Some(capabilities);
        }
    }

    pub(super) fn observed(&mut self, name: &ProviderName, observation: WorkerObservation) {
        let Some(provider) = self.providers.get_mut(name) else { return };
        match observation {
            WorkerObservation::Resync => provider.listing = Some(Listed::default()),
            WorkerObservation::Listed(status) => {
                let is_ours = self.told(name, &status);
                if let Some(listing) = self.providers.get_mut(name).and_then(|known| known.listing.as_mut()) {
                    listing.all.insert(status.worker.clone());
                    if !is_ours {
                        listing.strays.insert(status.worker.clone());
                    }
                }
            }
            WorkerObservation::Applied(status) => {
                self.told(name, &status);
            }
            WorkerObservation::Gone(gone) => {
                self.strays.gone(name, &gone.worker);
                if self.is_on(name, &gone.worker.id) && !self.is_deleting(&gone.worker) {
                    let id = gone.worker.id.clone();
                    self.handle(&id, Cause::of(Input::Gone(gone)));
                }
            }
            WorkerObservation::Synced => {
                provider.synced = true;
                self.care.reaches(name, true);
                let listed = provider.listing.take().unwrap_or_default();
                self.synced(name, &listed);
            }
            WorkerObservation::Unsynced(error) => {
                tracing::info!(provider = %name, error = %error.message, "the provider's changes are not seen");
                (provider.synced, provider.listing) = (false, None);
                self.care.reaches(name, false);
            }
            _ => {}
        }
    }

    /// Whether its deletion is being called: that removes more than what a watch shows, and says itself when it is done.
    fn is_deleting(&self, worker: &WorkerRef) -> bool {
        let slot = self.slots.get(&worker.id).filter(|slot| slot.is_called());
        slot.and_then(Slot::worker).is_some_and(|known| {
            known.reference() == *worker && matches!(known.pending, Some(Pending::Delete { .. }))
        })
    }

    fn is_on(&self, name: &ProviderName, id: &WorkerId) -> bool {
        self.slots.get(id).and_then(Slot::worker).is_some_and(|worker| worker.provider == *name)
    }

    /// Takes in what a provider says of an object. Says whether it is a worker's.
    pub(super) fn told(&mut self, name: &ProviderName, status: &Arc<WorkerStatus>) -> bool {
        match self.judged(name, status) {
            Judgement::Ours => {
                self.care.status(status);
                self.handle(&status.worker.id, Cause::of(Input::Observed(Arc::clone(status))));
                true
            }
            Judgement::Stray(reason) => {
                self.strays.seen(name, status, reason, self.clock.now());
                false
            }
        }
    }

    pub(super) fn judged(&self, name: &ProviderName, status: &WorkerStatus) -> Judgement {
        let id = &status.worker.id;
        if self.others.unreadable.contains_key(id) {
            return Judgement::Stray(Stray::Unreadable);
        }
        // While its creation is being written its object cannot be there, but one of an earlier worker of this name can.
        let known = self.slots.get(id).and_then(Slot::worker);
        let removed = self.removed.get(id).map(|removed| removed.generation);
        judge(name, status, known, removed, &self.log, self.seen())
    }

    /// A provider's picture is whole.
    fn synced(&mut self, name: &ProviderName, listed: &Listed) {
        let Some(provider) = self.providers.get_mut(name) else { return };
        provider.resumed = true;
        self.strays.listed(name, &listed.all);
        let is_there = |worker: &WorkerRef| listed.all.contains(worker) && !listed.strays.contains(worker);
        let ours = self.slots.iter().filter(|(_, slot)| {
            slot.owned
                && !slot.is_writing()
                && !slot.is_called()
                && slot.worker().is_some_and(|worker| worker.provider == *name)
        });
        let mut calls = Vec::new();
        for (id, slot) in ours {
            let Some(worker) = slot.worker() else { continue };
            if slot.stands_out {
                calls.push((id.clone(), None));
            } else if worker.created && !is_there(&worker.reference()) {
                // It may have come after the listing began: it is looked for before it is judged.
                calls.push((id.clone(), Some(Call::Observe)));
            }
        }
        for (id, call) in calls {
            match call {
                Some(call) => self.act(&id, call),
                None => self.resume(&id),
            }
        }
    }

    /// Goes on with what the host before us intended, once it has been seen what came of it.
    pub(super) fn resume(&mut self, id: &WorkerId) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let Some(worker) = slot.worker().filter(|_| slot.stands_out).cloned() else { return };
        if !self.providers.get(&worker.provider).is_some_and(|provider| provider.resumed) {
            return;
        }
        match lifecycle::resume(&worker) {
            Some(call) => self.act(id, call),
            None => {
                slot.stands_out = false;
                // The jobs that a drain waited for went with the host that had given them.
                if matches!(worker.pending, Some(Pending::Drain { .. })) && !worker.traits.reports {
                    self.handle(id, Cause::of(Input::Idle));
                }
            }
        }
    }
}
