//! Cuts the power of a machine whose store is being written to: a kernel of our own runs as a process (user-mode Linux),
//! with the store on a disk of its own, and is killed with -9, so that all that it had not brought to its disk is gone.
//! The next boot finds everything that was acknowledged, and the store sound. `powercut --store redb|sled --cuts N`

use std::{
    collections::HashSet,
    fs,
    io::{BufRead as _, BufReader, Lines},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use hodei_worker::{
    Result,
    model::WorkerId,
    store::{Batch, Expected, Store},
};
use hodei_worker_benches::Outcome;
use hodei_worker_store::{FileSettings, RedbStore, SledStore, Verification};

const WRITERS: usize = 8;
/// What the machine says begins with this; the rest is its kernel's.
const SAYS: &str = "hodei ";
const DISK: &str = "/run/disk";
/// The longest that the machine runs after the first acknowledgement.
const LONGEST: u64 = 400_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["inside", store] => inside(store),
        ["--store", store, "--cuts", cuts] | ["--cuts", cuts, "--store", store] => drive(store, cuts),
        _ => Err("usage: powercut --store redb|sled --cuts N".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("powercut: {error}");
            println!("{SAYS}failed {error}");
            ExitCode::FAILURE
        }
    }
}

async fn open(store: &str, folder: &Path) -> Result<Arc<dyn Store>> {
    let settings = FileSettings::default();
    Ok(match store {
        "sled" => Arc::new(SledStore::open(folder, settings).await?),
        _ => Arc::new(RedbStore::open(folder, settings).await?),
    })
}

async fn verify(store: &str, folder: &Path) -> Result<Verification> {
    if store == "sled" { SledStore::verify(folder).await } else { RedbStore::verify(folder).await }
}

/// In the machine: says what is there, and writes until the power is cut.
fn inside(store: &str) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = Path::new(DISK).join("store");
        if folder.exists() {
            let verification = verify(store, &folder).await?;
            if !verification.is_sound() {
                return Err(verification.to_string().replace('\n', " ").into());
            }
        }
        let store = open(store, &folder).await?;
        let snapshots = store.snapshots(None, 100).await?;
        let mut writers = tokio::task::JoinSet::new();
        for n in 0..WRITERS {
            let id: WorkerId = format!("w{n}").parse()?;
            let covered = snapshots.iter().find(|kept| kept.worker == id).map_or(0, |kept| kept.version);
            let page = store.read_stream(&id, covered, 1_000_000).await?;
            if page.compacted {
                return Err(format!("events of {id} after {covered} are gone").into());
            }
            let version = covered + page.events.len() as u64;
            let value = store.get(&format!("k{n}")).await?.map(|value| value.value);
            if value.is_some_and(|value| *value != *version.to_string().as_bytes()) {
                return Err(format!("half a batch of {id} was written").into());
            }
            println!("{SAYS}has {n} {version}");
            let store = Arc::clone(&store);
            writers.spawn(async move { write(&*store, n, id, version).await });
        }
        while let Some(written) = writers.join_next().await {
            written??;
        }
        Ok(())
    })
}

async fn write(store: &dyn Store, n: usize, id: WorkerId, mut version: u64) -> Result<()> {
    loop {
        let next = version + 1;
        let event = format!("{n} {next} {}", "x".repeat(next as usize % 300));
        let mut batch = Batch::new().append(id.clone(), version, [event.into()]);
        batch = batch.put(format!("k{n}"), Expected::Any, next.to_string());
        if next.is_multiple_of(20) {
            batch = batch.save(id.clone(), next, format!("fold {next}"));
        }
        store.append(batch).await?;
        println!("{SAYS}ack {n} {next}");
        version = next;
        if n == 0 && version.is_multiple_of(100) {
            store.compact(u64::MAX).await?;
        }
    }
}

