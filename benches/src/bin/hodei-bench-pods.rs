//! Lists the pods of an installation once, in a process of its own, so that its memory is that alone.
//! `hodei-bench-pods bare|raw|ours INSTALLATION` prints how many there were, the nanoseconds until all were known, and the
//! most memory that it held, in kB. `bare` asks for the server's version only; `raw` reads all pods by one list and drops
//! them; `ours` watches them and keeps each as its status.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use hodei_worker::{
    ConnectContext, ProviderSettings as _, WorkerObservation, WorkerProvider as _, model::labels,
    provider::WatchOptions,
};
use hodei_worker_benches::{Outcome, place::cluster, program};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

fn main() -> ExitCode {
    program::run("hodei-bench-pods", |runtime, words| match *words {
        [what, installation] => runtime.block_on(measure(what, installation)),
        _ => Err("usage: hodei-bench-pods bare|raw|ours INSTALLATION".into()),
    })
}

async fn measure(what: &str, installation: &str) -> Outcome {
    let context = ConnectContext::new("pods".parse()?, installation.parse()?);
    let provider = cluster()?.connect(context).await?;
    let begun = Instant::now();
    let (count, took) = match what {
        "bare" => (0, Duration::ZERO),
        "raw" => {
            let pods: Api<Pod> = Api::namespaced(provider.client(), "default");
            let ours = format!("{}={installation}", labels::INSTALLATION);
            let all = pods.list(&ListParams::default().labels(&ours)).await?;
            (all.items.len(), begun.elapsed())
        }
        "ours" => {
            let mut changes = provider.watch_workers(&WatchOptions::default()).await?;
            let mut count = 0;
            loop {
                match changes.next().await.ok_or("the watch ended")?? {
                    WorkerObservation::Listed(_) => count += 1,
                    WorkerObservation::Synced => break,
                    _ => {}
                }
            }
            let took = begun.elapsed();
            // It is held as long as it is watched.
            println!("{count} {} {}", took.as_nanos(), most()?);
            return Ok(());
        }
        _ => return Err(format!("`{what}` is none of bare, raw, ours").into()),
    };
    println!("{count} {} {}", took.as_nanos(), most()?);
    Ok(())
}

/// The most memory that this process held.
fn most() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
