use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::{
    fault::{Fault, Script},
    object::{End, Object, Run},
    play::{self, Ending, Io, Volumes, World},
};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    model::{InstallationId, RunId, WorkerRef},
    provider::{LogChunk, LogStream, Operation},
    status::ExitStatus,
    testkit::Program,
};

/// Where the fake's workers live. Providers come and go, the platform stays: as an engine does.
#[derive(Clone)]
pub struct FakePlatform(Arc<Inner>);

pub(super) type Key = (InstallationId, WorkerRef);

struct Inner {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    script: Mutex<Script>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) objects: BTreeMap<Key, Object>,
    /// Names that others have taken.
    pub(super) foreign: BTreeSet<Key>,
    pub(super) next: u64,
    pub(super) volumes: Volumes,
}

impl Default for FakePlatform {
    fn default() -> Self {
        Self::new()
    }
}

impl FakePlatform {
    /// An empty platform.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            script: Mutex::default(),
        }))
    }

    /// Has the next call of that operation that has no fault yet go wrong.
    pub fn inject(&self, operation: Operation, fault: Fault) {
        self.script().push(operation, fault);
    }
    /// How often an operation has been called.
    pub fn calls(&self, operation: Operation) -> usize {
        self.script().calls(operation)
    }
    /// How many workers there are, of all installations.
    pub fn len(&self) -> usize {
        self.state().objects.len()
    }
    /// Whether there are no workers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Kills a worker from outside, as an impatient administrator would.
    pub fn kill(&self, installation: &InstallationId, worker: &WorkerRef) {
        let key = (installation.clone(), worker.clone());
        let run =
            self.state().objects.get(&key).and_then(|object| object.run.as_ref().map(|run| run.id.clone()));
        if let Some(run) = run {
            self.end(&key, &run, (Some(ExitStatus::Signal(9)), Some(crate::status::FailureClass::Killed)));
        }
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn changed(&self) {
        self.0.changes.send_modify(|version| *version += 1);
    }
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Begins a run of the worker's program.
    pub(super) fn begin(&self, key: &Key, world: World, now: Timestamp) {
        let mut state = self.state();
        state.next += 1;
        let id = RunId::new(format!("run-{}", state.next));
        let Some(object) = state.objects.get_mut(key) else { return };
        let (term, signals) = mpsc::unbounded_channel();
        let program = play::program(&object.config.command).unwrap_or(Program::Missing);
        let task = tokio::spawn(self.clone().play(key.clone(), id.clone(), program, world.clone(), signals));
        let task = Some(task.abort_handle());
        object.run = Some(Run { id, started: now, end: None, stopping: false, term, task, world });
        drop(state);
        self.changed();
    }

    async fn play(
        self,
        key: Key,
        run: RunId,
        program: Program,
        world: World,
        term: mpsc::UnboundedReceiver<()>,
    ) {
        let write = |stream: LogStream, bytes: Bytes| self.write(&key, stream, &bytes);
        let ending = play::play(&program, &world, Io { write: &write, term, stdin: None }).await;
        self.end(&key, &run, ending);
    }

    fn write(&self, key: &Key, stream: LogStream, bytes: &Bytes) {
        let time = SystemClock.now();
        let mut state = self.state();
        let Some(object) = state.objects.get_mut(key) else { return };
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            object.log.push(LogChunk::new(time, stream, rest.split_to(end)));
        }
        drop(state);
        self.changed();
    }

    /// Ends a run, unless it has ended already.
    pub(super) fn end(&self, key: &Key, run: &RunId, (exit, failure): Ending) {
        let mut state = self.state();
        let Some(running) = state.objects.get_mut(key).and_then(|object| object.run.as_mut()) else { return };
        if running.id != *run || running.end.is_some() {
            return;
        }
        running.end = Some(End { at: SystemClock.now(), exit, failure });
        if let Some(task) = running.task.take() {
            task.abort();
        }
        let was_stopped = running.stopping;
        let stays = |object: &Object| if was_stopped { object.stays_stopped } else { object.stays_ended };
        if state.objects.get(key).is_some_and(|object| !stays(object)) {
            state.objects.remove(key);
        }
        drop(state);
        self.changed();
    }
}

impl fmt::Debug for FakePlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakePlatform").field("workers", &self.len()).finish_non_exhaustive()
    }
}
