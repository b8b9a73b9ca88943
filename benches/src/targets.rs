//! T2, T3 and T4 on local processes, on Docker and on Kubernetes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bollard::query_parameters::InspectContainerOptions;
use futures::StreamExt as _;
use hodei_worker::{
    WorkerConfig, WorkerPhase, WorkerProvider, WorkerProviderExt as _, WorkerRef, WorkerStatus,
    policy::{PolicySettings, Stack},
    provider::{CreateOptions, DeleteOptions, LogOptions, StartOptions, StopOptions, WorkerFilter},
};
use hodei_worker_benches::{
    Outcome,
    place::Place,
    sample::{Differences, Samples, show, show_signed},
    table::Row,
};

use crate::{
    cold::{ColdImage, LAYER},
    docker,
};

pub(crate) const IGNORES_TERM: &str = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
pub(crate) const OBEYS_TERM: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";

pub(crate) fn installation(place: Place, what: &str) -> String {
    let name = match place {
        Place::Docker => "docker",
        Place::Kubernetes => "kubernetes",
        _ => "process",
    };
    format!("{what}-{name}-{}", std::process::id())
}

/// Removes all that an installation has, however its measurement ended.
pub(crate) async fn sweep(place: Place, installation: &str) -> Outcome {
    let provider = place.connect(installation).await?;
    for status in provider.list_workers(&WorkerFilter::all()).await?.workers {
        provider.delete_worker(&status.worker, &DeleteOptions::default()).await?;
    }
    drop(provider);
    place.clear(installation);
    hodei_worker_benches::leftovers::clear_groups(installation);
    Ok(())
}

fn sleeping(place: Place, installation: &str, id: String) -> Outcome<WorkerConfig> {
    Ok(place.prepare(WorkerConfig::builder(id).command(["sleep", "1000"]), installation).build()?)
}

pub(crate) fn both(samples: &Samples) -> String {
    format!("p50 {}, p99 {} of {}", show(samples.median()), show(samples.quantile(0.99)), samples.len())
}

