use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;

use crate::{
    error::{Error, ErrorKind, Result},
    model::WorkerId,
    store::{Batch, Expected, StateEntry, Store, StoredEvent, WorkerSnapshot},
};

/// A store in a folder, whose files can be damaged.
#[async_trait]
pub trait FolderSubject: Send + Sync {
    /// Opens the store in that folder, or makes it there.
    ///
    /// # Errors
    /// What the store says.
    async fn open(&self, folder: &Path) -> Result<Arc<dyn Store>>;
}

/// What rounds of damage came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamageReport {
    /// Damage that the store refused to open, or to read.
    pub detected: usize,
    /// Damage after which everything was as before.
    pub harmless: usize,
    /// Damage that went unnoticed, or was told as something else.
    pub missed: Vec<String>,
}

impl fmt::Display for DamageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} detected, {} harmless, {} missed", self.detected, self.harmless, self.missed.len())?;
        self.missed.iter().try_for_each(|missed| write!(f, "\n- {missed}"))
    }
}

/// All that can be seen of a store.
type View = (Vec<StoredEvent>, Vec<(WorkerId, Vec<u64>)>, Vec<StateEntry>, Vec<WorkerSnapshot>, u64);

fn broken(error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "the test's own files").with_source(error)
}

/// Damages copies of a store, one bit or one truncation at a time, and opens each: it has to be refused as corrupt, or to
/// be as it was. Half of the copies are of a store that was closed, the others of one that was cut off. `folder` is for
/// the copies; files in memory make it fast.
///
/// # Errors
/// What goes wrong before anything was damaged.
///
/// # Cancel safety
/// Leaves copies in the folder.
pub async fn damage(
    subject: &dyn FolderSubject,
    folder: &Path,
    rounds: usize,
    seed: u64,
) -> Result<DamageReport> {
    let mut rng = Rng::with_seed(seed);
    let [live, closed, cut] = ["live", "closed", "cut"].map(|name| folder.join(name));
    let store = subject.open(&live).await?;
    fill(&*store).await?;
    let expected = view(&*store).await?;
    // What `kill -9` leaves behind when nothing is being written.
    copy(&live, &cut).map_err(broken)?;
    drop(store);
    copy(&live, &closed).map_err(broken)?;
    let mut report = DamageReport::default();
    let victim = folder.join("victim");
    for original in [&closed, &cut] {
        copy(original, &victim).map_err(broken)?;
        let store = subject.open(&victim).await?;
        if view(&*store).await? != expected {
            return Err(Error::new(ErrorKind::Corrupt, "an undamaged copy differs"));
        }
    }
    for round in 0..rounds {
        let original = if round % 2 == 0 { &closed } else { &cut };
        copy(original, &victim).map_err(broken)?;
        let what = format!("round {round}, seed {seed}: {}", harm(&victim, &mut rng).map_err(broken)?);
        let seen = match subject.open(&victim).await {
            Ok(store) => view(&*store).await,
            Err(error) => Err(error),
        };
        match seen {
            Ok(seen) if seen == expected => report.harmless += 1,
            Ok(_) => report.missed.push(format!("{what}: it differs, and was opened")),
            Err(error) if error.kind() == ErrorKind::Corrupt => report.detected += 1,
            Err(error) => report.missed.push(format!("{what}: {error:?}")),
        }
    }
    Ok(report)
}

/// A small store with all that a store may have.
async fn fill(store: &dyn Store) -> Result<()> {
    for n in 0..120_u64 {
        let id: WorkerId = format!("worker-{}", n % 12).parse()?;
        let version = n / 12;
        let event = Bytes::from(format!("event {n} ").repeat(1 + n as usize % 9));
        let mut batch = Batch::new().append(id.clone(), version, [event]);
        if n % 3 == 0 {
            batch = batch.put(format!("key/{}", n % 40), Expected::Any, format!("value {n}"));
        }
        if n % 5 == 0 {
            batch = batch.save(id.clone(), version + 1, format!("fold of {id} up to {version}"));
        }
        if n >= 114 {
            batch = batch.forget(id, version + 1);
            batch.snapshots.retain(|snapshot| matches!(snapshot, crate::store::SnapshotWrite::Forget { .. }));
        }
        store.append(batch).await?;
        if n == 60 {
            store.compact(20).await?;
        }
    }
    store.write(Batch::new().remove("key/0", Expected::Any)).await
}

async fn view(store: &dyn Store) -> Result<View> {
    let first = store.read(0, 100_000).await?;
    let mut streams = Vec::new();
    for n in 0..12 {
        let id: WorkerId = format!("worker-{n}").parse()?;
        let page = store.read_stream(&id, 0, 1_000).await?;
        streams.push((id, page.events.iter().map(|event| event.position).collect()));
    }
    let state = store.list("", None, 1_000).await?;
    Ok((first.events, streams, state, store.snapshots(None, 1_000).await?, store.last_position().await?))
}

/// Flips a bit or cuts a file short, and says where.
fn harm(folder: &Path, rng: &mut Rng) -> io::Result<String> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    files.retain(|(_, length)| *length > 0);
    let total: u64 = files.iter().map(|(_, length)| length).sum();
    // Large files are hit more often, small ones often enough.
    let chosen = match rng.u8(..8) {
        0 => rng.usize(..files.len()),
        _ => {
            let mut at = rng.u64(..total);
            let hit = |(_, length): &(PathBuf, u64)| match at.checked_sub(*length) {
                Some(rest) => {
                    at = rest;
                    false
                }
                None => true,
            };
            files.iter().position(hit).unwrap_or(0)
        }
    };
    let (path, length) = &files[chosen];
    let name = path.strip_prefix(folder).unwrap_or(path).display();
    if rng.u8(..5) == 0 {
        let cut = rng.u64(..*length);
        fs::OpenOptions::new().write(true).open(path)?.set_len(cut)?;
        return Ok(format!("{name} cut from {length} to {cut} bytes"));
    }
    let mut bytes = fs::read(path)?;
    let bit = rng.u64(..length * 8);
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    fs::write(path, bytes)?;
    Ok(format!("bit {bit} of {name} flipped"))
}

fn list(folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push((entry.path(), entry.metadata()?.len()));
        }
    }
    Ok(())
}

/// Copies a folder, in place of what is there.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(to)?,
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
