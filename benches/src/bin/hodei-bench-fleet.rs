//! Starts many `sleep` workers once and tells how long that took: a host with local processes and nothing else, as
//! small as hosts get, since its own size is its supervisors' too. `hodei-bench-fleet raw|attached|adoptable COUNT
//! [SUPERVISOR]` prints nanoseconds until all run, nanoseconds until a new provider knows them, and the bytes of
//! private memory that the supervisors hold.

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
        Ok((started, adopted, private)) => {
            println!("{} {} {private}", started.as_nanos(), adopted.as_nanos());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hodei-bench-fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Outcome<(Duration, Duration, u64)> {
    let mut arguments = std::env::args().skip(1);
    let usage = "give raw, attached or adoptable, and a number";
    let (what, count) = arguments.next().zip(arguments.next()).ok_or(usage)?;
    let count: usize = count.parse()?;
    let settings = match what.as_str() {
        "raw" => return Ok((raw(count)?, Duration::ZERO, 0)),
        "attached" => settings(Survival::Attached),
        "adoptable" => {
            let mut settings = settings(Survival::Required);
            settings.supervisor = arguments.next().map(Into::into);
            settings
        }
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

async fn workers(
    settings: &ProcessSettings,
    installation: &str,
    count: usize,
) -> Outcome<(Duration, Duration, u64)> {
    let provider = connect(settings, installation).await?;
    let configs: Vec<WorkerConfig> = (0..count)
        .map(|n| {
            let builder = WorkerConfig::builder(format!("w-{n}")).command(["sleep", "1000"]);
            builder.env(MARK, installation).build()
        })
        .collect::<Result<_, _>>()?;
    let begun = Instant::now();
    let mut starts = JoinSet::new();
    for config in configs {
        let provider = Arc::clone(&provider);
        starts.spawn(async move {
            let worker = provider.create_worker(&config, &CreateOptions::default()).await?.worker;
            provider.start_worker(&worker, &StartOptions::default()).await
        });
    }
    while let Some(started) = starts.join_next().await {
        started??;
    }
    let started = begun.elapsed();
    let running = marked(installation);
    if running.len() != count {
        return Err(format!("{} of {count} workers run", running.len()).into());
    }
    let private = match settings.survival {
        Survival::Attached => 0,
        _ => running.iter().map(|pid| private_bytes(parent(*pid)?)).sum::<Outcome<u64>>()?,
    };

    let begun = Instant::now();
    let next = connect(settings, installation).await?;
    let found = next.list_workers(&WorkerFilter::all()).await?.workers;
    let adopted = begun.elapsed();
    if found.len() != count {
        return Err(format!("{} of {count} workers were adopted", found.len()).into());
    }
    let mut deletes = JoinSet::new();
    for status in found {
        let provider = Arc::clone(&provider);
        deletes.spawn(async move { provider.delete_worker(&status.worker, &DeleteOptions::default()).await });
    }
    while let Some(deleted) = deletes.join_next().await {
        deleted??;
    }
    match marked(installation).len() {
        0 => Ok((started, adopted, private)),
        left => Err(format!("{left} processes are left").into()),
    }
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
