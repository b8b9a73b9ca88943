use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hodei_worker_core::{
    ErrorKind, WorkerState, WorkerStateEvent,
    lifecycle::{Change, Strategy, Worker},
    model::ProviderName,
    store::HostId,
};
use metrics::{counter, gauge, histogram};

use super::{Samples, names};
use crate::{events::BusLag, health::Tried};

/// Measures what a manager does. Clones are handles of the same.
///
/// # Examples
/// ```
/// use hodei_worker::{WorkerState, telemetry::Telemetry};
/// let telemetry = Telemetry::default();
/// let local = "local".parse()?;
/// telemetry.workers([(&local, WorkerState::Running), (&local, WorkerState::Failed)]);
/// # Ok::<(), hodei_worker::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    samples: Samples,
    /// Providers that had workers: told as 0 when they have none any more.
    providers: Arc<Mutex<BTreeSet<ProviderName>>>,
}

impl Telemetry {
    /// The last measurements of single workers.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// An event, with the worker as it is after it.
    pub fn observe(&self, event: &WorkerStateEvent, worker: &Worker) {
        let provider = || worker.provider.to_string();
        if event.changes_state() {
            let name = |state: Option<WorkerState>| state.map_or("none", WorkerState::as_str);
            let (from, to) = (name(event.old_state), name(event.new_state));
            counter!(names::TRANSITIONS, names::PROVIDER => provider(), names::FROM => from, names::TO => to)
                .increment(1);
        }
        if !worker.alive {
            self.samples.forget(&worker.id);
        }
        match &event.change {
            Change::RecoveryPlanned { strategy, attempt, .. } => {
                recovery(provider(), *strategy, "planned");
                let before =
                    worker.recovery.as_ref().and_then(|recovery| recovery.history.iter().rev().nth(1));
                if let Some(before) = before.filter(|before| *attempt > 1 && before.helped == Some(false)) {
                    recovery(provider(), before.strategy, "failed");
                }
            }
            Change::Recovered => {
                let last = worker.recovery.as_ref().and_then(|recovery| recovery.history.iter().next_back());
                if let Some(last) = last.filter(|last| last.helped == Some(true)) {
                    recovery(provider(), last.strategy, "helped");
                }
            }
            Change::Escalated { why, .. } => {
                counter!(names::ESCALATIONS, names::PROVIDER => provider(), names::REASON => why.as_str())
                    .increment(1);
            }
            Change::TakenOver { .. } => {
                counter!(names::TAKEOVERS, names::PROVIDER => provider()).increment(1)
            }
            _ => {}
        }
    }

    /// All workers that there are, for the gauge by state: call it when the metrics are read, it keeps nothing of each.
    pub fn workers<'a>(&self, workers: impl IntoIterator<Item = (&'a ProviderName, WorkerState)>) {
        let mut counts: HashMap<&ProviderName, [u32; WorkerState::ALL.len()]> = HashMap::new();
        for (provider, state) in workers {
            counts.entry(provider).or_default()[state as usize] += 1;
        }
        let mut known = self.providers.lock().unwrap_or_else(PoisonError::into_inner);
        for provider in counts.keys() {
            if !known.contains(*provider) {
                known.insert((*provider).clone());
            }
        }
        for provider in known.iter() {
            let counts = counts.get(provider).copied().unwrap_or_default();
            for state in WorkerState::ALL {
                let (name, count) = (state.as_str(), f64::from(counts[state as usize]));
                gauge!(names::WORKERS, names::PROVIDER => provider.to_string(), names::STATE => name)
                    .set(count);
            }
        }
    }

    /// A probe of a worker's health.
    pub fn probed(&self, tried: &Tried) {
        let outcome = match tried.is_well {
            Some(true) => "ok",
            Some(false) => "failed",
            None => "unknown",
        };
        let labels = [
            metrics::Label::new(names::PROVIDER, tried.provider.to_string()),
            metrics::Label::from_static_parts(names::PROBE, tried.probe),
            metrics::Label::from_static_parts(names::OUTCOME, outcome),
        ];
        counter!(names::PROBES, labels.iter()).increment(1);
        histogram!(names::PROBE_DURATION, labels.iter()).record(tried.took.as_secs_f64());
        let (Some(is_well), true) = (tried.is_well, tried.network) else { return };
        let (id, worker_type) = (&tried.worker.id, tried.worker_type.as_ref());
        self.samples.change(id, &tried.provider, worker_type, |sample| {
            sample.reachable = Some(is_well);
            if is_well {
                sample.response = Some(tried.took);
            }
        });
    }

    /// A batch was appended to the log of that kind of store, or was not; how long that took, its time in the queue
    /// included.
    pub fn appended(&self, store: &'static str, failure: Option<ErrorKind>, took: Duration) {
        let outcome = failure.map_or("ok", ErrorKind::as_str);
        counter!(names::APPENDS, names::STORE => store, names::OUTCOME => outcome).increment(1);
        histogram!(names::APPEND_DURATION, names::STORE => store, names::OUTCOME => outcome)
            .record(took.as_secs_f64());
    }

    /// So many batches wait to be appended.
    #[allow(clippy::cast_precision_loss)] // A queue is short.
    pub fn queued(&self, store: &'static str, batches: usize) {
        gauge!(names::APPEND_QUEUE, names::STORE => store).set(batches as f64);
    }

    /// How far subscribers of events are behind: call it when the metrics are read.
    #[allow(clippy::cast_precision_loss)] // Counts of things in memory.
    pub fn bus(&self, lag: &BusLag) {
        gauge!(names::SUBSCRIBERS).set(lag.subscribers as f64);
        gauge!(names::EVENT_LAG).set(lag.longest as f64);
        counter!(names::EVENTS_MISSED).absolute(lag.missed);
    }

    /// How long the host's lease holds; `None`: it has none.
    pub fn lease(&self, host: &HostId, remaining: Option<Duration>) {
        let seconds = remaining.unwrap_or_default().as_secs_f64();
        gauge!(names::LEASE_REMAINING, names::HOST => host.to_string()).set(seconds);
    }

    /// The host's lease ran out, or was taken.
    pub fn lease_lost(&self, host: &HostId) {
        counter!(names::LEASES_LOST, names::HOST => host.to_string()).increment(1);
    }
}

fn recovery(provider: String, strategy: Strategy, outcome: &'static str) {
    counter!(
        names::RECOVERIES,
        names::PROVIDER => provider,
        names::STRATEGY => strategy.as_str(),
        names::OUTCOME => outcome,
    )
    .increment(1);
}
