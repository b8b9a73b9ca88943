use std::time::Duration;

use super::{Change, Goal, Input, Next, Pending, WorkerState, observed};
use crate::{
    error::{ErrorKind, ErrorReport, Retry},
    lifecycle::{Escalation, Outcome, OutcomeOf, RunEnd, Strategy, recovery, worker::is_outage},
    provider::Operation,
    status::{FailureClass, WorkerPhase, WorkerStatus},
};

/// The pause before a failed call is made again; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often a call is made that could succeed another time, and that no outage explains.
const MOST_CALLS: u32 = 5;

pub(super) fn apply(next: &mut Next<'_>, outcome: &Outcome) {
    if outcome.generation != next.worker.generation {
        return;
    }
    let status = outcome.status.as_deref();
    match &outcome.of {
        OutcomeOf::Done(operation) if is_pending(next, *operation) => done(next, *operation, status),
        OutcomeOf::Failed(operation, error) if is_pending(next, *operation) => {
            failed(next, *operation, error)
        }
        OutcomeOf::Failed(Operation::Status, error) if next.is_lost() => {
            again(next, Operation::Status, error)
        }
        OutcomeOf::Failed(Operation::Status, error) => not_seen(next, error),
        OutcomeOf::Done(Operation::Status) if status.is_some() => stopped(next, status),
        OutcomeOf::Done(_) => tell(next, status),
        // The late end of a call that nobody waits for any more.
        OutcomeOf::Failed(..) => {}
    }
}

/// Whether that is how a call of this operation ended.
pub(super) fn is_of(input: &Input, operation: Operation) -> bool {
    let Input::Outcome(outcome) = input else { return false };
    match outcome.of {
        OutcomeOf::Done(ended) | OutcomeOf::Failed(ended, _) => plain(ended) == operation,
    }
}

/// A kill is a stop without grace.
fn plain(operation: Operation) -> Operation {
    if operation == Operation::Kill { Operation::Stop } else { operation }
}

fn is_pending(next: &Next<'_>, operation: Operation) -> bool {
    super::resume(&next.worker).is_some_and(|call| call.operation() == plain(operation))
}

fn tell(next: &mut Next<'_>, status: Option<&WorkerStatus>) {
    if let Some(status) = status {
        observed::status(next, status, true);
    }
}

/// Whether nothing of it runs: it has ended, or never ran.
fn is_at_rest(status: &WorkerStatus) -> bool {
    status.phase.is_over() || status.phase == WorkerPhase::Created
}

fn done(next: &mut Next<'_>, operation: Operation, status: Option<&WorkerStatus>) {
    match plain(operation) {
        Operation::Create => created(next, status),
        Operation::Delete => deleted(next),
        Operation::Stop => stopped(next, status),
        _ => started(next, status),
    }
}

/// A start is over when its run is seen.
fn started(next: &mut Next<'_>, status: Option<&WorkerStatus>) {
    tell(next, status);
    if let Some(Pending::Start { after }) = next.worker.pending.clone()
        && next.worker.retry_at.is_some()
    {
        // The failure before this success is over: nothing is to be repeated any more.
        next.stay(Change::StartIntended { after });
    }
}

/// It was stopped, or looked at to see how it ended.
fn stopped(next: &mut Next<'_>, status: Option<&WorkerStatus>) {
    // How it ended is to be seen yet.
    let Some(status) = status else { return next.observe() };
    tell(next, Some(status));
    if !matches!(next.worker.pending, Some(Pending::Stop { .. })) {
        return;
    }
    if is_at_rest(status) {
        let run = next.worker.run.clone().filter(|_| next.worker.alive);
        next.ended(RunEnd { run, reason: status.reason.clone(), ..RunEnd::default() });
    } else {
        not_seen(next, &still_runs());
    }
}

