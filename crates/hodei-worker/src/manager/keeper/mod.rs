//! The one task that owns what is known of all workers. It decides, has the decision written down, and acts when that is
//! durable; it never waits for a provider or for the store itself.

mod calls;
mod care;
mod close;
mod decide;
mod forward;
mod hosts;
mod providers;
mod slot;
mod strays;
mod tidy;
mod timers;
mod unsure;
mod waiting;
mod writes;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use hodei_worker_core::{
    Clock, WorkerId, WorkerProvider,
    model::{LogId, ProviderName},
    store::Store,
};
use tokio::task::{self, JoinSet};
use tokio_util::time::DelayQueue;

use self::{
    calls::Performed, close::Closing, hosts::Others, providers::Provider, slot::Slot, strays::Strays,
    tidy::Tidying, waiting::Waiting, writes::Written,
};
pub(super) use self::{
    calls::read_config,
    care::{Care, Shared},
};
use super::{
    ManagerSettings,
    hosts::Hold,
    mailbox::Mailbox,
    message::Message,
    opening::{Removed, View},
};
use crate::events::EventBus;

pub(super) struct Keeper {
    store: Arc<dyn Store>,
    log: LogId,
    clock: Arc<dyn Clock>,
    settings: Arc<ManagerSettings>,
    bus: EventBus,
    inbox: Mailbox,
    slots: HashMap<WorkerId, Slot>,
    removed: HashMap<WorkerId, Removed>,
    providers: BTreeMap<ProviderName, Provider>,
    /// The last position that is known.
    position: u64,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    calls: JoinSet<Performed>,
    callers: HashMap<task::Id, (WorkerId, u64)>,
    /// Counts the calls, to tell a late end from that of the present one.
    called: u64,
    timers: DelayQueue<WorkerId>,
    waiting: Waiting,
    strays: Strays,
    tidying: Tidying,
    care: Care,
    others: Others,
    closing: Option<Closing>,
    random: fastrand::Rng,
    /// They end with the keeper.
    watchers: JoinSet<()>,
}

/// What a keeper is made of.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: Arc<ManagerSettings>,
    pub(super) bus: EventBus,
    pub(super) inbox: Mailbox,
    pub(super) providers: Vec<Arc<dyn WorkerProvider>>,
    pub(super) view: View,
    pub(super) watchers: JoinSet<()>,
    pub(super) care: Care,
    /// The lease of this host, where several share the store.
    pub(super) hold: Option<Hold>,
}

impl Keeper {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { store, clock, settings, bus, inbox, providers, view, watchers, care, hold } = parts;
        let providers = providers
            .into_iter()
            .map(|provider| (provider.info().name.clone(), Provider::new(provider)))
            .collect();
        let slots = view
            .workers
            .into_iter()
            .filter_map(|(id, opened)| Some((id, Slot::of(opened.worker?, opened.saved, hold.is_none()))))
            .collect();
        Self {
            log: store.info().log.clone(),
            store,
            clock,
            tidying: Tidying::since(view.position),
            settings,
            bus,
            inbox,
            slots,
            removed: view.removed,
            providers,
            position: view.position,
            writes: FuturesUnordered::new(),
            calls: JoinSet::new(),
            callers: HashMap::new(),
            called: 0,
            timers: DelayQueue::new(),
            waiting: Waiting::default(),
            strays: Strays::default(),
            care,
            others: Others::with(hold, view.position, view.unreadable),
            closing: None,
            random: fastrand::Rng::new(),
            watchers,
        }
    }

    /// Runs until it is closed, or nobody can speak to it any more.
    pub(super) async fn run(mut self) {
        let ids: Vec<_> = self.slots.keys().cloned().collect();
        for id in ids {
            self.arm(&id);
            if let Some(slot) = self.slots.get(&id)
                && let Some(worker) = slot.worker()
            {
                self.care.adopt(worker, slot.owned);
            }
            self.care_for(&id);
        }
        let mut sweep = tokio::time::interval(strays::INTERVAL);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.is_closed() {
            let ends_at = self.ends_at();
            let has_room = self.writes.len() < self.settings.queue;
            tokio::select! {
                // What is under way ends first: it makes room.
                biased;
                Some(written) = self.writes.next(), if !self.writes.is_empty() => self.written(written),
                Some(ended) = self.calls.join_next_with_id(), if !self.calls.is_empty() => self.call_ended(ended),
                Some(expired) = self.timers.next(), if !self.timers.is_empty() => self.tick(expired.into_inner()),
                Some(subject) = self.care.errands.join_next(), if !self.care.errands.is_empty() => {
                    if let Ok(subject) = subject {
                        self.check(subject);
                    }
                },
                Some(errand) = self.others.errands.join_next(), if !self.others.errands.is_empty() => {
                    if let Ok(Some(forwarded)) = errand {
                        self.forwarded(forwarded);
                    }
                },
                Some(report) = self.care.findings.recv() => self.found(report),
                Some(changed) = self.care.changes.next() => self.jobs_changed(changed),
                message = self.inbox.next(has_room) => match message {
                    Some(message) => self.hear(message),
                    None => break,
                },
                () = tokio::time::sleep_until(ends_at.unwrap_or_else(tokio::time::Instant::now)), if ends_at.is_some() => {},
                _ = sweep.tick(), if self.strays.any() => self.sweep(),
            }
            self.tell_quiet();
        }
        if self.is_closing() {
            self.release().await;
        }
        self.closed().await;
    }

    fn hear(&mut self, message: Message) {
        // What is not an answer or a question any more, when it ends.
        let news = matches!(
            message,
            Message::Observed(..) | Message::Stored(_) | Message::TookOver(..) | Message::Requested(_)
        );
        if news && self.is_closing() {
            return;
        }
        match message {
            Message::Command(ordered) => self.ordered(*ordered),
            Message::Get(id, reply) => {
                let _ = reply.send(self.known(&id));
            }
            Message::TakesJobs(id, reply) => {
                let _ = reply.send(self.takes_jobs(&id));
            }
            Message::List(query, reply) => {
                let meant = self.slots.values().filter(|slot| slot.owned || !query.owned);
                let workers = meant.filter_map(Slot::worker);
                let mut found: Vec<_> = workers.filter(|worker| query.matches(worker)).cloned().collect();
                found.sort_by(|a, b| a.id.cmp(&b.id));
                let _ = reply.send(found);
            }
            Message::Found(reply) => {
                self.judge_strays();
                let _ = reply.send(self.strays.list());
            }
            Message::Wait(id, until, reply) => self.wait(id, until, reply),
            Message::Observed(provider, observation) => self.observed(&provider, observation),
            Message::Capabilities(provider, capabilities) => self.capable(&provider, capabilities),
            Message::Stored(events) => self.stored(events),
            Message::Leased(hold) => self.leased(hold),
            Message::LeaseLost => self.lease_lost(),
            // Heard later than that its lease was lost, it is another host's by now.
            Message::TookOver(lease, taken) => {
                if self.others.hold.is_some_and(|hold| hold.lease == lease) {
                    self.tell_unreadable(&taken);
                    self.took_over(taken, writes::AGAIN);
                }
            }
            Message::Requested(requests) => self.requested(requests),
            Message::Compact(reply) => self.tidy(Some(reply)),
            Message::Close(reply) => self.close(reply),
            Message::Synced(reply) => self.waiting.synced.push(reply),
            Message::Quiet(reply) => self.waiting.quiet.push(reply),
        }
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("workers", &self.slots.len()).finish_non_exhaustive()
    }
}
