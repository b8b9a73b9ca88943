//! Two hosts share a fleet of local processes on one PostgreSQL. Again and again one of them is killed with -9, paused for
//! longer than its lease, or cut off from the database, while both work; then what is there is compared with what was
//! acknowledged. `HODEI_TEST_POSTGRES=… hodei-chaos-hosts --rounds N`

#[path = "chaos_manager/check.rs"]
mod check;
#[path = "chaos_manager/cut.rs"]
mod cut;
#[path = "chaos_manager/host.rs"]
mod host;
#[path = "chaos_manager/model.rs"]
mod model;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cut::Proxy;
use hodei_worker::{WorkerStateEvent, lifecycle::Worker, store::Store};
use hodei_worker_benches::{Outcome, leftovers, place::Place, program};
use model::{Model, NAMES};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

const PATIENCE: Duration = Duration::from_secs(90);
/// Long enough for the other host to have taken over.
const PAUSE: Duration = Duration::from_millis(4000);

fn main() -> ExitCode {
    hodei_worker::process::init();
    program::run("hodei-chaos-hosts", |runtime, words| match *words {
        ["host", installation, folder, seed, half] => {
            let names = if half == "0" { &NAMES[..5] } else { &NAMES[5..] };
            runtime.block_on(host::load("process", installation, Path::new(folder), seed, names))
        }
        ["settle", installation, folder] => {
            runtime.block_on(host::settle("process", installation, Path::new(folder)))
        }
        ["--rounds", rounds] => runtime.block_on(drive(rounds)),
        _ => Err("usage: hodei-chaos-hosts --rounds N".into()),
    })
}

/// What is done to a host.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Kill,
    Pause,
    Cut,
}

async fn drive(rounds: &str) -> Outcome {
    let rounds: usize = rounds.parse().map_err(|_| format!("`{rounds}` is no number of rounds"))?;
    let server = std::env::var("HODEI_TEST_POSTGRES").map_err(|_| "HODEI_TEST_POSTGRES names no server")?;
    let installation = format!("chaos-h-{}", std::process::id());
    let folder = std::env::temp_dir().join("hodei-bench").join(&installation);
    std::fs::create_dir_all(folder.join("runs"))?;
    let run = Run { schema: installation.replace('-', "_"), installation, folder, server };
    let end = run.rounds(rounds).await;
    let cleared = run.clear().await;
    let told = end?;
    cleared?;
    println!("{told}");
    Ok(())
}

struct Run {
    installation: String,
    folder: PathBuf,
    server: String,
    schema: String,
}

