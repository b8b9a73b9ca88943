use super::*;
use crate::{
    lifecycle::{Call, Change, Escalation, OutcomeOf, resume},
    provider::Operation,
};

/// The outcome of a call about that, if it is one.
fn outcome_of(input: &Input) -> Option<Operation> {
    let Input::Outcome(outcome) = input else { return None };
    match outcome.of {
        OutcomeOf::Done(operation) | OutcomeOf::Failed(operation, _) => Some(operation),
    }
}

/// What must hold for each decision.
pub(super) fn check(
    before: &Worker,
    input: &Input,
    now: Timestamp,
    decision: &Decision,
    after: Option<&Worker>,
) -> Result<(), String> {
    let mut state = before.state;
    let mut version = before.version;
    for (n, event) in decision.events.iter().enumerate() {
        if event.old_state != state || event.version != version + 1 {
            return Err(format!("event {n} does not follow: {event:?}"));
        }
        match (event.old_state, event.new_state) {
            (Some(old), Some(new)) if old != new && !old.may_become(new) => {
                return Err(format!("{old} became {new}"));
            }
            (_, None) if !matches!(event.change, Change::Terminated) => {
                return Err("it ended without an end".into());
            }
            _ => {}
        }
        let skipped = event.changes_state() && n + 1 < decision.events.len();
        if event.inferred && (!skipped || event.change != Change::Passed) {
            return Err(format!("event {n} is inferred, and no step between: {event:?}"));
        }
        (state, version) = (event.new_state, event.version);
    }
    let Some(after) = after else { return Err("the fold does not add up".into()) };
    let call = decision.call.as_ref().filter(|call| **call != Call::Observe);
    let wanted = resume(after);
    if call.is_some() && call != wanted.as_ref() {
        return Err(format!("{call:?} is called for without an intent: {:?}", after.pending));
    }
    // A new intent has its call made; unless it only waits for jobs.
    let news = after.pending != before.pending && wanted.is_some();
    if news && call != wanted.as_ref() {
        return Err(format!("nobody makes the call of {:?}", after.pending));
    }
    let under_way = resume(before).filter(|_| before.retry_at.is_none());
    if let (Some(known), Some(call)) = (&under_way, call)
        && outcome_of(input) != Some(known.operation())
        && !matches!(input, Input::TakenOver { .. })
        && !decision.abandons
    {
        return Err(format!("{call:?} is made beside {known:?}"));
    }
    if outcome_of(input) == resume(before).map(|call| call.operation())
        && after.retry_at.is_some_and(|at| at <= now)
        && decision.call.is_none()
    {
        return Err("its call is made again without a pause".into());
    }
    // What is refused goes on being tried.
    let is_left_alone = before.escalated().is_some_and(|why| !why.goes_on());
    if is_left_alone && !matches!(input, Input::Command(_)) && call.is_some() {
        return Err(format!("{call:?} though a person is called"));
    }
    consistent(after)
}

/// What must hold for each worker.
fn consistent(worker: &Worker) -> Result<(), String> {
    use WorkerState as S;
    let is_refused = worker.escalated() == Some(Escalation::Refused);
    let has_to_go = matches!(worker.pending, Some(Pending::Stop { .. } | Pending::Delete { .. }));
    let Some(state) = worker.state else {
        let clean = worker.pending.is_none() && !worker.alive && !worker.created;
        return if clean { Ok(()) } else { Err("it ended with something left".into()) };
    };
    let pending = &worker.pending;
    let problem = match (state, pending) {
        (S::Stopped | S::Failed | S::Running | S::Degraded, Some(pending)) => {
            format!("{state} and {pending:?}")
        }
        (S::Stopped, None) if worker.alive => "stopped and alive".into(),
        (S::Running | S::Degraded, _) if !worker.alive => format!("{state} and not alive"),
        (S::Stopping, None) => "stopping, and nothing is done about it".into(),
        (S::Starting, None) if !worker.alive => "starting, and nothing is done about it".into(),
        (S::Recovering, None) if worker.recovery.as_ref().is_none_or(|known| known.planned.is_none()) => {
            "recovering without a plan".into()
        }
        (S::Recovering, Some(pending))
            if !matches!(pending, Pending::Stop { .. } | Pending::Delete { replace: true, .. }) =>
        {
            format!("recovering and {pending:?}")
        }
        (S::Creating, Some(pending)) if *pending != Pending::Create => format!("creating and {pending:?}"),
        (S::Creating, None) if worker.goal != Goal::Stopped => "created, and nobody starts it".into(),
        _ if worker.goal == Goal::Removed && state != S::Stopping => format!("to be removed and {state}"),
        _ if worker.alive && worker.goal == Goal::Stopped && state != S::Stopping => {
            format!("to be stopped, alive and {state}")
        }
        _ if is_refused && !has_to_go => format!(
            "a stop or a removal is refused, and it is {state} and {pending:?}",
            pending = worker.pending
        ),
        _ if worker.escalated().is_some_and(|why| !why.goes_on()) && state != S::Failed => {
            format!("a person is called, and it is {state}")
        }
        _ if worker.escalated() == Some(Escalation::NodeLost) && worker.unreachable_since.is_none() => {
            "its node is lost, and it is reached".into()
        }
        _ if worker.alive && !worker.created => "alive and not created".into(),
        _ => return Ok(()),
    };
    Err(problem)
}
