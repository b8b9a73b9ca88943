use std::{sync::Arc, time::Duration};

use hodei_worker_core::{
    Capability, ConnectContext, Error, ErrorKind, Operation, WorkerConfig, WorkerId, WorkerProvider,
    WorkerProviderExt as _,
    provider::DeleteOptions,
    testkit::{FakePlatform, FakeProvider, Fault},
};

use super::*;
use crate::testing::id;

fn fake(platform: &FakePlatform, missing: &[Capability]) -> Arc<dyn WorkerProvider> {
    let context = ConnectContext::new("local".parse().unwrap(), "here".parse().unwrap());
    Arc::new(FakeProvider::new(platform.clone(), context).without(missing))
}

async fn running(provider: &Arc<dyn WorkerProvider>, count: usize) -> Vec<SampleTarget> {
    let mut targets = Vec::new();
    for n in 0..count {
        let config =
            WorkerConfig::builder(format!("w-{n}")).command(["fake", r#"{"obey_term":0}"#]).build().unwrap();
        let worker = provider.run_worker(&config).await.unwrap().worker;
        targets.push(SampleTarget::new(worker, Some("web".parse().unwrap()), Arc::clone(provider)));
    }
    targets
}

fn after(targets: &[SampleTarget]) -> impl Fn(Option<&WorkerId>, usize) -> Vec<SampleTarget> {
    move |after, limit| {
        let later = |target: &&SampleTarget| after.is_none_or(|after| target.worker.id > *after);
        targets.iter().filter(later).take(limit).cloned().collect()
    }
}

#[tokio::test(start_paused = true)]
async fn l7_sampling_keeps_to_its_budget_and_takes_turns() {
    let (platform, telemetry) = (FakePlatform::new(), Telemetry::default());
    let targets = running(&fake(&platform, &[]), 5).await;
    let settings = SamplingSettings { per_round: 2, ..SamplingSettings::default() };
    let sampler = Sampler::new(settings, &telemetry);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let before = platform.calls(Operation::Stats);
        let sampled = sampler.sample(targets.len(), after(&targets)).await;
        assert_eq!((sampled.measured, sampled.skipped, sampled.failed), (2, 3, 0));
        assert_eq!(platform.calls(Operation::Stats) - before, 2);
        // Too soon: what the last round found stays, and nobody is asked.
        assert!(sampler.sample(targets.len(), after(&targets)).await.too_soon);
        seen.push(telemetry.samples().len());
        tokio::time::advance(Duration::from_secs(15)).await;
    }
    assert_eq!(seen, [2, 4, 5, 5, 5], "all had their turn");
    let sample = telemetry.samples().get(&id("w-4")).unwrap();
    assert_eq!((sample.stats.unwrap().memory, sample.worker_type.is_some()), (Some(1 << 20), true));
}

#[tokio::test(start_paused = true)]
async fn l7_workers_of_providers_without_stats_cost_nothing() {
    let (platform, telemetry) = (FakePlatform::new(), Telemetry::default());
    let targets = running(&fake(&platform, &[Capability::Monitoring]), 3).await;
    let sampler = Sampler::new(SamplingSettings::default(), &telemetry);
    assert_eq!(sampler.sample(3, after(&targets)).await, Sampled::default());
    assert_eq!((platform.calls(Operation::Stats), telemetry.samples().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn l7_what_could_not_be_measured_is_told_and_what_is_gone_forgotten() {
    let (platform, telemetry) = (FakePlatform::new(), Telemetry::default());
    let provider = fake(&platform, &[]);
    let targets = running(&provider, 2).await;
    let sampler = Sampler::new(SamplingSettings::default(), &telemetry);
    assert_eq!(sampler.sample(2, after(&targets)).await.measured, 2);
    tokio::time::advance(Duration::from_secs(15)).await;
    platform.inject(Operation::Stats, Fault::Fail(Error::new(ErrorKind::Unavailable, "gone")));
    provider.delete_worker(&targets[1].worker, &DeleteOptions::default()).await.unwrap();
    let sampled = sampler.sample(2, after(&targets)).await;
    assert_eq!((sampled.measured, sampled.failed), (0, 1));
    assert!(telemetry.samples().get(&id("w-0")).is_some(), "the last is kept");
}

/// Tells the telemetry what happens to a worker.
#[cfg(any(feature = "prometheus", feature = "opentelemetry"))]
fn live(
    telemetry: &Telemetry,
    steps: Vec<(&'static str, i64, serde_json::Value)>,
) -> hodei_worker_core::lifecycle::Worker {
    use hodei_worker_core::lifecycle::Worker;
    let tell = |known, event: &hodei_worker_core::WorkerStateEvent| {
        let worker = Worker::apply(known, event)?;
        telemetry.observe(event, &worker);
        Some(worker)
    };
    crate::testing::events("a", steps).iter().fold(None, tell).unwrap()
}

#[cfg(any(feature = "prometheus", feature = "opentelemetry"))]
fn a_life() -> Vec<(&'static str, i64, serde_json::Value)> {
    use serde_json::json;
    let at = crate::testing::at;
    let create = json!({"create_intended": {"provider": "local", "generation": 1, "goal": "running",
        "traits": {"worker_type": "web", "config": ""}}});
    let ended = json!({"ended": {"run": "r1", "failure": "application"}});
    let planned = |attempt: u32| json!({"recovery_planned": {"strategy": "restart", "attempt": attempt, "due": at(20), "failure": "application"}});
    let start = || json!({"start_intended": {}});
    let started = || json!({"started": {"run": "r1"}});
    vec![
        ("creating", 0, create),
        ("creating", 10, json!("created")),
        ("starting", 10, start()),
        ("running", 20, started()),
        ("recovering", 30, ended.clone()),
        ("recovering", 30, planned(1)),
        ("starting", 30, start()),
        ("running", 40, started()),
        ("recovering", 50, ended.clone()),
        ("recovering", 50, planned(2)),
        ("starting", 50, start()),
        ("running", 60, started()),
        ("running", 60_000, json!("recovered")),
        ("failed", 70_000, ended),
        ("failed", 70_000, json!({"escalated": {"why": "hopeless"}})),
        ("starting", 80_000, start()),
        ("running", 80_010, started()),
    ]
}

#[cfg(any(feature = "prometheus", feature = "opentelemetry"))]
fn measure_all(telemetry: &Telemetry) {
    use hodei_worker_core::{WorkerState, store::HostId};
    let worker = live(telemetry, a_life());
    let (local, other) = ("local".parse().unwrap(), "other".parse().unwrap());
    telemetry.workers([(&local, WorkerState::Running), (&other, WorkerState::Failed)]);
    telemetry.workers([(&local, WorkerState::Running)]);
    let mut tried = crate::health::Tried {
        worker: worker.reference(),
        provider: worker.provider.clone(),
        worker_type: worker.traits.worker_type.clone(),
        probe: "http",
        is_well: Some(true),
        took: Duration::from_millis(20),
        network: true,
    };
    telemetry.probed(&tried);
    (tried.is_well, tried.took) = (Some(false), Duration::from_secs(1));
    telemetry.probed(&tried);
    telemetry.appended("redb", None, Duration::from_micros(800));
    telemetry.queued("redb", 3);
    let host = HostId::new("h").unwrap();
    telemetry.lease(&host, Some(Duration::from_secs(9)));
    telemetry.lease_lost(&host);
    let bus = crate::events::EventBus::default();
    let _subscription = bus.subscribe(crate::events::EventFilter::all());
    telemetry.bus(&bus.lag());
    let mut stats = hodei_worker_core::provider::WorkerStats::new(crate::testing::at(0));
    (stats.cpu_time, stats.memory) = (Some(Duration::from_millis(1500)), Some(4096));
    let worker_type = worker.traits.worker_type.as_ref();
    telemetry
        .samples()
        .change(&worker.id, &worker.provider, worker_type, |sample| sample.stats = Some(stats));
}

#[cfg(feature = "prometheus")]
#[test]
fn l7_the_vocabulary_as_prometheus_text() {
    let telemetry = Telemetry::default();
    let (recorder, prometheus) = prometheus::Prometheus::recorder(&telemetry).unwrap();
    metrics::with_local_recorder(&recorder, || measure_all(&telemetry));
    let text = prometheus.render();
    for line in [
        r#"hodei_worker_transitions_total{provider="local",from="none",to="creating"} 1"#,
        r#"hodei_worker_transitions_total{provider="local",from="starting",to="running"} 4"#,
        r#"hodei_worker_recoveries_total{provider="local",strategy="restart",outcome="planned"} 2"#,
        r#"hodei_worker_recoveries_total{provider="local",strategy="restart",outcome="failed"} 1"#,
        r#"hodei_worker_recoveries_total{provider="local",strategy="restart",outcome="helped"} 1"#,
        r#"hodei_worker_escalations_total{provider="local",reason="hopeless"} 1"#,
        r#"hodei_worker_workers{provider="local",state="running"} 1"#,
        r#"hodei_worker_workers{provider="other",state="failed"} 0"#,
        r#"hodei_worker_probes_total{provider="local",probe="http",outcome="failed"} 1"#,
        r#"hodei_worker_probe_duration_seconds_bucket{provider="local",probe="http",outcome="ok",le="0.025"} 1"#,
        r#"hodei_worker_store_appends_total{store="redb",outcome="ok"} 1"#,
        r#"hodei_worker_store_append_duration_seconds_bucket{store="redb",outcome="ok",le="0.001"} 1"#,
        r#"hodei_worker_store_queue_length{store="redb"} 3"#,
        r#"hodei_worker_lease_remaining_seconds{host="h"} 9"#,
        r#"hodei_worker_leases_lost_total{host="h"} 1"#,
        "hodei_worker_event_subscribers 1",
        "hodei_worker_events_missed_total 0",
        "# TYPE hodei_worker_cpu_seconds gauge",
        r#"hodei_worker_cpu_seconds{provider="local",worker="a",worker_type="web"} 1.5"#,
        r#"hodei_worker_memory_bytes{provider="local",worker="a",worker_type="web"} 4096"#,
        r#"hodei_worker_reachable{provider="local",worker="a",worker_type="web"} 0"#,
        r#"hodei_worker_response_seconds{provider="local",worker="a",worker_type="web"} 0.02"#,
        "# HELP hodei_worker_transitions_total Changes of workers' states.",
    ] {
        assert!(text.lines().any(|found| found == line), "`{line}` is missing in\n{text}");
    }
    telemetry.samples().forget(&id("a"));
    assert!(!prometheus.render().contains("worker=\"a\""), "what is gone is not told any more");
}

#[cfg(feature = "opentelemetry")]
#[test]
fn l7_the_vocabulary_by_an_opentelemetry_meter() {
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
    let telemetry = Telemetry::default();
    let exporter = InMemoryMetricExporter::default();
    let provider =
        SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    let recorder = otel::recorder(provider.meter("hodei-worker"), &telemetry);
    metrics::with_local_recorder(&recorder, || measure_all(&telemetry));
    provider.force_flush().unwrap();
    let exported = format!("{:?}", exporter.get_finished_metrics().unwrap());
    for wanted in [
        names::TRANSITIONS,
        names::RECOVERIES,
        names::WORKERS,
        names::PROBE_DURATION,
        names::APPENDS,
        names::LEASE_REMAINING,
        names::CPU,
        "Changes of workers' states.",
        "Processor time since the run began.",
    ] {
        assert!(exported.contains(wanted), "`{wanted}` is missing in\n{exported}");
    }
    assert_eq!(sampled(&exporter, names::MEMORY), [4096.0]);
    exporter.reset();
    telemetry.samples().forget(&id("a"));
    provider.force_flush().unwrap();
    assert!(sampled(&exporter, names::MEMORY).is_empty(), "what is gone is not told any more");
    provider.shutdown().unwrap();
}

#[cfg(feature = "opentelemetry")]
fn sampled(exporter: &opentelemetry_sdk::metrics::InMemoryMetricExporter, name: &str) -> Vec<f64> {
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    let mut values = Vec::new();
    for exported in exporter.get_finished_metrics().unwrap() {
        let metrics = exported.scope_metrics().flat_map(|scope| scope.metrics());
        for metric in metrics.filter(|metric| metric.name() == name) {
            if let AggregatedMetrics::F64(MetricData::Gauge(gauge)) = metric.data() {
                values.extend(gauge.data_points().map(|point| point.value()));
            }
        }
    }
    values
}

#[test]
fn l7_every_name_stands_in_the_documented_table() {
    let table = include_str!("mod.rs");
    for source in [include_str!("names.rs"), include_str!("../../../hodei-worker-core/src/policy/names.rs")] {
        let constants = source.lines().filter(|line| line.contains("\"hodei_worker_"));
        for name in constants.filter_map(|line| line.split('"').nth(1)).filter(|name| !name.contains("core"))
        {
            assert!(table.contains(&format!("`{name}`")), "{name}");
        }
    }
}
