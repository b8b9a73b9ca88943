//! No situation is a dead end: under a provider that does what it is asked, each command comes to what it asks for.

use super::*;
use crate::{
    lifecycle::{Call, Escalation, HealthChange, Outcome, resume},
    provider::Operation,
};

/// What happens next, if its provider does what it is asked.
fn fair(worker: &Worker, waited: bool, now: &mut u64, runs: &mut u32) -> Option<Input> {
    let generation = worker.generation;
    let answer = |operation, status| {
        Some(Input::Outcome(Outcome::done(generation, operation, Some(Arc::new(status)))))
    };
    if worker.retry_at.is_some() && !waited {
        *now += LATER + 1;
        return Some(Input::Due);
    }
    match resume(worker) {
        Some(Call::Create) => answer(Operation::Create, status_of(generation, WorkerPhase::Created, None)),
        Some(Call::Start { .. }) => {
            *runs += 1;
            let run = format!("f{runs}");
            answer(Operation::Start, status_of(generation, WorkerPhase::Running, Some(&run)))
        }
        Some(Call::Stop { .. }) => match &worker.run {
            Some(run) => answer(Operation::Stop, exited_of(generation, run.as_str(), 0)),
            None => answer(Operation::Stop, status_of(generation, WorkerPhase::Created, None)),
        },
        Some(Call::Delete { .. }) => {
            answer(Operation::Delete, status_of(generation, WorkerPhase::Absent, None))
        }
        _ if matches!(worker.pending, Some(Pending::Drain { .. })) => Some(Input::Idle),
        _ if worker.state == Some(WorkerState::Starting) => Some(Input::Health(HealthChange::Healthy)),
        // It is looked at, and its node does not answer still.
        _ if waited && worker.unreachable_since.is_some() && worker.escalated().is_none() => {
            let run = worker.run.as_ref().map(RunId::as_str);
            answer(Operation::Status, status_of(generation, WorkerPhase::Unknown, run))
        }
        _ => {
            *now += LATER + 1;
            worker.due(&RecoverySettings::default()).map(|_| Input::Due)
        }
    }
}

/// The worker when nothing happens by itself any more. Panics if that never comes.
fn settled(world: &World, worker: &Worker) -> Worker {
    let (mut worker, mut now, mut runs) = (worker.clone(), LATER, 0);
    let mut waited = false;
    let mut steps = Vec::new();
    while worker.state.is_some() {
        let Some(input) = fair(&worker, waited, &mut now, &mut runs) else { break };
        let (after, decision) =
            transition(&id(), Some(worker.clone()), &input, &world.context(at(now))).unwrap();
        waited = matches!(input, Input::Due);
        steps.push(told(&decision));
        assert!(!decision.is_empty() && steps.len() < 20, "it is stuck: {worker:?}\n{steps:#?}");
        worker = after.unwrap();
    }
    worker
}

fn commanded(world: &World, worker: &Worker, command: Command) -> Option<Worker> {
    let input = Input::Command(command);
    let (worker, _) = transition(&id(), Some(worker.clone()), &input, &world.context(at(NOW))).ok()?;
    Some(settled(world, &worker?))
}

#[test]
fn l1_no_situation_is_a_dead_end() {
    use WorkerState as S;
    for_each_world(|world, workers| {
        for worker in workers {
            let after = settled(world, worker);
            let rests = match worker.goal {
                Goal::Running => {
                    matches!(after.state, Some(S::Running | S::Degraded | S::Stopped | S::Failed))
                }
                Goal::Stopped => {
                    !after.alive && matches!(after.state, Some(S::Creating | S::Stopped | S::Failed))
                }
                Goal::Removed => after.state.is_none(),
            };
            assert!(rests, "{worker:?}\nbecame {after:?}");
            for (grace, jobs) in [(None, 0), (None, 2), (Some(Duration::ZERO), 2)] {
                let gone = commanded(world, worker, Command::Remove { grace, jobs, keep_volumes: false });
                assert_eq!(gone.unwrap().state, None, "{worker:?} cannot be removed");
                let stopped = commanded(world, worker, Command::Stop { grace, jobs }).unwrap();
                assert!(
                    !stopped.alive && stopped.pending.is_none(),
                    "{worker:?} cannot be stopped: {stopped:?}"
                );
            }
            match commanded(world, worker, Command::Start) {
                None => assert_eq!(worker.goal, Goal::Removed, "{worker:?} refuses to be started"),
                Some(started) => {
                    assert!(started.alive, "{worker:?} cannot be started: {started:?}");
                    assert!(started.state.is_some_and(S::takes_work), "{worker:?} started as {started:?}");
                    // It runs for all that is known, and a person is called once it was waited for.
                    let called = Some(Escalation::NodeLost).filter(|_| started.unreachable_since.is_some());
                    assert_eq!(started.escalated(), called, "{worker:?}");
                }
            }
        }
    });
}
