//! T2, T3 and T4 with the manager in between: what a host sees that embeds it, its log on the disk.

use std::time::{Duration, Instant};

use hodei_worker::{
    WorkerConfig, WorkerManager, WorkerState,
    lifecycle::Worker,
    manager::{RemoveWorker, StopWorker, WorkerQuery},
};
use hodei_worker_benches::{Outcome, place::Place, sample::Samples, table::Row};

use crate::{
    recovery::Managed,
    targets::{self, IGNORES_TERM, OBEYS_TERM, bars, both, installation},
};

fn is(state: WorkerState) -> impl Fn(&Worker) -> bool + Send + 'static {
    move |worker| worker.state == Some(state)
}

/// Measures with a manager, and removes all that it had.
async fn with<F>(place: Place, what: &str, measure: F) -> Outcome<Vec<Row>>
where
    F: AsyncFnOnce(&WorkerManager, &str) -> Outcome<Vec<Row>>,
{
    let installation = installation(place, what);
    let managed = Managed::open(place, &installation).await?;
    let measured = measure(&managed.manager, &installation).await;
    managed.close().await?;
    targets::sweep(place, &installation).await?;
    measured
}

fn config(place: Place, installation: &str, id: String, script: &str) -> Outcome<WorkerConfig> {
    let builder = WorkerConfig::builder(id).command(["sh", "-c", script]);
    Ok(place.prepare(builder, installation).build()?)
}

/// The operations that T2 names: each is over when it is durable.
pub(crate) async fn operations(place: Place) -> Outcome<Vec<Row>> {
    with(place, "t2m", async |manager, installation| {
        let names = ["acknowledged create", "status", "list", "stop request"];
        let mut all = names.map(|name| (name, Samples::new()));
        for n in 0..place.rounds() {
            let config = config(place, installation, format!("w-{n}"), OBEYS_TERM)?;
            let id = &config.worker_id;
            let begun = Instant::now();
            manager.create_worker(&config).await?;
            all[0].1.push(begun.elapsed());
            manager.wait_for(id, is(WorkerState::Running)).await?;
            for _ in 0..10 {
                let begun = Instant::now();
                manager.worker(id).await?;
                all[1].1.push(begun.elapsed());
                let begun = Instant::now();
                manager.workers(&WorkerQuery::all()).await?;
                all[2].1.push(begun.elapsed());
            }
            let begun = Instant::now();
            manager.stop_worker(id, &StopWorker::within(Duration::from_secs(10))).await?;
            all[3].1.push(begun.elapsed());
            manager.remove_worker(id, &RemoveWorker::kill()).await?;
            manager.wait_until_gone(id).await?;
        }
        let row = |(name, samples): &(&str, Samples)| {
            Row::new("T2", format!("{}, by a manager: {name}", place.name()), both(samples))
                .against("p99 < 100 ms", samples.quantile(0.99) < Duration::from_millis(100))
                .bars("ms", bars(samples))
        };
        Ok(all.iter().map(row).collect())
    })
    .await
}

/// From the call until the log knows that it runs.
pub(crate) async fn starts(place: Place) -> Outcome<Vec<Row>> {
    with(place, "t3m", async |manager, installation| {
        let mut warm = Samples::new();
        for n in 0..30 {
            let config = config(place, installation, format!("w-{n}"), "exec sleep 1000")?;
            let begun = Instant::now();
            manager.create_worker(&config).await?;
            manager.wait_for(&config.worker_id, is(WorkerState::Running)).await?;
            warm.push(begun.elapsed());
            manager.remove_worker(&config.worker_id, &RemoveWorker::kill()).await?;
            manager.wait_until_gone(&config.worker_id).await?;
        }
        let row = Row::new("T3", format!("{}, by a manager: warm start", place.name()), both(&warm));
        Ok(vec![row.against("< 10 s", warm.quantile(0.99) < Duration::from_secs(10)).bars("ms", bars(&warm))])
    })
    .await
}

/// Workers that ignore the request, and such as obey it, stopped with the default grace: ten at once.
pub(crate) async fn stops(place: Place) -> Outcome<Vec<Row>> {
    with(place, "t4m", async |manager, installation| {
        let mut rows = Vec::new();
        for (kind, script) in [("ignores", IGNORES_TERM), ("obeys", OBEYS_TERM)] {
            let mut workers = Vec::new();
            for n in 0..10 {
                let config = config(place, installation, format!("{kind}-{n}"), script)?;
                manager.create_worker(&config).await?;
                workers.push(config.worker_id.clone());
            }
            for id in &workers {
                manager.wait_for(id, is(WorkerState::Running)).await?;
            }
            let stops = workers.iter().map(async |id| {
                let begun = Instant::now();
                manager.stop_worker(id, &StopWorker::default()).await?;
                manager.wait_for(id, is(WorkerState::Stopped)).await?;
                Outcome::Ok(begun.elapsed())
            });
            let mut samples = Samples::new();
            for took in futures::future::join_all(stops).await {
                samples.push(took?);
            }
            let what = format!("{}, by a manager: stop of one that {kind} it, ten at once", place.name());
            rows.push(
                Row::new("T4", what, both(&samples))
                    .against(
                        format!("< {} s", place.stop_target()),
                        samples.quantile(1.0).as_secs() < place.stop_target(),
                    )
                    .bars("ms", bars(&samples)),
            );
        }
        Ok(rows)
    })
    .await
}
