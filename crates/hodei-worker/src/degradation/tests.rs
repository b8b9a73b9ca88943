use std::collections::{BTreeMap, HashMap};

use hodei_worker_core::{
    ErrorKind, Retry, WorkerState,
    lifecycle::{DegradedBy, Goal, Worker},
};
use serde_json::json;

use super::*;
use crate::testing::{events, id};

fn worker(name: &str, state: WorkerState, causes: &[DegradedBy]) -> Worker {
    let create = json!({"create_intended": {"provider": "p", "generation": 1, "goal": "running",
        "traits": {"worker_type": "web", "config": ""}}});
    let mut worker = Worker::apply(None, &events(name, [("creating", 0, create)])[0]).unwrap();
    (worker.state, worker.degraded, worker.alive) = (Some(state), causes.to_vec(), true);
    worker
}

fn running(name: &str) -> Worker {
    worker(name, WorkerState::Running, &[])
}

fn with(jobs_per_worker: Option<u32>) -> Degradation {
    let settings = DegradationSettings { jobs_per_worker, ..DegradationSettings::default() };
    Degradation::with_random(settings, fastrand::Rng::with_seed(7))
}

fn web() -> hodei_worker_core::model::GroupRef {
    "web".parse().unwrap()
}

#[test]
fn l4_a_worker_weighs_what_its_state_and_causes_say() {
    use DegradedBy::{Flapping, Latency, Paused};
    let settings = DegradationSettings::default();
    let of = |state, causes: &[DegradedBy]| weight(&worker("a", state, causes), &settings);
    assert_eq!(of(WorkerState::Running, &[]), 100);
    assert_eq!(of(WorkerState::Degraded, &[Latency]), 50);
    assert_eq!(of(WorkerState::Degraded, &[Latency, Flapping]), 25);
    assert_eq!(of(WorkerState::Degraded, &[Paused]), 0);
    assert_eq!(of(WorkerState::Degraded, &[]), 50);
    for state in WorkerState::ALL.into_iter().filter(|state| !state.takes_work()) {
        assert_eq!(of(state, &[]), 0, "{state}");
    }
}

#[test]
fn l4_a_degraded_worker_gets_less_work_and_a_busy_one_less_than_an_idle_one() {
    let degradation = with(None);
    degradation.observe(&running("good-1"));
    degradation.observe(&running("good-2"));
    degradation.observe(&worker("slow", WorkerState::Degraded, &[DegradedBy::Latency]));
    degradation.observe(&worker("frozen", WorkerState::Degraded, &[DegradedBy::Paused]));
    degradation.observe(&worker("new", WorkerState::Starting, &[]));
    let mut got: HashMap<String, u32> = HashMap::new();
    for _ in 0..500 {
        let worker = degradation.choose(Some(&web()), 0).unwrap();
        degradation.job_began(&worker, 0);
        *got.entry(worker.to_string()).or_default() += 1;
    }
    assert_eq!(got.values().sum::<u32>(), 500);
    assert_eq!(got.len(), 3, "not the frozen one, nor one that starts: {got:?}");
    // 200, 200, 100 would be exact.
    assert!((185..=215).contains(&got["good-1"]) && (85..=115).contains(&got["slow"]), "{got:?}");
}

#[test]
fn l4_of_two_workers_the_one_with_less_to_do_is_chosen_each_time() {
    let degradation = with(None);
    degradation.observe(&running("a"));
    degradation.observe(&running("b"));
    degradation.job_began(&id("a"), 0);
    for _ in 0..100 {
        assert_eq!(degradation.choose(Some(&web()), 0).unwrap(), id("b"));
    }
}

#[test]
fn l4_low_priority_work_is_refused_first_and_critical_work_stays() {
    let degradation = with(Some(2));
    for n in 0..5 {
        degradation.observe(&running(&format!("w-{n}")));
    }
    // 6 of the usual and 4 that can wait: full.
    for n in 0..5 {
        degradation.job_began(&id(&format!("w-{n}")), if n < 3 { 0 } else { -1 });
        degradation.job_began(&id(&format!("w-{n}")), if n < 3 { 0 } else { -1 });
    }
    let refused = degradation.choose(Some(&web()), -1).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    assert_eq!(refused.retry(), Retry::Safe { after: Some(std::time::Duration::from_secs(1)) });
    assert!(refused.to_string().contains("more to do than it can"), "{refused}");
    // More important work has its room, though no worker has a free place for it: it goes to none of them, by their own
    // limit, unless it is critical.
    assert!(degradation.choose(Some(&web()), 0).is_err());
    assert!(degradation.choose(Some(&web()), 100).is_ok());
    assert!(degradation.admit(&id("w-0"), 100).is_ok());
    degradation.job_ended(&id("w-4"), -1);
    assert_eq!(degradation.choose(Some(&web()), 0).unwrap(), id("w-4"));
    // A worker less well: there is room for 9, and 6 jobs are at least as important as the usual.
    degradation.observe(&worker("w-4", WorkerState::Degraded, &[DegradedBy::Latency]));
    assert_eq!(degradation.capacity(Some(&web())).jobs, Some(9));
}

