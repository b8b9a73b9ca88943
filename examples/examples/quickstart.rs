//! Three workers as local processes: their logs live, one killed from outside and brought back, the host restarted while
//! they go on, all stopped, a table at the end. `cargo run --release --example quickstart`
//!
//! Workers outlive their host, and its log says which there are. So they are removed however this ends, ctrl-c included;
//! when it is killed itself, it finds them again the next time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, Error, ErrorKind, Result, WorkerConfig, WorkerId, WorkerManager, WorkerProvider,
    WorkerRef, WorkerState,
    events::EventFilter,
    lifecycle::Worker,
    manager::{Shutdown, StopWorker, WorkerQuery},
    model::{InstallationId, RestartPolicy},
    policy,
    process::{self, ProcessSettings},
    provider::{LogOptions, WorkerFilter},
    stores::{FileSettings, RedbStore},
};
use tokio::sync::oneshot;

/// Says who it is, counts, and ends well when it is asked to stop.
const SCRIPT: &str = r#"trap 'echo "asked to stop"; exit 0' TERM
echo "pid $$"
n=0; while :; do n=$((n+1)); echo "step $n"; sleep 0.2 & wait $!; done"#;

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

fn main() -> Result<()> {
    process::init();
    run()
}

#[tokio::main]
async fn run() -> Result<()> {
    // The same each time: whoever has the name of an installation and its log finds its workers.
    let installation = std::env::args().nth(1).unwrap_or_else(|| "quickstart".to_owned());
    let folder = hodei_worker_examples::state_folder(&installation);
    let host = Host { installation: installation.parse()?, log: folder.join("log") };
    println!("the log is in {}\n", host.log.display());

    let (manager, provider) = host.begin().await?;
    let left = manager.workers(&WorkerQuery::all()).await?.len();
    if left > 0 {
        println!("{left} workers of the last time were still there\n");
        remove_all(&manager).await?;
    }
    let mut shown = or_interrupted(heal(&manager, &provider)).await;

    // A host may end at any time: what it knew is in the log, and its workers go on without it.
    manager.shutdown(Shutdown::HandOver).await?;
    drop(manager);
    let (manager, provider) = host.begin().await?;
    if matches!(shown, Ok(true)) {
        let found = manager.workers(&WorkerQuery::all()).await?;
        let running = found.iter().filter(|worker| worker.alive).count();
        println!("--- the host began anew: {} workers in its log, {running} of them run", found.len());
        shown = or_interrupted(finish(&manager)).await;
    }
    remove_all(&manager).await?;
    let left = provider.list_workers(&WorkerFilter::all()).await?.workers;
    println!("\n{} workers left", left.len());
    manager.shutdown(Shutdown::HandOver).await?;
    drop(manager);
    std::fs::remove_dir_all(folder).map_err(unexpected)?;
    shown.map(drop)
}

/// What a host is made of; all else is in its log.
struct Host {
    installation: InstallationId,
    log: PathBuf,
}

impl Host {
    async fn begin(&self) -> Result<(WorkerManager, Arc<dyn WorkerProvider>)> {
        let context = ConnectContext::new("local".parse()?, self.installation.clone());
        let provider = hodei_worker::connect(ProcessSettings::default(), context).await?;
        let log = RedbStore::open(&self.log, FileSettings::default()).await?;
        let manager = WorkerManager::builder(Arc::new(log)).provider(Arc::clone(&provider)).open().await?;
        manager.synced().await?;
        Ok((manager, provider))
    }
}

/// Shows something, unless somebody presses ctrl-c; says whether it was shown to its end.
async fn or_interrupted(show: impl Future<Output = Result<()>>) -> Result<bool> {
    tokio::select! {
        shown = show => shown.map(|()| true),
        _ = tokio::signal::ctrl_c() => {
            println!("\n--- interrupted");
            Ok(false)
        }
    }
}

async fn remove_all(manager: &WorkerManager) -> Result<()> {
    let ids: Vec<_> =
        manager.workers(&WorkerQuery::all()).await?.into_iter().map(|worker| worker.id).collect();
    for id in &ids {
        manager.remove_worker(id, &Default::default()).await?;
    }
    for id in &ids {
        manager.wait_until_gone(id).await?;
    }
    Ok(())
}

/// Three workers begin, somebody kills one, and the manager brings it back.
async fn heal(manager: &WorkerManager, provider: &Arc<dyn WorkerProvider>) -> Result<()> {
    let mut pids = Vec::new();
    for name in NAMES {
        let config = WorkerConfig::builder(name)
            .command(["sh", "-c", SCRIPT])
            .label("example", "quickstart")
            .restart_policy(RestartPolicy::OnFailure { max_retries: Some(3) })
            .build()?;
        let worker = running(manager, &config.worker_id, manager.create_worker(&config).await?.run).await?;
        let (said, pid) = oneshot::channel();
        tokio::spawn(show_logs(Arc::clone(provider), worker.reference(), said));
        pids.push((worker, pid));
    }
    let mut known = Vec::new();
    for (worker, pid) in pids {
        known.push((worker, pid.await.unwrap_or_default()));
    }

    let (victim, pid) = &known[1];
    let mut events = manager.events().subscribe(EventFilter::worker(victim.id.clone()));
    println!("--- kill -9 {pid} ({}), from outside", victim.id);
    std::process::Command::new("kill").args(["-9", pid]).status().map_err(unexpected)?;
    let again = running(manager, &victim.id, victim.run.clone()).await?;
    while let Some(notice) = events.next().await {
        let Some(event) = notice.event() else { continue };
        let state = event.new_state.map_or("gone", WorkerState::as_str);
        println!("--- {:>6}: {} ({})", event.worker_id, state, event.event_type());
        if event.event_id >= again.position {
            break;
        }
    }
    println!("--- {} runs again", again.id);
    Ok(())
}

/// Waits until a worker runs, in another run than that.
async fn running(
    manager: &WorkerManager,
    id: &WorkerId,
    not: Option<hodei_worker::model::RunId>,
) -> Result<Worker> {
    let runs = manager.wait_for(id, move |worker| {
        worker.state == Some(WorkerState::Running) && worker.alive && worker.run != not
    });
    policy::within(Duration::from_secs(10), runs).await
}

/// All are stopped, and shown once more.
async fn finish(manager: &WorkerManager) -> Result<()> {
    for name in NAMES {
        manager.stop_worker(&name.parse()?, &StopWorker::within(Duration::from_secs(5))).await?;
    }
    for name in NAMES {
        manager.wait_for_end(&name.parse()?).await?;
    }
    println!("\n{:<8} {:<8} {:<12} {:<10} ran for", "worker", "state", "end", "restarts");
    for worker in manager.workers(&WorkerQuery::all()).await? {
        let state = worker.state.map_or("gone", WorkerState::as_str);
        let restarts = worker.recovery.as_ref().map_or(0, |recovery| recovery.history.iter().count());
        let end =
            worker.end.as_ref().and_then(|end| end.exit).map_or("unknown".into(), |exit| exit.to_string());
        println!("{:<8} {state:<8} {end:<12} {restarts:<10} {}", worker.id, time(&worker));
    }
    Ok(())
}

/// Shows what the worker says, over all its runs, and tells its process id once it has counted a little.
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

fn time(worker: &Worker) -> String {
    match (worker.started, worker.end.as_ref().and_then(|end| end.at)) {
        (Some(started), Some(ended)) => format!("{:.1} s", ended.duration_since(started).as_secs_f64()),
        _ => "-".to_owned(),
    }
}

fn unexpected(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "the example could not go on").with_source(error)
}
