use super::{Change, Goal, Next, Pending, WorkerState};
use crate::lifecycle::{DegradedBy, HealthChange};

pub(super) fn apply(next: &mut Next<'_>, change: &HealthChange) {
    let worker = &next.worker;
    // What is over, or about to be, is not judged any more.
    let judged = worker.alive
        && next.wants(Goal::Running)
        && matches!(next.state(), WorkerState::Starting | WorkerState::Running | WorkerState::Degraded)
        && !matches!(worker.pending, Some(Pending::Stop { .. } | Pending::Delete { .. }));
    if !judged {
        return;
    }
    // Checks that cannot reach its node say nothing of it.
    let unreachable = next.worker.degraded.contains(&DegradedBy::Unreachable);
    match change {
        HealthChange::Unhealthy { .. } if unreachable => {}
        HealthChange::Healthy => well(next),
        HealthChange::Unhealthy { reason } => next.restart_unhealthy(reason.clone()),
        HealthChange::Degraded { by, reason } => degrade(next, *by, reason.clone()),
        HealthChange::Restored { by } => restore(next, *by),
    }
}

fn well(next: &mut Next<'_>) {
    if next.state() != WorkerState::Starting {
        next.stay(Change::Healthy);
    } else if next.worker.degraded.iter().all(|by| *by == UNWELL) {
        next.go(Change::Healthy, WorkerState::Running);
    } else {
        next.go(Change::Healthy, WorkerState::Degraded);
    }
    restore(next, UNWELL);
}

/// What degrades a worker that is not well and that nobody may restart.
pub(super) const UNWELL: DegradedBy = DegradedBy::Other;

pub(super) fn degrade(next: &mut Next<'_>, by: DegradedBy, reason: String) {
    if next.worker.degraded.contains(&by) {
        return;
    }
    let change = Change::Degraded { by, reason };
    if next.state() == WorkerState::Running {
        next.go(change, WorkerState::Degraded);
    } else {
        next.stay(change);
    }
}

pub(super) fn restore(next: &mut Next<'_>, by: DegradedBy) {
    if !next.worker.degraded.contains(&by) {
        return;
    }
    let change = Change::Restored { by };
    if next.state() == WorkerState::Degraded && next.worker.degraded.len() == 1 {
        next.go(change, WorkerState::Running);
    } else {
        next.stay(change);
    }
}
