use std::time::Duration;

use super::{Change, Goal, Next, Pending, WorkerState, observed};
use crate::{
    error::{ErrorKind, ErrorReport, Retry},
    lifecycle::{Call, Outcome, OutcomeOf, Strategy, recovery},
    provider::Operation,
    status::FailureClass,
};

/// The pause before a failed call is made again; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(super) fn apply(next: &mut Next<'_>, outcome: &Outcome) {
    if outcome.generation != next.worker.generation {
        return;
    }
    match &outcome.of {
        OutcomeOf::Done(Operation::Status) => {}
        OutcomeOf::Failed(Operation::Status, _) => return,
        OutcomeOf::Done(operation) if is_pending(next, *operation) => done(next, *operation, outcome),
        OutcomeOf::Failed(operation, error) if is_pending(next, *operation) => {
            failed(next, *operation, error);
            return;
        }
        // The late end of a call that nobody waits for any more.
        _ => {}
    }
    if let Some(status) = &outcome.status {
        observed::status(next, status);
    }
}

fn is_pending(next: &Next<'_>, operation: Operation) -> bool {
    match next.worker.pending {
        None | Some(Pending::Drain { .. }) => false,
        Some(Pending::Create) => operation == Operation::Create,
        Some(Pending::Start { .. }) => operation == Operation::Start,
        Some(Pending::Stop { .. }) => operation == Operation::Stop,
        Some(Pending::Delete { .. }) => operation == Operation::Delete,
    }
}

fn done(next: &mut Next<'_>, operation: Operation, outcome: &Outcome) {
    match operation {
        Operation::Create => created(next),
        Operation::Delete => deleted(next),
        Operation::Stop => {
            let over = outcome.status.as_ref().is_none_or(|status| status.phase.is_over());
            match (&outcome.status, over) {
                // The status tells how it ended.
                (Some(_), true) => {}
                (None, _) => next.decision.call = Some(Call::Observe),
                (Some(_), false) => {
                    let error = still_runs();
                    again(next, operation, &error);
                }
            }
        }
        // A start is over when its run is seen.
        _ => {}
    }
}

fn still_runs() -> ErrorReport {
    let message = "the provider says that it has stopped it, and that it runs";
    crate::Error::new(ErrorKind::Unexpected, message).report()
}

fn created(next: &mut Next<'_>) {
    match next.worker.goal {
        Goal::Running => {
            next.stay(Change::Created);
            next.start();
        }
        Goal::Stopped if next.state() == WorkerState::Creating => next.stay(Change::Created),
        Goal::Stopped => next.go(Change::Created, WorkerState::Stopped),
        Goal::Removed => {
            next.stay(Change::Created);
            next.delete(false);
        }
    }
}

/// There is nothing of this generation any more.
pub(super) fn deleted(next: &mut Next<'_>) {
    let replace = matches!(next.worker.pending, Some(Pending::Delete { replace: true, .. }));
    match next.worker.goal {
        Goal::Removed => next.terminate(),
        Goal::Running if replace => create_anew(next),
        _ => {
            let end = crate::lifecycle::RunEnd { gone: true, ..Default::default() };
            next.go(Change::Ended(Box::new(end)), WorkerState::Stopped);
        }
    }
}

pub(super) fn create_anew(next: &mut Next<'_>) {
    let planned = next.worker.recovery.as_ref().and_then(|recovery| recovery.planned);
    let strategy = planned.map(|(strategy, _)| strategy);
    let mut provider = next.worker.provider.clone();
    let mut traits = None;
    match strategy {
        Some(Strategy::FailOver) => {
            if let Some(other) = next.context.alternatives.first() {
                provider = other.clone();
            }
        }
        Some(Strategy::Resize) => {
            let limit = next.worker.traits.memory_limit;
            if let Some(larger) = recovery::resized(limit, next.settings().memory_max) {
                let mut changed = next.worker.traits.clone();
                changed.memory_limit = Some(larger);
                traits = Some(changed);
            }
        }
        _ => {}
    }
    let generation = next.worker.generation.next();
    next.stay(Change::CreateIntended { provider, generation, goal: Goal::Running, traits });
    next.call();
}

fn failed(next: &mut Next<'_>, operation: Operation, error: &ErrorReport) {
    let transient = matches!(error.retry, Retry::Safe { .. } | Retry::IfIdempotent | Retry::Exhausted)
        || matches!(
            error.kind,
            ErrorKind::Unavailable
                | ErrorKind::Timeout
                | ErrorKind::Overloaded
                | ErrorKind::RateLimited
                | ErrorKind::Cancelled
                | ErrorKind::Fenced
        );
    // What has to go is tried until it is gone.
    if transient || matches!(operation, Operation::Stop | Operation::Delete) {
        again(next, operation, error);
        return;
    }
    match (operation, error.kind) {
        // It has not ended, or another than we know: look.
        (Operation::Start, ErrorKind::Conflict) => {
            next.decision.call = Some(Call::Observe);
            again(next, operation, error);
            next.decision.call = Some(Call::Observe);
        }
        // The platform keeps no worker that has ended.
        (Operation::Start, ErrorKind::Unsupported) if next.wants(Goal::Running) => next.replace(),
        (Operation::Start, ErrorKind::NotFound) => next.failed(FailureClass::Vanished, &error.message, true),
        _ => {
            let text = error.help.as_ref().map(|help| format!("{}; {help}", error.message));
            next.failed(
                class_of(operation, error.kind),
                &text.unwrap_or_else(|| error.message.clone()),
                false,
            );
        }
    }
}

fn again(next: &mut Next<'_>, operation: Operation, error: &ErrorReport) {
    let asked = match error.retry {
        Retry::Safe { after } => after,
        _ => None,
    };
    let factor = 1_u32.checked_shl(next.worker.calls_failed).unwrap_or(u32::MAX);
    let pause = FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE).max(asked.unwrap_or_default());
    let retry_at = next.after(pause);
    next.stay(Change::CallFailed { operation, error: Box::new(error.clone()), retry_at });
}

/// What a call that failed for good says about the worker.
fn class_of(operation: Operation, kind: ErrorKind) -> FailureClass {
    match (operation, kind) {
        (Operation::Create, ErrorKind::NotFound) => FailureClass::ImageNotFound,
        (Operation::Create, ErrorKind::Dependency) => FailureClass::ImagePull,
        (_, ErrorKind::Dependency) => FailureClass::Secret,
        (_, ErrorKind::Capacity | ErrorKind::QuotaExceeded) => FailureClass::Capacity,
        (_, ErrorKind::Config | ErrorKind::Unsupported | ErrorKind::Conflict) => FailureClass::Configuration,
        (_, ErrorKind::PermissionDenied | ErrorKind::Unauthenticated) => FailureClass::Configuration,
        _ => FailureClass::Unknown,
    }
}
