//! F8: a compose file of fifty containers against `docker-compose` and against the raw API. F9: when a line that a
//! container has written is read.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    container::LogOutput,
    models::{ContainerCreateBody, HostConfig, NetworkCreateRequest},
    query_parameters::{
        CreateContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
        StartContainerOptions,
    },
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hodei_worker::{
    WorkerConfig, WorkerProvider, WorkerProviderExt as _,
    compose::{Composition, DownOptions, Project, ProjectOptions, UpOptions},
    provider::{DeleteOptions, LogOptions},
};
use hodei_worker_benches::{
    Outcome,
    place::{Place, docker_host, image},
    sample::{Samples, show},
    table::Row,
};

use crate::{docker::raw_and_ours, targets};

const CONTAINERS: usize = 50;
const ROUNDS: usize = 5;
/// As many requests at once as serve the raw API best on two processors.
const AT_ONCE: usize = 8;

pub(crate) async fn fifty() -> Outcome<Vec<Row>> {
    let installation = format!("f8-{}", std::process::id());
    let folder = std::env::temp_dir().join(&installation);
    std::fs::create_dir_all(&folder)?;
    let measured = measure(&installation, &folder).await;
    targets::sweep(Place::Docker, &installation).await?;
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn median(samples: &Samples) -> f64 {
    samples.median().as_secs_f64()
}

async fn measure(installation: &str, folder: &Path) -> Outcome<Vec<Row>> {
    let theirs = PathBuf::from(
        std::env::var("HODEI_TEST_COMPOSE").map_err(|_| "HODEI_TEST_COMPOSE names no docker-compose")?,
    );
    let file = folder.join("compose.yaml");
    let text = format!(
        "services:\n  w:\n    image: {}\n    command: [sleep, '1000']\n    stop_grace_period: 0s\n    scale: {CONTAINERS}\n",
        image()
    );
    std::fs::write(&file, text)?;
    let (client, _) = raw_and_ours(installation).await?;
    let provider = Place::Docker.connect(installation).await?;
    let (mut by_us, mut by_them, mut by_raw) = (Samples::new(), Samples::new(), Samples::new());
    let (mut again_us, mut again_them) = (Samples::new(), Samples::new());
    for round in 0..ROUNDS {
        // Who comes first finds the machine cooler: each in turn.
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => {
                    let name = format!("{installation}-ours");
                    let (first, second) = ours(&file, &name, &provider).await?;
                    by_us.push(first);
                    again_us.push(second);
                }
                1 => {
                    let name = format!("{installation}-theirs");
                    by_them.push(compose(&theirs, &file, &name, &["up", "-d"]).await?);
                    again_them.push(compose(&theirs, &file, &name, &["up", "-d"]).await?);
                    compose(&theirs, &file, &name, &["down", "-t", "0", "-v"]).await?;
                }
                _ => by_raw.push(raw(&client, installation).await?),
            }
        }
    }
    let ratio = |base: &Samples| median(&by_us) / median(base);
    let again = median(&again_us) / median(&again_them);
    Ok(vec![
        Row::new(
            "F8",
            "50 containers of a compose file, against docker-compose",
            format!("{} to {}, {:.3}×", show(by_us.median()), show(by_them.median()), ratio(&by_them)),
        )
        .against("≤ 1.03×", ratio(&by_them) <= 1.03)
        .bars(
            "s",
            [
                ("50 containers, ours", median(&by_us)),
                ("docker-compose", median(&by_them)),
                ("raw API, 8 at once", median(&by_raw)),
            ],
        ),
        Row::new(
            "F8",
            "50 containers of a compose file, against the raw API",
            format!("{} to {}, {:.3}×", show(by_us.median()), show(by_raw.median()), ratio(&by_raw)),
        )
        .against("≤ 1.03×", ratio(&by_raw) <= 1.03),
        Row::new(
            "F8",
            "a second `up` with nothing to do, against docker-compose",
            format!("{} to {}, {again:.2}×", show(again_us.median()), show(again_them.median())),
        )
        .against("≤ 1×", again <= 1.0),
    ])
}

/// Up, and up again; taken down outside of the measurement.
async fn ours(file: &Path, name: &str, provider: &Arc<dyn WorkerProvider>) -> Outcome<(Duration, Duration)> {
    // The file is read within the time, as theirs is.
    let up = async || {
        let begun = Instant::now();
        let project = Project::load(&ProjectOptions::new().file(file).project_name(name))?;
        let composition = Composition::new(project, Arc::clone(provider)).await?;
        composition.up(&UpOptions::default()).await?;
        Outcome::Ok((begun.elapsed(), composition))
    };
    let (first, _) = up().await?;
    let (second, composition) = up().await?;
    composition.down(&DownOptions::default()).await?;
    Ok((first, second))
}

