use std::time::Duration;

use super::{Change, Command, Context, Decision, Goal, Next, Pending, WorkerState};
use crate::{
    error::{Error, ErrorKind, Result},
    lifecycle::{Call, Traits, Worker, WorkerStateEvent},
    model::{Generation, ProviderName, WorkerId},
};

/// The time that jobs get where nobody says: the contract's for a lifecycle.
const DEFAULT_GRACE: Duration = Duration::from_secs(25);

/// The first event of a worker, or of one that is made anew after it was removed.
pub(super) struct First<'a> {
    pub(super) id: &'a WorkerId,
    pub(super) former: Option<&'a Worker>,
    pub(super) provider: &'a ProviderName,
    pub(super) generation: Generation,
    pub(super) goal: Goal,
}

impl First<'_> {
    pub(super) fn decide(&self, traits: &Traits, context: &Context<'_>) -> Decision {
        // What is told late of the former worker must not be taken for this one's.
        let least = self.former.map_or(Generation::FIRST, |former| former.generation.next());
        let event = WorkerStateEvent {
            event_id: 0,
            worker_id: self.id.clone(),
            version: self.former.map_or(0, |former| former.version) + 1,
            old_state: None,
            new_state: Some(WorkerState::Creating),
            timestamp: context.now,
            inferred: false,
            metadata: context.metadata.clone(),
            correlation_id: context.correlation.clone(),
            change: Change::CreateIntended {
                provider: self.provider.clone(),
                generation: self.generation.max(least),
                goal: self.goal,
                traits: Some(Box::new(traits.clone())),
            },
        };
        Decision { events: vec![event], call: Some(Call::Create), abandons: false }
    }
}

pub(super) fn apply(next: &mut Next<'_>, command: &Command) -> Result<()> {
    match command {
        Command::Create { provider, traits, .. } => again(next, provider, traits),
        Command::Start => start(next),
        Command::Stop { grace, jobs } => {
            stop(next, *grace, *jobs);
            Ok(())
        }
        Command::Remove { grace, jobs, keep_volumes } => {
            remove(next, *grace, *jobs, *keep_volumes);
            Ok(())
        }
    }
}

/// The same creation again is none; another one is a conflict.
fn again(next: &Next<'_>, provider: &ProviderName, traits: &Traits) -> Result<()> {
    let conflict =
        |message: String| Err(Error::new(ErrorKind::Conflict, message).with_worker(&next.worker.reference()));
    if next.wants(Goal::Removed) {
        return conflict("the worker exists and is being removed; create it when it is gone".into());
    }
    if next.worker.provider != *provider {
        return conflict(format!("the worker exists, on the provider `{}`", next.worker.provider));
    }
    if next.worker.traits.config != traits.config {
        return conflict("the worker exists with another configuration; remove it first".into());
    }
    Ok(())
}

fn start(next: &mut Next<'_>) -> Result<()> {
    if next.wants(Goal::Removed) {
        return Err(Error::new(ErrorKind::Conflict, "the worker is being removed and cannot be started")
            .with_worker(&next.worker.reference()));
    }
    if !next.wants(Goal::Running) {
        next.stay(Change::GoalChanged { goal: Goal::Running, keep_volumes: false });
    }
    let idle = next.worker.pending.is_none() && !next.worker.alive;
    match next.state() {
        WorkerState::Creating | WorkerState::Stopped | WorkerState::Failed | WorkerState::Recovering
            if idle =>
        {
            next.start();
        }
        // It was only given up: it still runs, and a restart is what is asked for.
        WorkerState::Failed if next.worker.alive => {
            next.go(Change::StopIntended { grace: None }, WorkerState::Recovering);
            next.call();
        }
        // It runs, or will: when it was created, or once it has stopped.
        _ => {}
    }
    Ok(())
}

fn stop(next: &mut Next<'_>, grace: Option<Duration>, jobs: usize) {
    if next.wants(Goal::Running) {
        next.stay(Change::GoalChanged { goal: Goal::Stopped, keep_volumes: false });
    }
    match next.state() {
        // It will not be started once it has been created.
        WorkerState::Creating => {}
        WorkerState::Stopped => {}
        WorkerState::Failed if !next.worker.alive => {}
        WorkerState::Stopping => sooner(next, grace, jobs),
        _ => halt(next, grace, jobs),
    }
}

