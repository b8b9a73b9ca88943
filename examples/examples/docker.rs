//! A container with limits: its logs, a command in it, its usage. `cargo run --features docker --example docker -- IMAGE`
//!
//! The engine is found as the `docker` command finds it. The image needs a shell; default: `busybox:1.36`.

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, Result, WorkerConfig, WorkerProvider as _, WorkerProviderExt as _,
    docker::DockerSettings,
    provider::{
        CreateOptions, DeleteOptions, ExecOptions, LogOptions, StartOptions, StatsOptions, StopOptions,
    },
};

#[tokio::main]
async fn main() -> Result<()> {
    let image = std::env::args().nth(1).unwrap_or_else(|| "busybox:1.36".to_owned());
    let installation = format!("example-{}", std::process::id());
    let context = ConnectContext::new("docker".parse()?, installation.parse()?);
    let mut settings = DockerSettings::default();
    settings.endpoint = std::env::var("DOCKER_HOST").ok();
    let provider = hodei_worker::connect(settings, context).await?;
    println!("{}, engine {}", provider.info(), provider.get_capabilities().await?.version);

    let config = WorkerConfig::builder("hello")
        .image(image.as_str())
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
    provider.delete_worker(&worker, &DeleteOptions::default()).await
}
