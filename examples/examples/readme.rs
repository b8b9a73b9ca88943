//! The code of the README.

use std::sync::Arc;

use hodei_worker::{
    ConnectContext, Result, WorkerConfig, WorkerManager,
    manager::{RemoveWorker, Shutdown},
    model::RestartPolicy,
    process::{self, ProcessSettings},
    stores::{FileSettings, RedbStore},
};

fn main() -> Result<()> {
    process::init(); // lets workers outlive this program; first line of main
    run()
}

#[tokio::main]
async fn run() -> Result<()> {
    let log = std::env::temp_dir().join("hodei-worker-readme");
    let log = RedbStore::open(log, FileSettings::default()).await?;
    let context = ConnectContext::new("local".parse()?, "readme".parse()?);
    let provider = hodei_worker::connect(ProcessSettings::default(), context).await?;
    let manager = WorkerManager::builder(Arc::new(log)).provider(provider).open().await?;

    let config = WorkerConfig::builder("hello")
        .command(["sh", "-c", "echo hello from $NAME; exit 3"])
        .env("NAME", "a worker")
        .restart_policy(RestartPolicy::OnFailure { max_retries: Some(2) })
        .build()?;
    manager.create_worker(&config).await?; // durable: it will be done, even if this host is killed

    let worker = manager.wait_for_end(&config.worker_id).await?; // tried three times by now
    let exit = worker.end.as_ref().and_then(|end| end.exit);
    println!("{} ended: {}", worker.id, exit.map_or("nobody knows how".into(), |exit| exit.to_string()));
    println!("a person is called: {}", worker.escalated().map_or("no", |why| why.phrase()));

    manager.remove_worker(&config.worker_id, &RemoveWorker::default()).await?;
    manager.wait_until_gone(&config.worker_id).await?;
    manager.shutdown(Shutdown::HandOver).await // its other workers would go on; the next manager adopts them
}
