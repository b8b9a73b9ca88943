//! Calls of providers: one task for each, at most one for a worker.

use std::sync::Arc;

use hodei_worker_core::{
    Clock, Error, ErrorKind, Result, WorkerConfig, WorkerId, WorkerProvider, WorkerRef, WorkerStatus,
    lifecycle::{Call, Input, Outcome, OutcomeOf, Pending},
    model::IntentMark,
    provider::{CreateOptions, CreateProgress, DeleteOptions, Operation, StartOptions, StopOptions},
    quantity::ByteSize,
    store::Store,
};
use tokio::{
    task::{self, JoinError},
    time::Instant,
};

use super::{Keeper, decide::Cause, strays::is_of_another};
use crate::{
    health,
    manager::config_key,
    performance::{PerformanceView, StartPhase},
};

/// How often the pause between two looks at a worker doubles.
const LOOKS: u32 = 4;

/// A call that is over, with its number.
pub(super) type Performed = (WorkerId, u64, Outcome);

/// What a call needs.
struct Task {
    call: Call,
    provider: Arc<dyn WorkerProvider>,
    store: Arc<dyn Store>,
    worker: WorkerRef,
    intent: IntentMark,
    config: Option<WorkerConfig>,
    memory_limit: Option<ByteSize>,
    /// Whether the provider tells by itself what comes of it.
    is_told: bool,
    /// Hears how a creation goes on.
    performance: PerformanceView,
    clock: Arc<dyn Clock>,
}

impl Keeper {
    pub(super) fn act(&mut self, id: &WorkerId, call: Call) {
        self.act_with(id, call, None);
    }

    /// Makes a call for a worker, in place of one that is under way.
    pub(super) fn act_with(&mut self, id: &WorkerId, call: Call, config: Option<WorkerConfig>) {
        if self.is_closing() {
            return;
        }
        if !self.may_call(id) {
            if let Some(slot) = self.slots.get_mut(id) {
                slot.stands_out = true;
            }
            return;
        }
        let Some(slot) = self.slots.get_mut(id) else { return };
        if call == Call::Observe && slot.is_called() {
            return;
        }
        if !slot.owned {
            return;
        }
        slot.abandon();
        if call != Call::Observe {
            slot.stands_out = false;
        }
        let Some(worker) = slot.worker() else { return };
        let reference = worker.reference();
        let Some(provider) = self.providers.get(&worker.provider) else {
            let error = Error::new(ErrorKind::Unavailable, "this host has no such provider")
                .with_context("provider", &worker.provider)
                .with_help("add it to the manager's providers");
            let outcome = Outcome::failed(worker.generation, call.operation(), error.report());
            self.handle(id, Cause::of(Input::Outcome(outcome)));
            return;
        };
        let task = Task {
            provider: Arc::clone(&provider.provider),
            store: Arc::clone(&self.store),
            worker: reference,
            intent: IntentMark { log: self.log.clone(), position: worker.intent },
            config,
            memory_limit: worker.traits.memory_limit,
            is_told: provider.synced,
            performance: self.care.performance(),
            clock: Arc::clone(&self.clock),
            call,
        };
        self.called += 1;
        let (number, name) = (self.called, id.clone());
        let handle = self.calls.spawn(async move {
            let outcome = task.perform().await;
            (name, number, outcome)
        });
        self.callers.insert(handle.id(), (id.clone(), number));
        slot.busy().call = Some((number, handle));
    }

    pub(super) fn call_ended(&mut self, ended: Result<(task::Id, Performed), JoinError>) {
        let (id, number, outcome) = match ended {
            Ok((task, performed)) => {
                self.callers.remove(&task);
                performed
            }
            Err(error) => {
                let Some((id, number)) = self.callers.remove(&error.id()) else { return };
                if error.is_cancelled() {
                    return;
                }
                let look_after = self.settings.look_after.get();
                let Some(slot) = self.slots.get_mut(&id) else { return };
                let present = slot.is_busy().and_then(|busy| busy.call.as_ref()).map(|(present, _)| *present);
                if present != Some(number) {
                    return;
                }
                let pending = slot.worker().and_then(hodei_worker_core::lifecycle::resume);
                let (Some(worker), Some(call)) = (slot.worker(), pending) else {
                    let busy = slot.busy();
                    (busy.call, busy.look_at) = (None, Some(Instant::now() + look_after));
                    self.arm(&id);
                    return;
                };
                let error = Error::new(ErrorKind::Unexpected, "the provider panicked")
                    .with_retry(hodei_worker_core::Retry::IfIdempotent);
                let outcome = Outcome::failed(worker.generation, call.operation(), error.report());
                (id, number, outcome)
            }
        };
        let Some(slot) = self.slots.get_mut(&id) else { return };
        // A call that was dropped meanwhile, and had ended before it heard of that.
        if slot.is_busy().and_then(|busy| busy.call.as_ref()).is_none_or(|(present, _)| *present != number) {
            return;
        }
        let starts =
            slot.worker().is_some_and(|worker| matches!(worker.pending, Some(Pending::Start { .. })));
        let unseen = match outcome.of {
            OutcomeOf::Done(Operation::Start) => outcome.status.is_none(),
            OutcomeOf::Done(Operation::Status) => starts,
            OutcomeOf::Failed(Operation::Status, _) => true,
            _ => false,
        };
        let busy = slot.busy();
        busy.call = None;
        let pause = self.settings.look_after.get() * 2_u32.pow(busy.looks.min(LOOKS));
        busy.look_at = unseen.then(|| Instant::now() + pause);
        if !unseen {
            busy.looks = 0;
        }
        self.handle(&id, Cause::of(Input::Outcome(outcome)));
        self.arm(&id);
    }
}

