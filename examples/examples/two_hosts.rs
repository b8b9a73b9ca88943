//! Two hosts share a fleet by one PostgreSQL: one creates workers and is killed, the other takes them over, heals them and
//! removes them. `cargo run --release --example two_hosts --features postgres -- postgres://user@host/database`, or with
//! the address in `HODEI_EXAMPLE_POSTGRES`. It starts itself twice; what it writes lies in the schema `hodei_example`.

use std::{process::Stdio, sync::Arc, time::Duration};

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, Error, ErrorKind, Result, WorkerConfig, WorkerManager, WorkerState,
    events::{EventFilter, Notice},
    manager::{ManagerSettings, RemoveWorker, Shutdown, WorkerQuery},
    model::RestartPolicy,
    process::{self, ProcessSettings},
    quantity::HumanDuration,
    store::HostId,
    stores::{PostgresSettings, PostgresStore},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines, Stdin},
    process::{Child, Command},
    sync::mpsc,
};

const URL: &str = "HODEI_EXAMPLE_POSTGRES";
const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
/// After that time without a sign of life a host is taken for dead.
const LEASE: HumanDuration = HumanDuration::secs(2);

fn main() -> Result<()> {
    process::init();
    run()
}

#[tokio::main]
async fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next() {
        Some(word) if word == "host" => host(&arguments.next().unwrap_or_default()).await,
        Some(url) => play(url).await,
        None => play(std::env::var(URL).map_err(|_| no_address())?).await,
    }
}

fn no_address() -> Error {
    Error::new(ErrorKind::Config, "this example needs a PostgreSQL")
        .with_help("give its address, postgres://user:password@host/database, as the argument")
}

/// What a user does with two hosts.
async fn play(url: String) -> Result<()> {
    let (mut first, mut heard_first) = Host::begin("one", &url)?;
    heard(&mut heard_first, "ready").await?;
    let (mut second, mut heard_second) = Host::begin("two", &url)?;
    heard(&mut heard_second, "ready").await?;

    first.say("create").await?;
    for _ in NAMES {
        heard(&mut heard_first, ": running").await?;
    }
    println!("--- kill -9 of the host one; its workers go on");
    first.process.kill().await.map_err(unexpected)?;
    for _ in NAMES {
        heard(&mut heard_second, "taken_over").await?;
    }
    println!("--- all are the other's now");
    second.say("remove").await?;
    heard(&mut heard_second, "0 workers left").await?;
    second.say("end").await?;
    second.process.wait().await.map_err(unexpected).map(drop)
}

/// One of the two, as the user sees it. It ends with its user.
struct Host {
    process: Child,
}

impl Host {
    fn begin(name: &'static str, url: &str) -> Result<(Self, mpsc::UnboundedReceiver<String>)> {
        let program = std::env::current_exe().map_err(unexpected)?;
        let mut process = Command::new(program)
            .args(["host", name])
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(unexpected)?;
        let (tell, heard) = mpsc::unbounded_channel();
        if let Some(output) = process.stdout.take() {
            tokio::spawn(async move {
                let mut lines = BufReader::new(output).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    println!("{name} | {line}");
                    let _ = tell.send(line);
                }
            });
        }
        Ok((Self { process }, heard))
    }

    async fn say(&mut self, word: &str) -> Result<()> {
        let Some(input) = &mut self.process.stdin else { return Ok(()) };
        input.write_all(format!("{word}\n").as_bytes()).await.map_err(unexpected)
    }
}

/// Waits until a host has said that.
async fn heard(lines: &mut mpsc::UnboundedReceiver<String>, wanted: &str) -> Result<()> {
    let waiting = async {
        while let Some(line) = lines.recv().await {
            if line.contains(wanted) {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "a host has ended early").with_context("waiting for", wanted))
    };
    hodei_worker::policy::within(Duration::from_secs(30), waiting).await
}

/// A host: one manager, which does what it reads.
async fn host(name: &str) -> Result<()> {
    let url = std::env::var(URL).map_err(|_| no_address())?;
    let store = PostgresStore::connect(PostgresSettings::at(url).in_schema("hodei_example")).await?;
    // Both see the same workers, as two hosts of one container engine or one cluster do.
    let context = ConnectContext::new("local".parse()?, "two-hosts".parse()?);
    let provider = hodei_worker::connect(ProcessSettings::default(), context).await?;
    let mut settings = ManagerSettings::default();
    settings.host = Some(HostId::new(format!("{name}-{}", std::process::id()))?);
    settings.lease = LEASE;
    let manager =
        WorkerManager::builder(Arc::new(store)).provider(provider).settings(settings).open().await?;
    tokio::spawn(tell(manager.clone()));
    manager.synced().await?;
    println!("ready");
    // When nobody speaks to it any more, its user is gone: nothing is left behind.
    obey(&manager, BufReader::new(tokio::io::stdin()).lines()).await?;
    manager.shutdown(Shutdown::Remove { grace: Some(Duration::ZERO) }).await
}

async fn obey(manager: &WorkerManager, mut words: Lines<BufReader<Stdin>>) -> Result<()> {
    while let Some(word) = words.next_line().await.map_err(unexpected)? {
        match word.as_str() {
            "create" => create(manager).await?,
            "remove" => remove(manager).await?,
            _ => break,
        }
    }
    Ok(())
}

async fn create(manager: &WorkerManager) -> Result<()> {
    for name in NAMES {
        let config = WorkerConfig::builder(name)
            .command(["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait $!"])
            .restart_policy(RestartPolicy::OnFailure { max_retries: None })
            .build()?;
        manager.create_worker(&config).await?;
    }
    Ok(())
}

async fn remove(manager: &WorkerManager) -> Result<()> {
    for name in NAMES {
        manager.remove_worker(&name.parse()?, &RemoveWorker::default()).await?;
    }
    for name in NAMES {
        manager.wait_until_gone(&name.parse()?).await?;
    }
    println!("{} workers left", manager.workers(&WorkerQuery::all()).await?.len());
    Ok(())
}

/// Says what happens, from now on.
async fn tell(manager: WorkerManager) {
    let mut events = manager.events().subscribe(EventFilter::all());
    drop(manager);
    while let Some(notice) = events.next().await {
        let Notice::Event(event) = notice else { continue };
        let state = event.new_state.map_or("gone", WorkerState::as_str);
        println!("{}: {state} ({})", event.worker_id, event.event_type());
    }
}

fn unexpected(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "the example could not go on").with_source(error)
}
