use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hodei_worker_core::{
    Timestamp, WorkerId, WorkerState, WorkerStateEvent, WorkerStatus,
    lifecycle::{Change, Worker},
    model::{GroupRef, ProviderName},
};

use super::{
    PerformanceReport, PerformanceSettings, StartPhase, WorkerPerformance, WorkerReport,
    group::{Group, GroupKey},
    worker::between,
};

/// Jobs of one worker at one time whose beginnings are kept.
const MOST_JOBS: usize = 1024;

/// Where the time of all workers goes: a fold over what happens. Clones are handles of the same view.
///
/// Whoever manages workers hands it every event in the order of each worker's versions, every status before the event
/// that follows from it, and the begin and end of jobs. It reads no clock.
#[derive(Clone, Default)]
pub struct PerformanceView(Arc<Mutex<Fold>>);

#[derive(Default)]
struct Fold {
    settings: PerformanceSettings,
    keys: BTreeMap<GroupKey, usize>,
    groups: Vec<(GroupKey, Group)>,
    /// All that there are: a few bytes each.
    seats: HashMap<WorkerId, Seat>,
    starting: Kept,
    recent: Kept,
    /// Those that have jobs: when these began.
    jobs: HashMap<WorkerId, VecDeque<Timestamp>>,
    unmeasured: u64,
}

#[derive(Debug, Clone, Copy)]
struct Seat {
    group: u32,
    running: bool,
}

/// Records by worker, the oldest of which are dropped.
#[derive(Default)]
struct Kept {
    touched: u64,
    records: HashMap<WorkerId, (u64, WorkerPerformance)>,
    order: BTreeMap<u64, WorkerId>,
}

impl Kept {
    fn take(&mut self, worker: &WorkerId) -> Option<WorkerPerformance> {
        let (touched, record) = self.records.remove(worker)?;
        self.order.remove(&touched);
        Some(record)
    }

    /// Keeps the record, and tells whether another had to go.
    fn keep(&mut self, worker: &WorkerId, record: WorkerPerformance, limit: usize) -> bool {
        self.touched += 1;
        self.order.insert(self.touched, worker.clone());
        self.records.insert(worker.clone(), (self.touched, record));
        if self.records.len() <= limit {
            return false;
        }
        if let Some((_, oldest)) = self.order.pop_first() {
            self.records.remove(&oldest);
        }
        true
    }

    fn get_mut(&mut self, worker: &WorkerId) -> Option<&mut WorkerPerformance> {
        self.records.get_mut(worker).map(|(_, record)| record)
    }
}

impl PerformanceView {
    /// A view with these settings.
    pub fn new(settings: PerformanceSettings) -> Self {
        Self(Arc::new(Mutex::new(Fold { settings, ..Fold::default() })))
    }

    fn fold(&self) -> MutexGuard<'_, Fold> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker that was there before the view: after a restart of its host, say.
    pub fn adopt(&self, worker: &Worker) {
        let mut fold = self.fold();
        if worker.state.is_none() {
            return;
        }
        let group = fold.group(worker.traits.worker_type.as_ref(), &worker.provider);
        fold.sit(&worker.id, group, worker.since);
        fold.enter(&worker.id, worker.state, worker.since);
    }

    /// Takes in an event.
    pub fn observe(&self, event: &WorkerStateEvent) {
        self.fold().observe(event);
    }

    /// Takes in what a provider says of a worker.
    pub fn status(&self, status: &WorkerStatus) {
        if let Some(record) = self.fold().starting.get_mut(&status.worker.id) {
            record.status(status);
        }
    }

    /// A phase of a worker's start ended then: for what neither events nor statuses tell, such as the progress of a
    /// create.
    pub fn reached(&self, worker: &WorkerId, phase: StartPhase, at: Timestamp) {
        let mut fold = self.fold();
        let record = fold.starting.get_mut(worker);
        if let Some(starting) = record.and_then(|record| record.starting.as_mut()) {
            starting.reached(phase, at);
        }
    }

