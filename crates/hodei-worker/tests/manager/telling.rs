//! What a manager tells of real workers: events, what they use, where their time goes, who gets work.

use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt as _;
use hodei_worker::{
    ErrorKind, WorkerId, WorkerState, WorkerStateEvent,
    degradation::Degradation,
    events::{EventFilter, Notice},
    jobs::Jobs,
    lifecycle::{EventType, Worker},
    manager::{RemoveWorker, StopWorker, WorkerManager},
    model::{HealthCheckConfig, Port, Probe, RestartPolicy},
    performance::{PerformanceView, StartPhase, WorkerPerformance},
    quantity::HumanDuration,
    testkit::eventually,
};

use crate::bed::{Bed, Place, within};

crate::cases![
    l9_a_replay_tells_the_whole_life_and_goes_on,
    l9_what_a_slow_subscriber_missed_is_in_the_store,
    l7_what_workers_use_is_sampled_when_it_is_asked_for,
    l7_whether_a_worker_can_be_reached_and_how_fast_it_answers,
    l11_the_phases_of_a_start_and_of_a_recovery,
    l4_a_worker_that_does_not_run_gets_no_work,
];

async fn running(manager: &WorkerManager, id: &WorkerId) -> Worker {
    manager.wait_for(id, |worker| worker.state == Some(WorkerState::Running)).await.unwrap()
}

async fn stored(manager: &WorkerManager, after: u64) -> Vec<WorkerStateEvent> {
    let page = manager.store().read(after, 10_000).await.unwrap();
    page.events.iter().map(|stored| WorkerStateEvent::from_stored(stored).unwrap()).collect()
}

async fn l9_a_replay_tells_the_whole_life_and_goes_on(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let (config, other) = (bed.sleeper("a").build().unwrap(), bed.sleeper("b").build().unwrap());
    manager.create_worker(&config).await.unwrap();
    manager.create_worker(&other).await.unwrap();
    running(&manager, &config.worker_id).await;
    running(&manager, &other.worker_id).await;

    // Some of it is stored, the rest is to come.
    let filter = EventFilter::worker(config.worker_id.clone());
    let mut one = manager.events().replay(Arc::clone(manager.store()), 0, filter);
    let mut all = manager.events().replay(Arc::clone(manager.store()), 0, EventFilter::all());
    manager.remove_worker(&config.worker_id, &RemoveWorker::kill()).await.unwrap();
    let mut told = Vec::new();
    while told.last().is_none_or(|event: &Arc<WorkerStateEvent>| event.event_type() != EventType::Terminated)
    {
        told.push(Arc::clone(one.next().await.unwrap().unwrap().event().unwrap()));
    }
    let versions: Vec<_> = told.iter().map(|event| event.version).collect();
    assert_eq!(versions, (1..=told.len() as u64).collect::<Vec<_>>(), "no gap, no double");
    assert!(told.is_sorted_by_key(|event| event.event_id));
    assert!(told.iter().all(|event| event.worker_id == config.worker_id && event.correlation_id.is_some()));
    for pair in told.windows(2) {
        assert_eq!(pair[0].new_state, pair[1].old_state, "each begins where the last ended");
    }
    let last = told.last().unwrap().event_id;
    let mut positions = Vec::new();
    while positions.last().is_none_or(|position| *position < last) {
        positions.push(all.next().await.unwrap().unwrap().event().unwrap().event_id);
    }
    assert_eq!(positions, (1..=last).collect::<Vec<_>>(), "in the log's order, of all workers");
}

