//! T2, T3 and T4 on local processes and on Docker.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use hodei_worker::{
    WorkerConfig, WorkerPhase, WorkerProviderExt as _, WorkerStatus,
    provider::{CreateOptions, DeleteOptions, LogOptions, StartOptions, StopOptions, WorkerFilter},
};
use hodei_worker_benches::{
    Outcome,
    place::Place,
    sample::{Samples, show},
    table::Row,
};

const PLACES: [Place; 2] = [Place::Process, Place::Docker];
const IGNORES_TERM: &str = "trap '' TERM; echo ready; while :; do sleep 0.05; done";

fn installation(place: Place, what: &str) -> String {
    let name = if place == Place::Docker { "docker" } else { "process" };
    format!("{what}-{name}-{}", std::process::id())
}

/// The operations that T2 names, one at a time.
pub(crate) async fn operations() -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for place in PLACES {
        let installation = installation(place, "t2");
        let provider = place.connect(&installation).await?;
        let mut all: [(&str, Samples); 4] = [
            ("create", Samples::new()),
            ("status", Samples::new()),
            ("list", Samples::new()),
            ("kill", Samples::new()),
        ];
        for n in 0..30 {
            let builder = WorkerConfig::builder(format!("w-{n}")).command(["sleep", "1000"]);
            let config = place.prepare(builder, &installation).build()?;
            let begun = Instant::now();
            let worker = provider.create_worker(&config, &CreateOptions::default()).await?.worker;
            all[0].1.push(begun.elapsed());
            provider.start_worker(&worker, &StartOptions::default()).await?;
            for _ in 0..20 {
                let begun = Instant::now();
                provider.get_worker_status(&worker).await?;
                all[1].1.push(begun.elapsed());
                let begun = Instant::now();
                provider.list_workers(&WorkerFilter::all()).await?;
                all[2].1.push(begun.elapsed());
            }
            let begun = Instant::now();
            provider.stop_worker(&worker, &StopOptions::kill()).await?;
            all[3].1.push(begun.elapsed());
            provider.delete_worker(&worker, &DeleteOptions::default()).await?;
        }
        for (name, samples) in &all {
            let p99 = samples.quantile(0.99);
            let text = format!("p50 {}, p99 {}", show(samples.median()), show(p99));
            let row = Row::new("T2", format!("{}: {name}", place.name()), text);
            // A kill waits until the engine says that the worker has ended: that is the engine's own time.
            let row = if *name == "kill" {
                row
            } else {
                row.against("p99 < 100 ms", p99 < Duration::from_millis(100))
            };
            rows.push(row);
        }
        place.clear(&installation);
    }
    Ok(rows)
}

/// From the call until the worker runs: warm, and cold from the local registry.
pub(crate) async fn starts() -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for place in PLACES {
        let installation = installation(place, "t3");
        let provider = place.connect(&installation).await?;
        let mut warm = Samples::new();
        for n in 0..15 {
            let builder = WorkerConfig::builder(format!("w-{n}")).command(["sleep", "1000"]);
            let config = place.prepare(builder, &installation).build()?;
            let begun = Instant::now();
            let worker = provider.run_worker(&config).await?.worker;
            let runs = |status: &WorkerStatus| status.phase == WorkerPhase::Running;
            provider.wait_until(&worker, &runs).await?;
            warm.push(begun.elapsed());
            provider.delete_worker(&worker, &DeleteOptions::default()).await?;
        }
        let text = format!("p50 {}, p99 {}", show(warm.median()), show(warm.quantile(0.99)));
        let row = Row::new("T3", format!("{}: warm start until it runs", place.name()), text);
        rows.push(row.against("< 10 s", warm.quantile(0.99) < Duration::from_secs(10)));
        if place == Place::Docker
            && let Ok(registry) = std::env::var("HODEI_TEST_REGISTRY")
        {
            let image = format!("{registry}/hodei-test/busybox:1");
            let config =
                WorkerConfig::builder("cold").image(image.as_str()).command(["sleep", "1000"]).build()?;
            let begun = Instant::now();
            let worker = provider.run_worker(&config).await?.worker;
            let took = begun.elapsed();
            provider.delete_worker(&worker, &DeleteOptions::default()).await?;
            let row = Row::new("T3", "docker: cold start, pulled from the local registry", show(took));
            rows.push(row.against("< 60 s", took < Duration::from_secs(60)));
        }
        place.clear(&installation);
    }
    Ok(rows)
}

/// A worker that ignores the request, stopped with the default grace.
pub(crate) async fn stops() -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for place in PLACES {
        let installation = installation(place, "t4");
        let provider = place.connect(&installation).await?;
        let builder = WorkerConfig::builder("stubborn").command(["sh", "-c", IGNORES_TERM]);
        let worker = provider.run_worker(&place.prepare(builder, &installation).build()?).await?.worker;
        let mut logs = provider.worker_logs(&worker, &LogOptions::following()).await?;
        logs.next().await;
        let begun = Instant::now();
        provider.stop_worker(&worker, &StopOptions::default()).await?;
        let took = begun.elapsed();
        provider.delete_worker(&worker, &DeleteOptions::default()).await?;
        place.clear(&installation);
        let row = Row::new(
            "T4",
            format!("{}: stop of one that ignores it, default grace", place.name()),
            show(took),
        );
        rows.push(row.against("< 5 s", took < Duration::from_secs(5)));
    }
    Ok(rows)
}
