//! K2: what we add to a pod's start. K10: ten thousand pods that wait for their start, in one host.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use hodei_worker::{
    ConnectContext, ProviderSettings as _, WorkerConfig, WorkerProvider,
    kubernetes::KubernetesProvider,
    model::labels,
    policy::{PolicySettings, Stack},
    provider::WatchOptions,
};
use hodei_worker_benches::{
    Outcome,
    place::{Place, cluster, pod_image},
    sample::{Samples, show},
    table::Row,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::json;

use crate::{process::beside, targets};

const ROUNDS: usize = 25;
const PODS: usize = 10_000;
const AT_ONCE: usize = 32;
const MEMORY: u64 = 100_000;

async fn connect(installation: &str) -> Outcome<KubernetesProvider> {
    let context = ConnectContext::new("bench".parse()?, installation.parse()?);
    Ok(cluster()?.connect(context).await?)
}

/// A pod by the raw API, from its creation until it is seen to run by a watch.
async fn raw_start(pods: &Api<Pod>, name: &str) -> Outcome<Duration> {
    let pod = json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "enableServiceLinks": false,
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "worker", "image": pod_image(), "command": ["sleep", "1000"]}],
        },
    });
    let begun = Instant::now();
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    let runs = |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.as_ref());
        let states = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        states.into_iter().any(|one| one.state.as_ref().is_some_and(|state| state.running.is_some()))
    };
    await_condition(pods.clone(), name, runs).await?;
    let took = begun.elapsed();
    pods.delete(name, &DeleteParams::default().grace_period(1)).await?;
    await_condition(pods.clone(), name, |pod: Option<&Pod>| pod.is_none()).await?;
    Ok(took)
}

/// From the creation until it runs, under all layers and by the raw API, turn by turn; the raw API twice, which tells what
/// a difference means here.
pub(crate) async fn starts() -> Outcome<Vec<Row>> {
    let installation = format!("k2-{}", std::process::id());
    let measured = turns(&installation).await;
    targets::sweep(Place::Kubernetes, &installation).await?;
    measured
}

async fn turns(installation: &str) -> Outcome<Vec<Row>> {
    let bare = connect(installation).await?;
    let pods: Api<Pod> = Api::namespaced(bare.client(), "default");
    let provider: Arc<dyn WorkerProvider> = Stack::standard(Arc::new(bare), &PolicySettings::default());
    // As a manager has it.
    let mut changes = provider.watch_workers(&WatchOptions::default()).await?;
    let reading = tokio::spawn(async move { while changes.next().await.is_some() {} });
    let (mut ours, mut raw, mut raw_again) = (Samples::new(), Samples::new(), Samples::new());
    for n in 0..ROUNDS {
        let name = |which: &str| format!("hodei-bench-{which}-{}-{n}", std::process::id());
        let builder = WorkerConfig::builder(format!("w-{n}")).command(["sleep", "1000"]).stop_grace("1s");
        let config = Place::Kubernetes.prepare(builder, installation).build()?;
        // Nobody always comes first.
        for turn in 0..3 {
            match (n + turn) % 3 {
                0 => ours.push(targets::until_it_runs(&*provider, &config).await?),
                1 => raw.push(raw_start(&pods, &name("raw")).await?),
                _ => raw_again.push(raw_start(&pods, &name("again")).await?),
            }
        }
    }
    reading.abort();
    let ratio = |samples: &Samples| samples.median().as_secs_f64() / raw.median().as_secs_f64();
    let (low, high) = ours.ratio_interval(&raw);
    let (raw_low, raw_high) = raw_again.ratio_interval(&raw);
    let result = format!(
        "{} to {} raw: {:.3}× ({low:.3}–{high:.3})",
        show(ours.median()),
        show(raw.median()),
        ratio(&ours)
    );
    let again = format!("{:.3}× ({raw_low:.3}–{raw_high:.3})", ratio(&raw_again));
    Ok(vec![
        Row::new("K2", "create until it runs, against the raw API", result)
            .against("the interval contains 1", low <= 1.0)
            .bars(
                "ms",
                [("ours", ours.median().as_secs_f64() * 1e3), ("raw", raw.median().as_secs_f64() * 1e3)],
            ),
        Row::new("K2", "the raw API against itself", again)
            .against("the interval contains 1", (raw_low..=raw_high).contains(&1.0)),
    ])
}

