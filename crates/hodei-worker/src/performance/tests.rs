use std::time::Duration;

use hodei_worker_core::{
    WorkerPhase, WorkerRef, WorkerStatus,
    lifecycle::{Change, Worker},
};
use serde_json::{Value, json};

use super::*;
use crate::testing::{at, events, id};

fn ms(millis: u64) -> hodei_worker_core::quantity::HumanDuration {
    Duration::from_millis(millis).into()
}

fn create(provider: &str, worker_type: &str) -> Value {
    json!({"create_intended": {"provider": provider, "generation": 1, "goal": "running",
        "traits": {"worker_type": worker_type, "config": ""}}})
}

fn checked_start() -> Vec<(&'static str, i64, Value)> {
    vec![
        ("creating", 0, create("p", "web")),
        ("creating", 300, json!("created")),
        ("starting", 300, json!({"start_intended": {}})),
        ("starting", 450, json!({"started": {"run": "r1", "at": at(400)}})),
        ("running", 1400, json!("healthy")),
    ]
}

fn ended(failure: bool) -> Value {
    let failure = if failure { json!("application") } else { Value::Null };
    json!({"ended": {"run": "r1", "failure": failure}})
}

#[test]
fn l11_a_start_is_told_by_phases_that_add_up_and_the_costliest_is_named() {
    let view = PerformanceView::default();
    let events = events("a", checked_start());
    view.observe(&events[0]);
    let mut status = WorkerStatus::new(WorkerRef::first(id("a")), WorkerPhase::Created, at(0));
    status.times.scheduled = Some(at(50));
    view.status(&status);
    view.reached(&id("a"), StartPhase::Pull, at(250));
    events[1..].iter().for_each(|event| view.observe(event));

    let start = view.worker(&id("a"), at(2000)).unwrap().start.unwrap();
    let took: Vec<_> = start.phases.into_iter().collect();
    let expected = [
        (StartPhase::Schedule, ms(50)),
        (StartPhase::Pull, ms(200)),
        (StartPhase::Create, ms(50)),
        (StartPhase::Start, ms(100)),
        (StartPhase::Ready, ms(1000)),
    ];
    assert_eq!((took.as_slice(), start.total), (expected.as_slice(), ms(1400)));
    let group = &view.report(at(2000)).groups[0];
    assert_eq!((group.starts.count, group.starts.max, group.phases.len()), (1, ms(1400), 5));
    let costliest = group.costliest.unwrap();
    assert_eq!((costliest.phase, (costliest.share * 100.0).round()), (StartPhase::Ready, 71.0));
}

#[test]
fn l11_a_worker_that_waits_to_be_asked_does_not_start_slowly() {
    let events = events(
        "a",
        [
            ("creating", 0, create("p", "web")),
            ("creating", 100, json!("created")),
            ("starting", 60_000, json!({"start_intended": {}})),
            // A provider whose clock is late.
            ("running", 60_030, json!({"started": {"run": "r1", "at": at(59_000)}})),
        ],
    );
    let start = WorkerPerformance::fold(&events).unwrap().report(at(60_030)).start.unwrap();
    assert_eq!(start.total, ms(100));
    assert_eq!(
        start.phases.into_iter().collect::<Vec<_>>(),
        [(StartPhase::Create, ms(100)), (StartPhase::Start, ms(0))]
    );
}

#[test]
fn l11_restarts_and_the_time_until_it_ran_again() {
    let mut steps = checked_start();
    steps.extend([
        ("recovering", 5000, ended(true)),
        (
            "recovering",
            5000,
            json!({"recovery_planned": {"strategy": "restart", "attempt": 1, "due": at(5000)}}),
        ),
        ("starting", 5000, json!({"start_intended": {"after": "r1"}})),
        ("starting", 5050, json!({"started": {"run": "r2"}})),
        ("running", 5250, json!("healthy")),
        ("failed", 9250, ended(true)),
        ("failed", 9250, json!({"escalated": {"why": "crash_loop"}})),
    ]);
    let events = events("a", steps);
    let view = PerformanceView::default();
    events.iter().for_each(|event| view.observe(event));
    let group = view.report(at(20_000)).groups.remove(0);
    assert_eq!((group.restarts, group.recoveries.count, group.recoveries.max), (1, 1, ms(250)));
    assert_eq!((group.escalations, group.starts.count), (1, 2), "a restart is a start");
    assert_eq!(group.running_time, ms(3600 + 4000), "not while it was down");
    let alone = WorkerPerformance::fold(&events).unwrap().report(at(20_000));
    assert_eq!(Some(&alone), view.worker(&id("a"), at(20_000)).as_ref(), "its stream tells the same");
    assert_eq!((alone.running_time, alone.recovery_time), (ms(7600), ms(250)));
}

#[test]
fn l11_job_time_and_utilisation() {
    let view = PerformanceView::default();
    let events = events("a", checked_start());
    events.iter().for_each(|event| view.observe(event));
    // 1400 until 11400; two jobs overlap.
    for (began, millis) in
        [(true, 2000), (true, 3000), (false, 4000), (false, 5000), (true, 6400), (false, 8400)]
    {
        if began { view.job_began(&id("a"), at(millis)) } else { view.job_ended(&id("a"), at(millis)) }
    }
    view.job_ended(&id("a"), at(8500));
    view.job_began(&id("nobody"), at(8500));
    let group = view.report(at(11_400)).groups.remove(0);
    assert_eq!((group.jobs.count, group.jobs.max, group.busy), (3, ms(2000), 0));
    assert_eq!((group.busy_time, group.utilisation()), (ms(5000), Some(0.5)));
    let worker = view.worker(&id("a"), at(11_400)).unwrap();
    assert_eq!((worker.jobs, worker.busy_time, worker.utilisation()), (3, ms(5000), Some(0.5)));
    // One that has not ended counts as well.
    view.job_began(&id("a"), at(11_400));
    assert_eq!(view.report(at(12_400)).groups[0].busy_time, ms(6000));
}

