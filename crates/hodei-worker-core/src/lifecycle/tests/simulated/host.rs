use super::{provider::*, *};
use crate::lifecycle::{Call, Decision, HealthChange, Outcome, WorkerStateEvent, resume};

/// A host as a manager would be: durable events, one call under way at most, everything else forgotten by a crash.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) settings: RecoverySettings,
    pub(super) powers: Powers,
    pub(super) traits: Box<Traits>,
    /// What is durable.
    pub(super) log: Vec<WorkerStateEvent>,
    /// What is known: the fold of it.
    pub(super) worker: Option<Worker>,
    pub(super) provider: Provider,
    /// The call that is under way, and whether the provider has done it already.
    pub(super) under_way: Option<(Generation, Call, Option<Answer>)>,
    /// Requests that were sent and given up: each may land once, at any time.
    pub(super) astray: Vec<(Generation, Call)>,
    pub(super) now: u64,
    /// What is wanted, as far as it was acknowledged.
    pub(super) goal: Option<Goal>,
    /// How often it was tried to bring it back since a person did something or all was well.
    pub(super) tries: u32,
}

impl Host {
    pub(super) fn new(powers: Powers, restart: RestartPolicy, checked: bool) -> Self {
        let settings = RecoverySettings { max_attempts: 3, ..RecoverySettings::default() };
        Self {
            settings,
            powers,
            traits: traits(restart, checked),
            log: Vec::new(),
            worker: None,
            provider: Provider::new(powers),
            under_way: None,
            astray: Vec::new(),
            now: 0,
            goal: None,
            tries: 0,
        }
    }

    pub(super) fn input(&mut self, input: &Input) {
        let mut context = Context::new(at(self.now), &self.settings);
        (context.restarts_in_place, context.keeps_stopped) =
            (self.powers.in_place, self.powers.keeps_stopped);
        let before = self.worker.clone();
        let Ok((after, decision)) = transition(&id(), before.clone(), input, &context) else { return };
        self.acknowledge(input);
        self.make_durable(&decision, after);
        if decision.abandons {
            self.give_up();
        }
        let Some(call) = decision.call else { return };
        let Some(worker) = &self.worker else { return };
        if call == Call::Observe {
            let status = self.provider.status(worker.generation);
            let outcome = Outcome::done(worker.generation, call.operation(), Some(Arc::new(status)));
            self.input(&Input::Outcome(outcome));
        } else {
            assert!(self.under_way.is_none(), "{call:?} beside {:?}", self.under_way);
            self.under_way = Some((worker.generation, call, None));
        }
    }

    fn acknowledge(&mut self, input: &Input) {
        let Input::Command(command) = input else { return };
        self.tries = 0;
        self.goal = match command {
            Command::Create { .. } if self.goal.is_some() => self.goal,
            Command::Create { goal, .. } => Some(*goal),
            Command::Start => Some(Goal::Running),
            Command::Stop { .. } if self.goal == Some(Goal::Removed) => self.goal,
            Command::Stop { .. } => Some(Goal::Stopped),
            Command::Remove { .. } => Some(Goal::Removed),
        };
    }

    fn make_durable(&mut self, decision: &Decision, after: Option<Worker>) {
        for event in &decision.events {
            let mut event = event.clone();
            event.event_id = self.log.len() as u64 + 1;
            match &event.change {
                crate::lifecycle::Change::RecoveryPlanned { .. } => self.tries += 1,
                crate::lifecycle::Change::Recovered => self.tries = 0,
                _ => {}
            }
            assert!(self.tries <= self.settings.max_attempts, "it is tried for ever");
            self.log.push(event);
        }
        self.worker = self.fold();
        let plain = |worker: Option<Worker>| {
            worker.map(|worker| Worker { position: 0, born: 0, intent: 0, ..worker })
        };
        assert_eq!(plain(self.worker.clone()), plain(after), "the fold is what was decided");
        if self.worker.as_ref().is_some_and(|worker| worker.state.is_none()) {
            self.goal = None;
        }
    }

    /// What the bytes of the log add up to.
    fn fold(&self) -> Option<Worker> {
        let mut worker = None;
        for event in &self.log {
            let bytes = event.to_bytes().unwrap();
            let stored = crate::store::StoredEvent::new(event.event_id, id(), event.version, bytes);
            let read = WorkerStateEvent::from_stored(&stored).unwrap();
            worker = Some(Worker::apply(worker, &read).expect("the log adds up"));
        }
        worker
    }

    pub(super) fn create(&mut self) {
        let traits = self.traits.clone();
        self.input(&create(traits));
    }

