//! Workers on two clusters as on one: each placed by the selector, all of them listed and watched together.
//! `cargo run --features kubernetes --example two_clusters -- KUBECONFIG KUBECONFIG [IMAGE]`

use std::{collections::BTreeMap, sync::Arc};

use hodei_worker::{
    ConnectContext, Error, ErrorKind, ProviderState, Result, WorkerConfig, WorkerPhase, WorkerProvider,
    WorkerProviderExt as _, WorkerRef,
    kubernetes::{KubernetesOptions, KubernetesSettings},
    model::WorkerRequirements,
    provider::{CreateOptions, DeleteOptions, StartOptions, WorkerFilter},
    select::{ProviderSelector, ProviderSnapshot, Snapshot},
};

type Clusters = BTreeMap<String, Arc<dyn WorkerProvider>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, second, image @ ..] = &arguments[..] else {
        return Err(Error::new(
            ErrorKind::Config,
            "two kubeconfigs are needed: KUBECONFIG KUBECONFIG [IMAGE]",
        ));
    };
    let image = image.first().map_or("busybox:1.36", String::as_str);
    let mut clusters = Clusters::new();
    for (name, kubeconfig) in [("one", first), ("two", second)] {
        let context = ConnectContext::new(name.parse()?, "two-clusters".parse()?);
        let settings = KubernetesSettings::from_kubeconfig(kubeconfig);
        let provider = hodei_worker::connect(settings, context).await?;
        println!("{name}: {}", provider.get_capabilities().await?.version);
        clusters.insert(name.to_owned(), provider);
    }
    remove_all(&clusters).await?;
    let shown = show(&clusters, image).await;
    remove_all(&clusters).await?;
    shown
}

async fn remove_all(clusters: &Clusters) -> Result<()> {
    for provider in clusters.values() {
        for status in provider.list_workers(&WorkerFilter::all()).await?.workers {
            provider.delete_worker(&status.worker, &DeleteOptions::default()).await?;
        }
    }
    Ok(())
}

/// The clusters as a selection sees them.
async fn snapshot(clusters: &Clusters, round: u64) -> Result<Snapshot> {
    let mut all = Vec::new();
    for provider in clusters.values() {
        let state = ProviderState::Ready(provider.get_capabilities().await?);
        let workers = provider.list_workers(&WorkerFilter::all()).await?.workers.len();
        all.push(ProviderSnapshot::new(provider.info().clone(), state).with_workers(workers));
    }
    Ok(Snapshot::new(all, round))
}

async fn show(clusters: &Clusters, image: &str) -> Result<()> {
    let selector = ProviderSelector::default();
    let mut placed: Vec<(String, WorkerRef)> = Vec::new();
    for round in 0..4 {
        let config = WorkerConfig::builder(format!("worker-{round}"))
            .image(image)
            .command(["sleep", "1000"])
            .stop_grace("1s")
            .options(&KubernetesOptions::default().user(65_534))
            .build()?;
        let selection = selector.select(&WorkerRequirements::default(), &snapshot(clusters, round).await?)?;
        let name = selection.provider.name.to_string();
        let provider = &clusters[&name];
        let worker = provider.create_worker(&config, &CreateOptions::default()).await?.worker;
        provider.start_worker(&worker, &StartOptions::default()).await?;
        println!("{worker} goes to {name}: {}", selection.selection_reason);
        placed.push((name, worker));
    }
    for (name, worker) in &placed {
        let running = |status: &hodei_worker::WorkerStatus| status.phase == WorkerPhase::Running;
        clusters[name].wait_until(worker, &running).await?;
    }
    for (name, provider) in clusters {
        let listed = provider.list_workers(&WorkerFilter::all()).await?;
        println!("{name}: {} run", listed.workers.len());
    }
    Ok(())
}
