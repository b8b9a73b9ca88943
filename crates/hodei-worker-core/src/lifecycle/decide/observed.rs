use std::sync::Arc;

use super::{Change, Goal, Next, Pending, WorkerState, outcome};
use crate::{
    lifecycle::{DegradedBy, RunEnd},
    status::{FailureClass, Gone, WorkerPhase, WorkerStatus},
};

pub(super) fn status(next: &mut Next<'_>, status: &Arc<WorkerStatus>) {
    if status.worker.generation != next.worker.generation {
        return;
    }
    match status.phase {
        WorkerPhase::Running => running(next, status),
        WorkerPhase::Paused => {
            running(next, status);
            let paused = next.worker.degraded.contains(&DegradedBy::Paused);
            if !paused && next.worker.alive && next.state().takes_work() {
                let change = Change::Degraded { by: DegradedBy::Paused, reason: "it is frozen".into() };
                if next.state() == WorkerState::Degraded {
                    next.stay(change);
                } else {
                    next.go(change, WorkerState::Degraded);
                }
            }
        }
        WorkerPhase::Exited => exited(next, status),
        WorkerPhase::Absent => vanished(next, status.reason.as_deref()),
        // It is on its way, or nobody can say.
        WorkerPhase::NotVisibleYet
        | WorkerPhase::Created
        | WorkerPhase::Starting
        | WorkerPhase::Stopping
        | WorkerPhase::Unknown => {}
    }
}

pub(super) fn gone(next: &mut Next<'_>, gone: &Gone) {
    if gone.worker.generation == next.worker.generation {
        vanished(next, None);
    }
}

fn running(next: &mut Next<'_>, status: &WorkerStatus) {
    let Some(run) = &status.run else { return };
    let worker = &next.worker;
    let is_last = worker.run.as_ref() == Some(run);
    // A run that has ended does not run again; nor does the one before it.
    if worker.earlier_run.as_ref() == Some(run) || (is_last && !worker.alive) {
        return;
    }
    if is_last {
        still_running(next, status);
        return;
    }
    let change = Change::Started { run: run.clone(), at: status.times.started };
    match next.state() {
        WorkerState::Stopping | WorkerState::Recovering
            if matches!(
                next.worker.pending,
                Some(Pending::Stop { .. } | Pending::Delete { .. } | Pending::Drain { .. })
            ) =>
        {
            next.stay(change);
        }
        _ if next.wants(Goal::Running) => {
            let state = if next.worker.traits.checked { WorkerState::Starting } else { WorkerState::Running };
            if next.state() == state { next.stay(change) } else { next.go(change, state) }
        }
        // It was started by somebody else, or by its creation.
        _ => {
            if next.state() == WorkerState::Stopping {
                next.stay(change);
            } else {
                next.go(change, WorkerState::Running);
            }
            if next.wants(Goal::Removed) {
                next.delete(false);
            } else {
                next.go(Change::StopIntended { grace: None }, WorkerState::Stopping);
                next.call();
            }
        }
    }
}

fn still_running(next: &mut Next<'_>, status: &WorkerStatus) {
    let paused = next.worker.degraded.contains(&DegradedBy::Paused);
    if paused && status.phase == WorkerPhase::Running {
        let change = Change::Restored { by: DegradedBy::Paused };
        if next.state() == WorkerState::Degraded && next.worker.degraded.len() == 1 {
            next.go(change, WorkerState::Running);
        } else {
            next.stay(change);
        }
    }
}

fn exited(next: &mut Next<'_>, status: &WorkerStatus) {
    let worker = &next.worker;
    if status.run.is_some() {
        let known = worker.run == status.run && !worker.alive;
        if known || worker.earlier_run == status.run {
            // A stop finds it ended already.
            if known && matches!(worker.pending, Some(Pending::Stop { .. } | Pending::Drain { .. })) {
                let end = worker.end.as_deref().cloned().unwrap_or_else(|| end_of(status));
                next.ended(end);
            }
            return;
        }
    } else if worker.run.is_some() || (status.failure.is_none() && !is_stopping(next)) {
        // It has never run, and nothing says that it could not.
        return;
    }
    next.ended(end_of(status));
}

fn is_stopping(next: &Next<'_>) -> bool {
    matches!(next.worker.pending, Some(Pending::Stop { .. } | Pending::Drain { .. }))
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
        failure: failure.filter(|_| failed || status.failure.is_some()),
        reason: status.reason.clone(),
        at: status.times.finished,
        gone: false,
    }
}

/// The provider is sure that it has nothing of it.
fn vanished(next: &mut Next<'_>, reason: Option<&str>) {
    match next.worker.pending {
        Some(Pending::Delete { .. }) => {
            outcome::deleted(next);
            return;
        }
        // Not there yet.
        Some(Pending::Create) => return,
        _ => {}
    }
    // It was known to be gone already.
    if !next.worker.created {
        return;
    }
    if next.wants(Goal::Removed) {
        next.terminate();
        next.decision.abandons = true;
        return;
    }
    let end = RunEnd {
        run: next.worker.run.clone(),
        exit: None,
        failure: (next.worker.alive || next.wants(Goal::Running)).then_some(FailureClass::Vanished),
        reason: Some(reason.unwrap_or("its provider has nothing of it any more").to_owned()),
        at: None,
        gone: true,
    };
    // What has ended may go: some providers keep nothing, some users tidy up.
    if !next.worker.alive && matches!(next.state(), WorkerState::Stopped | WorkerState::Failed) {
        let end = RunEnd { failure: None, ..end };
        let known = next.worker.end.as_deref().cloned();
        next.stay(Change::Ended(Box::new(RunEnd { gone: true, ..known.unwrap_or(end) })));
        return;
    }
    next.ended(end);
}
