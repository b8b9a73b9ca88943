//! What this provider remembers of its workers, so that a worker's life costs few requests. Nothing here is needed to
//! be right: what is not remembered is asked.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::OwnedMutexGuard;

use hodei_worker_core::{
    WorkerRef,
    model::{RunId, SecretReference},
};

/// The remembered workers.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<HashMap<WorkerRef, Arc<Remembered>>>);

/// One worker.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Held by the request that creates, starts or removes it, until the engine has answered.
    turn: Arc<tokio::sync::Mutex<()>>,
    facts: Mutex<Facts>,
    /// Whether a request of ours to stop it is on its way.
    stop_in_flight: AtomicBool,
}

/// What is known of a worker.
#[derive(Debug, Default, Clone)]
pub(crate) struct Facts {
    /// Its container, whose labels were checked.
    pub(crate) id: Option<Arc<str>>,
    pub(crate) state: Known,
    /// What its container was made with.
    pub(crate) made: Option<Arc<Made>>,
    /// The run that was asked to stop.
    pub(crate) asked: Option<Asked>,
}

/// How far its state is known without asking.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Not at all.
    #[default]
    Nothing,
    /// We created it, and nobody has started it.
    NeverRun,
    /// We started it, whether it still runs or not.
    StartedHere,
}

/// Which run was asked to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The present one perhaps: a call was made, and may have been dropped before it was sent.
    Maybe,
    /// This one, for sure.
    Run(RunId),
}

/// What a container was made with and keeps for life.
#[derive(Debug, Default, Clone)]
pub(crate) struct Made {
    pub(crate) secrets: Vec<SecretReference>,
    /// User and group of its command, where they are numbers.
    pub(crate) user: Option<String>,
    pub(crate) stop_grace: Option<Duration>,
    /// Named volumes that it mounts.
    pub(crate) volumes: Vec<String>,
    /// The engine's log driver for it.
    pub(crate) log_driver: String,
    /// Whether the engine restarts it by itself, so that runs begin without us.
    pub(crate) native_restart: bool,
}

impl Memory {
    fn all(&self) -> MutexGuard<'_, HashMap<WorkerRef, Arc<Remembered>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The worker, remembered from now on.
    pub(crate) fn of(&self, worker: &WorkerRef) -> Arc<Remembered> {
        Arc::clone(self.all().entry(worker.clone()).or_default())
    }
    /// What is known of it, if anything.
    pub(crate) fn known(&self, worker: &WorkerRef) -> Option<Facts> {
        self.all().get(worker).map(|remembered| remembered.facts().clone())
    }
    /// It is gone.
    pub(crate) fn forget(&self, worker: &WorkerRef) {
        self.all().remove(worker);
    }
}

impl Remembered {
    /// Waits until no other request changes it. A request keeps its turn although its caller has gone, so that what
    /// comes next sees what it did.
    pub(crate) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }
    /// What is known of it. Not to be held across a wait.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Notes something else.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts());
    }
    /// Replaces what was known.
    pub(crate) fn know(&self, facts: Facts) {
        *self.facts() = facts;
    }
    /// Marks a request to stop as on its way; `false` if one is.
    pub(crate) fn begin_stop(&self) -> bool {
        !self.stop_in_flight.swap(true, Ordering::AcqRel)
    }
    /// The request has been answered, or was given up.
    pub(crate) fn end_stop(&self) {
        self.stop_in_flight.store(false, Ordering::Release);
    }
    /// Whether a request to stop is on its way.
    pub(crate) fn is_stop_in_flight(&self) -> bool {
        self.stop_in_flight.load(Ordering::Acquire)
    }
    /// Takes note of a container that was found; what was known of another one is void.
    pub(crate) fn found(&self, id: &str, made: Arc<Made>) {
        let mut facts = self.facts();
        if facts.id.as_deref() != Some(id) {
            *facts = Facts { id: Some(id.into()), ..Facts::default() };
        }
        facts.made = Some(made);
    }
}
