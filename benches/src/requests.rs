//! P7: how many requests a worker's life takes, and a fleet that nothing happens to.

use std::time::Duration;

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, Result, WorkerObservation, WorkerProvider, WorkerProviderExt as _,
    docker::DockerSettings,
    provider::{BoxStream, DeleteOptions, StopOptions, WatchOptions},
};
use hodei_worker::{ProviderSettings as _, WorkerConfig};
use hodei_worker_benches::{
    Outcome,
    place::{docker_host, image},
    table::Row,
};

use crate::{proxy::CountingProxy, targets};

/// Steady workers, and the time for which they are left alone.
const STEADY: usize = 200;
const MINUTE: Duration = Duration::from_secs(60);
const SETTLED: Duration = Duration::from_secs(3);
const LIVES: usize = 3;
/// As much of a request's line as a table has room for, in characters.
const SHOWN: usize = 30;
const OBEYS: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

type Watch = BoxStream<'static, Result<WorkerObservation>>;

pub(crate) async fn requests() -> Outcome<Vec<Row>> {
    let installation = format!("p7-{}", std::process::id());
    let measured = measure(&installation).await;
    targets::sweep(hodei_worker_benches::place::Place::Docker, &installation).await?;
    measured
}

async fn measure(installation: &str) -> Outcome<Vec<Row>> {
    let context =
        || -> Outcome<ConnectContext> { Ok(ConnectContext::new("bench".parse()?, installation.parse()?)) };
    let unix = CountingProxy::unix(&docker_host()?)?;
    let tcp = CountingProxy::tcp(&docker_host()?).await?;
    let provider = DockerSettings::at(unix.address()).connect(context()?).await?;
    let distant = DockerSettings::at(tcp.address()).connect(context()?).await?;

    // The first start opens the stream over which stops are heard of, once for all.
    life(&provider, "first").await?;
    let mut lives = Vec::new();
    for n in 0..LIVES {
        unix.take();
        life(&provider, &format!("life-{n}")).await?;
        lives.push(unix.take().len());
    }
    let most = lives.iter().copied().max().unwrap_or_default();

    let configs = (0..STEADY)
        .map(|n| config(&format!("steady-{n}"), &["sleep", "1000"]))
        .collect::<Outcome<Vec<_>>>()?;
    let starts =
        futures::stream::iter(&configs).map(|config| provider.run_worker(config)).buffer_unordered(8);
    starts.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let near = synced(&provider).await?;
    let far = synced(&distant).await?;
    let (near, far) = tokio::join!(steady(near, &unix), steady(far, &tcp));
    let shown = |requests: &[String]| match requests {
        [] => "0".to_owned(),
        some => {
            let short = |line: &String| line.chars().take(SHOWN).collect::<String>();
            let first: Vec<_> = some.iter().take(3).map(short).collect();
            format!("{}: {}", some.len(), first.join(", "))
        }
    };
    Ok(vec![
        Row::new("P7", "requests of a worker's life (create, start, stop, delete)", format!("{lives:?}"))
            .against("≤ 5", most <= 5)
            .bars("requests", [("most in a life", most as f64), ("target", 5.0)]),
        Row::new("P7", format!("a minute on the Unix socket, {STEADY} steady workers watched"), shown(&near))
            .against("0", near.is_empty()),
        Row::new("P7", format!("a minute over TCP, {STEADY} steady workers watched"), shown(&far))
            .against("≤ 2", far.len() <= 2),
    ])
}

async fn life(provider: &dyn WorkerProvider, id: &str) -> Outcome {
    let worker = provider.run_worker(&config(id, &["sh", "-c", OBEYS])?).await?.worker;
    provider.stop_worker(&worker, &StopOptions::within(Duration::from_secs(1))).await?;
    Ok(provider.delete_worker(&worker, &DeleteOptions::default()).await?)
}

fn config(id: &str, command: &[&str]) -> Outcome<WorkerConfig> {
    Ok(WorkerConfig::builder(id).image(image().as_str()).command(command.iter().copied()).build()?)
}

async fn synced(provider: &dyn WorkerProvider) -> Outcome<Watch> {
    let mut watch = provider.watch_workers(&WatchOptions::default()).await?;
    while let Some(observation) = watch.next().await {
        if observation? == WorkerObservation::Synced {
            return Ok(watch);
        }
    }
    Err("the watch has ended".into())
}

/// What is asked for in a minute in which nothing happens.
async fn steady(mut watch: Watch, proxy: &CountingProxy) -> Vec<String> {
    // The events of the moments before are looked after first.
    proxy.take();
    while tokio::time::timeout(SETTLED, watch.next()).await.is_ok() || proxy.count() > 0 {
        proxy.take();
    }
    // What does not happen within a minute can only be seen by waiting for one.
    let end = tokio::time::Instant::now() + MINUTE;
    while let Ok(Some(_)) = tokio::time::timeout_at(end, watch.next()).await {}
    proxy.take()
}