#[test]
fn l4_what_was_refused_comes_back_with_room_to_spare_and_does_not_flap() {
    let degradation = with(Some(10));
    degradation.observe(&running("a"));
    degradation.observe(&running("b"));
    let began = |count: usize| {
        (0..count).for_each(|n| degradation.job_began(&id(if n % 2 == 0 { "a" } else { "b" }), 5))
    };
    began(20);
    assert!(degradation.choose(Some(&web()), 0).is_err());
    assert_eq!(degradation.capacity(Some(&web())).refused, Some(0));
    // One place free: enough for work that was never refused, not for what was.
    let ended = |count: usize| {
        (0..count).for_each(|n| degradation.job_ended(&id(if n % 2 == 0 { "a" } else { "b" }), 5))
    };
    ended(1);
    assert!(degradation.choose(Some(&web()), 0).is_err(), "no flapping");
    assert!(degradation.choose(Some(&web()), 5).is_ok());
    ended(4);
    assert!(degradation.choose(Some(&web()), 0).is_ok(), "16 of 20 are taken with this one");
    assert_eq!(degradation.capacity(Some(&web())).refused, Some(-1));
}

#[test]
fn l4_a_group_with_room_for_one_job_takes_it_again_after_it_was_refused() {
    let degradation = with(Some(1));
    degradation.observe(&worker("a", WorkerState::Starting, &[]));
    degradation.choose(Some(&web()), 0).unwrap_err();
    degradation.observe(&running("a"));
    let one = degradation.choose(Some(&web()), 0).unwrap();
    degradation.job_began(&one, 0);
    degradation.choose(Some(&web()), 0).unwrap_err();
    degradation.job_ended(&one, 0);
    assert_eq!(degradation.choose(Some(&web()), 0).unwrap(), one);
}

#[test]
fn l4_the_jobs_of_a_worker_that_was_away_count_when_it_is_back() {
    let degradation = with(Some(2));
    degradation.observe(&running("a"));
    let one = degradation.choose(Some(&web()), 0).unwrap();
    degradation.job_began(&one, 0);
    degradation.job_began(&one, 0);
    degradation.forget(&one);
    assert_eq!(degradation.capacity(Some(&web())).busy, 0);
    // One ends meanwhile.
    degradation.job_ended(&one, 0);
    degradation.observe(&running("a"));
    assert_eq!(degradation.capacity(Some(&web())).busy, 1);
    degradation.job_began(&one, 0);
    degradation.choose(Some(&web()), 0).unwrap_err();
    degradation.job_ended(&one, 0);
    degradation.job_ended(&one, 0);
    assert_eq!(degradation.capacity(Some(&web())).busy, 0);
}

#[test]
fn l4_without_a_number_of_jobs_what_can_wait_waits_while_half_the_group_is_not_well() {
    let degradation = with(None);
    for n in 0..4 {
        degradation.observe(&running(&format!("w-{n}")));
    }
    assert!(degradation.admit(&id("w-0"), -1).is_ok());
    for n in 1..4 {
        degradation.observe(&worker(&format!("w-{n}"), WorkerState::Recovering, &[]));
    }
    assert!(degradation.admit(&id("w-0"), -1).unwrap_err().to_string().contains("not well"));
    assert!(degradation.admit(&id("w-0"), 0).is_ok());
    assert!(degradation.admit(&id("w-1"), 1000).is_err(), "what does not run can do nothing");
    assert!(degradation.admit(&id("stranger"), -1).is_ok());
    degradation.observe(&running("w-1"));
    assert!(degradation.admit(&id("w-0"), -1).is_err(), "50 % are not enough to come back");
    degradation.observe(&running("w-2"));
    assert!(degradation.admit(&id("w-0"), -1).is_ok());
    // One that is not wanted any more is no loss.
    let mut stopped = worker("w-3", WorkerState::Stopped, &[]);
    stopped.goal = Goal::Stopped;
    degradation.observe(&stopped);
    assert_eq!(degradation.capacity(Some(&web())).percent(), 100);
}