/// Its end was not seen after a stop: it is stopped once more.
fn not_seen(next: &mut Next<'_>, error: &ErrorReport) {
    let waits = next.worker.retry_at.is_some_and(|at| at > next.context.now);
    if matches!(next.worker.pending, Some(Pending::Stop { .. })) && !waits {
        insist(next, Operation::Stop, error);
    }
}

fn still_runs() -> ErrorReport {
    let message = "the provider says that it has stopped it, and that it runs";
    crate::Error::new(ErrorKind::Unexpected, message).report()
}

fn created(next: &mut Next<'_>, status: Option<&WorkerStatus>) {
    if status.is_some_and(|status| status.phase == WorkerPhase::Absent) {
        return next.failed(FailureClass::Vanished, "it is gone since it was created", true);
    }
    if next.state() == WorkerState::Stopping {
        next.go(Change::Created, WorkerState::Stopped);
    } else {
        next.stay(Change::Created);
    }
    // Where a creation begins the first run, there is nothing to start any more.
    tell(next, status.filter(|status| status.run.is_some()));
    let untouched = next.worker.run.is_none() && next.worker.pending.is_none();
    if untouched && next.wants(Goal::Running) {
        next.start();
    }
}

/// There is nothing of this generation any more.
pub(super) fn deleted(next: &mut Next<'_>) {
    let replace = matches!(next.worker.pending, Some(Pending::Delete { replace: true, .. }));
    match next.worker.goal {
        Goal::Removed => next.terminate(),
        Goal::Running if replace => create_anew(next),
        _ => {
            let end = RunEnd { gone: true, ..RunEnd::default() };
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
    let change = Change::CreateIntended { provider, generation, goal: Goal::Running, traits };
    next.go(change, WorkerState::Starting);
    next.call();
}

fn failed(next: &mut Next<'_>, operation: Operation, error: &ErrorReport) {
    let operation = plain(operation);
    match (operation, error.kind) {
        (Operation::Stop, ErrorKind::NotFound) => return observed::vanished(next, None),
        (Operation::Delete, ErrorKind::NotFound) => return deleted(next),
        (Operation::Stop | Operation::Delete, _) => return insist(next, operation, error),
        _ => {}
    }
    let has_tries = next.worker.refused < MOST_CALLS;
    if is_outage(error.kind) || (has_tries && may_be_repeated(error)) {
        return again(next, operation, error);
    }
    match (operation, error.kind) {
        // It has not ended, or another than we know: look.
        (Operation::Start, ErrorKind::Conflict) if has_tries => {
            again(next, operation, error);
            next.observe();
        }
        // The platform starts no worker twice.
        (Operation::Start, ErrorKind::Unsupported) if is_restart(next) => next.replace(),
        (Operation::Start, ErrorKind::NotFound) => next.failed(FailureClass::Vanished, &error.message, true),
        _ => {
            let text = error.help.as_ref().map(|help| format!("{}; {help}", error.message));
            let reason = text.unwrap_or_else(|| error.message.clone());
            next.failed(class_of(operation, error.kind), &reason, false);
        }
    }
}

/// Whether the same call may succeed next time. What recovery has an answer to is left to it.
fn may_be_repeated(error: &ErrorReport) -> bool {
    error.retry != Retry::Never
        && !matches!(error.kind, ErrorKind::Capacity | ErrorKind::QuotaExceeded | ErrorKind::Dependency)
}

fn is_restart(next: &Next<'_>) -> bool {
    matches!(&next.worker.pending, Some(Pending::Start { after: Some(_) }))
}

/// What has to go is tried until it is gone; a person hears of it.
fn insist(next: &mut Next<'_>, operation: Operation, error: &ErrorReport) {
    again(next, operation, error);
    let is_known = next.worker.escalated() == Some(Escalation::Refused);
    if !is_known && next.worker.refused >= MOST_CALLS {
        let reason = Some(error.message.clone());
        next.stay(Change::Escalated { why: Escalation::Refused, failure: None, reason });
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