/// A host that works, and what it has told.
struct Host {
    child: Child,
    told: Arc<Mutex<Vec<String>>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Host {
    /// Waits until its manager has begun.
    async fn ready(&self) -> Outcome {
        let told =
            || self.told.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|line| line == "ready");
        let began = tokio::time::Instant::now();
        while !told() {
            if began.elapsed() > PATIENCE {
                return Err("a host does not begin".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn signal(&self, signal: &str) -> Outcome {
        let pid = self.child.id().ok_or("the host has ended by itself")?.to_string();
        let status = std::process::Command::new("kill").args([signal, &pid]).status()?;
        if status.success() { Ok(()) } else { Err("the host could not be signalled".into()) }
    }

    /// Ends it, and gives what it told.
    async fn end(mut self) -> Outcome<Vec<String>> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("a host ended by itself: {status}").into());
        }
        self.child.kill().await?;
        self.reader.await?;
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(told.clone())
    }
}

impl Run {
    async fn rounds(&self, rounds: usize) -> Outcome<String> {
        let proxies = [Proxy::before(&self.server).await?, Proxy::before(&self.server).await?];
        let mut model = Model::default();
        let (mut acknowledged, mut cut_off, mut blows) = (0, 0, [0; 3]);
        let mut hosts: [Option<Host>; 2] = [None, None];
        for round in 1..=rounds {
            for (n, host) in hosts.iter_mut().enumerate() {
                if host.is_none() {
                    *host = Some(self.host(n, round, &proxies[n]).await?);
                }
            }
            // One that is only beginning may end where it finds no database, and does.
            for host in hosts.iter().flatten() {
                host.ready().await?;
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(300..1500))).await;
            let struck = fastrand::usize(..2);
            let blow = [Blow::Kill, Blow::Pause, Blow::Cut][round % 3];
            blows[round % 3] += 1;
            match blow {
                Blow::Kill => {
                    if let Some(host) = hosts[struck].take() {
                        let (done, begun) = model.take(&host.end().await?)?;
                        (acknowledged, cut_off) = (acknowledged + done, cut_off + begun);
                    }
                }
                Blow::Pause => {
                    let host = hosts[struck].as_ref().ok_or("no host")?;
                    host.signal("-STOP")?;
                    tokio::time::sleep(PAUSE).await;
                    host.signal("-CONT")?;
                }
                Blow::Cut => {
                    proxies[struck].cut(true);
                    tokio::time::sleep(PAUSE).await;
                    proxies[struck].cut(false);
                }
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(200..1500))).await;
            if round % 3 == 0 || round == rounds {
                for host in hosts.iter_mut().filter_map(Option::take) {
                    let (done, begun) = model.take(&host.end().await?)?;
                    (acknowledged, cut_off) = (acknowledged + done, cut_off + begun);
                }
                self.check(&mut model).await.map_err(|error| format!("round {round}: {error}"))?;
            }
        }
        Ok(format!(
            "hosts    {} kills, {} pauses beyond the lease, {} cuts from the database; {acknowledged} commands \
             acknowledged, {cut_off} cut off; {} runs; lost 0, doubled 0, orphaned 0, stale writes 0",
            blows[0],
            blows[1],
            blows[2],
            check::runs(&self.folder),
        ))
    }

    async fn host(&self, half: usize, round: usize, proxy: &Proxy) -> Outcome<Host> {
        let (folder, half, seed) =
            (self.folder.display().to_string(), half.to_string(), format!("{}", round * 2 + half));
        let mut command =
            self.command(&["host", &self.installation, &folder, &seed, &half], &proxy.url(&self.server)?)?;
        let mut child = command.spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Ok(Host { child, told, reader })
    }

    fn command(&self, words: &[&str], url: &str) -> Outcome<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(words)
            .env("HODEI_CHAOS_POSTGRES", format!("{url}#{}", self.schema))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        Ok(command)
    }

    async fn check(&self, model: &mut Model) -> Outcome {
        let folder = self.folder.display().to_string();
        let settle = self.command(&["settle", &self.installation, &folder], &self.server)?.output();
        let output =
            tokio::time::timeout(PATIENCE, settle).await.map_err(|_| "the host did not settle")??;
        if !output.status.success() {
            return Err("the host that should settle failed".into());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let known: Vec<_> = text.lines().map(check::Known::read).collect::<Outcome<_>>()?;
        let store = self.store().await?;
        let mut problems =
            check::problems(Place::Process, &self.installation, &self.folder, &known, model, &*store).await?;
        problems.extend(stale_writes(&*store).await?);
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
    }

    async fn store(&self) -> Outcome<Arc<dyn Store>> {
        let settings =
            hodei_worker::stores::PostgresSettings::at(self.server.as_str()).in_schema(self.schema.as_str());
        Ok(Arc::new(hodei_worker::stores::PostgresStore::connect(settings).await?))
    }

    async fn clear(&self) -> Outcome {
        let provider = Place::Process.connect(&self.installation).await?;
        for status in provider.list_workers(&Default::default()).await?.workers {
            provider.delete_worker(&status.worker, &Default::default()).await?;
        }
        drop(provider);
        let left = leftovers::of(Place::Process, &self.installation).await?;
        Place::Process.clear(&self.installation);
        leftovers::clear_groups(&self.installation);
        std::fs::remove_dir_all(&self.folder)?;
        cut::drop_schema(&self.server, &self.schema).await?;
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {}", left.join(", ")).into()) }
    }
}

/// What a host wrote that did not answer any more would not follow from what was before it.
async fn stale_writes(store: &dyn Store) -> Outcome<Vec<String>> {
    let mut workers: HashMap<_, Option<Worker>> = HashMap::new();
    let mut problems = Vec::new();
    let mut after = 0;
    loop {
        let page = store.read(after, 10_000).await?;
        for stored in &page.events {
            let event = WorkerStateEvent::from_stored(stored)?;
            let begins = stored.version == 1;
            let known = workers.remove(&stored.worker).flatten();
            if known.is_none() && !begins {
                // Its beginning was compacted away.
                continue;
            }
            let before = known.as_ref().map(|worker| worker.owner_epoch);
            let folded = Worker::apply(known.filter(|_| !begins), &event);
            let follows = folded
                .as_ref()
                .is_some_and(|worker| before.is_none_or(|before| begins || worker.owner_epoch >= before));
            if !follows {
                problems.push(format!("a stale write: {event:?}"));
            }
            workers.insert(stored.worker.clone(), folded.filter(|worker| worker.state.is_some()));
        }
        after = page.next;
        if page.is_last {
            return Ok(problems);
        }
    }
}
