//! F5: what we add to calls of a Docker Engine.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
        StartContainerOptions,
    },
};
use hodei_worker::{
    ConnectContext, ProviderSettings as _, WorkerConfig, WorkerProvider, WorkerProviderExt as _,
    docker::DockerSettings,
    policy::{PolicySettings, Stack},
    provider::{CreateOptions, DeleteOptions, StartOptions},
};
use hodei_worker_benches::{
    Outcome,
    place::{Place, docker_host, image},
    sample::{Differences, Samples, show, show_signed},
    table::Row,
};

use crate::targets;

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// The engine by the raw API and under all layers. Both keep their connections, so that neither pays for new ones.
pub(crate) async fn raw_and_ours(installation: &str) -> Outcome<(Docker, Arc<dyn WorkerProvider>)> {
    let context = ConnectContext::new("bench".parse()?, installation.parse()?);
    let raw = DockerSettings::at(docker_host()?).connect(context.clone()).await?.client();
    let bare = DockerSettings::at(docker_host()?).connect(context).await?;
    let mut settings = PolicySettings::default();
    settings.cache.status = Duration::ZERO.into();
    Ok((raw, Stack::standard(Arc::new(bare), &settings)))
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
    let started = client.start_container(&name, None::<StartContainerOptions>).await;
    let took = begun.elapsed();
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    client.remove_container(&name, Some(options)).await?;
    started?;
    Ok(took)
}

fn config(id: &str) -> Outcome<WorkerConfig> {
    Ok(WorkerConfig::builder(id).image(image().as_str()).command(SLEEP).build()?)
}

pub(crate) async fn added_time() -> Outcome<Vec<Row>> {
    let installation = format!("f5-{}", std::process::id());
    let measured = measure(&installation).await;
    targets::sweep(Place::Docker, &installation).await?;
    measured
}

async fn measure(installation: &str) -> Outcome<Vec<Row>> {
    let (client, provider) = raw_and_ours(installation).await?;
    let handle = provider.run_worker(&config("inspected")?).await?;
    let (mut raw, mut ours, mut added) = (Samples::new(), Samples::new(), Differences::new());
    for n in 0..1100 {
        let inspect = async || {
            let begun = Instant::now();
            client.inspect_container(&handle.native_id, None::<InspectContainerOptions>).await?;
            Outcome::Ok(begun.elapsed())
        };
        let status = async || {
            let begun = Instant::now();
            provider.get_worker_status(&handle.worker).await?;
            Outcome::Ok(begun.elapsed())
        };
        // Who comes second finds the engine warm: each in turn.
        let (by_raw, by_us) = if n % 2 == 0 {
            let by_raw = inspect().await?;
            (by_raw, status().await?)
        } else {
            let by_us = status().await?;
            (inspect().await?, by_us)
        };
        if n >= 100 {
            raw.push(by_raw);
            ours.push(by_us);
            added.push(by_us, by_raw);
        }
    }
    provider.delete_worker(&handle.worker, &DeleteOptions::default()).await?;
    let (low, high) = added.interval();
    let text = format!(
        "{}, {} added ({} to {})",
        show(ours.median()),
        show_signed(added.quantile(0.5)),
        show_signed(low),
        show_signed(high)
    );
    let mut rows = vec![
        Row::new("F5", "raw inspect on a kept connection", show(raw.median())),
        Row::new("F5", "status through all layers", text)
            .against("< 0.2 ms added", added.quantile(0.5) < 200_000)
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
