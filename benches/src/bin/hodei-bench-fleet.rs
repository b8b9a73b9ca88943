//! Starts many `sleep` workers once and tells how long that took, as a host with local processes and nothing else.
//! `hodei-bench-fleet raw|attached|adoptable COUNT` prints the nanoseconds until all were created, then until all ran,
//! then until a new provider knew them, and the bytes of private memory that the supervisors held.

use std::{
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use hodei_worker::{
    ConnectContext, WorkerConfig, WorkerProvider as _,
    process::{ProcessProvider, ProcessSettings, Survival},
    provider::{CreateOptions, DeleteOptions, StartOptions, WorkerFilter},
};
use hodei_worker_benches::{
    Outcome,
    processes::{MARK, clear, marked, settings},
};
use tokio::task::JoinSet;

fn main() -> ExitCode {
    hodei_worker::process::init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measure())) {
        Ok(Measured { created, started, adopted, private }) => {
            println!("{} {} {} {private}", created.as_nanos(), started.as_nanos(), adopted.as_nanos());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hodei-bench-fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Measured {
    created: Duration,
    started: Duration,
    adopted: Duration,
    private: u64,
}

async fn measure() -> Outcome<Measured> {
    let mut arguments = std::env::args().skip(1);
    let usage = "give raw, attached or adoptable, and a number";
    let (what, count) = arguments.next().zip(arguments.next()).ok_or(usage)?;
    let count: usize = count.parse()?;
    let settings = match what.as_str() {
        "raw" => return Ok(Measured { started: raw(count)?, ..Measured::default() }),
        "attached" => settings(Survival::Attached),
        "adoptable" => settings(Survival::Required),
        _ => return Err(usage.into()),
    };
    let installation = format!("f6-{:x}", fastrand::u64(..));
    let measured = workers(&settings, &installation, count).await;
    clear(&installation);
    measured
}

async fn connect(settings: &ProcessSettings, installation: &str) -> Outcome<Arc<ProcessProvider>> {
    let context = ConnectContext::new("bench".parse()?, installation.parse()?);
    Ok(Arc::new(ProcessProvider::connect(settings.clone(), context).await?))
}

async fn workers(settings: &ProcessSettings, installation: &str, count: usize) -> Outcome<Measured> {
    let provider = connect(settings, installation).await?;
    let configs: Vec<WorkerConfig> = (0..count)
        .map(|n| {
            let builder = WorkerConfig::builder(format!("w-{n}")).command(["sleep", "1000"]);
            builder.env(MARK, installation).build()
        })
        .collect::<Result<_, _>>()?;
    let (created, workers) = at_once(configs, &provider, |provider, config| async move {
        Ok(provider.create_worker(&config, &CreateOptions::default()).await?.worker)
    })
    .await?;
    let (started, _) = at_once(workers, &provider, |provider, worker| async move {
        Ok(provider.start_worker(&worker, &StartOptions::default()).await?)
    })
    .await?;
    // A process that was executed this instant may show no environment yet.
    let look = || Some(marked(installation)).filter(|running| running.len() == count);
    let running = (0..100).find_map(|_| look()).ok_or("not all workers run")?;
    let private = match settings.survival {
        Survival::Attached => 0,
        // The supervisors, and what they were forked from.
        _ => {
            let supervisors: Vec<u32> = running.iter().map(|pid| parent(*pid)).collect::<Outcome<_>>()?;
            let origin = supervisors.first().map(|pid| parent(*pid)).transpose()?;
            supervisors.into_iter().chain(origin).map(private_bytes).sum::<Outcome<u64>>()?
        }
    };

    let begun = Instant::now();
    let next = connect(settings, installation).await?;
    let found = next.list_workers(&WorkerFilter::all()).await?.workers;
    let adopted = begun.elapsed();
    if found.len() != count {
        return Err(format!("{} of {count} workers were adopted", found.len()).into());
    }
    let found = found.iter().map(|status| status.worker.clone()).collect();
    at_once(found, &provider, |provider, worker| async move {
        Ok(provider.delete_worker(&worker, &DeleteOptions::default()).await?)
    })
    .await?;
    match marked(installation).len() {
        0 => Ok(Measured { created, started, adopted, private }),
        left => Err(format!("{left} processes are left").into()),
    }
}

/// Does something with each of them, all at once; how long all took, and what came of it.
async fn at_once<T, U, F>(
    all: Vec<T>,
    provider: &Arc<ProcessProvider>,
    what: impl Fn(Arc<ProcessProvider>, T) -> F,
) -> Outcome<(Duration, Vec<U>)>
where
    F: Future<Output = Outcome<U>> + Send + 'static,
    U: Send + 'static,
{
    let begun = Instant::now();
    let mut calls: JoinSet<_> = all.into_iter().map(|one| what(Arc::clone(provider), one)).collect();
    let mut results = Vec::with_capacity(calls.len());
    while let Some(result) = calls.join_next().await {
        results.push(result??);
    }
    Ok((begun.elapsed(), results))
}

fn parent(pid: u32) -> Outcome<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Ok(line.ok_or("a process without a parent")?.trim().parse()?)
}

fn private_bytes(pid: u32) -> Outcome<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    private
        .map(|line| {
            let kibibytes = line.split_whitespace().nth(1).ok_or("a line without a number")?;
            Ok(kibibytes.parse::<u64>()? * 1024)
        })
        .sum()
}

/// The same number of processes, spawned one after the other and nothing else.
fn raw(count: usize) -> Outcome<Duration> {
    let begun = Instant::now();
    let mut children = Vec::with_capacity(count);
    for _ in 0..count {
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