async fn l9_what_a_slow_subscriber_missed_is_in_the_store(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let mut slow = manager.events().subscribe_with(EventFilter::all(), 2);
    let config = bed.sleeper("a").build().unwrap();
    manager.create_worker(&config).await.unwrap();
    running(&manager, &config.worker_id).await;
    manager.remove_worker(&config.worker_id, &RemoveWorker::kill()).await.unwrap();
    manager.wait_until_gone(&config.worker_id).await.unwrap();

    let Some(Notice::Missed { from, through }) = slow.next().await else { panic!("it was slow") };
    let missed = stored(&manager, from - 1).await.into_iter().take_while(|event| event.event_id <= through);
    let mut seen: Vec<_> = missed.map(|event| event.event_id).collect();
    for _ in 0..2 {
        seen.push(slow.next().await.unwrap().event().unwrap().event_id);
    }
    let all: Vec<_> = stored(&manager, 0).await.into_iter().map(|event| event.event_id).collect();
    assert_eq!(seen, all[..seen.len()], "with what it missed it has seen everything");
    assert!(all.len() - seen.len() <= 1, "what came last may be on its way");
}

async fn l7_what_workers_use_is_sampled_when_it_is_asked_for(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let config = bed.script("a", "while :; do :; done").worker_type("burners").build().unwrap();
    manager.create_worker(&config).await.unwrap();
    let worker = running(&manager, &config.worker_id).await;
    let samples = manager.telemetry().samples().clone();
    assert!(samples.is_empty(), "nothing was asked for");
    let sampled = manager.measure().await.unwrap();
    assert_eq!((sampled.measured, sampled.failed, sampled.skipped), (1, 0, 0));
    let stats = samples.get(&worker.id).unwrap().stats.unwrap();
    assert!(stats.memory.is_some_and(|bytes| bytes > 10_000) && stats.cpu_time.is_some(), "{stats:?}");
    assert!(manager.measure().await.unwrap().too_soon, "once in the time that is set");

    manager.stop_worker(&worker.id, &StopWorker::kill()).await.unwrap();
    manager.wait_for_end(&worker.id).await.unwrap();
    assert!(samples.is_empty(), "what has ended uses nothing");
}

/// By what its checks find, which are made anyway.
async fn l7_whether_a_worker_can_be_reached_and_how_fast_it_answers(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    // A process shares the ports of its host: any that is open will do.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (worker, port) = match bed.place {
        Place::Docker => (bed.script("a", "mkdir /www; exec httpd -f -p 80 -h /www"), Port::tcp(80)),
        Place::Process => {
            let port = listener.local_addr().unwrap().port();
            (bed.sleeper("a"), Port::tcp(port).on_host_port(port))
        }
    };
    let check = HealthCheckConfig::new(Probe::Tcp { port: port.port })
        .every(HumanDuration::millis(200))
        .within(HumanDuration::millis(200));
    let config = worker.port(port).health_check(check).build().unwrap();
    let id = &config.worker_id;
    manager.create_worker(&config).await.unwrap();
    running(&manager, id).await;
    let sample = eventually(within(20), || async {
        let sample = manager.telemetry().samples().get(id).filter(|sample| sample.response.is_some());
        sample.ok_or("nothing is known of it yet")
    });
    let sample = sample.await.unwrap();
    assert_eq!(sample.reachable, Some(true), "{sample:?}");
    assert!(sample.response.unwrap() < within(10), "{sample:?}");
}

async fn l11_the_phases_of_a_start_and_of_a_recovery(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let view = PerformanceView::default();
    let mut events = manager.events().subscribe(EventFilter::all());
    let config =
        bed.sleeper("a").worker_type("sleepers").restart_policy(RestartPolicy::Always).build().unwrap();
    manager.create_worker(&config).await.unwrap();
    let worker = running(&manager, &config.worker_id).await;
    bed.kill(&worker).await;
    let first = worker.run.clone();
    let again = move |worker: &Worker| worker.state == Some(WorkerState::Running) && worker.run != first;
    let worker = manager.wait_for(&config.worker_id, again).await.unwrap();
    let mut told = Vec::new();
    while told.last().is_none_or(|event: &Arc<WorkerStateEvent>| event.event_id < worker.position) {
        let event = Arc::clone(events.next().await.unwrap().event().unwrap());
        view.observe(&event);
        told.push(event);
    }
    let now = told.last().unwrap().timestamp;
    let group = view.report(now).groups.remove(0);
    assert_eq!((group.workers, group.running, group.starts.count), (1, 1, 2));
    assert_eq!((group.restarts, group.recoveries.count), (1, 1));
    assert!(group.phases.contains_key(&StartPhase::Create) && group.phases.contains_key(&StartPhase::Start));
    let phases: std::time::Duration = group.phases.values().map(|spread| spread.total.get()).sum();
    assert_eq!(phases, group.starts.total.get(), "the phases add up");
    assert!(group.costliest.is_some());
    // The worker's own stream tells the same.
    let alone = WorkerPerformance::fold(told.iter().map(|event| &**event)).unwrap();
    assert_eq!(Some(alone.report(now)), view.worker(&worker.id, now));
}

