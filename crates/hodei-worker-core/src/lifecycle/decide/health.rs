use super::{Change, Goal, Next, Pending, WorkerState};
use crate::lifecycle::HealthChange;

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
    match change {
        HealthChange::Healthy => {
            let state = if worker.degraded.is_empty() { WorkerState::Running } else { WorkerState::Degraded };
            if next.state() == WorkerState::Starting {
                next.go(Change::Healthy, state);
            } else {
                next.stay(Change::Healthy);
            }
        }
        HealthChange::Unhealthy { reason } => next.restart_unhealthy(reason.clone()),
        HealthChange::Degraded { by, reason } => {
            if worker.degraded.contains(by) {
                return;
            }
            let change = Change::Degraded { by: *by, reason: reason.clone() };
            if next.state() == WorkerState::Running {
                next.go(change, WorkerState::Degraded);
            } else {
                next.stay(change);
            }
        }
        HealthChange::Restored { by } => {
            if !worker.degraded.contains(by) {
                return;
            }
            let change = Change::Restored { by: *by };
            if next.state() == WorkerState::Degraded && worker.degraded.len() == 1 {
                next.go(change, WorkerState::Running);
            } else {
                next.stay(change);
            }
        }
    }
}
