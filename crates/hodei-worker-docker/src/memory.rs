//! What this provider remembers of its workers, so that a worker's life costs few requests. Nothing here is needed to
//! be right: what is not remembered is asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::OwnedMutexGuard;

use hodei_worker_core::{
    WorkerRef,
    model::{RunId, SecretReference},
};

/// From so many workers on, those that were forgotten are looked for.
const LEAST: usize = 64;

/// The remembered workers.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<HashMap<WorkerRef, Arc<Remembered>>>);

/// One worker.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Held by the request that creates, starts or removes it, until the engine has answered.
    turn: Arc<tokio::sync::Mutex<()>>,
    facts: Mutex<Facts>,
    /// Held by the request that asks it to stop, until the engine has answered.
    stopping: Arc<tokio::sync::Mutex<()>>,
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
    /// The stream over which stops were heard of when we started it.
    pub(crate) heard: Option<u64>,
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
    /// The present one perhaps: a request was made that has not been answered, or some signal was heard of.
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
    /// Networks that it is on.
    pub(crate) networks: Vec<String>,
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
        let mut all = self.all();
        if let Some(known) = all.get(worker) {
            return Arc::clone(known);
        }
        // What was forgotten while somebody held it goes now, once for each doubling.
        if all.len() >= LEAST && all.len().is_power_of_two() {
            all.retain(|_, remembered| !remembered.is_idle());
        }
        Arc::clone(all.entry(worker.clone()).or_default())
    }
    /// What is known of it, if anything.
    pub(crate) fn known(&self, worker: &WorkerRef) -> Option<Facts> {
        self.all().get(worker).map(|remembered| remembered.facts().clone())
    }
    /// Nothing is known of it any more. Whoever holds it, or has its turn, goes on to do so: a creation that its caller
    /// has dropped is still waited for.
    pub(crate) fn forget(&self, worker: &WorkerRef) {
        let mut all = self.all();
        let Some(remembered) = all.get(worker) else { return };
        remembered.know(Facts::default());
        if remembered.is_idle() {
            all.remove(worker);
        }
    }
}

impl Remembered {
    /// Waits until no other request changes it. A request keeps its turn although its caller has gone, so that what
    /// comes next sees what it did.
    pub(crate) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }
    /// The turn, if nobody has it.
    pub(crate) fn try_turn(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.turn).try_lock_owned().ok()
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
    /// The right to ask it to stop; `None` while a request of ours is on its way.
    pub(crate) fn try_stop_turn(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.stopping).try_lock_owned().ok()
    }
    /// Waits until no request to stop it is on its way.
    pub(crate) async fn no_stop_in_flight(&self) {
        drop(self.stopping.lock().await);
    }
    /// Whether nobody holds it or has a turn, and nothing is known of it. To be asked with the map locked.
    fn is_idle(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
            && self.turn.try_lock().is_ok()
            && self.stopping.try_lock().is_ok()
            && self.facts().id.is_none()
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

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn worker(n: usize) -> WorkerRef {
        WorkerRef::first(format!("a-{n}").parse().unwrap())
    }

    #[tokio::test]
    async fn p1_a_turn_outlives_that_its_worker_is_forgotten() {
        let memory = Memory::default();
        let turn = memory.of(&worker(1)).turn().await;
        memory.forget(&worker(1));
        assert!(memory.of(&worker(1)).turn().now_or_never().is_none(), "two have the turn");
        drop(turn);
        assert!(memory.of(&worker(1)).turn().now_or_never().is_some());
        memory.forget(&worker(1));
        assert!(memory.all().is_empty());
    }

    #[test]
    fn p7_forgotten_workers_take_no_room() {
        let memory = Memory::default();
        for n in 0..10_000 {
            let held = memory.of(&worker(n));
            memory.forget(&worker(n));
            drop(held);
        }
        assert!(memory.all().len() <= LEAST, "{}", memory.all().len());
    }
}
