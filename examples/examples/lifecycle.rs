//! A terminal view of workers: one line for each, with its state, and above them the events as they happen. On a terminal
//! it is alive; elsewhere, as in a file, the events alone are written.
//! `cargo run --release --example lifecycle --features lifecycle`; ctrl-c ends it, or it ends by itself.

use std::{collections::HashMap, io::IsTerminal as _, sync::Arc, time::Duration};

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, Error, ErrorKind, Result, WorkerConfig, WorkerManager, WorkerState, WorkerStateEvent,
    events::{EventFilter, Notice},
    lifecycle::{Change, RecoverySettings, Worker},
    manager::{RemoveWorker, Shutdown},
    model::RestartPolicy,
    process::{self, ProcessSettings},
    quantity::HumanDuration,
    store::MemoryStore,
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Names, and what they run: each has another life.
const WORKERS: [(&str, &str); 4] = [
    ("steady", "trap 'exit 0' TERM; sleep 1000 & wait $!"),
    ("brief", "sleep 1"),
    ("shaky", "sleep 0.7; exit 1"),
    ("wrong", "exit 127"),
];

fn main() -> Result<()> {
    process::init();
    run()
}

#[tokio::main]
async fn run() -> Result<()> {
    let context = ConnectContext::new("local".parse()?, format!("lifecycle-{}", std::process::id()).parse()?);
    let provider = hodei_worker::connect(ProcessSettings::default(), context).await?;
    let manager = WorkerManager::builder(Arc::new(MemoryStore::new())).provider(provider).open().await?;
    let view = tokio::spawn(show(manager.clone()));
    let played = tokio::select! {
        played = play(&manager) => played,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    manager.shutdown(Shutdown::Remove { grace: Some(Duration::from_secs(2)) }).await?;
    drop(manager);
    view.await.map_err(unexpected)??;
    played
}

/// Has all workers live their lives.
async fn play(manager: &WorkerManager) -> Result<()> {
    let mut recovery = RecoverySettings::default();
    recovery.backoff = HumanDuration::millis(200);
    for (name, script) in WORKERS {
        let config = WorkerConfig::builder(name)
            .command(["sh", "-c", script])
            .restart_policy(RestartPolicy::OnFailure { max_retries: Some(3) })
            .recovery(recovery.clone())
            .build()?;
        manager.create_worker(&config).await?;
    }
    for name in ["brief", "shaky", "wrong"] {
        let settled =
            |worker: &Worker| worker.state == Some(WorkerState::Stopped) || worker.escalated().is_some();
        manager.wait_for(&name.parse()?, settled).await?;
    }
    manager.remove_worker(&"steady".parse()?, &RemoveWorker::default()).await?;
    manager.wait_until_gone(&"steady".parse()?).await
}

/// Shows what happens, from the log's beginning to its manager's end.
async fn show(manager: WorkerManager) -> Result<()> {
    let mut events = manager.events().replay(Arc::clone(manager.store()), 0, EventFilter::all());
    drop(manager);
    let (lines, mut bars) = (MultiProgress::new(), HashMap::new());
    let alive = std::io::stderr().is_terminal();
    let mut workers = HashMap::<_, Worker>::new();
    while let Some(notice) = events.next().await {
        let Notice::Event(event) = notice? else { continue };
        let line = line(&event);
        if alive {
            lines.println(line).map_err(unexpected)?
        } else {
            println!("{line}")
        }
        let Some(worker) = Worker::apply(workers.remove(&event.worker_id), &event) else { continue };
        let bar = bars.entry(worker.id.clone()).or_insert_with(|| bar(&lines, &worker));
        match worker.state {
            Some(state) => bar.set_message(format!("{state:<10} {}", detail(&worker))),
            None => bar.finish_with_message("gone"),
        }
        workers.insert(worker.id.clone(), worker);
    }
    Ok(())
}

fn bar(lines: &MultiProgress, worker: &Worker) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix:8} {msg}");
    let bar = lines.add(ProgressBar::new_spinner().with_prefix(worker.id.to_string()));
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn detail(worker: &Worker) -> String {
    if let Some(why) = worker.escalated() {
        return format!("a person is called: {}", why.as_str());
    }
    let attempts = worker.recovery.as_ref().map_or(0, |recovery| recovery.attempts);
    let end = worker.end.as_ref().and_then(|end| end.exit).map(|exit| exit.to_string()).unwrap_or_default();
    if attempts > 0 { format!("try {attempts} {end}") } else { end }
}

fn line(event: &WorkerStateEvent) -> String {
    let state = |state: Option<WorkerState>| state.map_or("-", WorkerState::as_str);
    let more = match &event.change {
        Change::Ended(end) => end.exit.map(|exit| exit.to_string()).unwrap_or_default(),
        Change::RecoveryPlanned { strategy, attempt, .. } => format!("{strategy}, try {attempt}"),
        Change::Escalated { why, .. } => why.phrase().to_owned(),
        _ => String::new(),
    };
    let (old, new) = (state(event.old_state), state(event.new_state));
    let kind = event.event_type();
    format!("{:>4} {:<8} {old:>10} > {new:<10} {kind:<18} {more}", event.event_id, event.worker_id)
}

fn unexpected(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "the example could not go on").with_source(error)
}