/// Boots the machine, and cuts its power, again and again.
fn drive(store: &str, cuts: &str) -> Outcome {
    if !["redb", "sled"].contains(&store) {
        return Err(format!("`{store}` is none of redb, sled").into());
    }
    let cuts: usize = cuts.parse().map_err(|_| format!("`{cuts}` is no number of cuts"))?;
    let folder = std::env::temp_dir().join(format!("hodei-powercut-{store}-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = rounds(store, cuts, &folder);
    fs::remove_dir_all(&folder)?;
    result
}

fn rounds(store: &str, cuts: usize, folder: &Path) -> Outcome {
    let disk = folder.join("disk");
    fs::File::create(&disk)?.set_len(256 << 20)?;
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk).status()?;
    if !made.success() {
        return Err("mkfs.ext4 failed".into());
    }
    let script = script(store, folder)?;
    let begun = Instant::now();
    let mut acknowledged = [0_u64; WRITERS];
    let mut total = 0;
    for cut in 0..=cuts {
        let mut machine = Machine::boot(&script, &disk, folder)?;
        let mut seen = HashSet::new();
        let mut end = None;
        let after = Duration::from_micros(fastrand::u64(..LONGEST));
        while end.is_none_or(|end| Instant::now() < end) {
            let line = machine.line()?.ok_or_else(|| format!("after cut {cut} the machine halted"))?;
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["has", n, version] => {
                    let (n, version): (usize, u64) = (n.parse()?, version.parse()?);
                    if version < acknowledged[n] {
                        let lost = acknowledged[n] - version;
                        return Err(format!("cut {cut} lost {lost} acknowledged events of w{n}").into());
                    }
                    seen.insert(n);
                }
                ["ack", n, version] => {
                    total += note(&mut acknowledged, n, version)?;
                    end.get_or_insert_with(|| Instant::now() + after);
                }
                _ => return Err(format!("after cut {cut}: {line}").into()),
            }
            if cut == cuts && seen.len() == WRITERS {
                break;
            }
        }
        machine.cut()?;
        // What it had said before.
        while let Some(line) = machine.line()? {
            if let ["ack", n, version] = line.split(' ').collect::<Vec<_>>()[..]
                && !version.is_empty()
            {
                total += note(&mut acknowledged, n, version)?;
            }
        }
    }
    println!(
        "{store:<8} {cuts} power cuts in {:.0?}: {total} acknowledged batches, none lost, the store sound after each",
        begun.elapsed()
    );
    Ok(())
}

fn note(acknowledged: &mut [u64; WRITERS], n: &str, version: &str) -> Outcome<u64> {
    let (n, version): (usize, u64) = (n.parse()?, version.parse()?);
    let more = version.saturating_sub(acknowledged[n]);
    acknowledged[n] = acknowledged[n].max(version);
    Ok(more)
}

/// What the machine does. Its root is this machine's own, so everything but the disk goes into memory.
fn script(store: &str, folder: &Path) -> Outcome<PathBuf> {
    let script = folder.join("init");
    let text = format!(
        "#!/bin/sh\n\
         export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/run\n\
         mount -t proc proc /proc; mount -t tmpfs tmpfs /run; mkdir {DISK}; mknod /run/ubda b 98 0\n\
         mount -t ext4 /run/ubda {DISK} || echo '{SAYS}failed to mount the disk'\n\
         '{}' inside {store}\n\
         halt -f\n",
        std::env::current_exe()?.display(),
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

struct Machine {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Machine {
    fn boot(script: &Path, disk: &Path, folder: &Path) -> Outcome<Self> {
        let kernel = std::env::var_os("HODEI_TEST_UML").unwrap_or_else(|| "linux.uml".into());
        let mut process = Command::new(kernel)
            .args(["mem=512M", "rootfstype=hostfs", "rw", "con=null", "con0=null,fd:1"])
            .arg(format!("ubda={}", disk.display()))
            .arg(format!("init={}", script.display()))
            .env("HOME", folder)
            // It has processes of its own, which go with it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("linux.uml, of Debian's user-mode-linux: {error}"))?;
        let output = process.stdout.take().ok_or("no output")?;
        Ok(Self { process, output: BufReader::new(output).lines() })
    }

    /// The next that our program says.
    fn line(&mut self) -> Outcome<Option<String>> {
        for line in self.output.by_ref() {
            // A kernel's messages need not be text.
            let Ok(line) = line else { continue };
            if let Some(says) = line.trim_end().strip_prefix(SAYS) {
                return Ok(Some(says.to_owned()));
            }
        }
        Ok(None)
    }

    fn cut(&mut self) -> Outcome {
        let group = format!("-{}", self.process.id());
        let killed = Command::new("kill").args(["-9", "--", &group]).status()?;
        self.process.wait()?;
        if killed.success() { Ok(()) } else { Err("the machine could not be killed".into()) }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None))
            && let Err(error) = self.cut()
        {
            eprintln!("powercut: {error}");
        }
    }
}
