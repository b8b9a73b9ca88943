use super::*;
use crate::{
    error::{Error, ErrorKind},
    lifecycle::{DegradedBy, HealthChange, Outcome, resume},
    provider::Operation,
    status::{FailureClass, Gone},
};

/// Everything that can happen to it, by name.
pub(crate) fn all(worker: &Worker) -> Vec<(String, Input, u64)> {
    let mut all: Vec<(String, Input, u64)> = Vec::new();
    let generation = worker.generation;
    let mut add = |name: &str, input: Input| all.push((name.to_owned(), input, NOW));
    add("start", Input::Command(Command::Start));
    for (name, grace, jobs) in [("stop", None, 0), ("stop now", Some(0), 1), ("stop after jobs", None, 2)] {
        let grace = grace.map(Duration::from_secs);
        add(name, Input::Command(Command::Stop { grace, jobs }));
        let name = name.replace("stop", "remove");
        add(&name, Input::Command(Command::Remove { grace, jobs, keep_volumes: jobs == 2 }));
    }
    for (name, status) in statuses(generation) {
        add(&format!("seen {name}"), observed(status));
    }
    add(
        "seen running, of the generation before",
        observed(status_of(Generation::FIRST, WorkerPhase::Running, Some("c"))),
    );
    add("gone", Input::Gone(Gone::new(WorkerRef { id: id(), generation }, "n", at(NOW))));
    add("gone, of the generation before", Input::Gone(Gone::new(WorkerRef::first(id()), "n", at(NOW))));
    let operations =
        [Operation::Create, Operation::Start, Operation::Stop, Operation::Delete, Operation::Status];
    let under_way = resume(worker).map(|call| call.operation());
    for operation in operations {
        add(&format!("{operation} done"), Input::Outcome(Outcome::done(generation, operation, None)));
        // What comes late of another call says no more than a look at the worker does.
        let late = under_way != Some(operation) && operation != Operation::Status;
        for (name, status) in statuses(generation).into_iter().filter(|_| !late) {
            let outcome = Outcome::done(generation, operation, Some(Arc::new(status)));
            add(&format!("{operation} done and {name}"), Input::Outcome(outcome));
        }
        for kind in [
            ErrorKind::Unavailable,
            ErrorKind::Config,
            ErrorKind::Conflict,
            ErrorKind::NotFound,
            ErrorKind::Unsupported,
            ErrorKind::Capacity,
            ErrorKind::Dependency,
        ]
        .into_iter()
        .take(if late { 2 } else { 7 })
        {
            let report = Error::new(kind, "no").report();
            let outcome = Outcome::failed(generation, operation, report);
            add(&format!("{operation} failed: {kind}"), Input::Outcome(outcome));
        }
    }
    add("found well", Input::Health(HealthChange::Healthy));
    add("found ill", Input::Health(HealthChange::Unhealthy { reason: "no".into() }));
    let (by, reason) = (DegradedBy::Latency, "slow".to_owned());
    add("found slow", Input::Health(HealthChange::Degraded { by, reason }));
    add("found fast again", Input::Health(HealthChange::Restored { by }));
    add("idle", Input::Idle);
    add("taken over", Input::TakenOver { lease: 1, owner_epoch: 1 });
    all.push(("due".into(), Input::Due, LATER + 1));
    // A call that is made again ends after the time at which it was.
    if worker.retry_at.is_some() {
        for (_, input, now) in &mut all {
            if matches!(input, Input::Outcome(_)) {
                *now = LATER + 1;
            }
        }
    }
    all
}

fn statuses(generation: Generation) -> Vec<(String, WorkerStatus)> {
    use WorkerPhase as P;
    let mut all = Vec::new();
    for phase in [P::NotVisibleYet, P::Absent, P::Created, P::Starting, P::Unknown] {
        all.push((phase.to_string(), status_of(generation, phase, None)));
    }
    for run in ["a", "b", "c"] {
        all.push((format!("running {run}"), status_of(generation, P::Running, Some(run))));
        all.push((format!("ended well {run}"), exited_of(generation, run, 0)));
        all.push((format!("ended badly {run}"), exited_of(generation, run, 1)));
    }
    all.push(("paused b".into(), status_of(generation, P::Paused, Some("b"))));
    all.push(("paused c".into(), status_of(generation, P::Paused, Some("c"))));
    all.push(("unreachable b".into(), status_of(generation, P::Unknown, Some("b"))));
    all.push(("stopping b".into(), status_of(generation, P::Stopping, Some("b"))));
    let mut killed = exited_of(generation, "b", 137);
    killed.failure = Some(FailureClass::OutOfMemory);
    all.push(("out of memory b".into(), killed));
    let mut unable = status_of(generation, P::Exited, None);
    unable.failure = Some(FailureClass::CommandNotFound);
    all.push(("unable".into(), unable));
    all
}