async fn compose(program: &Path, file: &Path, name: &str, words: &[&str]) -> Outcome<Duration> {
    let mut command = tokio::process::Command::new(program);
    command.arg("-f").arg(file).args(["-p", name]).args(words).env("DOCKER_HOST", docker_host()?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begun = Instant::now();
    let output = command.output().await?;
    let took = begun.elapsed();
    if output.status.success() {
        return Ok(took);
    }
    Err(format!("docker-compose {words:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// The same by the raw API: a network, and containers on it.
async fn raw(client: &Docker, installation: &str) -> Outcome<Duration> {
    let network = format!("{installation}-raw");
    let name = |n: usize| format!("{installation}-raw-{n}");
    let begun = Instant::now();
    client.create_network(NetworkCreateRequest { name: network.clone(), ..Default::default() }).await?;
    let made = stream::iter(0..CONTAINERS)
        .map(|n| {
            let body = ContainerCreateBody {
                image: Some(image()),
                cmd: Some(["sleep", "1000"].map(str::to_owned).to_vec()),
                host_config: Some(HostConfig {
                    network_mode: Some(network.clone()),
                    ..HostConfig::default()
                }),
                ..ContainerCreateBody::default()
            };
            async move {
                let options = CreateContainerOptionsBuilder::new().name(&name(n)).build();
                client.create_container(Some(options), body).await?;
                client.start_container(&name(n), None::<StartContainerOptions>).await
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await;
    let took = begun.elapsed();
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    for n in 0..CONTAINERS {
        // One that was not made is no matter: what failed is told below.
        drop(client.remove_container(&name(n), Some(options.clone())).await);
    }
    client.remove_network(&network).await?;
    made?;
    Ok(took)
}

/// A container writes the time, we read it by both ways at once, and what lies between is how late ours is.
pub(crate) async fn first_line() -> Outcome<Vec<Row>> {
    let installation = format!("f9-{}", std::process::id());
    let measured = lines(&installation).await;
    targets::sweep(Place::Docker, &installation).await?;
    measured
}

async fn lines(installation: &str) -> Outcome<Vec<Row>> {
    const LINES: usize = 200;
    let (client, provider) = raw_and_ours(installation).await?;
    let config = WorkerConfig::builder("lines")
        .image(image().as_str())
        .command(["sh", "-c", "n=0; while n=$((n+1)); do echo $n; usleep 20000; done"])
        .build()?;
    let handle = provider.run_worker(&config).await?;
    let mut ours = provider.worker_logs(&handle.worker, &LogOptions::following()).await?;
    let options = LogsOptionsBuilder::default().follow(true).stdout(true).build();
    let mut raw = client.logs(&handle.native_id, Some(options));
    let number = |text: &str| text.trim().parse::<usize>().unwrap_or_default();
    let read_ours = async {
        let mut seen = vec![None; LINES + 1];
        while let Some(item) = ours.next().await {
            if let Some(chunk) = item?.chunk() {
                let n = number(&chunk.text());
                if n > LINES {
                    break;
                }
                seen[n] = Some(Instant::now());
            }
        }
        Outcome::Ok(seen)
    };
    let read_raw = async {
        let mut seen = vec![None; LINES + 1];
        while let Some(item) = raw.next().await {
            if let LogOutput::StdOut { message } = item? {
                let n = number(&String::from_utf8_lossy(&message));
                if n > LINES {
                    break;
                }
                seen[n] = Some(Instant::now());
            }
        }
        Outcome::Ok(seen)
    };
    let (ours, raw) = futures::future::try_join(read_ours, read_raw).await?;
    provider.delete_worker(&handle.worker, &DeleteOptions::default()).await?;
    let mut late = Samples::new();
    // The first ones come from what was written before either asked.
    for (ours, raw) in ours.iter().zip(&raw).skip(LINES / 4) {
        if let (Some(ours), Some(raw)) = (ours, raw) {
            late.push(ours.saturating_duration_since(*raw));
        }
    }
    let text =
        format!("{} later than the raw stream (p90 {})", show(late.median()), show(late.quantile(0.9)));
    Ok(vec![
        Row::new("F9", "a line that a container has written is read", text)
            .against("< 5 ms", late.median() < Duration::from_millis(5)),
    ])
}