pub(crate) fn bars(samples: &Samples) -> [(&'static str, f64); 2] {
    [("p50", samples.median().as_secs_f64() * 1e3), ("p99", samples.quantile(0.99).as_secs_f64() * 1e3)]
}

/// The operations that T2 names, under all layers, one at a time.
pub(crate) async fn operations(place: Place) -> Outcome<Vec<Row>> {
    let installation = installation(place, "t2");
    let measured = all_operations(place, &installation).await;
    sweep(place, &installation).await?;
    measured
}

async fn all_operations(place: Place, installation: &str) -> Outcome<Vec<Row>> {
    let mut settings = PolicySettings::default();
    // A status out of memory is no operation.
    settings.cache.status = Duration::ZERO.into();
    let provider: Arc<dyn WorkerProvider> = Stack::standard(place.connect(installation).await?, &settings);
    let raw = match place {
        Place::Docker => Some(docker::raw_and_ours(installation).await?.0),
        _ => None,
    };
    let mut share = Differences::new();
    let mut all = ["create", "status", "list"].map(|name| (name, Samples::new()));
    let mut stops = Samples::new();
    for n in 0..place.rounds() {
        let builder = WorkerConfig::builder(format!("w-{n}")).command(["sh", "-c", OBEYS_TERM]);
        let config = place.prepare(builder, installation).build()?;
        let begun = Instant::now();
        let handle = provider.create_worker(&config, &CreateOptions::default()).await?;
        all[0].1.push(begun.elapsed());
        let worker = handle.worker;
        provider.start_worker(&worker, &StartOptions::default()).await?;
        ready(&*provider, &worker).await?;
        for _ in 0..10 {
            let by_raw = match &raw {
                Some(raw) => {
                    let begun = Instant::now();
                    raw.inspect_container(&handle.native_id, None::<InspectContainerOptions>).await?;
                    Some(begun.elapsed())
                }
                None => None,
            };
            let begun = Instant::now();
            provider.get_worker_status(&worker).await?;
            let took = begun.elapsed();
            all[1].1.push(took);
            if let Some(by_raw) = by_raw {
                share.push(took, by_raw);
            }
            let begun = Instant::now();
            provider.list_workers(&WorkerFilter::all()).await?;
            all[2].1.push(begun.elapsed());
        }
        let begun = Instant::now();
        provider.stop_worker(&worker, &StopOptions::within(Duration::from_secs(10))).await?;
        stops.push(begun.elapsed());
        provider.delete_worker(&worker, &DeleteOptions::default()).await?;
    }
    let mut rows: Vec<_> = all
        .iter()
        .map(|(name, samples)| {
            Row::new("T2", format!("{}: {name}", place.name()), both(samples))
                .against("p99 < 100 ms", samples.quantile(0.99) < Duration::from_millis(100))
                .bars("ms", bars(samples))
        })
        .collect();
    // It waits for the worker's own end, which is no time of ours.
    let what = format!("{}: stop of one that obeys, until it has ended", place.name());
    rows.push(Row::new("T2", what, both(&stops)).bars("ms", bars(&stops)));
    if raw.is_some() {
        let (p50, p99) = (share.quantile(0.5), share.quantile(0.99));
        let text = format!("p50 {}, p99 {}", show_signed(p50), show_signed(p99));
        let what = format!("{}: own share of a status, by pairs with the raw call", place.name());
        rows.push(
            Row::new("T2", what, text)
                .against("p50 < 100 µs, p99 < 1 ms", p50 < 100_000 && p99 < 1_000_000)
                .bars("µs", [("p50", p50.max(0) as f64 / 1e3), ("p99", p99.max(0) as f64 / 1e3)]),
        );
    }
    Ok(rows)
}

/// Waits until a worker has said something.
async fn ready(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Outcome {
    provider.worker_logs(worker, &LogOptions::following()).await?.next().await;
    Ok(())
}

/// From the call until the worker runs: warm, and cold from the local registry.
pub(crate) async fn starts(place: Place) -> Outcome<Vec<Row>> {
    let installation = installation(place, "t3");
    let measured = all_starts(place, &installation).await;
    sweep(place, &installation).await?;
    measured
}

async fn all_starts(place: Place, installation: &str) -> Outcome<Vec<Row>> {
    let provider = place.connect(installation).await?;
    let mut warm = Samples::new();
    for n in 0..30 {
        let config = sleeping(place, installation, format!("w-{n}"))?;
        warm.push(until_it_runs(&*provider, &config).await?);
    }
    let row = Row::new("T3", format!("{}: warm start until it runs", place.name()), both(&warm));
    let mut rows =
        vec![row.against("< 10 s", warm.quantile(0.99) < Duration::from_secs(10)).bars("ms", bars(&warm))];
    if place == Place::Docker {
        let what = format!("docker: cold start until it runs, {LAYER} pulled from the local registry");
        rows.push(match std::env::var("HODEI_TEST_REGISTRY") {
            Err(_) => Row::not_measured("T3", what, "HODEI_TEST_REGISTRY names no registry", false),
            Ok(registry) => {
                let cold = cold_starts(&*provider, installation, &registry).await?;
                Row::new("T3", what, both(&cold))
                    .against("< 60 s", cold.quantile(1.0) < Duration::from_secs(60))
                    .bars("ms", bars(&cold))
            }
        });
    }
    Ok(rows)
}

async fn cold_starts(provider: &dyn WorkerProvider, installation: &str, registry: &str) -> Outcome<Samples> {
    let (raw, _) = docker::raw_and_ours(installation).await?;
    let mut cold = Samples::new();
    for n in 0..5 {
        let image = ColdImage::push(&raw, registry, &format!("{}-{n}", std::process::id())).await?;
        let builder = WorkerConfig::builder(format!("cold-{n}")).image(image.name.as_str());
        cold.push(until_it_runs(provider, &builder.command(["sleep", "1000"]).build()?).await?);
        image.forget().await?;
    }
    Ok(cold)
}

pub(crate) async fn until_it_runs(provider: &dyn WorkerProvider, config: &WorkerConfig) -> Outcome<Duration> {
    let begun = Instant::now();
    let worker = provider.run_worker(config).await?.worker;
    let runs = |status: &WorkerStatus| status.phase == WorkerPhase::Running;
    provider.wait_until(&worker, &runs).await?;
    let took = begun.elapsed();
    provider.delete_worker(&worker, &DeleteOptions::default()).await?;
    Ok(took)
}

/// Workers that ignore the request, and such as obey it, stopped with the default grace: ten at once.
pub(crate) async fn stops(place: Place) -> Outcome<Vec<Row>> {
    let installation = installation(place, "t4");
    let measured = all_stops(place, &installation).await;
    sweep(place, &installation).await?;
    measured
}

async fn all_stops(place: Place, installation: &str) -> Outcome<Vec<Row>> {
    let provider = place.connect(installation).await?;
    let mut rows = Vec::new();
    for (kind, script) in [("ignores", IGNORES_TERM), ("obeys", OBEYS_TERM)] {
        let mut workers = Vec::new();
        for n in 0..10 {
            let builder = WorkerConfig::builder(format!("{kind}-{n}")).command(["sh", "-c", script]);
            let worker = provider.run_worker(&place.prepare(builder, installation).build()?).await?.worker;
            ready(&*provider, &worker).await?;
            workers.push(worker);
        }
        let stops = workers.iter().map(async |worker| {
            let begun = Instant::now();
            provider.stop_worker(worker, &StopOptions::default()).await?;
            Outcome::Ok(begun.elapsed())
        });
        let mut samples = Samples::new();
        for took in futures::future::join_all(stops).await {
            samples.push(took?);
        }
        let what = format!("{}: stop of one that {kind} it, default grace, ten at once", place.name());
        rows.push(
            Row::new("T4", what, both(&samples))
                .against(
                    format!("< {} s", place.stop_target()),
                    samples.quantile(1.0).as_secs() < place.stop_target(),
                )
                .bars("ms", bars(&samples)),
        );
    }
    Ok(rows)
}