    /// A job of the worker began. A worker may have several at a time.
    pub fn job_began(&self, worker: &WorkerId, at: Timestamp) {
        self.fold().job_began(worker, at);
    }

    /// A job of the worker ended; where it has several, the oldest is taken to. One that did not begin is not counted.
    pub fn job_ended(&self, worker: &WorkerId, at: Timestamp) {
        self.fold().job_ended(worker, at);
    }

    pub(super) fn job_took(&self, worker: &WorkerId, took: Duration) {
        let mut fold = self.fold();
        if let Some(group) = fold.group_of(worker) {
            group.jobs.record(took);
        }
        if let Some(record) = fold.record_of(worker) {
            record.jobs += 1;
        }
    }

    pub(super) fn busy_for(&self, worker: &WorkerId, long: Duration) {
        let mut fold = self.fold();
        if let Some(group) = fold.group_of(worker) {
            group.was_busy += long;
        }
        if let Some(record) = fold.record_of(worker) {
            record.busy += long;
        }
    }

    /// All that is known, at that time.
    pub fn report(&self, as_of: Timestamp) -> PerformanceReport {
        let fold = self.fold();
        let groups = fold.keys.values().filter_map(|group| fold.groups.get(*group));
        PerformanceReport {
            as_of,
            groups: groups.map(|(key, group)| group.report(key, as_of)).collect(),
            unmeasured: fold.unmeasured,
        }
    }

    /// What is known of one worker at that time, as far as it was seen; `None` where it is none of those that started or
    /// did something of late. Its own stream tells then: [`WorkerPerformance::fold`].
    pub fn worker(&self, worker: &WorkerId, as_of: Timestamp) -> Option<WorkerReport> {
        self.fold().record_of(worker).map(|record| record.report(as_of))
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let fold = self.fold();
        (fold.seats.len(), fold.starting.records.len(), fold.recent.records.len())
    }

    /// The workers that did something of late, the last first.
    pub fn recent(&self, as_of: Timestamp) -> Vec<WorkerReport> {
        let fold = self.fold();
        let records = fold.recent.order.values().rev().filter_map(|worker| fold.recent.records.get(worker));
        records.map(|(_, record)| record.report(as_of)).collect()
    }
}

impl Fold {
    fn observe(&mut self, event: &WorkerStateEvent) {
        let (worker, now) = (&event.worker_id, event.timestamp);
        if let Change::CreateIntended { provider, traits, .. } = &event.change {
            let worker_type = match traits {
                Some(traits) => traits.worker_type.clone(),
                None => self.key_of(worker).and_then(|key| key.worker_type.clone()),
            };
            let group = self.group(worker_type.as_ref(), provider);
            self.sit(worker, group, now);
        }
        self.enter(worker, event.new_state, now);
        let record = self.starting.take(worker).or_else(|| self.recent.take(worker));
        let mut record = record.unwrap_or_else(|| match self.key_of(worker) {
            Some(key) => WorkerPerformance::known(worker.clone(), key),
            None => WorkerPerformance::new(worker.clone()),
        });
        let news = record.take(event);
        if record.is_under_way() {
            let drops = self.starting.keep(worker, record, self.settings.starting);
            self.unmeasured += u64::from(drops);
        } else {
            self.recent.keep(worker, record, self.settings.recent);
        }
        if let Some(group) = self.group_of(worker) {
            group.take(&news);
        }
        if event.new_state.is_none() {
            self.leave(worker, now);
        }
    }

    fn key_of(&self, worker: &WorkerId) -> Option<&GroupKey> {
        let seat = self.seats.get(worker)?;
        self.groups.get(seat.group as usize).map(|(key, _)| key)
    }

    fn group(&mut self, worker_type: Option<&GroupRef>, provider: &ProviderName) -> usize {
        let mut key = GroupKey { worker_type: worker_type.cloned(), provider: Some(provider.clone()) };
        if !self.keys.contains_key(&key) && self.groups.len() >= self.settings.groups {
            key = GroupKey { worker_type: None, provider: None };
        }
        let next = self.groups.len();
        let group = *self.keys.entry(key.clone()).or_insert(next);
        if group == next {
            self.groups.push((key, Group::default()));
        }
        group
    }

