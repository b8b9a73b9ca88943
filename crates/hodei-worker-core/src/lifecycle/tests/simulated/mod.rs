//! Random lives: a model of a provider that lags, repeats itself, loses answers and fails; a host that is killed at any
//! point; commands at any time.

mod host;
mod provider;

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use self::{
    host::Host,
    provider::{Powers, no_answer, permanent},
};
use super::*;
use crate::lifecycle::{Call, HealthChange, WorkerState};

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Create,
    Start,
    Stop {
        grace: Option<u64>,
        jobs: usize,
    },
    Remove {
        grace: Option<u64>,
        jobs: usize,
    },
    /// The provider does what it was asked.
    Land,
    /// And something that was given up.
    LandAstray,
    Answer {
        status: bool,
    },
    /// The answer is lost: after the provider did it, or before.
    Lost {
        done: bool,
    },
    /// The call fails for good; nothing was done.
    Refused(u8),
    Crash,
    Hear {
        place: usize,
        twice: bool,
    },
    Relist,
    /// A run ends.
    End(i32),
    /// The object is removed by somebody else.
    Vanish,
    /// It is started again by somebody else.
    Meddle,
    Healthy,
    Unhealthy,
    Idle,
    Wait,
    Sweep,
    TakenOver,
}

fn step() -> impl Strategy<Value = Step> {
    let grace = || prop_oneof![Just(None), Just(Some(0)), Just(Some(5))];
    prop_oneof![
        1 => Just(Step::Create),
        2 => Just(Step::Start),
        2 => (grace(), 0..2_usize).prop_map(|(grace, jobs)| Step::Stop { grace, jobs }),
        1 => (grace(), 0..2_usize).prop_map(|(grace, jobs)| Step::Remove { grace, jobs }),
        3 => Just(Step::Land),
        2 => Just(Step::LandAstray),
        12 => any::<bool>().prop_map(|status| Step::Answer { status }),
        2 => any::<bool>().prop_map(|done| Step::Lost { done }),
        1 => any::<u8>().prop_map(Step::Refused),
        3 => Just(Step::Crash),
        10 => (0..2_usize, any::<bool>()).prop_map(|(place, twice)| Step::Hear { place, twice }),
        1 => Just(Step::Relist),
        4 => prop_oneof![Just(0), Just(1), Just(137)].prop_map(Step::End),
        1 => Just(Step::Vanish),
        1 => Just(Step::Meddle),
        2 => Just(Step::Healthy),
        1 => Just(Step::Unhealthy),
        2 => Just(Step::Idle),
        4 => Just(Step::Wait),
        1 => Just(Step::Sweep),
        1 => Just(Step::TakenOver),
    ]
}

fn take(host: &mut Host, step: &Step) {
    let seconds = |grace: &Option<u64>| grace.map(Duration::from_secs);
    let present = host.worker.as_ref().map_or(Generation::FIRST, |worker| worker.generation);
    match step {
        Step::Create => host.create(),
        Step::Start => host.input(&Input::Command(Command::Start)),
        Step::Stop { grace, jobs } => {
            host.input(&Input::Command(Command::Stop { grace: seconds(grace), jobs: *jobs }));
        }
        Step::Remove { grace, jobs } => {
            let (grace, jobs) = (seconds(grace), *jobs);
            host.input(&Input::Command(Command::Remove { grace, jobs, keep_volumes: false }));
        }
        Step::Land => host.land(),
        Step::Answer { status } => host.answer(*status),
        Step::Lost { done } => {
            if *done {
                host.land();
            }
            let sent = host.under_way.clone();
            host.fail(*no_answer());
            if let Some((generation, call @ (Call::Create | Call::Start { .. }), None)) = sent {
                host.astray.push((generation, call));
            }
        }
        Step::LandAstray => host.land_astray(),
        Step::Refused(kind) => {
            if host.under_way.as_ref().is_some_and(|(_, _, answer)| answer.is_none()) {
                host.fail(*permanent(*kind));
            }
        }
        Step::Crash => host.crash(),
        Step::Hear { place, twice } => host.hear(*place, *twice),
        Step::Relist => host.provider.relist(present),
        Step::End(code) => host.provider.end(present, *code),
        Step::Vanish => host.provider.remove(present),
        Step::Meddle => host.provider.meddle(present),
        Step::Healthy => host.input(&Input::Health(HealthChange::Healthy)),
        Step::Unhealthy => host.input(&Input::Health(HealthChange::Unhealthy { reason: "no".into() })),
        Step::Idle => host.input(&Input::Idle),
        Step::Wait => {
            host.wait();
        }
        Step::Sweep => host.sweep(),
        Step::TakenOver => {
            host.give_up();
            host.input(&Input::TakenOver { lease: 1, owner_epoch: 1 });
        }
    }
}

/// What must hold at any time.
fn check(host: &Host) {
    for ((generation, after), times) in &host.provider.begun {
        assert!(*times <= 1, "generation {generation} was started {times} times after {after:?}");
    }
    let Some(worker) = &host.worker else { return };
    for object in host.provider.alive() {
        assert!(object.generation <= worker.generation, "nobody asked for {object:?}");
    }
}

/// What must hold when all that was asked for has been done.
fn check_at_rest(host: &Host) {
    use WorkerState as S;
    assert!(host.provider.alive().count() <= 1, "{:?}", host.provider.objects);
    let worker = host.worker.as_ref().filter(|worker| worker.state.is_some());
    let Some(worker) = worker else {
        assert_eq!(host.goal, None, "what was acknowledged is lost");
        assert!(host.provider.objects.is_empty(), "{:?} is left", host.provider.objects);
        return;
    };
    assert_eq!(Some(worker.goal), host.goal, "what was acknowledged is lost");
    let alive = host.provider.alive().next().is_some();
    assert_eq!(worker.alive, alive, "what is known is not so: {worker:?} {:?}", host.provider.objects);
    match worker.goal {
        Goal::Running if alive => assert!(matches!(worker.state, Some(S::Running | S::Degraded | S::Failed))),
        Goal::Running => {
            let ended = worker.end.is_some();
            assert!(
                ended && matches!(worker.state, Some(S::Stopped | S::Failed)),
                "it should run: {worker:?}"
            );
        }
        Goal::Stopped => assert!(!alive && worker.pending.is_none(), "it should not run: {worker:?}"),
        Goal::Removed => panic!("it should be removed: {worker:?}"),
    }
}

fn policies() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![
        Just(RestartPolicy::Never),
        Just(RestartPolicy::OnFailure { max_retries: None }),
        Just(RestartPolicy::Always),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2 * ProptestConfig::default().cases, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn l1_any_life_keeps_what_was_acknowledged_and_doubles_nothing(
        restart in policies(),
        checked in any::<bool>(),
        powers in (any::<bool>(), any::<bool>(), any::<bool>()),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (deferred_start, keeps_stopped, in_place) = powers;
        let mut host = Host::new(Powers { deferred_start, keeps_stopped, in_place }, restart, checked);
        host.create();
        for step in &steps {
            take(&mut host, step);
            check(&host);
        }
        host.settle();
        check(&host);
        check_at_rest(&host);
    }
}
