//! The monitor on the fake provider, with paused time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hodei_worker_core::{
    Capability, ConnectContext, Error, ErrorKind, Operation, Timestamp, WorkerConfig, WorkerPhase,
    WorkerProvider as _, WorkerRef, WorkerStatus,
    lifecycle::HealthChange,
    model::{HealthCheckConfig, Mount, Probe, RunId},
    provider::{CreateOptions, StartOptions},
    quantity::HumanDuration,
    status::Health,
    testkit::{FakePlatform, FakeProvider, Fault, Program},
};
use tokio::{sync::mpsc, time::Instant};

use crate::health::{HealthMonitor, HealthReport, HealthSettings, Subject};

struct Bench {
    platform: FakePlatform,
    provider: Arc<FakeProvider>,
    monitor: HealthMonitor,
    reports: mpsc::Receiver<HealthReport>,
    folder: tempfile::TempDir,
}

/// A time in which everything that will happen has happened.
const LONG: Duration = Duration::from_secs(3600);

impl Bench {
    fn new(tries_at_once: usize) -> Self {
        let platform = FakePlatform::new();
        let context = ConnectContext::new("fake".parse().unwrap(), "test".parse().unwrap());
        let (send, reports) = mpsc::channel(16);
        let settings = HealthSettings { tries_at_once, ..HealthSettings::default() };
        Self {
            provider: Arc::new(FakeProvider::new(platform.clone(), context)),
            platform,
            monitor: HealthMonitor::start(&settings, send).unwrap(),
            reports,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A running worker; a command of `is_well` succeeds in it while the file is there.
    async fn worker(&self, id: &str) -> Arc<WorkerStatus> {
        let folder = self.folder.path().to_str().unwrap();
        let config = WorkerConfig::builder(id)
            .command(["fake".to_owned(), serde_json::to_string(&Program::IgnoreTerm).unwrap()])
            .mount(Mount::bind(folder, "/well"))
            .build()
            .unwrap();
        let worker = self.provider.create_worker(&config, &CreateOptions::default()).await.unwrap().worker;
        self.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
        self.provider.get_worker_status(&worker).await.unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("yes")
    }

    fn subject(&self, status: &Arc<WorkerStatus>, check: HealthCheckConfig) -> Subject {
        Subject {
            worker_type: None,
            worker: status.worker.clone(),
            run: status.run.clone().unwrap(),
            checks: vec![check],
            provider: Arc::clone(&self.provider) as _,
            status: Arc::clone(status),
        }
    }

    async fn next(&mut self) -> HealthChange {
        let report = tokio::time::timeout(LONG, self.reports.recv()).await.expect("nothing is told");
        report.unwrap().change
    }

    /// Nothing is told for that long.
    async fn quiet(&mut self, long: Duration) {
        if let Ok(report) = tokio::time::timeout(long, self.reports.recv()).await {
            panic!("{report:?}");
        }
    }
}

fn playing(program: &Program) -> HealthCheckConfig {
    HealthCheckConfig::new(Probe::command(["fake".to_owned(), serde_json::to_string(program).unwrap()]))
}

fn is_well() -> HealthCheckConfig {
    playing(&Program::File("/well/yes".to_owned()))
}

/// A status as a platform with checks of its own tells it.
fn status(health: Option<Health>) -> WorkerStatus {
    let worker = WorkerRef::first("a".parse().unwrap());
    let mut status = WorkerStatus::new(worker, WorkerPhase::Running, Timestamp::UNIX_EPOCH);
    (status.run, status.health) = (Some(RunId::new("1")), health);
    status
}

fn is_unhealthy(change: &HealthChange, why: &str) -> bool {
    matches!(change, HealthChange::Unhealthy { reason } if reason.contains(why))
}

#[tokio::test(start_paused = true)]
async fn l2_a_command_is_tried_once_per_interval_and_its_failures_are_counted() {
    let mut bench = Bench::new(64);
    std::fs::write(bench.file(), "").unwrap();
    let worker = bench.worker("a").await;
    let began = Instant::now();
    bench.monitor.watch(bench.subject(&worker, is_well()));
    assert_eq!(bench.next().await, HealthChange::Healthy);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    std::fs::remove_file(bench.file()).unwrap();
    let change = bench.next().await;
    assert!(is_unhealthy(&change, "it exited with 1 (3 times in a row)"), "{change:?}");
    let (took, tries) = (began.elapsed(), bench.platform.calls(Operation::Exec));
    assert!(took > Duration::from_secs(30) && took < Duration::from_secs(31), "{took:?}");
    assert_eq!(tries, 4);
    std::fs::write(bench.file(), "").unwrap();
    assert_eq!(bench.next().await, HealthChange::Healthy);
    bench.monitor.forget(&worker.worker);
    bench.quiet(LONG).await;
    assert_eq!(bench.platform.calls(Operation::Exec), 5);
    assert!(bench.monitor.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l2_a_new_worker_is_tried_often_until_it_is_well() {
    let mut bench = Bench::new(64);
    let worker = bench.worker("a").await;
    bench.monitor.watch(bench.subject(&worker, is_well()));
    bench.quiet(Duration::from_secs(15)).await;
    assert!(bench.platform.calls(Operation::Exec) >= 14);
    std::fs::write(bench.file(), "").unwrap();
    let began = Instant::now();
    assert_eq!(bench.next().await, HealthChange::Healthy);
    assert!(began.elapsed() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn l2_a_provider_that_does_not_answer_says_nothing_about_its_workers() {
    let mut bench = Bench::new(64);
    let worker = bench.worker("a").await;
    for n in 0..40 {
        let gone = Fault::Fail(Error::new(ErrorKind::Unavailable, "the socket is gone"));
        bench.platform.inject(Operation::Exec, if n % 2 == 0 { gone } else { Fault::Hang });
    }
    bench.monitor.watch(bench.subject(&worker, is_well().thresholds(1, 1)));
    bench.quiet(Duration::from_secs(30)).await;
    // One that answers is heard, unless its provider is known to be away.
    bench.monitor.reaches(&"fake".parse().unwrap(), false);
    bench.quiet(Duration::from_secs(100)).await;
    assert!(bench.platform.calls(Operation::Exec) > 60);
    bench.monitor.reaches(&"fake".parse().unwrap(), true);
    let change = bench.next().await;
    assert!(is_unhealthy(&change, "it exited with 1"), "{change:?}");
}

#[tokio::test(start_paused = true)]
async fn l2_a_command_that_does_not_end_in_time_has_failed() {
    let mut bench = Bench::new(64);
    let worker = bench.worker("a").await;
    let check = playing(&Program::Burn).within(HumanDuration::secs(3)).thresholds(1, 1);
    bench.monitor.watch(bench.subject(&worker, check));
    let change = bench.next().await;
    assert!(is_unhealthy(&change, "it did not end in 3s"), "{change:?}");
}

#[tokio::test(start_paused = true)]
async fn l2_a_command_that_is_not_there_has_failed() {
    let mut bench = Bench::new(64);
    let worker = bench.worker("a").await;
    let check = HealthCheckConfig::new(Probe::command(["nothing"])).thresholds(1, 1);
    bench.monitor.watch(bench.subject(&worker, check));
    let change = bench.next().await;
    assert!(is_unhealthy(&change, "it cannot be run: there is no such command"), "{change:?}");
}

/// A bench whose host reaches no address of its workers, and one of these.
async fn outside() -> (Bench, Arc<WorkerStatus>) {
    let mut bench = Bench::new(64);
    let context = ConnectContext::new("fake".parse().unwrap(), "test".parse().unwrap());
    let provider = FakeProvider::new(bench.platform.clone(), context);
    bench.provider = Arc::new(provider.without(&[Capability::OwnAddresses]));
    let mut worker = WorkerStatus::clone(&*bench.worker("a").await);
    worker.own_addresses.clear();
    (bench, Arc::new(worker))
}

#[tokio::test(start_paused = true)]
async fn l2_where_no_address_is_reached_a_port_is_tried_through_the_provider() {
    let (mut bench, worker) = outside().await;
    let check = HealthCheckConfig::new(Probe::Tcp { port: 80 }).thresholds(1, 1);
    bench.monitor.watch(bench.subject(&worker, check));
    let change = bench.next().await;
    assert!(is_unhealthy(&change, "nobody listens at its port"), "{change:?}");
    assert_eq!(bench.platform.calls(Operation::ConnectPort), 1);
}

#[tokio::test(start_paused = true)]
async fn l2_a_way_through_the_provider_that_does_not_come_about_says_nothing() {
    let (mut bench, worker) = outside().await;
    for n in 0..40 {
        let gone = Fault::Fail(Error::new(ErrorKind::Unavailable, "the server is gone"));
        bench.platform.inject(Operation::ConnectPort, if n % 2 == 0 { gone } else { Fault::Hang });
    }
    let check = HealthCheckConfig::new(Probe::Tcp { port: 80 }).thresholds(1, 1);
    bench.monitor.watch(bench.subject(&worker, check));
    bench.quiet(Duration::from_secs(30)).await;
    assert!(bench.platform.calls(Operation::ConnectPort) > 10);
}

#[tokio::test(start_paused = true)]
async fn l2_tries_at_once_are_limited_and_all_have_their_turn() {
    let mut bench = Bench::new(8);
    std::fs::write(bench.file(), "").unwrap();
    for _ in 0..8 {
        bench.platform.inject(Operation::Exec, Fault::Hang);
    }
    for n in 0..100 {
        let worker = bench.worker(&format!("w-{n}")).await;
        let check = is_well().within(HumanDuration::secs(10));
        bench.monitor.watch(bench.subject(&worker, check));
    }
    bench.quiet(Duration::from_secs(9)).await;
    assert_eq!(bench.platform.calls(Operation::Exec), 8);
    for _ in 0..100 {
        assert_eq!(bench.next().await, HealthChange::Healthy);
    }
}

#[tokio::test(start_paused = true)]
async fn l2_workers_that_are_found_at_a_start_are_not_all_tried_at_once() {
    let mut bench = Bench::new(64);
    std::fs::write(bench.file(), "").unwrap();
    for n in 0..100 {
        let mut worker = WorkerStatus::clone(&*bench.worker(&format!("w-{n}")).await);
        worker.times.started = Some(worker.as_of - Duration::from_secs(7200));
        bench.monitor.watch(bench.subject(&Arc::new(worker), is_well()));
    }
    let mut within_a_second = 0;
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(bench.next().await, HealthChange::Healthy);
        within_a_second += usize::from(began.elapsed() < Duration::from_secs(1));
    }
    assert!(within_a_second < 40, "{within_a_second}");
    assert!(began.elapsed() <= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn l2_a_heartbeat_that_stays_away_makes_a_worker_unhealthy() {
    let mut bench = Bench::new(64);
    let status = Arc::new(status(None));
    let check = HealthCheckConfig::new(Probe::Heartbeat { within: HumanDuration::secs(30) })
        .starting_for(HumanDuration::secs(60));
    bench.monitor.watch(bench.subject(&status, check));
    bench.quiet(Duration::from_secs(80)).await;
    bench.monitor.heartbeat(&status.worker);
    assert_eq!(bench.next().await, HealthChange::Healthy);
    for _ in 0..10 {
        bench.quiet(Duration::from_secs(29)).await;
        bench.monitor.heartbeat(&status.worker);
    }
    // Nothing can be heard: that says nothing.
    bench.monitor.hears(&status.worker, false);
    bench.quiet(LONG).await;
    bench.monitor.hears(&status.worker, true);
    let began = Instant::now();
    let change = bench.next().await;
    assert!(is_unhealthy(&change, "heartbeat: nothing was heard of it for 30s"), "{change:?}");
    assert_eq!(began.elapsed().as_secs(), 30);
    bench.monitor.heartbeat(&status.worker);
    assert_eq!(bench.next().await, HealthChange::Healthy);
}

#[tokio::test(start_paused = true)]
async fn l2_what_the_provider_says_of_the_run_counts() {
    let mut bench = Bench::new(64);
    let told = |health| Arc::new(status(Some(health)));
    let starting = told(Health::Starting);
    bench.monitor.watch(bench.subject(&starting, HealthCheckConfig::new(Probe::Native)));
    bench.quiet(LONG).await;
    bench.monitor.observed(&told(Health::Healthy));
    assert_eq!(bench.next().await, HealthChange::Healthy);
    let mut other = status(Some(Health::Unhealthy));
    other.run = Some(RunId::new("0"));
    bench.monitor.observed(&Arc::new(other));
    bench.monitor.observed(&told(Health::Healthy));
    bench.quiet(LONG).await;
    bench.monitor.observed(&told(Health::Unhealthy));
    let change = bench.next().await;
    assert!(is_unhealthy(&change, "the provider's own check: it has failed"), "{change:?}");
    // Asked again, all is told again.
    bench.monitor.watch(bench.subject(&told(Health::Unhealthy), HealthCheckConfig::new(Probe::Native)));
    assert!(is_unhealthy(&bench.next().await, "it has failed"));
}

#[tokio::test(start_paused = true)]
async fn l2_a_provider_that_shows_no_check_of_its_own_is_found_out() {
    let mut bench = Bench::new(64);
    bench.monitor.watch(bench.subject(&Arc::new(status(None)), HealthCheckConfig::new(Probe::Native)));
    bench.quiet(Duration::from_secs(29)).await;
    assert!(is_unhealthy(&bench.next().await, "it has no check of this worker"));
}

#[tokio::test(start_paused = true)]
async fn l2_what_is_frozen_or_not_yet_running_is_not_tried() {
    let mut bench = Bench::new(64);
    std::fs::write(bench.file(), "").unwrap();
    let running = bench.worker("a").await;
    let phase = |phase| {
        let mut status = WorkerStatus::clone(&running);
        status.phase = phase;
        // As if nobody counted.
        status.version = None;
        Arc::new(status)
    };
    bench.monitor.watch(bench.subject(&phase(WorkerPhase::Starting), is_well()));
    bench.quiet(LONG).await;
    bench.monitor.observed(&phase(WorkerPhase::Running));
    assert_eq!(bench.next().await, HealthChange::Healthy);
    bench.monitor.observed(&phase(WorkerPhase::Paused));
    std::fs::remove_file(bench.file()).unwrap();
    let tries = bench.platform.calls(Operation::Exec);
    bench.quiet(LONG).await;
    assert_eq!(bench.platform.calls(Operation::Exec), tries);
    bench.monitor.observed(&phase(WorkerPhase::Running));
    assert!(is_unhealthy(&bench.next().await, "it exited with 1"));
}

#[tokio::test(start_paused = true)]
async fn l2_a_worker_without_checks_costs_nothing() {
    let bench = Bench::new(64);
    let worker = bench.worker("a").await;
    let mut subject = bench.subject(&worker, is_well());
    bench.monitor.watch(subject.clone());
    assert_eq!(bench.monitor.len(), 1);
    // The next run has none.
    (subject.run, subject.checks) = (RunId::new("another"), Vec::new());
    bench.monitor.watch(subject);
    assert!(bench.monitor.is_empty());
}

#[tokio::test(start_paused = true)]
async fn l2_reports_that_nobody_takes_stop_the_tries_and_nothing_is_lost() {
    let mut bench = Bench::new(64);
    std::fs::write(bench.file(), "").unwrap();
    for n in 0..1500 {
        let worker = bench.worker(&format!("w-{n}")).await;
        bench.monitor.watch(bench.subject(&worker, is_well()));
    }
    let never = std::future::pending::<()>();
    assert!(tokio::time::timeout(Duration::from_secs(1), never).await.is_err());
    let tries = bench.platform.calls(Operation::Exec);
    assert!((1024..1500).contains(&tries), "{tries}");
    for _ in 0..1500 {
        assert_eq!(bench.next().await, HealthChange::Healthy);
    }
}

#[tokio::test(start_paused = true)]
async fn l2_a_wrong_setting_is_refused() {
    let settings = HealthSettings { tries_at_once: 0, ..HealthSettings::default() };
    let error = HealthMonitor::start(&settings, mpsc::channel(1).0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
