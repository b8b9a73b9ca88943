//! A container with limits: its logs, a command in it, its usage. `cargo run --features docker --example docker -- IMAGE`
//!
//! The engine is found as the `docker` command finds it. The image needs a shell; default: `busybox:1.36`.

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, Result, WorkerConfig, WorkerProvider, WorkerProviderExt as _,
    docker::DockerSettings,
    provider::{
        CreateOptions, DeleteOptions, ExecOptions, LogOptions, StartOptions, StatsOptions, StopOptions,
        WorkerFilter,
    },
};

#[tokio::main]
async fn main() -> Result<()> {
    let image = std::env::args().nth(1).unwrap_or_else(|| "busybox:1.36".to_owned());
    let context = ConnectContext::new("docker".parse()?, "example".parse()?);
    let mut settings = DockerSettings::default();
    settings.endpoint = std::env::var("DOCKER_HOST").ok();
    let provider = hodei_worker::connect(settings, context).await?;
    println!("{}, engine {}", provider.info(), provider.get_capabilities().await?.version);

    // What an earlier run left when it was killed; and nothing is to be left by this one, however it ends.
    remove_all(&*provider).await?;
    let shown = tokio::select! {
        shown = show(&*provider, &image) => shown,
        _ = tokio::signal::ctrl_c() => {
            println!("interrupted");
            Ok(())
        }
    };
    remove_all(&*provider).await?;
    shown
}

async fn remove_all(provider: &dyn WorkerProvider) -> Result<()> {
    for status in provider.list_workers(&WorkerFilter::all()).await?.workers {
        provider.delete_worker(&status.worker, &DeleteOptions::default()).await?;
    }
    Ok(())
}

async fn show(provider: &dyn WorkerProvider, image: &str) -> Result<()> {
    let config = WorkerConfig::builder("hello")
        .image(image)
        .command(["sh", "-c", "trap 'exit 0' TERM; echo hello from $NAME; sleep 60 & wait $!"])
        .env("NAME", "a container")
        .cpu_limit("500m")
        .memory_limit("64Mi")
        .pids_limit(50)
        .build()?;
    let progress = CreateOptions::default().with_progress(|step| println!("  {step:?}"));
    let worker = provider.create_worker(&config, &progress).await?.worker;
    provider.start_worker(&worker, &StartOptions::default()).await?;

    let mut logs = provider.worker_logs(&worker, &LogOptions::following()).await?;
    if let Some(item) = logs.next().await {
        println!("log: {}", item?.chunk().map(|line| line.text().into_owned()).unwrap_or_default());
    }
    let output = provider.exec_in_worker(&worker, &ExecOptions::new(["hostname"])).await?.collect().await?;
    println!("hostname: {}", String::from_utf8_lossy(&output.stdout).trim_end());
    let stats = provider.worker_stats(&worker, &StatsOptions::default()).await?;
    println!("memory: {:?} of {:?} bytes", stats.memory, stats.memory_limit);

    provider.stop_worker(&worker, &StopOptions::default()).await?;
    let end = provider.wait_for_exit(&worker).await?;
    println!("ended: {:?}", end.exit);
    Ok(())
}