    /// The provider does what is under way; its answer comes later or never.
    pub(super) fn land(&mut self) {
        if let Some((generation, call, answer @ None)) = &mut self.under_way {
            *answer = Some(self.provider.call(*generation, call));
        }
    }

    /// The answer comes.
    pub(super) fn answer(&mut self, with_status: bool) {
        self.land();
        let Some((generation, call, Some(answer))) = self.under_way.take() else { return };
        let outcome = match answer {
            Ok(()) => {
                let status = with_status.then(|| Arc::new(self.provider.status(generation)));
                Outcome::done(generation, call.operation(), status)
            }
            Err(error) => Outcome::failed(generation, call.operation(), *error),
        };
        self.input(&Input::Outcome(outcome));
    }

    /// Drops what is under way.
    pub(super) fn give_up(&mut self) {
        if let Some((generation, call @ (Call::Create | Call::Start { .. } | Call::Delete { .. }), None)) =
            self.under_way.take()
        {
            self.astray.push((generation, call));
        }
    }

    /// A request that was given up is carried out after all; but no creation after the end of what another one made.
    pub(super) fn land_astray(&mut self) {
        if let Some((generation, call)) = self.astray.pop()
            && !(call == Call::Create && self.provider.made.contains(&generation))
        {
            let _ = self.provider.call(generation, &call);
        }
    }

    /// The call fails, with or without having been done.
    pub(super) fn fail(&mut self, error: crate::error::ErrorReport) {
        if let Some((generation, call, _)) = self.under_way.take() {
            self.input(&Input::Outcome(Outcome::failed(generation, call.operation(), error)));
        }
    }

    /// The host is killed and comes back: what was durable is all that it knows.
    pub(super) fn crash(&mut self) {
        self.give_up();
        self.worker = self.fold();
        let Some(worker) = self.worker.clone().filter(|worker| worker.state.is_some()) else { return };
        if worker.retry_at.is_none()
            && let Some(call) = resume(&worker)
        {
            self.under_way = Some((worker.generation, call, None));
        }
        if matches!(worker.pending, Some(crate::lifecycle::Pending::Drain { .. })) {
            self.input(&Input::Idle);
        }
        self.provider.relist(worker.generation);
    }

    /// Hears of what the watch tells the one at that place. What was older comes late, and the truth after it: a watch
    /// may lag and repeat itself, but it does not end with what is not so.
    pub(super) fn hear(&mut self, place: usize, twice: bool) {
        if self.provider.told.is_empty() {
            return;
        }
        let place = place % self.provider.told.len().min(2);
        let told = self.provider.told.remove(place);
        if place > 0 {
            self.provider.tell(self.provider.told[0].generation());
        }
        self.input(&told.input());
        if twice {
            self.input(&told.input());
        }
    }

    /// Whether the time has come for something; it passes until then.
    pub(super) fn wait(&mut self) -> bool {
        let Some(due) = self.worker.as_ref().and_then(|worker| worker.due(&self.settings)) else {
            return false;
        };
        let seconds = due.duration_since(at(0)).as_secs().max(0).unsigned_abs();
        self.now = self.now.max(seconds + 1);
        if self.under_way.is_some() {
            return false;
        }
        self.input(&Input::Due);
        true
    }

    /// Removes what no intent of the present accounts for, as a manager does after it has a whole picture.
    pub(super) fn sweep(&mut self) {
        let present =
            self.worker.as_ref().filter(|worker| worker.state.is_some()).map(|worker| worker.generation);
        let strays: Vec<_> = self.provider.objects.iter().map(|object| object.generation).collect();
        for generation in strays.into_iter().filter(|generation| Some(*generation) != present) {
            self.provider.remove(generation);
        }
    }

    /// All goes well from now on, until nothing happens any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            if !self.astray.is_empty() {
                self.land_astray();
            } else if self.under_way.is_some() {
                self.answer(true);
            } else if !self.provider.told.is_empty() {
                self.hear(0, false);
            } else if self.is_unknown() {
                self.input(&Input::Health(HealthChange::Healthy));
            } else if !self.wait() {
                self.sweep();
                if self.provider.told.is_empty() {
                    return;
                }
            }
        }
        panic!("it does not come to rest: {:?}", self.worker);
    }

    fn is_unknown(&self) -> bool {
        let starting = Some(crate::lifecycle::WorkerState::Starting);
        self.worker
            .as_ref()
            .is_some_and(|worker| worker.alive && worker.pending.is_none() && worker.state == starting)
    }
}
