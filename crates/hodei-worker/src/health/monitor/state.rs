//! All that is watched, and what is due. Nothing here waits.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use hodei_worker_core::{
    WorkerRef, WorkerStatus,
    lifecycle::HealthChange,
    model::{Probe, ProviderName},
    quantity::HumanDuration,
};
use tokio::{task::AbortHandle, time::Instant};

use super::{
    HealthReport, Subject,
    timers::Timers,
    watched::{FOREVER, Watched},
};
use crate::health::{finding::Finding, probe::Try};

/// One check of what is watched.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) worker: WorkerRef,
    id: u64,
    check: usize,
}

#[derive(Default)]
pub(super) struct State {
    watched: HashMap<WorkerRef, Watched>,
    timers: Timers<Key>,
    /// Checks whose time has come, in that order.
    ready: VecDeque<Key>,
    reports: VecDeque<HealthReport>,
    /// Providers that cannot be reached.
    away: HashSet<ProviderName>,
    next: u64,
    /// The time that the driver waits for.
    awaited: Option<Instant>,
}

/// Reports that nobody has taken, beyond which no more tries are made.
const UNTOLD: usize = 1024;

impl State {
    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    pub(super) fn watch(&mut self, subject: Subject, now: Instant) {
        let worker = subject.worker.clone();
        if let Some(known) = self.watched.get_mut(&worker).filter(|known| known.run == subject.run) {
            known.provider = subject.provider;
            let again = known.verdict.again();
            self.report(&worker, again);
            return self.observed(&subject.status, now);
        }
        self.forget(&worker);
        if subject.checks.is_empty() {
            return;
        }
        self.next += 1;
        let watched = Watched::new(self.next, subject, now);
        let active = watched.is_active();
        self.watched.insert(worker.clone(), watched);
        if active {
            self.activate(&worker, now);
        }
    }

    pub(super) fn observed(&mut self, status: &Arc<WorkerStatus>, now: Instant) {
        let worker = &status.worker;
        let Some(known) = self.watched.get_mut(worker) else { return };
        if status.run.as_ref() != Some(&known.run) || status.is_newer_than(&known.status) == Some(false) {
            return;
        }
        let was_active = known.is_active();
        let changed = known.update(status, now);
        match (was_active, known.is_active()) {
            (false, true) => self.activate(worker, now),
            (true, false) => self.pause(worker),
            (true, true) if changed => self.hear_provider(worker, now),
            _ => {}
        }
    }

    pub(super) fn heartbeat(&mut self, worker: &WorkerRef, now: Instant) {
        let Some(known) = self.watched.get_mut(worker).filter(|known| known.is_active()) else { return };
        for check in known.slots_of(|probe| matches!(probe, Probe::Heartbeat { .. })) {
            self.record(worker, check, now, Finding::Success { took: Duration::ZERO });
            self.expect_heartbeat(worker, check, now);
        }
    }

    pub(super) fn hears(&mut self, worker: &WorkerRef, hears: bool, now: Instant) {
        let Some(known) = self.watched.get_mut(worker) else { return };
        let was_deaf = std::mem::replace(&mut known.deaf, !hears);
        if was_deaf && hears && known.is_active() {
            for check in known.slots_of(|probe| matches!(probe, Probe::Heartbeat { .. })) {
                self.expect_heartbeat(worker, check, now);
            }
        }
    }

    pub(super) fn reaches(&mut self, provider: &ProviderName, reaches: bool) {
        if reaches {
            self.away.remove(provider);
        } else {
            self.away.insert(provider.clone());
        }
    }

    pub(super) fn forget(&mut self, worker: &WorkerRef) {
        if self.watched.contains_key(worker) {
            self.pause(worker);
            self.watched.remove(worker);
            self.reports.retain(|report| report.worker != *worker);
        }
    }

    /// Whether there is something to do before the time that the driver waits for.
    pub(super) fn wants_driver(&self) -> bool {
        let earlier = self.timers.first().is_some_and(|first| self.awaited.is_none_or(|at| first < at));
        earlier || !self.reports.is_empty()
    }

