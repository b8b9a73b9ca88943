//! The supervisor: one small process per running worker, which keeps it going when the host dies, writes down what it
//! says and how it ends, and takes with it all that it started.
//!
//! It is a program of its own, single-threaded and without a runtime. What it must not do is grow: there is one of it
//! for each worker.

mod contain;
pub(crate) mod groups;
mod run;
mod server;
pub(crate) mod signals;
pub(crate) mod spawn;

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, AsRawFd as _, RawFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
};

use hodei_worker_core::{Clock as _, SystemClock};
use rustix::{
    fs::{CWD, Mode, RawDir, mkfifoat},
    process::{Pid, getpid, set_child_subreaper, setsid},
};

pub(crate) use contain::wait_for;
pub(crate) use run::raw;
pub(crate) use server::serve;

use crate::{
    files,
    layout::{FLAT, Layout, RunKey},
    lock, proc,
    wire::{End, Exit, Failure, Launch, Reply, Started},
};

/// What a supervisor is called in process lists.
pub(crate) const NAME: &str = "hodei-supervise";
/// The argument that makes a process one from which supervisors are forked.
pub(crate) const ARGUMENT: &str = "--supervise";
/// The variable by which processes of a worker can be found when all else is lost.
pub(crate) const MARKER: &str = "HODEI_WORKER_RUN";

/// The state folder, if this process was started to supervise.
pub(crate) fn arguments(mut all: impl Iterator<Item = OsString>) -> Option<OsString> {
    let (_, argument, root) = (all.next()?, all.next()?, all.next()?);
    (argument == ARGUMENT && all.next().is_none()).then_some(root)
}

/// Supervises one run from before its start to its end.
fn supervise(root: &Path, key: &RunKey) {
    let reply = match prepare(root, key) {
        Ok(Prepared::Run(mut running)) => {
            answer(&Reply::Started);
            running.run_to_end();
            return;
        }
        Ok(Prepared::Not(reply)) => reply,
        Err(error) => {
            Reply::Broken { what: error.to_string(), errno: error.raw_os_error().unwrap_or_default() }
        }
    };
    answer(&reply);
}

/// Tells the host and lets go of the pipe.
fn answer(reply: &Reply) {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    // The host may be dead; then nobody waits.
    let _ = io::stdout().write_all(&line).and_then(|()| io::stdout().flush());
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stdin(&null);
    }
}

enum Prepared {
    Run(Box<run::Running>),
    Not(Reply),
}

/// Cuts what ties this process to its host.
fn isolate() -> io::Result<()> {
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    close_inherited()?;
    std::env::set_current_dir("/")
}

/// Closes what leaked in here from the host: a pipe of its own would be kept open for the worker's life. Without the
/// heap, since what a supervisor once took it keeps.
fn close_inherited() -> io::Result<()> {
    let folder = File::open("/proc/self/fd")?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut open = RawDir::new(&folder, &mut buffer);
    while let Some(entry) = open.next() {
        let entry = entry?;
        let number = entry.file_name().to_str().ok().and_then(|name| name.parse::<RawFd>().ok());
        if let Some(number) = number.filter(|number| *number > 2 && *number != folder.as_raw_fd()) {
            let _ = nix::unistd::close(number);
        }
    }
    Ok(())
}

fn prepare(root: &Path, key: &RunKey) -> io::Result<Prepared> {
    isolate()?;
    let signals = signals::Signals::new()?;
    let mut launch = Vec::new();
    // Without the buffer of `io::stdin`.
    File::from(io::stdin().as_fd().try_clone_to_owned()?).read_to_end(&mut launch)?;
    // A host that died while it wrote leaves half of it: nothing is run.
    let launch: Launch = serde_json::from_slice(&launch)?;

    let layout = Layout::new(root);
    let Some(lock) = lock::take(&layout.lock(key))? else { return Ok(Prepared::Not(Reply::Taken)) };
    let Some(control) = open_control(&layout, key)? else {
        files::remove(&layout.lock(key))?;
        return Ok(Prepared::Not(Reply::Gone));
    };
    match claim(&layout, key) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // That run has been, or its supervisor was lost.
            files::remove(&layout.control(key))?;
            return Ok(Prepared::Not(Reply::Taken));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            files::remove(&layout.lock(key))?;
            return Ok(Prepared::Not(Reply::Gone));
        }
        Err(error) => return Err(error),
    }
    // From here on this run is ours, and how it ends will be written down.
    match start(&layout, key, &launch) {
        Ok(child) => {
            let log = crate::logs::LogWriter::new(launch.logs.clone());
            let held = (control, signals, lock);
            let running = run::Running::new(layout, key.clone(), launch, child, log, held);
            Ok(Prepared::Run(Box::new(running)))
        }
        Err((failure, ran)) => {
            let _ = contain::kill_all(&launch.groups, None);
            let _ = groups::remove(&launch.groups);
            if !ran && failure.is_capacity() {
                give_back(&layout, key)?;
                return Ok(Prepared::Not(Reply::Full(failure)));
            }
            finish(&layout, key, &Exit::new(SystemClock.now(), End::Failed(failure.clone())))?;
            Ok(Prepared::Not(Reply::Failed(failure)))
        }
    }
}

/// The length of what a claim holds.
const CLAIM: usize = 12;

/// Makes the run ours. The claim has room for how the run ends, so that it can be noted on a full file system too.
pub(crate) fn claim(layout: &Layout, key: &RunKey) -> io::Result<()> {
    let path = layout.claim(key);
    files::create_exclusive(&path)?.write_all(&[b' '; CLAIM]).inspect_err(|_| {
        let _ = files::remove(&path);
    })
}

