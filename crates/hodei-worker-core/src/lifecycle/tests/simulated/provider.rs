use super::*;
use crate::{
    error::{Error, ErrorKind, ErrorReport, Retry},
    lifecycle::Call,
    status::Gone,
};

/// What came of a call.
pub(super) type Answer = Result<(), Box<ErrorReport>>;

/// What a provider can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Powers {
    /// Creation and start are two steps.
    pub(super) deferred_start: bool,
    pub(super) keeps_stopped: bool,
    pub(super) in_place: bool,
}

/// What the provider has of one generation.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) generation: Generation,
    /// The number of its last run among all runs of the provider; 0 if there was none.
    pub(super) run: u32,
    pub(super) alive: bool,
    exit: i32,
}

/// A model of one provider with what it has of one worker.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    powers: Powers,
    pub(super) objects: Vec<Object>,
    /// What its watch has still to tell, the oldest first.
    pub(super) told: Vec<Told>,
    /// For each generation and start token, how often a run was begun.
    pub(super) begun: HashMap<(u64, Option<String>), u32>,
    pub(super) made: HashSet<Generation>,
    run: u32,
}

#[derive(Debug, Clone)]
pub(super) enum Told {
    Status(Arc<WorkerStatus>),
    Gone(Gone),
}

impl Told {
    pub(super) fn generation(&self) -> Generation {
        match self {
            Self::Status(status) => status.worker.generation,
            Self::Gone(gone) => gone.worker.generation,
        }
    }

    pub(super) fn input(&self) -> Input {
        match self {
            Self::Status(status) => Input::Observed(Arc::clone(status)),
            Self::Gone(gone) => Input::Gone(gone.clone()),
        }
    }
}

fn name(run: u32) -> String {
    format!("r{run}")
}

fn refused(kind: ErrorKind) -> Box<ErrorReport> {
    Error::new(kind, "no").report().into()
}

/// An answer that was lost, or never came.
pub(super) fn no_answer() -> Box<ErrorReport> {
    Error::new(ErrorKind::Timeout, "no answer").with_retry(Retry::IfIdempotent).report().into()
}

impl Provider {
    pub(super) fn new(powers: Powers) -> Self {
        Self {
            powers,
            objects: Vec::new(),
            told: Vec::new(),
            begun: HashMap::new(),
            made: HashSet::new(),
            run: 0,
        }
    }

    fn find(&mut self, generation: Generation) -> Option<&mut Object> {
        self.objects.iter_mut().find(|object| object.generation == generation)
    }

    pub(super) fn status(&self, generation: Generation) -> WorkerStatus {
        let Some(object) = self.objects.iter().find(|object| object.generation == generation) else {
            return status_of(generation, WorkerPhase::Absent, None);
        };
        let run = (object.run > 0).then(|| name(object.run));
        match (&run, object.alive) {
            (None, _) => status_of(generation, WorkerPhase::Created, None),
            (Some(run), true) => status_of(generation, WorkerPhase::Running, Some(run)),
            (Some(run), false) => exited_of(generation, run, object.exit),
        }
    }

    pub(super) fn tell(&mut self, generation: Generation) {
        let status = self.status(generation);
        self.told.push(if status.phase == WorkerPhase::Absent {
            Told::Gone(Gone::new(status.worker, "n", at(0)))
        } else {
            Told::Status(Arc::new(status))
        });
    }

    /// The whole picture, as after a gap of the watch: what is not told any more is gone.
    pub(super) fn relist(&mut self, generation: Generation) {
        self.told.clear();
        // A list that began before the creation was answered is dropped by who reads it.
        let existed = self.made.contains(&generation);
        if existed && self.objects.iter().all(|object| object.generation != generation) {
            self.told.push(Told::Gone(Gone::new(WorkerRef { id: id(), generation }, "n", at(0))));
        }
        for object in self.objects.clone() {
            self.told.push(Told::Status(Arc::new(self.status(object.generation))));
        }
    }

    /// Does what it is asked.
    pub(super) fn call(&mut self, generation: Generation, call: &Call) -> Answer {
        match call {
            Call::Create => self.create(generation),
            Call::Start { after } => return self.start(generation, after.as_ref()),
            Call::Stop { .. } => self.end(generation, 0),
            Call::Delete { .. } => self.remove(generation),
            Call::Observe => {}
        }
        Ok(())
    }

    fn create(&mut self, generation: Generation) {
        if self.find(generation).is_some() {
            return;
        }
        // Of one worker a watch keeps the newest only: an object that has taken another's place supersedes its end.
        self.told.retain(|told| told.generation() != generation);
        self.objects.push(Object { generation, run: 0, alive: false, exit: 0 });
        self.made.insert(generation);
        if self.powers.deferred_start { self.tell(generation) } else { self.begin(generation, None) }
    }

    fn start(&mut self, generation: Generation, after: Option<&RunId>) -> Answer {
        let in_place = self.powers.in_place;
        let Some(object) = self.find(generation) else { return Err(refused(ErrorKind::NotFound)) };
        let last = (object.run > 0).then(|| RunId::new(name(object.run)));
        if last.as_ref() != after {
            return Ok(());
        }
        if object.alive {
            return Err(refused(ErrorKind::Conflict));
        }
        if object.run > 0 && !in_place {
            return Err(refused(ErrorKind::Unsupported));
        }
        self.begin(generation, after.map(|after| after.as_str().to_owned()));
        Ok(())
    }

    fn begin(&mut self, generation: Generation, after: Option<String>) {
        *self.begun.entry((generation.get(), after)).or_default() += 1;
        self.begin_run(generation);
    }

    fn begin_run(&mut self, generation: Generation) {
        self.run += 1;
        let run = self.run;
        if let Some(object) = self.find(generation) {
            (object.run, object.alive) = (run, true);
        }
        self.tell(generation);
    }

    /// Its run ends by itself or is ended.
    pub(super) fn end(&mut self, generation: Generation, code: i32) {
        let Some(object) = self.find(generation).filter(|object| object.alive) else { return };
        (object.alive, object.exit) = (false, code);
        self.tell(generation);
        if !self.powers.keeps_stopped {
            self.remove(generation);
        }
    }

    /// Somebody restarts it behind our back.
    pub(super) fn meddle(&mut self, generation: Generation) {
        if self.find(generation).is_some_and(|object| object.run > 0 && !object.alive) && self.powers.in_place
        {
            self.begin_run(generation);
        }
    }

    pub(super) fn remove(&mut self, generation: Generation) {
        let before = self.objects.len();
        self.objects.retain(|object| object.generation != generation);
        // A provider that keeps nothing cannot know that it has done all this before.
        self.begun.retain(|(of, _), _| *of != generation.get());
        if self.objects.len() != before {
            self.tell(generation);
        }
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(|object| object.alive)
    }
}

/// Failures of calls that are no outage.
pub(super) fn permanent(kind: u8) -> Box<ErrorReport> {
    refused(match kind % 4 {
        0 => ErrorKind::Config,
        1 => ErrorKind::Capacity,
        2 => ErrorKind::Dependency,
        _ => ErrorKind::Unexpected,
    })
}
