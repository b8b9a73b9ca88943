//! The same with pods: the next generation is another pod, which the cluster has to place and to start.

use std::time::Instant;

use hodei_worker::{
    WorkerConfig, WorkerState, lifecycle::Worker, manager::RemoveWorker, model::RestartPolicy,
};
use hodei_worker_benches::{Outcome, place::Place, processes::marked, sample::Samples, table::Row};
use tokio::time::timeout;

use super::{Managed, PATIENCE, kill, middle, worst_case};

const TIMES: usize = 12;

pub(super) async fn measure(installation: &str) -> Outcome<Vec<Row>> {
    let managed = Managed::open(Place::Kubernetes, installation).await?;
    let measured = killed_pods(&managed, installation).await;
    managed.close().await?;
    measured
}

async fn killed_pods(managed: &Managed, installation: &str) -> Outcome<Vec<Row>> {
    let manager = &managed.manager;
    let mut samples = Samples::new();
    for n in 0..TIMES {
        let builder = WorkerConfig::builder(format!("w{n}")).command(["sleep", "1000"]).stop_grace("1s");
        let builder = builder.restart_policy(RestartPolicy::Always);
        let config = Place::Kubernetes.prepare(builder, installation).build()?;
        let id = &config.worker_id;
        manager.create_worker(&config).await?;
        let runs = |worker: &Worker| worker.state == Some(WorkerState::Running);
        let first = timeout(PATIENCE, manager.wait_for(id, runs)).await??;
        // Only this one runs.
        let pids = marked(installation);
        let [pid] = pids[..] else { return Err(format!("{pids:?} run in the place of one process").into()) };
        let begun = Instant::now();
        kill(pid)?;
        let again = move |worker: &Worker| {
            worker.state == Some(WorkerState::Running) && worker.generation > first.generation
        };
        timeout(PATIENCE, manager.wait_for(id, again)).await??;
        samples.push(begun.elapsed());
        manager.remove_worker(id, &RemoveWorker::kill()).await?;
        manager.wait_until_gone(id).await?;
    }
    let what = "kubernetes: killed with -9 until its next pod runs, written down first";
    Ok(vec![Row::new("F7", what, middle(&samples)), worst_case("T5", "kubernetes", &samples)])
}
