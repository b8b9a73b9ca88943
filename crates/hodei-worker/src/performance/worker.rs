use std::time::Duration;

use hodei_worker_core::{
    Timestamp, WorkerId, WorkerState, WorkerStateEvent, WorkerStatus,
    lifecycle::Change,
    model::{Generation, GroupRef, ProviderName},
};

use super::{
    StartPhase, WorkerReport,
    group::GroupKey,
    report::StartReport,
    start_up::{Phases, StartUp},
};

/// Where the time of one worker goes: the fold of its events.
///
/// # Examples
/// ```
/// # use hodei_worker::{Clock as _, SystemClock, WorkerStateEvent, WorkerId, Result, store::EventStore};
/// # use hodei_worker::performance::WorkerPerformance;
/// async fn how_is(store: &dyn EventStore, worker: &WorkerId) -> Result<()> {
///     let page = store.read_stream(worker, 0, 10_000).await?;
///     let events = page.events.iter().map(WorkerStateEvent::from_stored).collect::<Result<Vec<_>>>()?;
///     if let Some(performance) = WorkerPerformance::fold(&events) {
///         println!("{}", performance.report(SystemClock.now()));
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct WorkerPerformance {
    id: WorkerId,
    provider: Option<ProviderName>,
    worker_type: Option<GroupRef>,
    generation: Generation,
    pub(super) starting: Option<StartUp>,
    last_start: Option<Phases>,
    failed: Option<Timestamp>,
    running: Option<Timestamp>,
    ran: Duration,
    restarts: u64,
    recoveries: u64,
    recovering: Duration,
    pub(super) jobs: u64,
    pub(super) busy: Duration,
}

/// What an event tells about the time of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct News {
    pub(super) started: Option<Phases>,
    pub(super) recovered: Option<Duration>,
    pub(super) restarts: bool,
    pub(super) escalated: bool,
}

impl WorkerPerformance {
    /// Nothing known yet.
    pub fn new(id: WorkerId) -> Self {
        Self {
            id,
            provider: None,
            worker_type: None,
            generation: Generation::FIRST,
            starting: None,
            last_start: None,
            failed: None,
            running: None,
            ran: Duration::ZERO,
            restarts: 0,
            recoveries: 0,
            recovering: Duration::ZERO,
            jobs: 0,
            busy: Duration::ZERO,
        }
    }

    /// One of that group, of which nothing else is known any more.
    pub(super) fn known(id: WorkerId, key: &GroupKey) -> Self {
        let GroupKey { worker_type, provider } = key.clone();
        Self { worker_type, provider, ..Self::new(id) }
    }

    /// The fold of a worker's events, in their order. `None` without any.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a WorkerStateEvent>) -> Option<Self> {
        let mut events = events.into_iter().peekable();
        let mut worker = Self::new(events.peek()?.worker_id.clone());
        events.for_each(|event| worker.observe(event));
        Some(worker)
    }

    /// Takes in the next event.
    pub fn observe(&mut self, event: &WorkerStateEvent) {
        self.take(event);
    }

    /// Takes in what its provider says. Before the event that follows from it, where one does.
    pub fn status(&mut self, status: &WorkerStatus) {
        if let Some(starting) = &mut self.starting
            && starting.generation == status.worker.generation
        {
            starting.note(&status.times);
        }
    }

    pub(super) fn take(&mut self, event: &WorkerStateEvent) -> News {
        let now = event.timestamp;
        let mut news = News::default();
        match &event.change {
            Change::CreateIntended { provider, generation, traits, .. } => {
                self.provider = Some(provider.clone());
                self.generation = *generation;
                if let Some(traits) = traits {
                    self.worker_type.clone_from(&traits.worker_type);
                }
                self.starting = Some(StartUp::begin(*generation, now));
            }
            Change::Created => {
                if let Some(starting) = &mut self.starting {
                    starting.reached(StartPhase::Create, now);
                }
            }
            Change::StartIntended { .. } => match &mut self.starting {
                Some(starting) => starting.asked(now),
                None => self.starting = Some(StartUp::begin(self.generation, now)),
            },
            Change::Started { at, .. } => {
                if let Some(starting) = &mut self.starting {
                    starting.started(*at, now);
                }
            }
            Change::Ended(end) => {
                self.starting = None;
                if event.new_state == Some(WorkerState::Recovering) && self.failed.is_none() {
                    self.failed = Some(end.at.filter(|at| *at <= now).unwrap_or(now));
                }
            }
            Change::RecoveryPlanned { .. } => {
                self.restarts += 1;
                news.restarts = true;
            }
            Change::Escalated { .. } => news.escalated = true,
            _ => {}
        }
        self.enter(event, &mut news);
        news
    }

    fn enter(&mut self, event: &WorkerStateEvent, news: &mut News) {
        let now = event.timestamp;
        match event.new_state {
            Some(WorkerState::Running | WorkerState::Degraded) => {
                news.started = self.begun_to_run(event);
                if let Some(failed) = self.failed.take() {
                    let took = between(failed, now);
                    (self.recoveries, self.recovering) = (self.recoveries + 1, self.recovering + took);
                    news.recovered = Some(took);
                }
                self.running.get_or_insert(now);
            }
            Some(WorkerState::Recovering) => {
                self.failed.get_or_insert(now);
                self.rest(now);
            }
            Some(WorkerState::Creating | WorkerState::Starting) => self.rest(now),
            // It runs until it has ended; and is not brought back any more.
            Some(WorkerState::Stopping) => (self.starting, self.failed) = (None, None),
            Some(WorkerState::Stopped | WorkerState::Failed) | None => {
                (self.starting, self.failed) = (None, None);
                self.rest(now);
            }
        }
    }

    /// It runs and, where it is checked, is well.
    fn begun_to_run(&mut self, event: &WorkerStateEvent) -> Option<Phases> {
        let mut starting = self.starting.take()?;
        if !starting.has(StartPhase::Start) {
            // Nobody knows when.
            return None;
        }
        if event.inferred || matches!(event.change, Change::Passed) {
            starting.started(None, event.timestamp);
        } else if !matches!(event.change, Change::Started { .. }) {
            starting.reached(StartPhase::Ready, event.timestamp);
        }
        let phases = starting.phases();
        self.last_start = Some(phases);
        Some(phases)
    }

    fn rest(&mut self, now: Timestamp) {
        if let Some(since) = self.running.take() {
            self.ran += between(since, now);
        }
    }

    /// Whether it is on its way to run.
    pub(super) fn is_under_way(&self) -> bool {
        self.starting.is_some() || self.failed.is_some()
    }

    /// What is known of it at that time.
    pub fn report(&self, as_of: Timestamp) -> WorkerReport {
        let running = self.ran + self.running.map(|since| between(since, as_of)).unwrap_or_default();
        WorkerReport {
            worker: self.id.clone(),
            provider: self.provider.clone(),
            worker_type: self.worker_type.clone(),
            generation: self.generation,
            start: self.last_start.as_ref().map(StartReport::from),
            running_time: running.into(),
            busy_time: self.busy.into(),
            jobs: self.jobs,
            restarts: self.restarts,
            recoveries: self.recoveries,
            recovery_time: self.recovering.into(),
        }
    }
}

pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
