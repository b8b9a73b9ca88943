//! F7 and T5: a worker that is killed until it runs again, by a manager that writes down what it does first.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use hodei_worker::{
    WorkerConfig, WorkerManager, WorkerState,
    lifecycle::Worker,
    manager::{RemoveWorker, Shutdown},
    model::RestartPolicy,
    stores::{FileSettings, RedbStore},
};
use hodei_worker_benches::{
    Outcome,
    place::Place,
    processes::{MARK, marked},
    sample::{Samples, show},
    table::Row,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{sync::mpsc, time::timeout};

use crate::{peers::is_installed, targets};

mod containers;
mod pods;

const TIMES: usize = 40;
const PATIENCE: Duration = Duration::from_secs(30);
/// A service of runit that ran shorter than a second is held back.
const SETTLE: Duration = Duration::from_millis(1500);

/// A manager on a log on the disk, and its folder.
pub(crate) struct Managed {
    pub(crate) manager: WorkerManager,
    folder: PathBuf,
}

impl Managed {
    pub(crate) async fn open(place: Place, installation: &str) -> Outcome<Self> {
        let folder = std::env::temp_dir().join("hodei-bench").join(format!("log-{installation}"));
        std::fs::create_dir_all(&folder)?;
        let store = RedbStore::open(folder.join("log"), FileSettings::default()).await?;
        let provider = place.connect_with_policies(installation).await?;
        let manager = WorkerManager::builder(Arc::new(store)).provider(provider).open().await?;
        manager.synced().await?;
        Ok(Self { manager, folder })
    }

    pub(crate) async fn close(self) -> Outcome {
        self.manager.shutdown(Shutdown::Remove { grace: Some(Duration::ZERO) }).await?;
        drop(self.manager);
        std::fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}

fn kill(pid: u32) -> Outcome {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no such process id")?;
    Ok(kill_process(pid, Signal::KILL)?)
}

/// Who says that it runs, and which process that is: `NAME PID` in a pipe.
struct Says {
    pipe: PathBuf,
    told: mpsc::UnboundedReceiver<(Instant, String, u32)>,
}

impl Says {
    fn new(folder: &Path) -> Outcome<Self> {
        let pipe = folder.join("says");
        if !Command::new("mkfifo").arg(&pipe).status()?.success() {
            return Err("mkfifo failed".into());
        }
        // Open for writing too, so that it never ends in between.
        let file = std::fs::File::options().read(true).write(true).open(&pipe)?;
        let (sender, told) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                let at = Instant::now();
                let words = line.split_once(' ');
                let Some((name, pid)) = words.and_then(|(name, pid)| Some((name, pid.parse().ok()?))) else {
                    break;
                };
                if sender.send((at, name.to_owned(), pid)).is_err() {
                    break;
                }
            }
        });
        Ok(Self { pipe, told })
    }

    fn script(&self, name: &str) -> String {
        format!("echo {name} $$ > {}; exec sleep 1000", self.pipe.display())
    }

    async fn next(&mut self) -> Outcome<(Instant, String, u32)> {
        let told = timeout(PATIENCE, self.told.recv()).await.map_err(|_| "no worker came back")?;
        Ok(told.ok_or("the pipe has ended")?)
    }

    /// Kills that process until its successor runs.
    async fn again(&mut self, name: &str, pid: u32) -> Outcome<Duration> {
        let begun = Instant::now();
        kill(pid)?;
        let (at, who, _) = self.next().await?;
        if who == name { Ok(at - begun) } else { Err(format!("{who} came back, and not {name}").into()) }
    }

    /// Has the thread that reads end.
    fn end(&self) -> Outcome {
        Ok(std::fs::write(&self.pipe, "end\n")?)
    }
}

pub(crate) async fn recoveries(place: Place) -> Outcome<Vec<Row>> {
    let installation = targets::installation(place, "f7");
    let measured = match place {
        Place::Docker => containers::measure(&installation).await,
        Place::Kubernetes => pods::measure(&installation).await,
        _ => processes(&installation).await,
    };
    targets::sweep(place, &installation).await?;
    measured
}

/// A few services of runit, each under a supervisor of its own.
struct Services {
    supervisors: Vec<Child>,
    folder: PathBuf,
    mark: String,
}

