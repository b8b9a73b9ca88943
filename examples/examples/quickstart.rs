//! Three workers as local processes: their logs live, one killed from outside and seen to be, the others stopped, a
//! table at the end. `cargo run --release --example quickstart`
//!
//! Workers outlive their host. So it removes them however it ends, ctrl-c included, and those that it finds from a last
//! time when it was killed itself.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, Result, WorkerConfig, WorkerPhase, WorkerProvider, WorkerProviderExt as _, WorkerRef,
    WorkerStatus, policy,
    process::{self, ProcessSettings},
    provider::{DeleteOptions, LogOptions, StopOptions, WorkerFilter},
};
use tokio::sync::oneshot;

/// Says who it is, counts, and ends well when it is asked to stop.
const SCRIPT: &str = r#"trap 'echo "asked to stop"; exit 0' TERM
echo "pid $$"
n=0; while :; do n=$((n+1)); echo "step $n"; sleep 0.2 & wait $!; done"#;

fn main() -> Result<()> {
    process::init();
    run()
}

#[tokio::main]
async fn run() -> Result<()> {
    // The same each time: whoever has the name of an installation finds its workers.
    let installation = std::env::args().nth(1).unwrap_or_else(|| "quickstart".to_owned());
    let context = ConnectContext::new("local".parse()?, installation.parse()?);
    let provider = hodei_worker::connect(ProcessSettings::default(), context).await?;
    println!("{}\n", provider.info());
    let left = remove_all(&*provider).await?;
    if left > 0 {
        println!("{left} workers of the last time were still there\n");
    }
    let shown = tokio::select! {
        shown = show(&provider) => shown,
        _ = tokio::signal::ctrl_c() => {
            println!("\n--- interrupted");
            Ok(())
        }
    };
    remove_all(&*provider).await?;
    let left = provider.list_workers(&WorkerFilter::all()).await?.workers;
    println!("\n{} workers left", left.len());
    shown
}

/// Deletes all workers of the installation, whoever made them; says how many there were.
async fn remove_all(provider: &dyn WorkerProvider) -> Result<usize> {
    let workers = provider.list_workers(&WorkerFilter::all()).await?.workers;
    for status in &workers {
        provider.delete_worker(&status.worker, &DeleteOptions::default()).await?;
    }
    Ok(workers.len())
}

async fn show(provider: &Arc<dyn WorkerProvider>) -> Result<()> {
    let mut workers = Vec::new();
    let mut pids = Vec::new();
    for name in ["alpha", "beta", "gamma"] {
        let config = WorkerConfig::builder(name)
            .command(["sh", "-c", SCRIPT])
            .label("example", "quickstart")
            .build()?;
        let worker = provider.run_worker(&config).await?.worker;
        let (said, pid) = oneshot::channel();
        tokio::spawn(show_logs(Arc::clone(provider), worker.clone(), said));
        workers.push(worker);
        pids.push(pid);
    }
    let mut known = Vec::new();
    for pid in pids {
        known.push(pid.await.unwrap_or_default());
    }

    // Somebody kills the second one, and we hear of it by the watch.
    let victim = &workers[1];
    println!("--- kill -9 {} ({victim}), from outside", known[1]);
    std::process::Command::new("kill").args(["-9", &known[1]]).status().map_err(unexpected)?;
    let seen = policy::within(Duration::from_secs(10), provider.wait_for_exit(victim)).await?;
    println!("--- seen: {victim} is {}, {}", seen.phase, ending(&seen));

    for worker in &workers {
        provider.stop_worker(worker, &StopOptions::within(Duration::from_secs(5))).await?;
    }
    let listing = provider.list_workers(&WorkerFilter::all()).await?;
    println!("\n{:<10} {:<8} {:<16} {:<12} ran for", "worker", "phase", "end", "failure");
    for status in &listing.workers {
        let failure = status.failure.map_or("-".to_owned(), |failure| failure.to_string());
        println!(
            "{:<10} {:<8} {:<16} {failure:<12} {}",
            status.worker.id,
            status.phase,
            ending(status),
            time(status)
        );
    }
    Ok(())
}

/// Shows what the worker says, and tells its process id once it has counted a little.
async fn show_logs(
    provider: Arc<dyn WorkerProvider>,
    worker: WorkerRef,
    tell: oneshot::Sender<String>,
) -> Result<()> {
    let mut logs = provider.worker_logs(&worker, &LogOptions::following()).await?;
    let (mut pid, mut tell) = (String::new(), Some(tell));
    while let Some(item) = logs.next().await {
        let item = item?;
        let Some(line) = item.chunk() else { continue };
        let text = line.text();
        println!("{:>8} | {text}", worker.id);
        if let Some(number) = text.strip_prefix("pid ") {
            pid = number.to_owned();
        } else if text == "step 5"
            && let Some(tell) = tell.take()
        {
            let _ = tell.send(pid.clone());
        }
    }
    Ok(())
}

fn ending(status: &WorkerStatus) -> String {
    match (status.phase, status.exit) {
        (WorkerPhase::Exited, Some(exit)) => exit.to_string(),
        (WorkerPhase::Exited, None) => "unknown".to_owned(),
        (phase, _) => phase.to_string(),
    }
}

fn time(status: &WorkerStatus) -> String {
    match (status.times.started, status.times.finished) {
        (Some(started), Some(finished)) => format!("{:.1} s", finished.duration_since(started).as_secs_f64()),
        _ => "-".to_owned(),
    }
}

fn unexpected(error: impl std::error::Error + Send + Sync + 'static) -> hodei_worker::Error {
    hodei_worker::Error::new(hodei_worker::ErrorKind::Unexpected, "the example could not go on")
        .with_source(error)
}
