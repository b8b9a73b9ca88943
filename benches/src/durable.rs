//! F2 and F3: what it costs to have a change written down, against the store's engine by itself and a plain file.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hodei_worker::{
    ConnectContext, WorkerConfig, WorkerId, WorkerManager, WorkerState,
    lifecycle::Worker,
    manager::{Shutdown, StopWorker},
    store::{Batch, EventStore as _},
    stores::{FileSettings, RedbStore},
};
use hodei_worker_benches::{
    Outcome,
    sample::{Samples, show},
    still::{Still, name},
    table::Row,
};
use redb::{Database, TableDefinition};
use tokio::sync::watch;

const TRANSITIONS: usize = 600;
/// These come first, and do not count.
const WARM: usize = 100;
/// As long as the event of a usual transition.
const RECORD: usize = 250;
const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 7;
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("log");

/// A folder on the disk that is measured, removed with this.
struct Folder(PathBuf);

impl Folder {
    fn new(what: &str) -> Outcome<Self> {
        let name = format!("{what}-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join("hodei-bench").join(name));
        std::fs::create_dir_all(&folder.0)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The engine by itself: rows by position, one commit for all of them.
struct Raw {
    database: Database,
    next: u64,
}

impl Raw {
    fn new(folder: &Path) -> Outcome<Self> {
        let cache = FileSettings::default().cache_bytes;
        let database = Database::builder().set_cache_size(cache).create(folder.join("raw.redb"))?;
        Ok(Self { database, next: 1 })
    }

    fn commit(&mut self, rows: &[Bytes]) -> Outcome<Duration> {
        tokio::task::block_in_place(|| {
            let begun = Instant::now();
            let writing = self.database.begin_write()?;
            {
                let mut table = writing.open_table(TABLE)?;
                for row in rows {
                    table.insert(self.next.to_be_bytes().as_slice(), &row[..])?;
                    self.next += 1;
                }
            }
            writing.commit()?;
            Ok(begun.elapsed())
        })
    }
}

/// F2: a command of a manager until it is acknowledged, and an append alone, each against a commit of the same bytes.
/// From a task, as a host gives commands: the thread that waits for the whole program is another.
pub(crate) async fn transitions() -> Outcome<Vec<Row>> {
    tokio::spawn(each_transition()).await?
}

async fn each_transition() -> Outcome<Vec<Row>> {
    let folder = Folder::new("f2")?;
    let store = Arc::new(RedbStore::open(folder.0.join("log"), FileSettings::default()).await?);
    let still = Still::new(ConnectContext::new("still".parse()?, "f2".parse()?));
    let manager = WorkerManager::builder(Arc::clone(&store) as _).provider(Arc::new(still)).open().await?;
    let config = WorkerConfig::builder(name(0)).command(["sleep", "1000"]).build()?;
    let id = &config.worker_id;
    let is = |state| move |worker: &Worker| worker.state == Some(state);
    manager.create_worker(&config).await?;
    manager.wait_for(id, is(WorkerState::Running)).await?;

    let mut raw = Raw::new(&folder.0)?;
    let (mut ours, mut append, mut by_raw) = (Samples::new(), Samples::new(), Samples::new());
    let other: WorkerId = "other".parse()?;
    let mut rows = vec![Bytes::from(vec![b'x'; RECORD])];
    let (mut bytes, mut appended) = (0, 0);
    for n in 0..TRANSITIONS {
        manager.quiet().await?;
        let counts = n >= WARM;
        // Who comes second finds the disk warm: each in turn.
        let before = if n % 2 == 0 { Some(raw.commit(&rows)?) } else { None };
        let position = store.last_position().await?;
        let version = manager.worker(id).await?.map_or(0, |worker| worker.version);
        let begun = Instant::now();
        let after = if n % 2 == 0 {
            manager.stop_worker(id, &StopWorker::default()).await?
        } else {
            manager.start_worker(id).await?
        };
        let took = begun.elapsed();
        let state = if n % 2 == 0 { WorkerState::Stopped } else { WorkerState::Running };
        manager.wait_for(id, is(state)).await?;
        manager.quiet().await?;
        // What the command wrote is its first commit; what followed is not in it.
        let page = store.read(position, (after.version - version) as usize).await?;
        rows = page.events.into_iter().map(|stored| stored.event).collect();
        bytes = rows.iter().map(Bytes::len).sum();
        let raw_took = match before {
            Some(took) => took,
            None => raw.commit(&rows)?,
        };
        let batch = Batch::new().append(other.clone(), appended, rows.clone());
        let begun = Instant::now();
        store.append(batch).await?;
        let append_took = begun.elapsed();
        appended += rows.len() as u64;
        if counts {
            ours.push(took);
            append.push(append_took);
            by_raw.push(raw_took);
        }
    }
    manager.shutdown(Shutdown::HandOver).await?;

    let what = format!("raw redb commit of a transition's {bytes} bytes");
    let mut table = vec![Row::new("F2", what, show(by_raw.median()))];
    for (what, samples) in
        [("durable transition: a manager's command until acknowledged", &ours), ("an append alone", &append)]
    {
        let ratio = samples.median().as_secs_f64() / by_raw.median().as_secs_f64();
        let (low, high) = samples.ratio_interval(&by_raw);
        let result = format!("{}, {ratio:.2}× ({low:.2}–{high:.2}) raw", show(samples.median()));
        table.push(Row::new("F2", what, result).against("≤ 1.2× raw", ratio <= 1.2));
    }
    let bars = [("raw redb", &by_raw), ("append", &append), ("transition", &ours)];
    let bars = bars.map(|(name, samples)| (name, samples.median().as_secs_f64() * 1e6));
    table[0] = table[0].clone().bars("µs", bars);
    Ok(table)
}

/// F3: many writers at once.
pub(crate) async fn writers() -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for (writers, share) in [(64, 0.9), (256, 0.5)] {
        rows.extend(with_writers(writers, share).await?);
    }
    Ok(rows)
}

async fn with_writers(writers: usize, share: f64) -> Outcome<Vec<Row>> {
    let folder = Folder::new("f3")?;
    let store = Arc::new(RedbStore::open(folder.0.join("log"), FileSettings::default()).await?);
    let mut versions = vec![0; writers];
    let (mut ours, mut file, mut floor) = (Samples::new(), Samples::new(), Samples::new());
    for _ in 0..ROUNDS {
        ours.push(appends(&store, &mut versions).await?);
        file.push(shared_file(&folder.0.join("shared"), writers).await?);
        floor.push(tokio::task::block_in_place(|| plain_loop(&folder.0.join("loop"), writers))?);
    }
    let rate = |samples: &Samples| 1.0 / samples.median().as_secs_f64();
    let shown = |samples: &Samples| format!("{:.0} /s", rate(samples));
    // More of the second is a smaller time of the first.
    let versus = |base: &Samples| {
        let (low, high) = base.ratio_interval(&ours);
        let middle = rate(&ours) / rate(base);
        (middle, format!("{:.0} % ({:.0}–{:.0})", middle * 100.0, low * 100.0, high * 100.0))
    };
    let ((of_file, by_file), (_, by_floor)) = (versus(&file), versus(&floor));
    let result = format!("{}: {by_floor} of the loop, {by_file} of the shared file", shown(&ours));
    let target = format!("≥ {:.0} % of the shared file", share * 100.0);
    Ok(vec![
        Row::new("F3", format!("loop: {writers} records appended, one fdatasync"), shown(&floor)),
        Row::new("F3", format!("{writers} writers share a file, each waits for its fdatasync"), shown(&file)),
        Row::new("F3", format!("{writers} writers append to redb"), result)
            .against(target, of_file >= share)
            .bars("/s", [("redb", rate(&ours)), ("shared file", rate(&file)), ("loop", rate(&floor))]),
    ])
}

/// Time for each append, all writers together.
async fn appends(store: &Arc<RedbStore>, versions: &mut [u64]) -> Outcome<Duration> {
    let record = Bytes::from(vec![b'x'; RECORD]);
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (n, version) in versions.iter().copied().enumerate() {
        let (store, record) = (Arc::clone(store), record.clone());
        let worker: WorkerId = format!("w-{n}").parse()?;
        tasks.push(tokio::spawn(async move {
            let mut version = version;
            while begun.elapsed() < ROUND {
                let batch = Batch::new().append(worker.clone(), version, vec![record.clone()]);
                store.append(batch).await?;
                version += 1;
            }
            Outcome::Ok(version)
        }));
    }
    let mut all = 0;
    for (task, version) in tasks.into_iter().zip(versions) {
        let reached = task.await??;
        all += reached - *version;
        *version = reached;
    }
    Ok(begun.elapsed().div_f64(all as f64))
}

/// Records for a file that many write to, as one would share it by hand.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    /// Counts what was taken to be written.
    round: u64,
    is_over: bool,
}

/// Each writer adds its record, and waits for the fdatasync that covers it. One thread writes all that there are.
async fn shared_file(path: &Path, writers: usize) -> Outcome<Duration> {
    let file = std::fs::File::options().create(true).append(true).open(path)?;
    let shared = Arc::new((Mutex::new(Pending::default()), Condvar::new()));
    let (done, _) = watch::channel(0);
    let done = Arc::new(done);
    let writer = {
        let (shared, done) = (Arc::clone(&shared), Arc::clone(&done));
        std::thread::spawn(move || write_all(file, &shared, &done))
    };
    let record = [b'x'; RECORD];
    let begun = Instant::now();
    let failed = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (shared, failed) = (Arc::clone(&shared), Arc::clone(&failed));
            let mut done = done.subscribe();
            tokio::spawn(async move {
                let mut written = 0_u64;
                while begun.elapsed() < ROUND {
                    let round = {
                        let mut pending = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                        pending.bytes.extend_from_slice(&record);
                        pending.round
                    };
                    shared.1.notify_one();
                    if done.wait_for(|done| *done > round).await.is_err() {
                        failed.store(true, Ordering::Relaxed);
                        break;
                    }
                    written += 1;
                }
                written
            })
        })
        .collect();
    let mut all = 0;
    for task in tasks {
        all += task.await?;
    }
    let took = begun.elapsed();
    shared.0.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
    shared.1.notify_one();
    writer.join().map_err(|_| "the writing thread panicked")??;
    if failed.load(Ordering::Relaxed) {
        Err("the file was not written".into())
    } else {
        Ok(took.div_f64(all as f64))
    }
}

fn write_all(
    mut file: std::fs::File,
    shared: &(Mutex<Pending>, Condvar),
    done: &watch::Sender<u64>,
) -> std::io::Result<()> {
    loop {
        let pending = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |pending: &mut Pending| pending.bytes.is_empty() && !pending.is_over;
        let mut pending = shared.1.wait_while(pending, waits).unwrap_or_else(PoisonError::into_inner);
        if pending.bytes.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut pending.bytes);
        pending.round += 1;
        let round = pending.round;
        drop(pending);
        file.write_all(&bytes)?;
        file.sync_data()?;
        done.send_replace(round);
    }
}

/// What no hand-over is in: as many records as there are writers, and one fdatasync, again and again.
fn plain_loop(path: &Path, writers: usize) -> Outcome<Duration> {
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    let records = vec![b'x'; RECORD * writers];
    let begun = Instant::now();
    let mut all = 0;
    while begun.elapsed() < ROUND {
        file.write_all(&records)?;
        file.sync_data()?;
        all += writers;
    }
    Ok(begun.elapsed().div_f64(all as f64))
}