    /// Begins to check a run: now, or after it was frozen.
    fn activate(&mut self, worker: &WorkerRef, now: Instant) {
        let Some(known) = self.watched.get(worker) else { return };
        let age = known.age(now);
        for check in 0..known.slots.len() {
            let Some(slot) = self.watched.get(worker).and_then(|known| known.slots.get(check)) else {
                return;
            };
            match slot.check.probe {
                Probe::Heartbeat { .. } => self.expect_heartbeat(worker, check, now),
                Probe::Native => self.expect_provider(worker, check, now),
                _ => {
                    // What a host finds when it starts is spread over the interval; what is new is looked at soon.
                    let interval = slot.check.interval.get();
                    let spread = if age < interval { interval.min(SOON) } else { interval };
                    self.set_timer(worker, check, now + spread.mul_f64(fastrand::f64()));
                }
            }
        }
        self.hear_provider(worker, now);
    }

    /// Makes no more tries of a run.
    fn pause(&mut self, worker: &WorkerRef) {
        let Some(known) = self.watched.get_mut(worker) else { return };
        for slot in &mut known.slots {
            if let Some(timer) = slot.timer.take() {
                self.timers.remove(timer);
            }
            if let Some(trying) = slot.trying.take() {
                trying.abort();
            }
            slot.waits = false;
        }
        let id = known.id;
        self.ready.retain(|key| key.id != id);
    }

    /// Takes in what the provider's own check says.
    fn hear_provider(&mut self, worker: &WorkerRef, now: Instant) {
        let Some(known) = self.watched.get(worker) else { return };
        let Some(finding) = known.native() else { return };
        for check in known.slots_of(|probe| *probe == Probe::Native) {
            self.record(worker, check, now, finding.clone());
            self.expect_provider(worker, check, now);
        }
    }

    /// The next sign of life is due in its time; the first not before the start-up grace is over.
    fn expect_heartbeat(&mut self, worker: &WorkerRef, check: usize, now: Instant) {
        let Some(known) = self.watched.get(worker) else { return };
        let Some(slot) = known.slots.get(check) else { return };
        let Probe::Heartbeat { within } = slot.check.probe else { return };
        let grace = known.at_age(slot.check.start_period.get(), now);
        let begins = if known.verdict.has_begun(check) { now } else { grace.max(now) };
        self.set_timer(worker, check, begins + within.get().min(FOREVER));
    }

    /// Time alone can end the flapping of a provider's check, and show that there is none.
    fn expect_provider(&mut self, worker: &WorkerRef, check: usize, now: Instant) {
        let Some(known) = self.watched.get(worker) else { return };
        let Some(slot) = known.slots.get(check) else { return };
        let shows = (known.status.health.is_none()).then(|| slot.must_show_by());
        let next = [known.verdict.settles_at(check), shows].into_iter().flatten();
        if let Some(age) = next.filter(|age| *age > known.age(now)).min() {
            let at = known.at_age(age, now);
            self.set_timer(worker, check, at);
        }
    }

    fn set_timer(&mut self, worker: &WorkerRef, check: usize, at: Instant) {
        let Some(known) = self.watched.get_mut(worker) else { return };
        let key = Key { worker: worker.clone(), id: known.id, check };
        let Some(slot) = known.slots.get_mut(check) else { return };
        if let Some(timer) = slot.timer.take() {
            self.timers.remove(timer);
        }
        slot.timer = Some(self.timers.set(at, key));
    }

    fn record(&mut self, worker: &WorkerRef, check: usize, at: Instant, finding: Finding) {
        let Some(known) = self.watched.get_mut(worker) else { return };
        if let Finding::Unknown { reason } = &finding {
            tracing::debug!(%worker, %reason, "the health of a worker could not be found out");
        }
        let age = known.age(at);
        let changes = known.verdict.record(check, age, finding);
        self.report(worker, changes);
    }

    fn report(&mut self, worker: &WorkerRef, changes: Vec<HealthChange>) {
        let Some(known) = self.watched.get(worker) else { return };
        for change in changes {
            let (worker, run) = (worker.clone(), known.run.clone());
            self.reports.push_back(HealthReport { worker, run, change });
        }
    }

