//! Kills a host with -9 at random instants while its manager creates, starts, stops and removes workers that fail and end
//! by themselves, again and again on the same log; then has the next one settle, and compares what is there with what was
//! acknowledged. Some hosts are paused before, some have a disk that is slow, and some lose their engine, which comes back:
//! where `HODEI_TEST_ENGINE` or `HODEI_TEST_CLUSTER` names the program that does that. `hodei-chaos-manager --provider process|docker|kubernetes --rounds N`

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

use hodei_worker_benches::{Outcome, leftovers, place::Place, processes, program, slow_disk::SlowDisk};
use model::Model;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

/// How often what is there is compared with what was acknowledged.
const CHECK_EVERY: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause of a host, in milliseconds.
const LONGEST_PAUSE: u64 = 1500;
/// How many writes a second a slow disk does.
const SLOWEST: u32 = 10;
const FASTEST: u32 = 200;

fn main() -> ExitCode {
    hodei_worker::process::init();
    program::run("hodei-chaos-manager", |runtime, words| match *words {
        ["host", place, installation, folder, seed] => {
            runtime.block_on(host::load(place, installation, Path::new(folder), seed, &model::NAMES))
        }
        ["settle", place, installation, folder] => {
            runtime.block_on(host::settle(place, installation, Path::new(folder)))
        }
        ["--rounds", rounds, "--provider", place] | ["--provider", place, "--rounds", rounds] => {
            runtime.block_on(drive(place, rounds))
        }
        _ => Err("usage: hodei-chaos-manager --provider process|docker|kubernetes --rounds N".into()),
    })
}

struct Run {
    place: Place,
    installation: String,
    folder: PathBuf,
    slow_disk: Option<SlowDisk>,
}

async fn drive(place: &str, rounds: &str) -> Outcome {
    let place = Place::named(place)?;
    let rounds: usize = rounds.parse().map_err(|_| format!("`{rounds}` is no number of rounds"))?;
    let installation = format!("chaos-m-{}", std::process::id());
    let folder = std::env::temp_dir().join("hodei-bench").join(&installation);
    std::fs::create_dir_all(&folder)?;
    let slow_disk = SlowDisk::of(&folder)
        .inspect_err(|error| {
            println!("{:<8} not on a slow disk: no disk can be slowed down here: {error}", "")
        })
        .ok();
    let run = Run { place, installation, folder, slow_disk };
    let end = run.rounds(rounds).await;
    let cleared = run.clear().await;
    let counts = end?;
    cleared?;
    println!(
        "{:<8} manager {rounds} kills at random instants, {} before the log was open, {} after a pause, {} \
         on a slow disk, {} and {} after the engine was restarted and killed; {} commands acknowledged, {} cut off; {} runs; lost {}, doubled {}, \
         orphaned {}",
        place.name(),
        counts.early,
        counts.paused,
        counts.slowed,
        counts.restarted,
        counts.killed,
        counts.acknowledged,
        counts.cut_off,
        counts.runs,
        0,
        0,
        0
    );
    if counts.forgotten > 0 {
        println!(
            "{:<8} {} processes that a killed engine no longer knew of were ended from outside",
            "", counts.forgotten
        );
    }
    Ok(())
}

/// What happens to a host before it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Nothing,
    /// It stands still for a while.
    Pause,
    /// Its disk gets slow.
    SlowDisk,
    /// Its engine is stopped in order, and started again.
    Restart,
    /// Its engine is killed and started again.
    Kill,
}

#[derive(Default)]
struct Counts {
    early: usize,
    paused: usize,
    slowed: usize,
    restarted: usize,
    killed: usize,
    forgotten: usize,
    acknowledged: usize,
    cut_off: usize,
    runs: usize,
}

