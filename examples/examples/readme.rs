//! The code of the README.

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, Result, WorkerConfig, WorkerProvider as _, WorkerProviderExt as _,
    process::{self, ProcessSettings},
    provider::{DeleteOptions, LogOptions},
};

fn main() -> Result<()> {
    process::init(); // lets workers outlive this program; first line of main
    run()
}

#[tokio::main]
async fn run() -> Result<()> {
    let context = ConnectContext::new("local".parse()?, "readme".parse()?);
    let provider = hodei_worker::connect(ProcessSettings::default(), context).await?;

    let config = WorkerConfig::builder("hello")
        .command(["sh", "-c", "echo hello from $NAME; exit 3"])
        .env("NAME", "a worker")
        .memory_limit("64Mi")
        .build()?;
    let worker = provider.run_worker(&config).await?.worker;

    let end = provider.wait_for_exit(&worker).await?;
    let mut logs = provider.worker_logs(&worker, &LogOptions::all()).await?;
    while let Some(item) = logs.next().await {
        println!("{worker} | {}", item?.chunk().map(|line| line.text()).unwrap_or_default());
    }
    println!("{worker} ended: {}", end.exit.map_or("nobody knows how".into(), |exit| exit.to_string()));
    provider.delete_worker(&worker, &DeleteOptions::default()).await
}