impl Services {
    fn start(folder: &Path, says: &Says, count: usize) -> Outcome<Self> {
        let mark = format!("runit-{}", std::process::id());
        let mut all = Self { supervisors: Vec::new(), folder: folder.join("runit"), mark };
        for n in 0..count {
            let service = all.folder.join(format!("r{n}"));
            std::fs::create_dir_all(&service)?;
            let run = service.join("run");
            std::fs::write(&run, format!("#!/bin/sh\n{}\n", says.script(&format!("r{n}"))))?;
            std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755))?;
            let mut command = Command::new("runsv");
            command.arg(&service).env(MARK, &all.mark).stdout(Stdio::null()).stderr(Stdio::null());
            all.supervisors.push(command.spawn()?);
        }
        Ok(all)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for supervisor in &mut self.supervisors {
            let _ = supervisor.kill();
            let _ = supervisor.wait();
        }
        marked(&self.mark).into_iter().for_each(|pid| drop(kill(pid)));
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn processes(installation: &str) -> Outcome<Vec<Row>> {
    let place = Place::Process;
    let managed = Managed::open(place, installation).await?;
    let mut says = Says::new(&managed.folder)?;
    let measured = killed_processes(&managed, &mut says, installation).await;
    says.end()?;
    managed.close().await?;
    measured
}

async fn killed_processes(managed: &Managed, says: &mut Says, installation: &str) -> Outcome<Vec<Row>> {
    let manager = &managed.manager;
    let mut victims = Vec::new();
    for n in 0..TIMES {
        let name = format!("w{n}");
        let command = ["sh".to_owned(), "-c".to_owned(), says.script(&name)];
        let builder = WorkerConfig::builder(name.as_str()).command(command);
        let builder = builder.restart_policy(RestartPolicy::Always);
        let config = Place::Process.prepare(builder, installation).build()?;
        manager.create_worker(&config).await?;
        let (_, name, pid) = says.next().await?;
        victims.push((name, pid, config.worker_id.clone()));
    }
    let services = match is_installed("runsv") {
        true => Some(Services::start(&managed.folder, says, TIMES)?),
        false => None,
    };
    let mut peers = Vec::new();
    for _ in 0..services.as_ref().map_or(0, |services| services.supervisors.len()) {
        let (_, name, pid) = says.next().await?;
        peers.push((name, pid));
    }
    manager.quiet().await?;
    tokio::time::sleep(SETTLE).await;

    let (mut ours, mut runit) = (Samples::new(), Samples::new());
    for (n, (name, pid, id)) in victims.iter().enumerate() {
        let before = manager.worker(id).await?.map_or(0, |worker| worker.version);
        ours.push(says.again(name, *pid).await?);
        // What was written down first is in the log.
        let decided = manager.store().read_stream(id, before, 16).await?.events.len();
        if decided == 0 {
            return Err(format!("{id} was started again, and nothing was written down").into());
        }
        if let Some((name, pid)) = peers.get(n) {
            runit.push(says.again(name, *pid).await?);
        }
    }
    drop(services);
    let mut rows = vec![killed("process", &ours, Duration::from_millis(5))];
    if runit.is_empty() {
        rows.push(Row::new("F7", "the same under runit", "not installed"));
    } else {
        let (low, high) = ours.ratio_interval(&runit);
        let ratio = ours.median().as_secs_f64() / runit.median().as_secs_f64();
        let result = format!("{}; ours is {ratio:.2}× ({low:.2}–{high:.2})", middle(&runit));
        rows.push(Row::new("F7", "the same under runit, which writes nothing down", result));
    }
    rows.push(worst_case("T5", "process", &ours));
    rows.push(until_escalated(manager, installation).await?);
    Ok(rows)
}

fn middle(samples: &Samples) -> String {
    format!("p50 {}, p90 {} of {}", show(samples.median()), show(samples.quantile(0.9)), samples.len())
}

fn killed(place: &str, samples: &Samples, below: Duration) -> Row {
    Row::new(
        "F7",
        format!("{place}: killed with -9 until it runs again, written down first"),
        middle(samples),
    )
    .against(format!("p50 < {}", show(below)), samples.median() < below)
}

fn worst_case(id: &'static str, place: &str, samples: &Samples) -> Row {
    let worst = samples.quantile(1.0);
    Row::new(id, format!("{place}: the slowest of these"), show(worst))
        .against("< 2 min", worst < Duration::from_secs(120))
}

/// One that fails whatever is done, with the default settings: until a person is called.
async fn until_escalated(manager: &WorkerManager, installation: &str) -> Outcome<Row> {
    let builder = WorkerConfig::builder("hopeless").command(["sh", "-c", "exit 3"]);
    let builder = builder.restart_policy(RestartPolicy::OnFailure { max_retries: None });
    let config = Place::Process.prepare(builder, installation).build()?;
    let begun = Instant::now();
    manager.create_worker(&config).await?;
    let over = |worker: &Worker| worker.state == Some(WorkerState::Failed) && worker.escalated().is_some();
    timeout(Duration::from_secs(300), manager.wait_for(&config.worker_id, over)).await??;
    let took = begun.elapsed();
    manager.remove_worker(&config.worker_id, &RemoveWorker::kill()).await?;
    manager.wait_until_gone(&config.worker_id).await?;
    Ok(Row::new("T5", "process: one that nothing helps, until a person is called", show(took))
        .against("< 2 min", took < Duration::from_secs(120)))
}
