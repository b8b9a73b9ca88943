//! A pod with limits: its logs, a command in it, its end. `cargo run --features kubernetes --example kubernetes -- IMAGE`
//!
//! The cluster is found as `kubectl` finds it: by KUBECONFIG, else `~/.kube/config`. The image needs a shell; default:
//! `busybox:1.36`. To see what a host has to be allowed there, give `--role` in the place of the image.

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, Result, WorkerConfig, WorkerPhase, WorkerProvider, WorkerProviderExt as _,
    kubernetes::{ClusterFeature, KubernetesOptions, KubernetesSettings, Permissions},
    provider::{CreateOptions, DeleteOptions, ExecOptions, LogOptions, StartOptions, WorkerFilter},
};

#[tokio::main]
async fn main() -> Result<()> {
    let image = std::env::args().nth(1).unwrap_or_else(|| "busybox:1.36".to_owned());
    let permissions = Permissions::for_workers().and(ClusterFeature::Logs).and(ClusterFeature::Exec);
    if image == "--role" {
        // For `kubectl apply -f -`.
        println!("{}", permissions.manifest("default", "hodei-worker"));
        return Ok(());
    }
    let context = ConnectContext::new("cluster".parse()?, "example".parse()?);
    let provider = hodei_worker::connect(KubernetesSettings::default(), context).await?;
    println!("{}, {}", provider.info(), provider.get_capabilities().await?.version);

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
    let script = "trap 'exit 3' USR1; echo hello from $NAME; while true; do sleep 0.1; done";
    let config = WorkerConfig::builder("hello")
        .image(image)
        .command(["sh", "-c", script])
        .env("NAME", "a pod")
        .cpu_limit("500m")
        .memory_limit("64Mi")
        // The image's user is root, which a cluster that is set up with care does not take.
        .options(&KubernetesOptions::default().user(65_534))
        .build()?;
    let worker = provider.create_worker(&config, &CreateOptions::default()).await?.worker;
    provider.start_worker(&worker, &StartOptions::default()).await?;
    // Why it does not come up, if it does not, in the cluster's own words.
    let status = provider
        .wait_until(&worker, &|status| status.phase != WorkerPhase::Starting || status.failure.is_some())
        .await?;
    println!("{}: {}", status.phase, status.reason.as_deref().unwrap_or("as it should be"));

    let mut logs = provider.worker_logs(&worker, &LogOptions::following()).await?;
    if let Some(item) = logs.next().await {
        println!("log: {}", item?.chunk().map(|line| line.text().into_owned()).unwrap_or_default());
    }
    let exec = ExecOptions::new(["sh", "-c", "id -u; kill -USR1 1"]);
    let output = provider.exec_in_worker(&worker, &exec).await?.collect().await?;
    println!("user: {}", String::from_utf8_lossy(&output.stdout).trim_end());
    let end = provider.wait_for_exit(&worker).await?;
    println!("ended: {:?}", end.exit);
    Ok(())
}