    /// Does what is due by now, and tells when something will be due next.
    pub(super) fn advance(&mut self, now: Instant) -> Option<Instant> {
        while let Some(key) = self.timers.pop(now) {
            let Some(known) = self.watched.get_mut(&key.worker).filter(|known| known.id == key.id) else {
                continue;
            };
            let (is_silent, deaf) = (known.status.health.is_none(), known.deaf);
            let age = known.age(now);
            let Some(slot) = known.slots.get_mut(key.check) else { continue };
            slot.timer = None;
            match slot.check.probe {
                Probe::Heartbeat { within } => {
                    if !deaf {
                        let reason = format!("nothing was heard of it for {}", HumanDuration(within.get()));
                        self.record(&key.worker, key.check, now, Finding::failure(reason));
                    }
                    self.expect_heartbeat(&key.worker, key.check, now);
                }
                Probe::Native => {
                    if is_silent && age >= slot.must_show_by() {
                        let none = Finding::failure("it shows none: it has no check of this worker");
                        self.record(&key.worker, key.check, now, none);
                    }
                    let changes = self.watched.get_mut(&key.worker).map(|known| known.verdict.settle(age));
                    self.report(&key.worker, changes.unwrap_or_default());
                    self.expect_provider(&key.worker, key.check, now);
                }
                _ => {
                    slot.waits = true;
                    self.ready.push_back(key);
                }
            }
        }
        self.awaited = self.timers.first();
        self.awaited
    }

    /// The next try to make, if there may be one more now.
    pub(super) fn next_try(&mut self) -> Option<(Key, Try)> {
        if self.reports.len() >= UNTOLD {
            return None;
        }
        while let Some(key) = self.ready.pop_front() {
            let Some(known) = self.watched.get_mut(&key.worker).filter(|known| known.id == key.id) else {
                continue;
            };
            let Some(slot) = known.slots.get_mut(key.check) else { continue };
            if std::mem::take(&mut slot.waits) {
                let (probe, timeout) = (slot.check.probe.clone(), slot.check.timeout.get());
                let (provider, status) = (Arc::clone(&known.provider), Arc::clone(&known.status));
                let worker_type = known.worker_type.clone();
                let attempt =
                    Try { probe, timeout, worker: key.worker.clone(), worker_type, provider, status };
                return Some((key, attempt));
            }
        }
        None
    }

    /// A try has been begun.
    pub(super) fn begun(&mut self, key: &Key, trying: AbortHandle) {
        let known = self.watched.get_mut(&key.worker).filter(|known| known.id == key.id);
        if let Some(slot) = known.and_then(|known| known.slots.get_mut(key.check)) {
            slot.trying = Some(trying);
        }
    }

    /// A try that began then is over.
    pub(super) fn finished(&mut self, key: &Key, began: Instant, finding: Finding, now: Instant) {
        let known = self.watched.get_mut(&key.worker).filter(|known| known.id == key.id);
        let Some(slot) = known.and_then(|known| known.slots.get_mut(key.check)) else { return };
        // One that was cut off meanwhile does not count, even if it was over by then.
        if slot.trying.take().is_none() {
            return;
        }
        let away = |state: &Self| {
            let known = state.watched.get(&key.worker);
            known.is_some_and(|known| state.away.contains(&known.provider.info().name))
        };
        let finding = match finding {
            Finding::Failure { reason } if away(self) => Finding::Unknown { reason },
            finding => finding,
        };
        self.record(&key.worker, key.check, began, finding);
        let pause = self.watched.get(&key.worker).map_or(FOREVER, |known| known.verdict.pause(key.check));
        self.set_timer(&key.worker, key.check, (began + pause.min(FOREVER)).max(now));
    }

    pub(super) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    pub(super) fn take_report(&mut self) -> Option<HealthReport> {
        self.reports.pop_front()
    }
}

/// The time over which the first tries of new runs are spread.
const SOON: Duration = Duration::from_millis(250);
