use std::{collections::HashMap, sync::Arc};

use futures::stream::{self, StreamExt as _};
use hodei_worker_core::{
    Capability, ErrorKind, WorkerId, WorkerProvider, WorkerRef,
    model::{GroupRef, ProviderName},
    provider::StatsOptions,
};
use metrics::counter;
use tokio::{sync::Mutex, time::Instant};

use super::{Samples, SamplingSettings, Telemetry, names};

/// A running worker that may be measured.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SampleTarget {
    /// Which.
    pub worker: WorkerRef,
    /// Its type.
    pub worker_type: Option<GroupRef>,
    /// Who measures it.
    pub provider: Arc<dyn WorkerProvider>,
}

impl SampleTarget {
    /// That worker of that provider.
    pub fn new(worker: WorkerRef, worker_type: Option<GroupRef>, provider: Arc<dyn WorkerProvider>) -> Self {
        Self { worker, worker_type, provider }
    }
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Sampled {
    /// Workers that were measured.
    pub measured: usize,
    /// Workers that could not be, though they should.
    pub failed: usize,
    /// Workers beyond the budget.
    pub skipped: usize,
    /// There was no round: the last was too short a time ago, or another is under way.
    pub too_soon: bool,
}

/// Measures single workers when it is asked to, within a budget.
///
/// Ask before each scrape, or at an interval: it does one round of at most [`per_round`](SamplingSettings::per_round)
/// workers, not more often than the settings allow, and the next round goes on where this one stopped. Workers of
/// providers that cannot measure cost nothing. The calls stand under the operation `stats` in the metrics of calls.
#[derive(Debug)]
pub struct Sampler {
    settings: SamplingSettings,
    samples: Samples,
    round: Mutex<Round>,
}

#[derive(Debug, Default)]
struct Round {
    begun: Option<Instant>,
    after: Option<WorkerId>,
}

enum Found {
    Measured,
    Failed,
    Gone,
}

impl Sampler {
    /// Keeps what it measures in the telemetry's [samples](Telemetry::samples).
    pub fn new(settings: SamplingSettings, telemetry: &Telemetry) -> Self {
        telemetry.samples().keep(settings.keep);
        Self { settings, samples: telemetry.samples().clone(), round: Mutex::default() }
    }

    /// Does one round, if it is time. `total` is the number of running workers; `next` gives up to so many of them after
    /// that one, in the order of their ids, the first ones for `None`.
    ///
    /// # Cancel safety
    /// When dropped, what was measured is kept, and the round counts.
    pub async fn sample<F>(&self, total: usize, next: F) -> Sampled
    where
        F: Fn(Option<&WorkerId>, usize) -> Vec<SampleTarget>,
    {
        let too_soon = Sampled { too_soon: true, ..Sampled::default() };
        let Ok(mut round) = self.round.try_lock() else { return too_soon };
        if round.begun.is_some_and(|begun| begun.elapsed() < self.settings.every.get()) {
            return too_soon;
        }
        round.begun = Some(Instant::now());
        let targets = self.choose(&mut round, total, next);
        let skipped = total.saturating_sub(targets.len());
        counter!(names::SAMPLES_SKIPPED).increment(skipped as u64);
        let mut sampled = Sampled { skipped, ..Sampled::default() };
        let targets = able(targets).await;
        let found = stream::iter(targets.into_iter().map(|target| self.measure(target)));
        let mut found = found.buffer_unordered(self.settings.concurrency.max(1));
        while let Some(found) = found.next().await {
            match found {
                Found::Measured => sampled.measured += 1,
                Found::Failed => sampled.failed += 1,
                Found::Gone => {}
            }
        }
        sampled
    }

    /// Those whose turn it is: after those of the last round, and from the beginning where that was the end.
    fn choose<F>(&self, round: &mut Round, total: usize, next: F) -> Vec<SampleTarget>
    where
        F: Fn(Option<&WorkerId>, usize) -> Vec<SampleTarget>,
    {
        let wanted = self.settings.per_round.min(total);
        let mut targets = next(round.after.as_ref(), wanted);
        if targets.len() < wanted
            && let Some(after) = &round.after
        {
            let first = next(None, wanted - targets.len());
            targets.extend(first.into_iter().take_while(|target| target.worker.id <= *after));
        }
        targets.truncate(wanted);
        round.after = targets.last().map(|target| target.worker.id.clone());
        targets
    }

    async fn measure(&self, target: SampleTarget) -> Found {
        let SampleTarget { worker, worker_type, provider } = target;
        let name = &provider.info().name;
        let options = StatsOptions::default();
        let call = provider.worker_stats(&worker, &options);
        let result = tokio::time::timeout(self.settings.timeout.get(), call).await;
        let (outcome, found) = match result {
            Ok(Ok(stats)) => {
                self.samples.change(&worker.id, name, worker_type.as_ref(), |sample| {
                    sample.stats = Some(stats);
                });
                ("ok", Found::Measured)
            }
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                self.samples.forget(&worker.id);
                (error.kind().as_str(), Found::Gone)
            }
            Ok(Err(error)) => (error.kind().as_str(), Found::Failed),
            Err(_) => (ErrorKind::Timeout.as_str(), Found::Failed),
        };
        counter!(names::SAMPLES, names::PROVIDER => name.to_string(), names::OUTCOME => outcome).increment(1);
        found
    }
}

/// Those whose provider can measure.
async fn able(targets: Vec<SampleTarget>) -> Vec<SampleTarget> {
    let mut known: HashMap<ProviderName, bool> = HashMap::new();
    let mut able = Vec::with_capacity(targets.len());
    for target in targets {
        let name = &target.provider.info().name;
        let can = match known.get(name) {
            Some(can) => *can,
            None => {
                let capabilities = target.provider.get_capabilities().await;
                let can = capabilities.is_ok_and(|found| found.supports(Capability::Monitoring));
                known.insert(name.clone(), can);
                can
            }
        };
        if can {
            able.push(target);
        }
    }
    able
}
