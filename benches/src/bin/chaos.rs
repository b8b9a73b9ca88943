//! Kills a host with -9 in the middle of each of create, start, stop and delete, at instants spread over the call, and
//! has another host of the same installation go on: it lists what exists by its labels, repeats the call, and nothing
//! is orphaned and nothing double. `chaos --provider process|docker|kubernetes --rounds N`

use std::{
    process::{ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use hodei_worker::{
    Capability, WorkerConfig, WorkerPhase, WorkerProvider, WorkerProviderExt as _, WorkerRef, WorkerStatus,
    provider::{CreateOptions, DeleteOptions, LogOptions, StartOptions, StopOptions, WorkerFilter},
    status::ExitStatus,
    testkit::eventually,
};
use hodei_worker_benches::{
    Outcome,
    aim::{Aim, Hit},
    leftovers,
    place::Place,
    program,
    sample::Samples,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

const OPERATIONS: [&str; 4] = ["create", "start", "stop", "delete"];
/// Rounds from which on every kind of instant has to be hit.
const PROOF: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// Says what happens to it, and ends when it is asked to.
const SCRIPT: &str = "trap 'echo term; exit 7' TERM; echo run; sleep 1000 & wait $!";

fn main() -> ExitCode {
    hodei_worker::process::init();
    program::run("chaos", |runtime, words| match *words {
        ["host", place, installation, operation] => runtime.block_on(host(place, installation, operation)),
        ["--rounds", rounds, "--provider", place] | ["--provider", place, "--rounds", rounds] => {
            runtime.block_on(drive(place, rounds))
        }
        _ => Err("usage: chaos --provider process|docker|kubernetes --rounds N".into()),
    })
}

fn config(place: Place, installation: &str) -> Outcome<WorkerConfig> {
    let builder = WorkerConfig::builder("victim").command(["sh", "-c", SCRIPT]);
    Ok(place.prepare(builder, installation).build()?)
}

async fn call(provider: &dyn WorkerProvider, operation: &str, config: &WorkerConfig) -> Outcome {
    let worker = WorkerRef::first(config.worker_id.clone());
    match operation {
        "create" => drop(provider.create_worker(config, &CreateOptions::default()).await?),
        "start" => provider.start_worker(&worker, &StartOptions::default()).await?,
        "stop" => provider.stop_worker(&worker, &StopOptions::within(Duration::from_secs(10))).await?,
        _ => provider.delete_worker(&worker, &DeleteOptions::default()).await?,
    }
    Ok(())
}

/// The host that is killed: says when it is ready, waits for the word, and makes the call.
async fn host(place: &str, installation: &str, operation: &str) -> Outcome {
    let place = Place::named(place)?;
    let provider = place.connect(installation).await?;
    let config = config(place, installation)?;
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    println!("ready");
    input.next_line().await?;
    println!("begun");
    call(&*provider, operation, &config).await?;
    println!("done");
    input.next_line().await?;
    Ok(())
}

async fn drive(place: &str, rounds: &str) -> Outcome {
    let place = Place::named(place)?;
    let rounds: usize = rounds.parse().map_err(|_| format!("`{rounds}` is no number of rounds"))?;
    for operation in OPERATIONS {
        // How long the call takes undisturbed, to spread the instants over it and a little beyond.
        let mut usual = Samples::new();
        // A pod takes its second.
        let dry = if place == Place::Kubernetes { 2 } else { 5 };
        for n in 0..dry {
            usual.push(round(place, operation, &format!("dry{n}"), None).await?.took);
        }
        let usual = usual.median();
        let mut aim = Aim::new(usual, rounds);
        while let Some(after) = aim.next() {
            let end = round(place, operation, &aim.total().to_string(), Some(after)).await;
            let end = end.map_err(|error| format!("{operation}, killed after {after:?}: {error}"))?;
            aim.hit(after, end.hit);
        }
        // A few rounds may miss the instants of a call of microseconds; a run that is to prove something may not.
        if let Some(missed) = aim.missing().first()
            && rounds >= PROOF
        {
            let total = aim.total();
            return Err(format!("none of {total} kills of {operation} came {}", missed.name()).into());
        }
        let [before, inside, beyond] = [Hit::Before, Hit::Inside, Hit::After].map(|kind| aim.count(kind));
        println!(
            "{:<8} {operation:<7} {} kills of a call of {usual:?}: {before} {}, {inside} {}, {beyond} {}; nothing \
             orphaned, nothing double, nothing left",
            place.name(),
            aim.total(),
            Hit::Before.name(),
            Hit::Inside.name(),
            Hit::After.name(),
        );
    }
    Ok(())
}

struct End {
    took: Duration,
    hit: Hit,
}

async fn round(place: Place, operation: &str, name: &str, kill_after: Option<Duration>) -> Outcome<End> {
    let installation = format!("chaos-{}-{operation}-{name}", std::process::id());
    let end = attempt(place, operation, &installation, kill_after).await;
    // Whatever came of it, nothing stays.
    let provider = place.connect(&installation).await?;
    for status in provider.list_workers(&WorkerFilter::all()).await?.workers {
        provider.delete_worker(&status.worker, &DeleteOptions::default()).await?;
    }
    let end = end?;
    nothing_left(place, &installation).await?;
    drop(provider);
    place.clear(&installation);
    leftovers::clear_groups(&installation);
    Ok(end)
}

async fn attempt(
    place: Place,
    operation: &str,
    installation: &str,
    kill_after: Option<Duration>,
) -> Outcome<End> {
    let config = config(place, installation)?;
    let worker = WorkerRef::first(config.worker_id.clone());
    let before = place.connect(installation).await?;
    for earlier in OPERATIONS.iter().take_while(|earlier| **earlier != operation) {
        if *earlier != "stop" {
            call(&*before, earlier, &config).await?;
        }
    }
    if matches!(operation, "stop" | "delete") {
        says(&before, &worker, "run").await?;
    }
    drop(before);

    let mut host = Command::new(std::env::current_exe()?)
        .args(["host", place.name(), installation, operation])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = host.stdin.take().ok_or("no standard input")?;
    let mut output = BufReader::new(host.stdout.take().ok_or("no standard output")?).lines();
    if output.next_line().await?.as_deref() != Some("ready") {
        return Err("the host did not get ready".into());
    }
    input.write_all(b"go\n").await?;
    if output.next_line().await?.as_deref() != Some("begun") {
        return Err("the host did not begin".into());
    }
    let begun = Instant::now();
    let had_answered = match kill_after {
        None => {
            if output.next_line().await?.as_deref() != Some("done") {
                return Err("the host failed without being killed".into());
            }
            true
        }
        Some(after) => {
            // The instant is what is tried out: finer than a timer's tick.
            while begun.elapsed() < after {
                tokio::task::yield_now().await;
            }
            host.start_kill()?;
            output.next_line().await?.as_deref() == Some("done")
        }
    };
    let took = begun.elapsed();
    host.kill().await?;

    let had_an_effect = go_on(place, operation, installation, &config).await?;
    let hit = match (had_an_effect, had_answered) {
        (true, true) => Hit::After,
        (true, false) => Hit::Inside,
        (false, false) => Hit::Before,
        (false, true) => return Err("it had answered, and had no effect".into()),
    };
    Ok(End { took, hit })
}

/// What the next host does and finds. Says whether the killed one's call had an effect.
async fn go_on(place: Place, operation: &str, installation: &str, config: &WorkerConfig) -> Outcome<bool> {
    let worker = WorkerRef::first(config.worker_id.clone());
    let provider = place.connect(installation).await?;
    let found = provider.list_workers(&WorkerFilter::all()).await?.workers;
    if found.len() > 1 || found.iter().any(|status| status.worker != worker || status.ownership.is_none()) {
        return Err(format!("found {found:?}").into());
    }
    let phase = found.first().map_or(WorkerPhase::Absent, |status| status.phase);
    call(&*provider, operation, config).await?;
    let keeps_stopped = provider.get_capabilities().await?.supports(Capability::KeepsStopped);

    let had_an_effect = match operation {
        "create" => phase != WorkerPhase::Absent,
        "start" => phase != WorkerPhase::Created,
        "stop" => phase != WorkerPhase::Running,
        _ => phase == WorkerPhase::Absent,
    };
    if operation == "create" {
        call(&*provider, "start", config).await?;
    }
    match operation {
        "delete" => nothing_left(place, installation).await?,
        // There is nothing of it any more, where a provider does not keep what was stopped.
        "stop" if !keeps_stopped => {
            let is_gone = |status: &WorkerStatus| status.phase == WorkerPhase::Absent;
            tokio::time::timeout(PATIENCE, provider.wait_until(&worker, &is_gone)).await??;
        }
        "stop" => {
            let status = provider.get_worker_status(&worker).await?;
            if status.phase != WorkerPhase::Exited || status.exit != Some(ExitStatus::Code(7)) {
                return Err(format!("not stopped as it should be: {status:?}").into());
            }
            once(&provider, &worker, "term").await?;
        }
        _ => {
            says(&provider, &worker, "run").await?;
            once(&provider, &worker, "run").await?;
            let runs = |status: &WorkerStatus| status.phase == WorkerPhase::Running;
            tokio::time::timeout(PATIENCE, provider.wait_until(&worker, &runs)).await??;
        }
    }
    let listed = provider.list_workers(&WorkerFilter::all()).await?.workers.len();
    let is_gone = operation == "delete" || operation == "stop" && !keeps_stopped;
    if listed != usize::from(!is_gone) {
        return Err(format!("{listed} workers at the end").into());
    }
    Ok(had_an_effect)
}

async fn lines(provider: &Arc<dyn WorkerProvider>, worker: &WorkerRef, line: &str) -> Outcome<usize> {
    let text = provider.collect_logs(worker, &LogOptions::all()).await?;
    Ok(String::from_utf8_lossy(&text).lines().filter(|written| *written == line).count())
}

async fn says(provider: &Arc<dyn WorkerProvider>, worker: &WorkerRef, line: &str) -> Outcome {
    eventually(PATIENCE, async || match lines(provider, worker, line).await? {
        0 => Err(format!("`{line}` was never said").into()),
        _ => Ok(()),
    })
    .await
}

async fn once(provider: &Arc<dyn WorkerProvider>, worker: &WorkerRef, line: &str) -> Outcome {
    match lines(provider, worker, line).await? {
        1 => Ok(()),
        times => Err(format!("`{line}` was said {times} times").into()),
    }
}

/// No process, file, group, container or volume of the installation is there.
async fn nothing_left(place: Place, installation: &str) -> Outcome {
    eventually(PATIENCE, async || match leftovers::of(place, installation).await? {
        left if left.is_empty() => Ok(()),
        left => Err(format!("still there: {left:?}").into()),
    })
    .await
}