impl Run {
    async fn rounds(&self, rounds: usize) -> Outcome<Counts> {
        let mut model = Model::default();
        let mut counts = Counts::default();
        for round in 1..=rounds {
            let blow = self.blow(round);
            // On a slow disk it takes longer until something has been done.
            let longest = match (self.place, blow) {
                (Place::Kubernetes, _) => 4000,
                (Place::Docker, _) | (_, Blow::SlowDisk) => 2000,
                _ => 250,
            };
            let after = Duration::from_micros(fastrand::u64(0..longest * 1000));
            counts.paused += usize::from(blow == Blow::Pause);
            counts.slowed += usize::from(blow == Blow::SlowDisk);
            counts.restarted += usize::from(blow == Blow::Restart);
            counts.killed += usize::from(blow == Blow::Kill);
            let (told, forgotten) = self.killed(after, round, blow).await?;
            counts.forgotten += forgotten;
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

    /// An engine is seldom killed: each time, all workers fail, and after a few times in a row a person is called.
    fn blow(&self, round: usize) -> Blow {
        let engine = engine_of(self.place).is_some_and(|(program, _)| std::env::var_os(program).is_some());
        match round {
            _ if engine && round % 50 == 2 => Blow::Kill,
            _ if engine && round % 25 == 2 => Blow::Restart,
            _ if round % 5 == 1 => Blow::Pause,
            _ if round % 5 == 3 && self.slow_disk.is_some() => Blow::SlowDisk,
            _ => Blow::Nothing,
        }
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

    /// Has a host work, strikes it in the middle, and kills it after that time. Gives what it told, and how many
    /// processes its engine forgot.
    async fn killed(&self, after: Duration, seed: usize, blow: Blow) -> Outcome<(Vec<String>, usize)> {
        let (folder, seed) = (self.folder.display().to_string(), seed.to_string());
        let mut host =
            self.host(&["host", self.place.name(), &self.installation, &folder, &seed])?.spawn()?;
        let pid = host.id().ok_or("the host has ended by itself")?;
        let mut life = std::pin::pin!(async {
            tokio::time::sleep(after / 2).await;
            let forgotten = self.strike(blow, pid).await?;
            tokio::time::sleep(after / 2).await;
            Outcome::Ok(forgotten)
        });
        let mut output = BufReader::new(host.stdout.take().ok_or("no standard output")?).lines();
        let mut told = Vec::new();
        let forgotten = loop {
            tokio::select! {
                line = output.next_line() => match line? {
                    Some(line) => told.push(line),
                    None => {
                        let said = host.wait_with_output().await?.stderr;
                        let said = String::from_utf8_lossy(&said);
                        return Err(format!("the host ended by itself, having told {told:?}: {said}").into());
                    }
                },
                lived = &mut life => break lived?,
            }
        };
        host.kill().await?;
        while let Some(line) = output.next_line().await? {
            told.push(line);
        }
        Ok((told, forgotten))
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

    /// Gives how many processes the engine forgot.
    async fn strike(&self, blow: Blow, pid: u32) -> Outcome<usize> {
        match blow {
            Blow::Nothing => {}
            Blow::Pause => {
                let pid = as_pid(pid)?;
                kill_process(pid, Signal::STOP)?;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(1..LONGEST_PAUSE))).await;
                kill_process(pid, Signal::CONT)?;
            }
            Blow::SlowDisk => {
                if let Some(disk) = &self.slow_disk {
                    disk.slow(pid, fastrand::u32(SLOWEST..FASTEST))?;
                }
            }
            Blow::Restart => {
                engine(self.place, "stop").await?;
                engine(self.place, "start").await?;
            }
            Blow::Kill => {
                engine(self.place, "kill").await?;
                let alive = processes::marked(&self.installation);
                engine(self.place, "start").await?;
                // What a cluster's nodes run does not depend on its API server.
                if self.place == Place::Docker {
                    return forgotten(&self.installation, &alive);
                }
            }
        }
        Ok(0)
    }
}

fn as_pid(pid: u32) -> Outcome<Pid> {
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no such process id")?)
}

/// The variable that names the program which does it, and to what.
fn engine_of(place: Place) -> Option<(&'static str, &'static str)> {
    match place {
        Place::Docker => Some(("HODEI_TEST_ENGINE", "")),
        Place::Kubernetes => Some(("HODEI_TEST_CLUSTER", "-apiserver")),
        _ => None,
    }
}

async fn engine(place: Place, verb: &str) -> Outcome {
    let (variable, what) = engine_of(place).ok_or("there is no engine there")?;
    let program = std::env::var_os(variable).ok_or_else(|| format!("{variable} names no program"))?;
    let ended = Command::new(&program).arg(format!("{verb}{what}")).stdout(Stdio::null()).status().await?;
    if ended.success() { Ok(()) } else { Err(format!("the engine could not be made to {verb}").into()) }
}

/// An engine that comes back ends the containers that it knows to have run. One that was killed in the middle of a
/// start may say that the container was never started, while it runs: nobody who asks the engine can know. Such runs
/// are counted, and ended here.
fn forgotten(installation: &str, alive: &[u32]) -> Outcome<usize> {
    let mut still = processes::marked(installation);
    still.retain(|pid| alive.contains(pid));
    for pid in &still {
        match kill_process(as_pid(*pid)?, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(format!("process {pid}, which the engine forgot: {error}").into()),
        }
    }
    Ok(still.len())
}
