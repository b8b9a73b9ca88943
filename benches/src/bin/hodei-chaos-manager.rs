//! Kills a host with -9 at random instants while its manager creates, starts, stops and removes workers that fail and end
//! by themselves, again and again on the same log; then has the next one settle, and compares what is there with what was
//! acknowledged. `hodei-chaos-manager --provider process|docker --rounds N`

#[path = "chaos_manager/check.rs"]
mod check;
#[path = "chaos_manager/host.rs"]
mod host;
#[path = "chaos_manager/model.rs"]
mod model;

use std::{
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use hodei_worker_benches::{Outcome, leftovers, place::Place};
use model::Model;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::Instant,
};

/// How often what is there is compared with what was acknowledged.
const CHECK_EVERY: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    hodei_worker::process::init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = runtime.map_err(Into::into).and_then(|runtime| match words[..] {
        ["host", place, installation, folder, seed] => {
            runtime.block_on(host::load(place, installation, Path::new(folder), seed, &model::NAMES))
        }
        ["settle", place, installation, folder] => {
            runtime.block_on(host::settle(place, installation, Path::new(folder)))
        }
        ["--rounds", rounds, "--provider", place] | ["--provider", place, "--rounds", rounds] => {
            runtime.block_on(drive(place, rounds))
        }
        _ => Err("usage: hodei-chaos-manager --provider process|docker --rounds N".into()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hodei-chaos-manager: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Run {
    place: Place,
    installation: String,
    folder: PathBuf,
}

async fn drive(place: &str, rounds: &str) -> Outcome {
    let place = Place::named(place)?;
    let rounds: usize = rounds.parse().map_err(|_| format!("`{rounds}` is no number of rounds"))?;
    let installation = format!("chaos-m-{}", std::process::id());
    let folder = std::env::temp_dir().join("hodei-bench").join(&installation);
    std::fs::create_dir_all(&folder)?;
    let run = Run { place, installation, folder };
    let end = run.rounds(rounds).await;
    let cleared = run.clear().await;
    let counts = end?;
    cleared?;
    println!(
        "{:<8} manager {rounds} kills at random instants, {} before the log was open; {} commands acknowledged, {} cut \
         off; {} runs; lost {}, doubled {}, orphaned {}",
        place.name(),
        counts.early,
        counts.acknowledged,
        counts.cut_off,
        counts.runs,
        0,
        0,
        0
    );
    Ok(())
}

#[derive(Default)]
struct Counts {
    early: usize,
    acknowledged: usize,
    cut_off: usize,
    runs: usize,
}

impl Run {
    async fn rounds(&self, rounds: usize) -> Outcome<Counts> {
        let mut model = Model::default();
        let mut counts = Counts::default();
        let longest = if self.place == Place::Docker { 2000 } else { 250 };
        for round in 1..=rounds {
            let after = Duration::from_micros(fastrand::u64(0..longest * 1000));
            let told = self.killed(after, round).await?;
            counts.early += usize::from(!told.iter().any(|line| line == "ready"));
            let (acknowledged, cut_off) = model.take(&told)?;
            counts.acknowledged += acknowledged;
            counts.cut_off += cut_off;
            if round % CHECK_EVERY == 0 || round == rounds {
                let settled = self.settled().await.map_err(|error| format!("round {round}: {error}"))?;
                let store = host::store(&self.folder).await?;
                let problems = check::problems(
                    self.place,
                    &self.installation,
                    &self.folder,
                    &settled,
                    &mut model,
                    &*store,
                )
                .await?;
                if !problems.is_empty() {
                    return Err(format!("round {round}:\n{}", problems.join("\n")).into());
                }
            }
        }
        counts.runs = check::runs(&self.folder);
        Ok(counts)
    }

    fn host(&self, words: &[&str]) -> Outcome<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Has a host work, and kills it after that time. Gives what it told.
    async fn killed(&self, after: Duration, seed: usize) -> Outcome<Vec<String>> {
        let (folder, seed) = (self.folder.display().to_string(), seed.to_string());
        let mut host =
            self.host(&["host", self.place.name(), &self.installation, &folder, &seed])?.spawn()?;
        let end = Instant::now() + after;
        let mut output = BufReader::new(host.stdout.take().ok_or("no standard output")?).lines();
        let mut told = Vec::new();
        loop {
            tokio::select! {
                line = output.next_line() => match line? {
                    Some(line) => told.push(line),
                    None => return Err(format!("the host ended by itself, having told {told:?}").into()),
                },
                () = tokio::time::sleep_until(end) => break,
            }
        }
        host.kill().await?;
        while let Some(line) = output.next_line().await? {
            told.push(line);
        }
        Ok(told)
    }

    /// Has a host bring everything to rest, and tell what it knows then.
    async fn settled(&self) -> Outcome<Vec<check::Known>> {
        let folder = self.folder.display().to_string();
        let host = self.host(&["settle", self.place.name(), &self.installation, &folder])?.output();
        let output = tokio::time::timeout(PATIENCE, host).await.map_err(|_| "the host did not settle")??;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("the host that should settle failed: {said}").into());
        }
        String::from_utf8_lossy(&output.stdout).lines().map(check::Known::read).collect()
    }

    async fn clear(&self) -> Outcome {
        let provider = self.place.connect(&self.installation).await?;
        for status in provider.list_workers(&Default::default()).await?.workers {
            provider.delete_worker(&status.worker, &Default::default()).await?;
        }
        drop(provider);
        let left = leftovers::of(self.place, &self.installation).await?;
        self.place.clear(&self.installation);
        leftovers::clear_groups(&self.installation);
        std::fs::remove_dir_all(&self.folder)?;
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {}", left.join(", ")).into()) }
    }
}
