//! The same with containers, against the engine's own restart policy.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    models::{
        ContainerCreateBody, EventMessage, HostConfig, RestartPolicy as EnginePolicy, RestartPolicyNameEnum,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
        RemoveContainerOptionsBuilder, StartContainerOptions,
    },
};
use futures::{Stream, StreamExt as _};
use hodei_worker::{WorkerConfig, WorkerState, lifecycle::Worker, model::RestartPolicy};
use hodei_worker_benches::{
    Outcome,
    place::{Place, image},
    sample::Samples,
    table::Row,
};
use tokio::time::timeout;

use super::{Managed, PATIENCE, kill, killed, middle, worst_case};
use crate::docker;

const TIMES: usize = 12;
/// The engine counts a container that ran shorter than that as one that failed again.
const SETTLE: Duration = Duration::from_secs(11);
const SLEEP: [&str; 2] = ["sleep", "1000"];

pub(super) async fn measure(installation: &str) -> Outcome<Vec<Row>> {
    let managed = Managed::open(Place::Docker, installation).await?;
    let (raw, _) = docker::raw_and_ours(installation).await?;
    let names: Vec<_> =
        (0..TIMES).map(|n| format!("hodei-bench-always-{}-{n}", std::process::id())).collect();
    let measured = killed_containers(&managed, &raw, installation, &names).await;
    for name in &names {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        // One that was never made is not there.
        let _ = raw.remove_container(name, Some(options)).await;
    }
    managed.close().await?;
    measured
}

async fn pid(raw: &Docker, container: &str) -> Outcome<u32> {
    let found = raw.inspect_container(container, None::<InspectContainerOptions>).await?;
    let pid = found.state.and_then(|state| state.pid).filter(|pid| *pid > 0);
    Ok(u32::try_from(pid.ok_or("the container does not run")?)?)
}

/// A container that its engine starts again.
async fn always(raw: &Docker, name: &str) -> Outcome {
    let policy = EnginePolicy { name: Some(RestartPolicyNameEnum::ALWAYS), maximum_retry_count: None };
    let body = ContainerCreateBody {
        image: Some(image()),
        entrypoint: Some(SLEEP.map(str::to_owned).to_vec()),
        host_config: Some(HostConfig { restart_policy: Some(policy), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    raw.create_container(Some(options), body).await?;
    Ok(raw.start_container(name, None::<StartContainerOptions>).await?)
}

/// Kills a process until the engine tells that a container has been started.
async fn again(
    events: &mut (impl Stream<Item = Result<EventMessage, bollard::errors::Error>> + Unpin),
    pid: u32,
) -> Outcome<Duration> {
    let begun = Instant::now();
    kill(pid)?;
    timeout(PATIENCE, events.next())
        .await
        .map_err(|_| "no container came back")?
        .ok_or("the events ended")??;
    Ok(begun.elapsed())
}

async fn killed_containers(
    managed: &Managed,
    raw: &Docker,
    installation: &str,
    names: &[String],
) -> Outcome<Vec<Row>> {
    let manager = &managed.manager;
    let direct = Place::Docker.connect(installation).await?;
    let runs = |worker: &Worker| worker.state == Some(WorkerState::Running);
    let mut victims = Vec::new();
    for (n, name) in names.iter().enumerate() {
        always(raw, name).await?;
        let builder = WorkerConfig::builder(format!("w{n}")).command(SLEEP);
        let builder = builder.restart_policy(RestartPolicy::Always);
        let config = Place::Docker.prepare(builder, installation).build()?;
        manager.create_worker(&config).await?;
        let worker = manager.wait_for(&config.worker_id, runs).await?;
        let status = direct.get_worker_status(&worker.reference()).await?;
        victims.push((pid(raw, &status.native_id).await?, pid(raw, name).await?));
    }
    manager.quiet().await?;
    tokio::time::sleep(SETTLE).await;
    let filters =
        HashMap::from([("type", vec!["container"]), ("event", vec!["start"])].map(|(name, values)| {
            (name.to_owned(), values.into_iter().map(str::to_owned).collect::<Vec<_>>())
        }));
    let mut events = Box::pin(raw.events(Some(EventsOptionsBuilder::new().filters(&filters).build())));
    // The subscription stands when the engine has told of something that was asked for after it.
    let (mut ours, mut engine) = (Samples::new(), Samples::new());
    futures::future::poll_immediate(events.next()).await;
    raw.ping().await?;
    for (by_us, by_engine) in victims {
        engine.push(again(&mut events, by_engine).await?);
        ours.push(again(&mut events, by_us).await?);
    }
    let (low, high) = ours.ratio_interval(&engine);
    let ratio = ours.median().as_secs_f64() / engine.median().as_secs_f64();
    let result = format!("{}; ours is {ratio:.2}× ({low:.2}–{high:.2})", middle(&engine));
    Ok(vec![
        killed("docker", &ours, Duration::from_millis(300)),
        Row::new("F7", "docker: the same by `--restart=always`", result)
            .against("ours is faster", high < 1.0),
        worst_case("T5", "docker", &ours),
    ])
}
