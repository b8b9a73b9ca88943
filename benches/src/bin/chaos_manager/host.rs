//! The host that is killed, and the one that comes after.

use std::{path::Path, sync::Arc, time::Duration};

use hodei_worker::{
    WorkerConfig, WorkerId, WorkerManager,
    lifecycle::{RecoverySettings, Worker},
    manager::{ManagerSettings, RemoveWorker, Shutdown, StopWorker, WorkerQuery},
    model::RestartPolicy,
    quantity::HumanDuration,
    store::Store,
    stores::{FileSettings, PostgresSettings, PostgresStore, RedbStore},
};
use hodei_worker_benches::{Outcome, place::Place};

use crate::{check::Known, model::Operation};

/// Time after which a worker that goes on changing is told.
const LONGEST: Duration = Duration::from_secs(40);

/// Goes on for ever, ends well at once, or fails again and again; what it is, its name tells.
fn config(place: Place, installation: &str, folder: &Path, name: &str) -> Outcome<WorkerConfig> {
    let runs = folder.join("runs").join(name);
    let note = match place {
        // In a container there is no such file; the engine's own count is looked at there.
        Place::Docker | Place::Kubernetes => String::new(),
        _ => format!("echo run >> {}; ", runs.display()),
    };
    let rest = match name.as_bytes().last() {
        Some(b'0'..=b'4') => "trap 'exit 0' TERM; sleep 1000 & wait $!",
        Some(b'5' | b'6') => "sleep 0.02; exit 0",
        _ => "sleep 0.02; exit 3",
    };
    let mut recovery = RecoverySettings::default();
    recovery.backoff = HumanDuration::millis(5);
    recovery.max_attempts = 3;
    let builder = WorkerConfig::builder(name)
        .command(["sh", "-c", &format!("{note}{rest}")])
        .env("CHAOS_WORKER", name)
        .restart_policy(RestartPolicy::OnFailure { max_retries: None })
        .recovery(recovery);
    Ok(place.prepare(builder, installation).build()?)
}

/// How long a host's lease holds, where several share the log.
pub(crate) const LEASE: HumanDuration = HumanDuration::millis(1500);

/// Names the address and the schema of the log, where several hosts share it.
const POSTGRES: &str = "HODEI_CHAOS_POSTGRES";

/// The log: a PostgreSQL where `HODEI_CHAOS_POSTGRES` names its address and schema, else in the folder.
pub(crate) async fn store(folder: &Path) -> Outcome<Arc<dyn Store>> {
    match std::env::var(POSTGRES) {
        Ok(named) => {
            let (url, schema) = named.split_once('#').ok_or("no schema is named")?;
            Ok(Arc::new(PostgresStore::connect(PostgresSettings::at(url).in_schema(schema)).await?))
        }
        Err(_) => Ok(Arc::new(RedbStore::open(folder.join("log"), FileSettings::default()).await?)),
    }
}

async fn open(place: Place, installation: &str, folder: &Path) -> Outcome<WorkerManager> {
    std::fs::create_dir_all(folder.join("runs"))?;
    let store = store(folder).await?;
    let mut settings = ManagerSettings::default();
    settings.sweep_after = HumanDuration::millis(50);
    // Often enough that kills come in the middle of it.
    settings.compact_every = 100;
    // More than is written between two checks, since the starts among it are counted; two hosts write more than one.
    settings.keep_events = if std::env::var_os(POSTGRES).is_some() { 50_000 } else { 10_000 };
    settings.lease = LEASE;
    let provider = place.connect_with_policies(installation).await?;
    Ok(WorkerManager::builder(store).provider(provider).settings(settings).open().await?)
}

/// Works until it is killed, and tells each command before and after.
pub(crate) async fn load(
    place: &str,
    installation: &str,
    folder: &Path,
    seed: &str,
    names: &[&str],
) -> Outcome {
    let place = Place::named(place)?;
    let manager = open(place, installation, folder).await?;
    println!("ready");
    let mut random = fastrand::Rng::with_seed(seed.parse()?);
    loop {
        let name = names[random.usize(..names.len())];
        let operation = Operation::ALL[random.usize(..Operation::ALL.len())];
        println!("begin {} {name}", operation.as_str());
        let id: WorkerId = name.parse()?;
        let done = match operation {
            Operation::Create => {
                manager.create_worker(&config(place, installation, folder, name)?).await.map(drop)
            }
            Operation::Start => manager.start_worker(&id).await.map(drop),
            Operation::Stop => {
                manager.stop_worker(&id, &StopWorker::within(Duration::from_secs(1))).await.map(drop)
            }
            Operation::Remove => match manager.worker(&id).await? {
                Some(_) => manager.remove_worker(&id, &RemoveWorker::kill()).await,
                None => Err(hodei_worker::Error::new(hodei_worker::ErrorKind::NotFound, "not there")),
            },
        };
        match done {
            Ok(()) => println!("done {} {name}", operation.as_str()),
            Err(error) => {
                let said = error.to_string().replace('\n', " ");
                println!("refused {} {name} {said}", operation.as_str());
            }
        }
        if random.u8(..4) == 0 {
            tokio::time::sleep(Duration::from_millis(random.u64(..30))).await;
        }
    }
}

/// Waits until nothing happens any more, and tells what is known.
pub(crate) async fn settle(place: &str, installation: &str, folder: &Path) -> Outcome {
    let place = Place::named(place)?;
    let manager = open(place, installation, folder).await?;
    manager.synced().await?;
    for worker in manager.workers(&WorkerQuery::all()).await? {
        let waited = tokio::time::timeout(LONGEST, manager.wait_for(&worker.id, at_rest)).await;
        let Ok(waited) = waited else {
            let worker = manager.worker(&worker.id).await?;
            return Err(format!("it does not come to rest: {worker:#?}").into());
        };
        match waited {
            Ok(_) => {}
            Err(error) if error.kind() == hodei_worker::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    // What is swept needs a moment, and has an event of its own only in the listing.
    hodei_worker::testkit::eventually(Duration::from_secs(20), || async {
        match manager.strays().await {
            Ok(strays) if strays.is_empty() => Ok(()),
            strays => Err(format!("objects are left that no worker stands behind: {strays:?}")),
        }
    })
    .await?;
    manager.quiet().await?;
    for worker in manager.workers(&WorkerQuery::all()).await? {
        println!("{}", Known::of(&worker).line());
    }
    manager.shutdown(Shutdown::HandOver).await?;
    Ok(())
}

fn at_rest(worker: &Worker) -> bool {
    use hodei_worker::WorkerState as S;
    let waits = worker.pending.is_some();
    match worker.state {
        None => true,
        Some(S::Creating) => worker.created && !waits,
        Some(S::Running) => !endless_is_false(worker) && !waits,
        Some(S::Stopped | S::Failed) => !waits,
        _ => false,
    }
}

/// Whether it will end by itself.
fn endless_is_false(worker: &Worker) -> bool {
    !matches!(worker.id.as_str().as_bytes().last(), Some(b'0'..=b'4'))
}
