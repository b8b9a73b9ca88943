use super::{Change, Goal, Next, Pending, WorkerState, health, outcome};
use crate::{
    lifecycle::{DegradedBy, RunEnd},
    status::{FailureClass, Gone, WorkerPhase, WorkerStatus},
};

/// Takes in what the provider said. `asked`: it was read for this worker just now, and is not what a watch tells, which
/// may be old.
pub(super) fn status(next: &mut Next<'_>, status: &WorkerStatus, asked: bool) {
    if status.worker.generation != next.worker.generation || next.worker.state.is_none() {
        return;
    }
    match status.phase {
        WorkerPhase::Running | WorkerPhase::Stopping => running(next, status, asked),
        WorkerPhase::Paused => {
            running(next, status, asked);
            let is_it = next.worker.alive && next.worker.run == status.run;
            if is_it && next.state().takes_work() {
                health::degrade(next, DegradedBy::Paused, "it is frozen".into());
            }
        }
        WorkerPhase::Exited => exited(next, status, asked),
        WorkerPhase::Absent => vanished(next, status.reason.as_deref()),
        WorkerPhase::Unknown => unreachable(next, status, asked),
        // It is on its way.
        WorkerPhase::NotVisibleYet | WorkerPhase::Created | WorkerPhase::Starting => {}
    }
}

/// Nobody can say how it is, and whether it runs at all.
fn unreachable(next: &mut Next<'_>, status: &WorkerStatus, asked: bool) {
    if next.worker.alive && next.worker.run == status.run {
        if asked && next.is_lost() {
            return next.lost();
        }
        let reason = status.reason.clone();
        let reason = reason.unwrap_or_else(|| "its provider cannot say how it is".to_owned());
        health::degrade(next, DegradedBy::Unreachable, reason);
    }
}

pub(super) fn gone(next: &mut Next<'_>, gone: &Gone) {
    if gone.worker.generation == next.worker.generation {
        vanished(next, None);
    }
}

fn running(next: &mut Next<'_>, status: &WorkerStatus, asked: bool) {
    let Some(run) = &status.run else { return };
    let worker = &next.worker;
    // A run that has ended does not run again; nor does the one before it.
    if worker.earlier_run.as_ref() == Some(run) {
        return;
    }
    if worker.run.as_ref() == Some(run) {
        if worker.alive {
            health::restore(next, DegradedBy::Unreachable);
            if status.phase == WorkerPhase::Running {
                health::restore(next, DegradedBy::Paused);
            }
        }
        return;
    }
    if !asked && !expects_a_run(next) {
        return next.observe();
    }
    let change = Change::Started { run: run.clone(), at: status.times.started };
    match worker.pending {
        // It is on its way out.
        Some(Pending::Stop { .. } | Pending::Delete { .. } | Pending::Drain { .. }) => next.stay(change),
        _ if next.wants(Goal::Running) => {
            let checked = next.worker.traits.checked;
            next.go(change, if checked { WorkerState::Starting } else { WorkerState::Running });
        }
        // It was started by somebody else, or by its creation.
        _ => {
            if next.state() == WorkerState::Stopping {
                next.stay(change);
            } else {
                next.go(change, WorkerState::Running);
            }
            next.go(Change::StopIntended { grace: None }, WorkerState::Stopping);
            next.call();
        }
    }
}

/// Whether a run that is not known can only be the one that was asked for. Otherwise it may be a later one that somebody
/// else began, or an earlier one that was never seen and is told late: runs have no order, so the provider is asked.
fn expects_a_run(next: &Next<'_>) -> bool {
    matches!(next.worker.pending, Some(Pending::Start { .. } | Pending::Create))
}

fn exited(next: &mut Next<'_>, status: &WorkerStatus, asked: bool) {
    let worker = &next.worker;
    let stopping = matches!(worker.pending, Some(Pending::Stop { .. } | Pending::Drain { .. }));
    if status.run.is_none() {
        // It could not begin: told once, to who asked for a run.
        let expected = stopping
            || (status.failure.is_some()
                && matches!(worker.pending, Some(Pending::Start { .. } | Pending::Create)));
        let end = end_of(status);
        let known = !asked && !stopping && worker.end.as_deref() == Some(&end);
        if worker.run.is_none() && expected && !known {
            next.ended(end);
        }
        return;
    }
    if worker.earlier_run == status.run {
        return;
    }
    if worker.run != status.run && !asked && !expects_a_run(next) {
        next.observe();
    } else if worker.run != status.run || worker.alive {
        next.ended(end_of(status));
    } else if stopping {
        // The stop finds it ended already.
        let end = worker.end.as_deref().cloned().unwrap_or_else(|| end_of(status));
        next.ended(end);
    }
}

fn end_of(status: &WorkerStatus) -> RunEnd {
    let failed = status.exit.is_none_or(|exit| !exit.is_success());
    let failure = status.failure.or_else(|| {
        failed.then(|| match status.exit {
            Some(exit) if exit.possible_signal().is_some() => FailureClass::Killed,
            Some(_) => FailureClass::Application,
            None => FailureClass::Unknown,
        })
    });
    RunEnd {
        run: status.run.clone(),
        exit: status.exit,
        failure,
        reason: status.reason.clone(),
        at: status.times.finished,
        gone: false,
    }
}

/// The provider is sure that it has nothing of it.
pub(super) fn vanished(next: &mut Next<'_>, reason: Option<&str>) {
    let worker = &next.worker;
    match worker.pending {
        Some(Pending::Delete { .. }) => return outcome::deleted(next),
        // Not there yet.
        Some(Pending::Create) => return,
        _ => {}
    }
    // It was known to be gone already.
    if !worker.created {
        return;
    }
    if next.wants(Goal::Removed) {
        return next.remove_the_rest();
    }
    let end = RunEnd {
        run: worker.run.clone(),
        exit: None,
        failure: (worker.alive || worker.pending.is_some()).then_some(FailureClass::Vanished),
        reason: Some(reason.unwrap_or("its provider has nothing of it any more").to_owned()),
        at: None,
        gone: true,
    };
    if worker.alive || worker.pending.is_some() {
        return next.ended(end);
    }
    // What has ended may go: some providers keep nothing, some users tidy up.
    let known = worker.end.as_deref().cloned();
    let change = Change::Ended(Box::new(RunEnd { gone: true, ..known.unwrap_or(end) }));
    if next.state() == WorkerState::Creating {
        next.go(change, WorkerState::Stopped);
    } else {
        next.stay(change);
    }
}