/// Gives a claim back: the run has not begun, and anybody may begin it.
pub(crate) fn give_back(layout: &Layout, key: &RunKey) -> io::Result<()> {
    clear(layout, key);
    // Whoever wanted it to stop has what they wanted; the next to begin it is not to be taken for stopping.
    files::remove(&layout.stopping(key))?;
    files::remove(&layout.claim(key))
}

/// Notes the raw status of a run that has just ended, before what it left is cleaned up: whoever is killed meanwhile
/// takes no end with it.
pub(crate) fn note(layout: &Layout, key: &RunKey, raw: i32) -> io::Result<()> {
    write_claim(layout, key, &format!("{raw:>CLAIM$}"))
}

/// Notes that a run without a supervisor was cleaned up after, where there is no room to write that down.
pub(crate) fn note_buried(layout: &Layout, key: &RunKey, raw: Option<i32>) -> io::Result<()> {
    let raw = raw.map(|raw| raw.to_string()).unwrap_or_default();
    write_claim(layout, key, &format!("{BURIED}{raw:>width$}", width = CLAIM - 1))
}

/// Begins the claim of a run that was cleaned up after.
const BURIED: char = '+';

fn write_claim(layout: &Layout, key: &RunKey, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(layout.claim(key))?.write_all(text.as_bytes())
}

/// What was noted of a run in its claim.
pub(crate) fn noted(claim: &[u8]) -> Option<i32> {
    std::str::from_utf8(claim).ok()?.trim_start_matches(BURIED).trim().parse().ok()
}

/// Whether its claim says that a run was cleaned up after.
pub(crate) fn is_buried(claim: &[u8]) -> bool {
    claim.starts_with(&[BURIED as u8])
}

/// Makes the FIFO anew. `false` when the worker is gone.
pub(crate) fn make_control(layout: &Layout, key: &RunKey) -> io::Result<bool> {
    let path = layout.control(key);
    let make = || mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR);
    let made = match make() {
        // Of an attempt that was cut off.
        Err(rustix::io::Errno::EXIST) => files::remove(&path).map(|()| make())?,
        made => made,
    };
    match made {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens the FIFO for both ends, so that it never ends. `None` when the worker is gone.
fn open_control(layout: &Layout, key: &RunKey) -> io::Result<Option<File>> {
    if !make_control(layout, key)? {
        return Ok(None);
    }
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let options =
        OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(layout.control(key));
    files::absent(options)
}

/// Starts the worker. What went wrong comes with whether the command had begun.
fn start(layout: &Layout, key: &RunKey, launch: &Launch) -> Result<std::process::Child, (Failure, bool)> {
    if let Err(failure) = groups::enter(&launch.groups) {
        let _ = groups::leave(&launch.groups);
        return Err((failure, false));
    }
    let child = spawn::spawn(launch);
    let left = groups::leave(&launch.groups);
    let child = child.map_err(|failure| (failure, false))?;
    let recorded =
        left.and_then(|()| spawn::limit(launch.address_space, Pid::from_child(&child))).and_then(|()| {
            record(layout, key, launch, child.id() as i32).map_err(|error| {
                spawn::failure(crate::wire::Step::Limits, layout.started(key).display(), &error)
            })
        });
    recorded.map(|()| child).map_err(|failure| (failure, true))
}

/// Writes down the process of a run that has begun.
pub(crate) fn record(layout: &Layout, key: &RunKey, launch: &Launch, pid: i32) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let started = Started {
        boot: launch.boot.clone(),
        time: SystemClock.now(),
        process: proc::identify(pid).ok_or_else(gone)?,
        supervisor: proc::own().ok_or_else(gone)?,
        attached: launch.attached,
        secrets: launch.secrets.clone(),
        groups: launch.groups.clone(),
    };
    files::put(&layout.started(key), &started)
}

/// Removes what a run needs only while it lasts: its secrets, also those of a host that died before it could start it,
/// and its FIFO.
pub(crate) fn clear(layout: &Layout, key: &RunKey) {
    let folder = layout.creation(&key.creation);
    let prefix = format!("{}.secrets", key.run);
    for name in files::names(&folder).unwrap_or_default() {
        if name.starts_with(&prefix) {
            let _ = files::remove_tree(&folder.join(name));
        }
    }
    let _ = files::remove(&layout.control(key));
}

/// Writes down how the run ended, and removes what was only for its life.
pub(crate) fn finish(layout: &Layout, key: &RunKey, exit: &Exit) -> io::Result<()> {
    clear(layout, key);
    files::put(&layout.exit(key), exit)?;
    forget_earlier(layout, key);
    Ok(())
}

/// Removes what was kept of the last run but one, so that restarts fill no file system. Only the highest claim decides
/// what is run; one earlier run is kept for whoever still waits for it.
pub(crate) fn forget_earlier(layout: &Layout, key: &RunKey) {
    if let Some(earlier) = key.run.checked_sub(2).filter(|run| *run > 0) {
        forget(layout, &key.creation.run(earlier));
    }
}

/// Removes what was kept of a run, its claim last: by that it is found again when this is cut off.
pub(crate) fn forget(layout: &Layout, key: &RunKey) {
    let flat = FLAT.iter().map(|name| layout.dir(name).join(key.to_string()));
    for path in flat.chain([layout.exec_mark(key), layout.control(key), layout.claim(key)]) {
        let _ = files::remove(&path);
    }
}
