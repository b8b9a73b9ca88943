//! F6: two hundred workers as local processes, against raw spawns and peers in the same run.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _};
use hodei_worker::{
    WorkerConfig,
    provider::{CreateOptions, DeleteOptions, StartOptions, WorkerFilter},
};
use hodei_worker_benches::{
    Outcome,
    place::{Place, marked},
    sample::{Samples, show},
    table::Row,
};

use crate::peers::PEERS;

const WORKERS: usize = 200;
const REPEATS: usize = 7;
/// Starts at once; more than the cores of the machine gain nothing.
const AT_ONCE: usize = 8;

struct Measured {
    started: Duration,
    private_bytes: u64,
    adopted: Duration,
}

async fn ours(place: Place) -> Outcome<Measured> {
    let installation = format!("f6-{}", fastrand::u32(..));
    let provider = place.connect(&installation).await?;
    let configs: Vec<WorkerConfig> = (0..WORKERS)
        .map(|n| {
            let builder = WorkerConfig::builder(format!("w-{n}")).command(["sleep", "1000"]);
            place.prepare(builder, &installation).build()
        })
        .collect::<Result<_, _>>()?;
    let begun = Instant::now();
    let runs = configs.into_iter().map(|config| {
        let provider = Arc::clone(&provider);
        async move {
            let worker = provider.create_worker(&config, &CreateOptions::default()).await?.worker;
            provider.start_worker(&worker, &StartOptions::default()).await
        }
    });
    futures::stream::iter(runs).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    let started = begun.elapsed();
    let workers = marked(&installation);
    if workers.len() < WORKERS {
        return Err(format!("only {} of {WORKERS} workers run", workers.len()).into());
    }
    let private_bytes = workers.iter().filter_map(|pid| parent(*pid)).map(private_bytes).sum();

    let begun = Instant::now();
    let next = place.connect(&installation).await?;
    let found = next.list_workers(&WorkerFilter::all()).await?.workers;
    let adopted = begun.elapsed();
    if place == Place::Process && found.len() != WORKERS {
        return Err(format!("only {} of {WORKERS} workers were adopted", found.len()).into());
    }
    let deletes = found.iter().map(|status| {
        let (provider, worker) = (Arc::clone(&provider), status.worker.clone());
        async move { provider.delete_worker(&worker, &DeleteOptions::default()).await }
    });
    futures::stream::iter(deletes).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    let left = marked(&installation);
    if !left.is_empty() {
        return Err(format!("{} processes are left", left.len()).into());
    }
    drop((provider, next));
    place.clear(&installation);
    Ok(Measured { started, private_bytes, adopted })
}

fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

fn private_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>() * 1024
}

/// The same number of processes, spawned and nothing else.
fn raw() -> Outcome<Duration> {
    let begun = Instant::now();
    let mut children = Vec::with_capacity(WORKERS);
    for _ in 0..WORKERS {
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        children.push(command.spawn()?);
    }
    let took = begun.elapsed();
    for mut child in children {
        child.kill()?;
        child.wait()?;
    }
    Ok(took)
}

pub(crate) async fn two_hundred() -> Outcome<Vec<Row>> {
    let (mut floor, mut adoptable, mut attached) = (Samples::new(), Samples::new(), Samples::new());
    let (mut adoption, mut memory) = (Samples::new(), 0);
    let peers: Vec<_> = PEERS.into_iter().filter(|peer| peer.is_there()).collect();
    let mut peers: Vec<_> = peers.into_iter().map(|peer| (peer, Samples::new())).collect();
    for _ in 0..REPEATS {
        floor.push(tokio::task::spawn_blocking(raw).await??);
        let measured = ours(Place::Process).await?;
        adoptable.push(measured.started);
        adoption.push(measured.adopted);
        memory = memory.max(measured.private_bytes);
        attached.push(ours(Place::Attached).await?.started);
        for (peer, samples) in &mut peers {
            let peer = *peer;
            samples.push(tokio::task::spawn_blocking(move || peer.start(WORKERS)).await??);
        }
    }
    let millis = |samples: &Samples| samples.median().as_secs_f64() * 1e3;
    let of_floor = |samples: &Samples| millis(samples) / millis(&floor);
    let mut bars = vec![
        ("adoptable".to_owned(), millis(&adoptable)),
        ("attached".to_owned(), millis(&attached)),
        ("raw spawns".to_owned(), millis(&floor)),
    ];
    bars.extend(peers.iter().map(|(peer, samples)| (peer.name.to_owned(), millis(samples))));
    let mut rows = vec![Row::new("F6", "200 raw spawns of `sleep`", show(floor.median()))];
    let told = |samples: &Samples| format!("{} ({:.2}× raw)", show(samples.median()), of_floor(samples));
    let mut ours = Row::new("F6", "200 adoptable workers until all run", told(&adoptable)).bars("ms", bars);
    if let Some((_, s6)) = peers.iter().find(|(peer, _)| peer.name == "s6") {
        let ratio = millis(&adoptable) / millis(s6);
        ours.result = format!("{}, {ratio:.2}× s6", ours.result);
        ours = ours.against("≤ 0.75× s6", ratio <= 0.75);
    }
    rows.push(ours);
    let rate = 100.0 / of_floor(&attached);
    let attached = format!("{}, {rate:.0} % of the raw rate", told(&attached));
    rows.push(
        Row::new("F6", "200 attached workers until all run", attached)
            .against("≥ 80 % of the raw rate", rate >= 80.0),
    );
    rows.extend(
        peers.iter().map(|(peer, samples)| Row::new("F6", format!("200 under {}", peer.name), told(samples))),
    );
    let mebibytes = memory as f64 / f64::from(1 << 20);
    rows.push(
        Row::new("F6", "private memory of 200 supervisors", format!("{mebibytes:.1} MiB"))
            .against("≤ 30 MiB", mebibytes <= 30.0),
    );
    let each = adoption.median() / WORKERS as u32;
    rows.push(Row::new("F6", "adoption: connect and list 200, each", show(each)));
    Ok(rows)
}