#[test]
fn l11_the_registry_of_jobs_tells_the_view() {
    use crate::jobs::JobRecorder;
    let view = PerformanceView::default();
    events("a", checked_start()).iter().for_each(|event| view.observe(event));
    JobRecorder::job_ended(&view, &id("a"), Duration::from_millis(700));
    view.was_busy(&id("a"), Duration::from_millis(1000));
    let group = view.report(at(5400)).groups.remove(0);
    assert_eq!((group.jobs.count, group.busy_time, group.utilisation()), (1, ms(1000), Some(0.25)));
    let worker = view.worker(&id("a"), at(5400)).unwrap();
    assert_eq!((worker.jobs, worker.utilisation()), (1, Some(0.25)));
}

#[test]
fn l11_workers_are_told_apart_by_type_and_provider_up_to_a_limit() {
    let settings = PerformanceSettings { groups: 2, ..PerformanceSettings::default() };
    let view = PerformanceView::new(settings);
    for (worker, provider, worker_type) in
        [("a", "p", "x"), ("b", "q", "x"), ("c", "p", "y"), ("d", "p", "z")]
    {
        view.observe(&events(worker, [("creating", 0, create(provider, worker_type))])[0]);
    }
    let report = view.report(at(0));
    let groups: Vec<_> =
        report.groups.iter().map(|group| (group.provider.is_some(), group.workers)).collect();
    assert_eq!(groups, [(false, 2), (true, 1), (true, 1)]);
}

#[test]
fn l11_a_failover_takes_the_worker_to_its_new_group() {
    let view = PerformanceView::default();
    let mut steps = checked_start();
    let other = json!({"create_intended": {"provider": "q", "generation": 2, "goal": "running"}});
    steps.extend([("recovering", 3000, ended(true)), ("starting", 3000, other)]);
    events("a", steps).iter().for_each(|event| view.observe(event));
    let report = view.report(at(4000));
    let workers: Vec<_> = report.groups.iter().map(|group| (group.workers, group.running)).collect();
    assert_eq!(workers, [(0, 0), (1, 0)]);
    assert!(report.groups.iter().all(|group| group.worker_type.is_some()));
}

#[test]
fn l11_a_hundred_thousand_idle_workers_keep_no_records() {
    let view = PerformanceView::default();
    let mut events = events(
        "w",
        [
            ("creating", 0, create("p", "web")),
            ("creating", 1, json!("created")),
            ("starting", 1, json!({"start_intended": {}})),
            ("running", 2, json!({"started": {"run": "r"}})),
        ],
    );
    for n in 0..100_000 {
        for event in &mut events {
            event.worker_id = id(&format!("w-{n}"));
            view.observe(event);
        }
    }
    let (seats, starting, recent) = view.sizes();
    assert_eq!((seats, starting, recent), (100_000, 0, 1000));
    assert!(view.worker(&id("w-0"), at(3)).is_none() && view.worker(&id("w-99999"), at(3)).is_some());
    let group = &view.report(at(1002)).groups[0];
    assert_eq!(
        (group.starts.count, group.running, group.running_time.as_secs()),
        (100_000, 100_000, 100_000)
    );
}

#[test]
fn l11_more_starts_at_one_time_than_are_kept_are_counted() {
    let view = PerformanceView::new(PerformanceSettings { starting: 3, ..PerformanceSettings::default() });
    for n in 0..5 {
        view.observe(&events(&format!("w-{n}"), [("creating", 0, create("p", "web"))])[0]);
    }
    assert_eq!((view.sizes().1, view.report(at(0)).unmeasured), (3, 2));
}

#[test]
fn l11_a_worker_that_is_adopted_counts_from_there() {
    let events = events("a", checked_start());
    let worker = events.iter().fold(None, Worker::apply).unwrap();
    assert!(matches!(events[4].change, Change::Healthy));
    let view = PerformanceView::default();
    view.adopt(&worker);
    view.adopt(&worker);
    let group = view.report(at(2400)).groups.remove(0);
    assert_eq!((group.workers, group.running, group.running_time), (1, 1, ms(1000)));
}

#[test]
fn l11_reports_are_data_and_a_table() {
    let view = PerformanceView::default();
    events("a", checked_start()).iter().for_each(|event| view.observe(event));
    let report = view.report(at(2400));
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<PerformanceReport>(&text).unwrap(), report);
    let table = report.to_string();
    let row = table.lines().nth(1).unwrap();
    assert!(row.starts_with("web   p") && row.contains("1.40s / 1.40s / 1.40s  ready 71 %"), "{table}");
    let worker = view.worker(&id("a"), at(2400)).unwrap();
    assert_eq!(
        worker.to_string(),
        "a: started in 1.40s (create 300ms, start 100ms, ready 1.00s); ran 1.00s, busy 0 %, 0 jobs, 0 restarts"
    );
}