#[test]
fn l4_a_job_that_was_admitted_counts_until_it_is_dropped() {
    let (jobs, _changes) = crate::jobs::Jobs::new();
    let degradation = with(Some(1));
    degradation.observe(&running("a"));
    let job = degradation.begin(&jobs, &id("a"), 0).unwrap();
    assert_eq!((job.guard().worker(), degradation.capacity(Some(&web())).busy), (&id("a"), 1));
    let refused = degradation.begin(&jobs, &id("a"), 0).unwrap_err();
    assert_eq!((refused.kind(), jobs.count(&id("a"))), (ErrorKind::Overloaded, 1));
    drop(job);
    // One that the registry refuses does not count.
    jobs.close(&id("a"));
    assert_eq!(degradation.begin(&jobs, &id("a"), 0).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(degradation.capacity(Some(&web())).busy, 0);
}

/// Whatever comes and goes, what is counted is what there is.
#[test]
fn l4_the_counts_hold_over_random_changes() {
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..50 {
        let degradation = with(Some(3));
        let mut known: BTreeMap<String, u8> = BTreeMap::new();
        let mut jobs: Vec<(String, i32)> = Vec::new();
        for _ in 0..300 {
            let name = format!("w-{}", random.u8(..12));
            match random.u8(..6) {
                0 | 1 => {
                    let state = WorkerState::ALL[random.usize(..8)];
                    let worker = worker(&name, state, &[]);
                    degradation.observe(&worker);
                    known.insert(name, weight(&worker, &DegradationSettings::default()));
                }
                2 => {
                    let mut gone = running(&name);
                    gone.state = None;
                    degradation.observe(&gone);
                    known.remove(&name);
                    jobs.retain(|(worker, _)| *worker != name);
                }
                3 if !jobs.is_empty() => {
                    let (worker, priority) = jobs.swap_remove(random.usize(..jobs.len()));
                    degradation.job_ended(&id(&worker), priority);
                }
                _ => {
                    let priority = random.i32(-2..3);
                    degradation.job_began(&id(&name), priority);
                    if known.contains_key(&name) {
                        jobs.push((name, priority));
                    }
                }
            }
            let capacity = degradation.capacity(Some(&web()));
            assert_eq!(capacity.weight, known.values().map(|weight| u64::from(*weight)).sum::<u64>());
            assert_eq!((capacity.workers, capacity.busy), (known.len() as u64, jobs.len() as u64));
            if let Ok(chosen) = degradation.choose(Some(&web()), 0) {
                assert!(known[chosen.as_str()] > 0, "{chosen} gets no work");
            }
            // What is more important is never refused where less important work is not.
            let name = format!("w-{}", random.u8(..12));
            let admitted = |priority| degradation.admit(&id(&name), priority).is_ok();
            let by_priority: Vec<bool> = (-3..4).map(admitted).collect();
            assert!(by_priority.is_sorted(), "{by_priority:?}");
        }
    }
}

#[test]
fn l4_no_more_is_shed_than_has_to_be_and_nothing_before_what_is_less_important() {
    let settings = DegradationSettings::default();
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..2000 {
        let demand: BTreeMap<i32, u64> =
            (0..random.usize(..8)).map(|_| (random.i32(-5..150), random.u64(..20))).collect();
        let capacity = random.u64(..60);
        let shed = shed_work(&demand, capacity, &settings);
        let (all, gone): (u64, u64) = (demand.values().sum(), shed.values().sum());
        let critical: u64 = demand.range(settings.critical..).map(|(_, amount)| amount).sum();
        assert_eq!(all - gone, all.min(capacity.max(critical)), "{demand:?} {capacity}");
        assert!(shed.range(settings.critical..).next().is_none());
        if let Some((highest, _)) = shed.last_key_value() {
            let below = demand.range(..*highest);
            assert!(
                below
                    .into_iter()
                    .all(|(priority, amount)| *amount == shed.get(priority).copied().unwrap_or(0))
            );
        }
    }
}

#[test]
fn l4_of_workers_the_least_important_the_idle_and_the_least_well_go_first() {
    let sheddable =
        |name: &str, priority, jobs, weight| Sheddable { worker: id(name), priority, weight, jobs };
    let workers = [
        sheddable("critical", 100, 0, 0),
        sheddable("usual", 0, 0, 100),
        sheddable("low-busy", -1, 2, 100),
        sheddable("low-idle", -1, 0, 100),
        sheddable("low-slow", -1, 0, 50),
    ];
    let names: Vec<_> = shed_workers(&workers, 9, &DegradationSettings::default());
    assert_eq!(names, ["low-slow", "low-idle", "low-busy", "usual"].map(id));
}

#[test]
fn l4_settings_that_make_no_sense_are_named() {
    let mut problems = hodei_worker_core::settings::Problems::new();
    DegradationSettings::default().validate(&mut problems);
    assert!(problems.is_empty());
    let settings =
        DegradationSettings { low_below_percent: 90, latency_percent: 101, ..DegradationSettings::default() };
    settings.validate(&mut problems);
    assert_eq!(
        problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(),
        ["latency_percent", "margin_percent"]
    );
}