async fn l4_a_worker_that_does_not_run_gets_no_work(bed: Arc<Bed>) {
    let manager = bed.manager().await;
    let degradation = Degradation::default();
    let (jobs, _changes) = Jobs::new();
    let mut known = BTreeMap::new();
    for name in ["a", "b"] {
        let config =
            bed.sleeper(name).worker_type("web").restart_policy(RestartPolicy::Always).build().unwrap();
        manager.create_worker(&config).await.unwrap();
        let worker = running(&manager, &config.worker_id).await;
        degradation.observe(&worker);
        known.insert(name, worker);
    }
    let group = "web".parse().unwrap();
    let job = degradation.begin(&jobs, &known["a"].id, -1).unwrap();
    assert_eq!(
        degradation.choose(Some(&group), -1).unwrap(),
        known["b"].id,
        "the one that has nothing to do"
    );
    drop(job);
    bed.kill(&known["b"]).await;
    let ended = manager.wait_for(&known["b"].id, |worker| !worker.alive).await.unwrap();
    degradation.observe(&ended);
    let refused = degradation.begin(&jobs, &ended.id, 1000).unwrap_err();
    assert_eq!((refused.kind(), refused.is_retryable()), (ErrorKind::Overloaded, true));
    assert_eq!(degradation.choose(Some(&group), 0).unwrap(), known["a"].id);
    let first = known["b"].run.clone();
    let again = move |worker: &Worker| worker.state == Some(WorkerState::Running) && worker.run != first;
    degradation.observe(&manager.wait_for(&ended.id, again).await.unwrap());
    assert!(degradation.begin(&jobs, &ended.id, 0).is_ok());
    assert_eq!(degradation.capacity(Some(&group)).percent(), 100);
}

/// Those that only an engine can have.
#[cfg(not(feature = "docker"))]
pub(crate) const DOCKER: &[crate::Case] = &[];
#[cfg(feature = "docker")]
pub(crate) const DOCKER: &[crate::Case] =
    &[("l11_the_pull_of_an_image_is_a_phase_of_its_own", |bed| Box::pin(pull_is_a_phase(bed)))];

#[cfg(feature = "docker")]
async fn pull_is_a_phase(bed: Arc<Bed>) {
    use hodei_worker::docker::{DockerOptions, PullPolicy};

    let registry = std::env::var("HODEI_TEST_REGISTRY").expect("the engine comes with a registry");
    let manager = bed.manager().await;
    let always = DockerOptions::default().pull(PullPolicy::Always);
    let image = format!("{registry}/hodei-test/busybox:1");
    let config = bed.sleeper("a").image(image.as_str()).options(&always).build().unwrap();
    manager.create_worker(&config).await.unwrap();
    let worker = running(&manager, &config.worker_id).await;
    let group = manager.performance().report(worker.since).groups.remove(0);
    assert_eq!(group.starts.count, 1);
    for phase in [StartPhase::Pull, StartPhase::Create, StartPhase::Start] {
        assert!(!group.phases[&phase].total.get().is_zero(), "{phase}: {group:?}");
    }
    let phases: std::time::Duration = group.phases.values().map(|spread| spread.total.get()).sum();
    assert_eq!(phases, group.starts.total.get(), "the phases add up");
}