/// Stops what runs or is about to, after its jobs.
fn halt(next: &mut Next<'_>, grace: Option<Duration>, jobs: usize) {
    match next.worker.pending {
        // Being replaced: what is under way is finished, and no more.
        Some(Pending::Create | Pending::Delete { .. }) => {
            next.go(Change::Passed, WorkerState::Stopping);
            return;
        }
        None if !next.worker.alive => {
            next.go(Change::Passed, WorkerState::Stopped);
            return;
        }
        _ => {}
    }
    // Who was asked to stop already has no time for jobs, nor has who does not run yet.
    let works = next.worker.alive && next.worker.pending.is_none();
    if works && jobs > 0 && grace != Some(Duration::ZERO) {
        let whole = grace.or_else(|| own_grace(next));
        let until = next.after(whole.unwrap_or(DEFAULT_GRACE));
        next.go(Change::Draining { until }, WorkerState::Stopping);
        return;
    }
    next.go(Change::StopIntended { grace }, WorkerState::Stopping);
    next.call();
}

fn own_grace(next: &Next<'_>) -> Option<Duration> {
    next.worker.traits.stop_grace.map(|own| own.get())
}

/// A second request to stop can only shorten the time.
fn sooner(next: &mut Next<'_>, grace: Option<Duration>, jobs: usize) {
    let Some(grace) = grace else { return };
    match next.worker.pending.clone() {
        Some(Pending::Drain { until }) => {
            if jobs == 0 || grace.is_zero() {
                next.stay(Change::StopIntended { grace: Some(grace) });
                next.call();
            } else if next.after(grace) < until {
                let until = next.after(grace);
                next.stay(Change::Draining { until });
            }
        }
        Some(Pending::Stop { grace: known })
            if known.or_else(|| own_grace(next)).is_none_or(|known| grace < known) =>
        {
            next.stay(Change::StopIntended { grace: Some(grace) });
            next.call();
        }
        _ => {}
    }
}

fn remove(next: &mut Next<'_>, grace: Option<Duration>, jobs: usize, keep_volumes: bool) {
    if next.wants(Goal::Removed) {
        sooner(next, grace, jobs);
        return;
    }
    next.stay(Change::GoalChanged { goal: Goal::Removed, keep_volumes });
    let kill = grace == Some(Duration::ZERO);
    match next.worker.pending {
        Some(Pending::Stop { .. } | Pending::Drain { .. })
            if !kill && next.state() == WorkerState::Stopping =>
        {
            sooner(next, grace, jobs);
        }
        // It was to be started again after that.
        Some(Pending::Stop { .. }) if !kill => halt(next, grace, jobs),
        None if next.worker.alive && !kill => halt(next, grace, jobs),
        _ => next.delete(false),
    }
}

impl Next<'_> {
    /// Starts the worker again, where it is or anew.
    pub(super) fn start(&mut self) {
        let worker = &self.worker;
        let in_place = worker.run.is_none() || (self.context.restarts_in_place && self.context.keeps_stopped);
        if worker.created && in_place {
            let after = worker.run.clone();
            self.go(Change::StartIntended { after }, WorkerState::Starting);
            self.call();
        } else {
            self.replace();
        }
    }

    /// Removes what there is and creates it anew.
    pub(super) fn replace(&mut self) {
        let keep_volumes = true;
        self.go(Change::DeleteIntended { replace: true, keep_volumes }, WorkerState::Starting);
        self.call();
    }

    /// Removes what there is.
    pub(super) fn delete(&mut self, replace: bool) {
        let keep_volumes = self.worker.keep_volumes;
        let change = Change::DeleteIntended { replace, keep_volumes };
        self.go(change, WorkerState::Stopping);
        self.call();
    }

    /// It is gone itself. What was made for it may not be: its provider is asked, unless that is to stay.
    pub(super) fn remove_the_rest(&mut self) {
        if self.worker.keep_volumes { self.terminate() } else { self.delete(false) }
    }
}