impl Task {
    async fn perform(mut self) -> Outcome {
        let (operation, generation) = (self.call.operation(), self.worker.generation);
        match self.make().await {
            Ok(status) => Outcome::done(generation, operation, status),
            Err(error) => {
                tracing::debug!(worker = %self.worker, %error, "a call failed");
                Outcome::failed(generation, operation, error.report())
            }
        }
    }

    async fn make(&mut self) -> Result<Option<Arc<WorkerStatus>>> {
        match self.call.clone() {
            Call::Create => {
                let config = self.config().await?;
                let options = CreateOptions::generation(self.worker.generation)
                    .with_intent(self.intent.clone())
                    .with_progress(self.progress());
                self.provider.create_worker(&config, &options).await?;
                Ok(None)
            }
            Call::Start { after } => {
                self.provider.start_worker(&self.worker, &StartOptions::after(after)).await?;
                if self.is_told { Ok(None) } else { self.status().await }
            }
            Call::Stop { grace } => {
                let options = grace.map_or_else(StopOptions::default, StopOptions::within);
                self.provider.stop_worker(&self.worker, &options).await?;
                self.status().await
            }
            Call::Delete { keep_volumes } => {
                let options =
                    if keep_volumes { DeleteOptions::keeping_volumes() } else { DeleteOptions::default() };
                self.provider.delete_worker(&self.worker, &options).await?;
                Ok(None)
            }
            _ => self.status().await,
        }
    }

    /// Takes down when an image was there: nothing else tells.
    fn progress(&self) -> impl Fn(CreateProgress) + Send + Sync + 'static {
        let (id, performance, clock) =
            (self.worker.id.clone(), self.performance.clone(), Arc::clone(&self.clock));
        move |step| {
            if matches!(step, CreateProgress::Pulled { .. }) {
                performance.reached(&id, StartPhase::Pull, clock.now());
            }
        }
    }

    async fn status(&self) -> Result<Option<Arc<WorkerStatus>>> {
        let status = self.provider.get_worker_status(&self.worker).await?;
        let mark = status.ownership.as_ref().and_then(|ownership| ownership.intent.as_ref());
        let is_of_another = match mark {
            Some(mark) => is_of_another(&*self.store, &self.worker, &self.intent, mark).await?,
            None => false,
        };
        // Then ours is not there.
        Ok(Some(if is_of_another { WorkerStatus::absent(&self.worker, status.as_of) } else { status }))
    }

    /// The configuration as its provider gets it.
    async fn config(&mut self) -> Result<WorkerConfig> {
        let config = match self.config.take() {
            Some(config) => config,
            None => self.stored_config().await?,
        };
        // What the provider does not check, the manager does.
        let config = match config.health_checks.is_empty() {
            true => config,
            false => {
                health::plan(&config, &*self.provider.get_capabilities().await?)?.for_provider(&config)?
            }
        };
        if config.resources.memory_limit >= self.memory_limit {
            return Ok(config);
        }
        let mut spec = config.to_spec();
        spec.resources.memory_limit = self.memory_limit;
        WorkerConfig::new(spec)
    }

    async fn stored_config(&self) -> Result<WorkerConfig> {
        read_config(&*self.store, &self.worker.id).await
    }
}

/// Reads a worker's configuration.
pub(in crate::manager) async fn read_config(store: &dyn Store, id: &WorkerId) -> Result<WorkerConfig> {
    let stored = store.get(&config_key(id)).await?.ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, "there is no configuration of this worker in the store")
            .with_context("worker", id)
    })?;
    serde_json::from_slice(&stored.value).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "the stored configuration of the worker cannot be understood")
            .with_context("worker", id)
            .with_source(error)
    })
}
