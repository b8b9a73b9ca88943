//! A host with many workers that do nothing: `fill FOLDER COUNT` makes them, `run FOLDER` is the host that comes after.
//! Both tell what they hold and what they use while nothing happens.

use std::{
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, WorkerConfig, WorkerManager, WorkerProvider, WorkerState,
    manager::{Shutdown, WorkerQuery},
    policy::{PolicySettings, Stack},
    stores::{FileSettings, RedbStore},
};
use hodei_worker_benches::{
    Outcome,
    still::{Still, name},
};

/// How long nothing happens.
const QUIET: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 1024;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = runtime.map_err(Into::into).and_then(|runtime| match words[..] {
        ["fill", folder, count] => runtime.block_on(fill(Path::new(folder), count)),
        ["run", folder] => runtime.block_on(run(Path::new(folder))),
        _ => Err("usage: hodei-bench-idle fill FOLDER COUNT|run FOLDER".into()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hodei-bench-idle: {error}");
            ExitCode::FAILURE
        }
    }
}

fn still() -> Outcome<Arc<Still>> {
    Ok(Arc::new(Still::new(ConnectContext::new("still".parse()?, "idle".parse()?))))
}

/// As a host opens it: on redb, with the standard policies.
async fn open(folder: &Path, still: &Arc<Still>) -> Outcome<WorkerManager> {
    let store = RedbStore::open(folder.join("log"), FileSettings::default()).await?;
    let provider = Stack::standard(Arc::clone(still) as Arc<dyn WorkerProvider>, &PolicySettings::default());
    Ok(WorkerManager::builder(Arc::new(store)).provider(provider).open().await?)
}

fn config(number: u32) -> Outcome<WorkerConfig> {
    let mut builder = WorkerConfig::builder(name(number)).command(["sleep", "1000"]);
    for n in 0..10 {
        builder = builder.env(format!("VARIABLE_{n}"), format!("value {n} of worker {number}"));
    }
    for n in 0..4 {
        builder = builder.label(format!("label-{n}"), format!("value-{n}"));
    }
    Ok(builder.build()?)
}

async fn fill(folder: &Path, count: &str) -> Outcome {
    let count: u32 = count.parse()?;
    let still = still()?;
    let manager = open(folder, &still).await?;
    let begun = Instant::now();
    let creations = futures::stream::iter(0..count).map(|number| {
        let manager = &manager;
        async move { Outcome::Ok(drop(manager.create_worker(&config(number)?).await?)) }
    });
    let mut creations = creations.buffer_unordered(AT_ONCE);
    while let Some(created) = creations.next().await {
        created?;
    }
    drop(creations);
    all_run(&manager, count).await?;
    println!("filled {}", begun.elapsed().as_nanos());
    tell_idle().await?;
    still.save(&folder.join("workers"))?;
    manager.shutdown(Shutdown::HandOver).await?;
    Ok(())
}

async fn run(folder: &Path) -> Outcome {
    let still = still()?;
    still.load(&folder.join("workers"))?;
    let manager = open(folder, &still).await?;
    println!("open");
    manager.synced().await?;
    println!("synced");
    manager.quiet().await?;
    println!("quiet");
    tell_idle().await?;
    let workers = manager.workers(&WorkerQuery::all()).await?;
    let running = workers.iter().filter(|worker| worker.state == Some(WorkerState::Running)).count();
    println!("running {running}");
    manager.shutdown(Shutdown::HandOver).await?;
    Ok(())
}

async fn all_run(manager: &WorkerManager, count: u32) -> Outcome {
    for number in 0..count {
        let runs = |worker: &hodei_worker::lifecycle::Worker| worker.state == Some(WorkerState::Running);
        manager.wait_for(&name(number).parse()?, runs).await?;
    }
    Ok(manager.quiet().await?)
}

/// `idle RESIDENT PROPORTIONAL CPU`: kibibytes, and nanoseconds of a core for each second in which nothing happens.
async fn tell_idle() -> Outcome {
    // What was put off is done first.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = cpu();
    let begun = Instant::now();
    tokio::time::sleep(QUIET).await;
    let used = cpu().saturating_sub(before).as_nanos() as f64 / begun.elapsed().as_secs_f64();
    let resident = field("/proc/self/status", "VmRSS:")?;
    let proportional = field("/proc/self/smaps_rollup", "Pss:")?;
    println!("idle {resident} {proportional} {used:.0}");
    Ok(())
}

/// What this process has used, those of its threads that have ended with it.
fn cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs() as u32)
}

fn field(file: &str, name: &str) -> Outcome<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    Ok(word.ok_or_else(|| format!("{file} has no {name}"))?.parse()?)
}