    /// The worker belongs to that group from now on.
    fn sit(&mut self, worker: &WorkerId, group: usize, now: Timestamp) {
        let index = u32::try_from(group).unwrap_or(u32::MAX);
        if self.seats.get(worker).is_some_and(|seat| seat.group == index) {
            return;
        }
        let busy = self.jobs.get(worker).is_some_and(|jobs| !jobs.is_empty());
        let running = self.rise(worker, now);
        self.seats.insert(worker.clone(), Seat { group: index, running });
        if let Some((_, group)) = self.groups.get_mut(group) {
            group.workers += 1;
            if running {
                group.running.enter(now);
            }
            if busy {
                group.busy.enter(now);
            }
        }
    }

    /// The worker belongs to no group any more. Tells whether it ran.
    fn rise(&mut self, worker: &WorkerId, now: Timestamp) -> bool {
        let Some(seat) = self.seats.remove(worker) else { return false };
        if let Some((_, group)) = self.groups.get_mut(seat.group as usize) {
            group.workers -= 1;
            if seat.running {
                group.running.leave(now);
            }
            if self.jobs.get(worker).is_some_and(|jobs| !jobs.is_empty()) {
                group.busy.leave(now);
            }
        }
        seat.running
    }

    fn leave(&mut self, worker: &WorkerId, now: Timestamp) {
        self.rise(worker, now);
        self.jobs.remove(worker);
    }

    fn enter(&mut self, worker: &WorkerId, state: Option<WorkerState>, now: Timestamp) {
        let Some(seat) = self.seats.get_mut(worker) else { return };
        // What is being stopped runs on until it has ended.
        let running = match state {
            Some(WorkerState::Stopping) => seat.running,
            Some(state) => state.takes_work(),
            None => false,
        };
        if running == seat.running {
            return;
        }
        seat.running = running;
        if let Some((_, group)) = self.groups.get_mut(seat.group as usize) {
            if running { group.running.enter(now) } else { group.running.leave(now) }
        }
    }

    fn group_of(&mut self, worker: &WorkerId) -> Option<&mut Group> {
        let seat = self.seats.get(worker)?;
        self.groups.get_mut(seat.group as usize).map(|(_, group)| group)
    }

    fn record_of(&mut self, worker: &WorkerId) -> Option<&mut WorkerPerformance> {
        let Self { starting, recent, .. } = self;
        starting.get_mut(worker).or_else(|| recent.get_mut(worker))
    }

    fn job_began(&mut self, worker: &WorkerId, at: Timestamp) {
        if !self.seats.contains_key(worker) {
            return;
        }
        let jobs = self.jobs.entry(worker.clone()).or_default();
        if jobs.len() >= MOST_JOBS {
            return;
        }
        jobs.push_back(at);
        if jobs.len() == 1
            && let Some(group) = self.group_of(worker)
        {
            group.busy.enter(at);
        }
    }

    fn job_ended(&mut self, worker: &WorkerId, at: Timestamp) {
        let Some(jobs) = self.jobs.get_mut(worker) else { return };
        let Some(began) = jobs.pop_front() else { return };
        let is_idle = jobs.is_empty();
        // Of jobs at the same time, each moment counts once.
        let busy = between(began, jobs.front().copied().unwrap_or(at).min(at));
        if is_idle {
            self.jobs.remove(worker);
        }
        let took = between(began, at);
        if let Some(group) = self.group_of(worker) {
            group.jobs.record(took);
            if is_idle {
                group.busy.leave(at);
            }
        }
        if let Some(record) = self.record_of(worker) {
            record.jobs += 1;
            record.busy += busy;
        }
    }
}

impl fmt::Debug for PerformanceView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fold = self.fold();
        let (workers, groups) = (fold.seats.len(), fold.groups.len());
        f.debug_struct("PerformanceView")
            .field("workers", &workers)
            .field("groups", &groups)
            .finish_non_exhaustive()
    }
}
