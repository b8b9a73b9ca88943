//! F5: what we add to calls of a Docker Engine. P7: how many requests a worker's life takes.

use std::time::{Duration, Instant};

use bollard::{
    Docker,
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
        StartContainerOptions,
    },
};
use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, ProviderSettings as _, WorkerConfig, WorkerProvider as _, WorkerProviderExt as _,
    docker::DockerSettings,
    policy::{PolicySettings, Stack},
    provider::{CreateOptions, DeleteOptions, StartOptions, StopOptions, WatchOptions, WorkerFilter},
    status::WorkerObservation,
};
use hodei_worker_benches::{
    Outcome,
    place::{docker_host, image},
    sample::{Samples, show},
    table::Row,
};

use crate::proxy::CountingProxy;

const SLEEP: [&str; 2] = ["sleep", "1000"];

fn raw_client() -> Outcome<Docker> {
    let host = docker_host()?;
    let path = host.strip_prefix("unix://").ok_or("the raw API is measured on a Unix socket")?;
    Ok(Docker::connect_with_unix(path, 60, &bollard::ClientVersion { major_version: 1, minor_version: 41 })?)
}

/// Create and start by the raw API; the container is removed outside of the measurement.
async fn raw_life(client: &Docker, n: usize) -> Outcome<Duration> {
    let name = format!("hodei-bench-raw-{}-{n}", std::process::id());
    let body = ContainerCreateBody {
        image: Some(image()),
        entrypoint: Some(SLEEP.map(str::to_owned).to_vec()),
        ..ContainerCreateBody::default()
    };
    let begun = Instant::now();
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    client.create_container(Some(options), body).await?;
    client.start_container(&name, None::<StartContainerOptions>).await?;
    let took = begun.elapsed();
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    client.remove_container(&name, Some(options)).await?;
    Ok(took)
}

fn context(name: &str) -> Outcome<ConnectContext> {
    Ok(ConnectContext::new("bench".parse()?, format!("{name}-{}", std::process::id()).parse()?))
}

fn config(id: &str) -> Outcome<WorkerConfig> {
    Ok(WorkerConfig::builder(id).image(image().as_str()).command(SLEEP).build()?)
}

pub(crate) async fn added_time() -> Outcome<Vec<Row>> {
    let client = raw_client()?;
    let bare = DockerSettings::at(docker_host()?).connect(context("f5")?).await?;
    let mut settings = PolicySettings::default();
    settings.cache.status = Duration::ZERO.into();
    let provider = Stack::standard(std::sync::Arc::new(bare), &settings);

    let handle = provider.run_worker(&config("inspected")?).await?;
    let (mut raw, mut ours) = (Samples::new(), Samples::new());
    for n in 0..1100 {
        let begun = Instant::now();
        client.inspect_container(&handle.native_id, None::<InspectContainerOptions>).await?;
        let by_raw = begun.elapsed();
        let begun = Instant::now();
        provider.get_worker_status(&handle.worker).await?;
        let by_us = begun.elapsed();
        if n >= 100 {
            raw.push(by_raw);
            ours.push(by_us);
        }
    }
    provider.delete_worker(&handle.worker, &DeleteOptions::default()).await?;
    let added = ours.median().saturating_sub(raw.median());
    let mut rows = vec![
        Row::new("F5", "raw inspect", show(raw.median())),
        Row::new(
            "F5",
            "status through all layers",
            format!("{}, {} added", show(ours.median()), show(added)),
        )
        .against("< 0.2 ms added", added < Duration::from_micros(200))
        .bars(
            "µs",
            [
                ("status through all layers", ours.median().as_secs_f64() * 1e6),
                ("raw inspect", raw.median().as_secs_f64() * 1e6),
            ],
        ),
    ];

    let (mut first, mut second, mut life) = (Samples::new(), Samples::new(), Samples::new());
    for n in 0..25 {
        first.push(raw_life(&client, 2 * n).await?);
        let config = config(&format!("life-{n}"))?;
        let begun = Instant::now();
        let worker = provider.create_worker(&config, &CreateOptions::default()).await?.worker;
        provider.start_worker(&worker, &StartOptions::default()).await?;
        life.push(begun.elapsed());
        provider.delete_worker(&worker, &DeleteOptions::default()).await?;
        second.push(raw_life(&client, 2 * n + 1).await?);
    }
    let ratio = |samples: &Samples, base: &Samples| {
        let (low, high) = samples.ratio_interval(base);
        let middle = samples.median().as_secs_f64() / base.median().as_secs_f64();
        (format!("{middle:.3} ({low:.3}–{high:.3})"), low, high)
    };
    let (itself, low, high) = ratio(&second, &first);
    rows.push(
        Row::new("F5", "create and start, raw API against itself", itself)
            .against("the interval contains 1", low <= 1.0 && 1.0 <= high),
    );
    let (text, ..) = ratio(&life, &first);
    rows.push(Row::new("F5", "create and start, ours against the raw API", text).bars(
        "ms",
        [
            ("create and start, ours", life.median().as_secs_f64() * 1e3),
            ("raw API", first.median().as_secs_f64() * 1e3),
            ("raw API again", second.median().as_secs_f64() * 1e3),
        ],
    ));
    Ok(rows)
}

/// Steady workers, and the time for which they are left alone.
const STEADY: usize = 200;
const MINUTE: Duration = Duration::from_secs(60);
const SETTLED: Duration = Duration::from_secs(3);

pub(crate) async fn requests() -> Outcome<Vec<Row>> {
    let proxy = CountingProxy::before(&docker_host()?)?;
    let provider = DockerSettings::at(proxy.address()).connect(context("p7")?).await?;
    let before = proxy.requests();
    let worker = provider.run_worker(&config("life")?).await?.worker;
    provider.stop_worker(&worker, &StopOptions::within(Duration::from_millis(100))).await?;
    provider.delete_worker(&worker, &DeleteOptions::default()).await?;
    let life = proxy.requests() - before;

    let configs = (0..STEADY).map(|n| config(&format!("steady-{n}"))).collect::<Outcome<Vec<_>>>()?;
    let starts =
        futures::stream::iter(&configs).map(|config| provider.run_worker(config)).buffer_unordered(8);
    let started = starts.collect::<Vec<_>>().await;
    started.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut watch = provider.watch_workers(&WatchOptions::default()).await?;
    while let Some(observation) = watch.next().await {
        if observation? == WorkerObservation::Synced {
            break;
        }
    }
    // The events of the moments before are looked after first.
    let mut before = proxy.requests();
    while tokio::time::timeout(SETTLED, watch.next()).await.is_ok() || proxy.requests() != before {
        before = proxy.requests();
    }
    // What does not happen within a minute can only be seen by waiting for one.
    let quiet = tokio::time::timeout(MINUTE, watch.next()).await.is_err();
    let steady = proxy.requests() - before;
    drop(watch);
    let found = provider.list_workers(&WorkerFilter::all()).await?.workers;
    let deletes = futures::stream::iter(&found).map(|status| {
        let provider = &provider;
        async move { provider.delete_worker(&status.worker, &DeleteOptions::default()).await }
    });
    let deleted = deletes.buffer_unordered(8).collect::<Vec<_>>().await;
    deleted.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(vec![
        Row::new("P7", "requests of a worker's life (create, start, stop, delete)", life.to_string())
            .against("≤ 5", life <= 5),
        Row::new("P7", format!("requests in a minute, {STEADY} steady workers watched"), steady.to_string())
            .against("0", steady == 0 && quiet),
    ])
}