/// Pods that wait for their start: each reduced to its status as it comes in.
pub(crate) async fn ten_thousand() -> Outcome<Vec<Row>> {
    let installation = format!("k10-{}", std::process::id());
    let provider = connect(&installation).await?;
    let pods: Api<Pod> = Api::namespaced(provider.client(), "default");
    let made = fill(&pods, &installation).await;
    let measured = match made {
        Ok(()) => {
            tokio::task::spawn_blocking({
                let installation = installation.clone();
                move || listed(&installation)
            })
            .await?
        }
        Err(error) => Err(error),
    };
    let ours = ListParams::default().labels(&format!("{}={installation}", labels::INSTALLATION));
    pods.delete_collection(&DeleteParams::default().grace_period(0), &ours).await?;
    measured
}

async fn fill(pods: &Api<Pod>, installation: &str) -> Outcome {
    stream::iter(0..PODS)
        .map(|n| async move {
            let pod = json!({
                "metadata": {
                    "name": format!("hodei.{installation}.w{n}.1"),
                    "labels": {
                        "hodei-worker/installation": installation,
                        "hodei-worker/id": format!("w{n}"),
                        "hodei-worker/generation": "1",
                    },
                },
                "spec": {
                    "schedulingGates": [{"name": "hodei-worker/start"}],
                    "containers": [{"name": "worker", "image": pod_image(), "command": ["sleep", "1000"]}],
                },
            });
            pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
            Outcome::Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}

struct Told {
    took: Duration,
    memory: u64,
}

fn told(what: &str, installation: &str) -> Outcome<Told> {
    let output = Command::new(beside("hodei-bench-pods")?).args([what, installation]).output()?;
    if !output.status.success() {
        return Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let words: Vec<_> = text.split_whitespace().collect();
    let [count, nanos, memory] = words[..] else { return Err(format!("{what} told `{text}`").into()) };
    if what != "bare" && count.parse::<usize>()? != PODS {
        return Err(format!("{what}: {count} pods in the place of {PODS}").into());
    }
    Ok(Told { took: Duration::from_nanos(nanos.parse()?), memory: memory.parse()? })
}

fn listed(installation: &str) -> Outcome<Vec<Row>> {
    let bare = told("bare", installation)?.memory;
    let (mut ours, mut raw) = (Samples::new(), Samples::new());
    let mut most = 0;
    for n in 0..12 {
        for turn in 0..2 {
            if (n + turn) % 2 == 0 {
                let told = told("ours", installation)?;
                ours.push(told.took);
                most = most.max(told.memory);
            } else {
                raw.push(told("raw", installation)?.took);
            }
        }
    }
    let above = most.saturating_sub(bare);
    let ratio = ours.median().as_secs_f64() / raw.median().as_secs_f64();
    let (low, high) = ours.ratio_interval(&raw);
    Ok(vec![
        Row::new(
            "K10",
            "10,000 pods watched: memory above a client that asks for nothing",
            format!("{:.1} MB, {:.1} MB in all", above as f64 / 1e3, most as f64 / 1e3),
        )
        .against("< 100 MB", above < MEMORY),
        Row::new(
            "K10",
            "10,000 pods until all are known, against one raw list",
            format!("{} to {}: {ratio:.2}× ({low:.2}–{high:.2})", show(ours.median()), show(raw.median())),
        )
        .against("≤ 1.1×", ratio <= 1.1),
    ])
}
