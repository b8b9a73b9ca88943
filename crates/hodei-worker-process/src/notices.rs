//! What happens in the folders of an installation, pushed by the kernel: one inotify instance per provider serves the
//! watch, every call that waits and every follower of a log.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hodei_worker_core::{Error, ErrorKind, Result};
use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::{io::unix::AsyncFd, sync::Notify, task::AbortHandle};

use crate::{
    layout::{FLAT, Layout},
    proc,
    wire::ProcessId,
};

/// Whether the lock of the run of this name is free. It must not block: it is called on the event loop.
pub(crate) type IsFree = Box<dyn Fn(&str) -> bool + Send + Sync>;

#[derive(Debug)]
pub(crate) struct Notices {
    shared: Arc<Shared>,
    reader: AbortHandle,
}

struct Shared {
    inotify: AsyncFd<OwnedFd>,
    topics: Mutex<Topics>,
    workers: i32,
    flat: [i32; FLAT.len()],
    is_free: IsFree,
    /// Nobody reads any more: the runtime is gone, or the kernel does not answer.
    closed: AtomicBool,
}

/// What a call waits for: that something changes of a worker.
#[derive(Debug)]
pub(crate) struct Topic {
    shared: Arc<Shared>,
    name: String,
    changed: Arc<Notify>,
}

impl Topic {
    /// Waits for the next change, from when the topic was made.
    ///
    /// # Errors
    /// When nobody hears of changes any more.
    pub(crate) async fn changed(&self) -> Result<()> {
        self.shared.check()?;
        self.changed.notified().await;
        self.shared.check()
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let mut topics = self.shared.topics();
        if let Some(waiting) = topics.workers.get_mut(&self.name) {
            waiting.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(&self.changed)));
            if waiting.is_empty() {
                topics.workers.remove(&self.name);
            }
        }
    }
}

#[derive(Default)]
struct Topics {
    /// Whoever waits for a worker, by `<id>.<generation>`.
    workers: HashMap<String, Vec<Weak<Notify>>>,
    /// Followed log folders, by watch.
    folders: HashMap<i32, Vec<Weak<Notify>>>,
    /// Workers without a supervisor whose end is waited for.
    lost: BTreeSet<i32>,
    /// Whoever wants to know of every worker.
    all: Vec<Weak<Dirty>>,
}

/// The workers of which something has changed since they were last taken.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    state: Mutex<(BTreeSet<String>, bool)>,
    wake: Notify,
}

/// What [`Dirty::next`] yields.
#[derive(Debug)]
pub(crate) enum Changed {
    /// These, by `<id>.<generation>`.
    Workers(BTreeSet<String>),
    /// The kernel's queue was full: anything may have changed.
    Anything,
}

impl Dirty {
    fn mark(&self, worker: Option<&str>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match worker {
            Some(worker) => {
                state.0.insert(worker.to_owned());
            }
            None => state.1 = true,
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Waits for changes, and takes them.
    pub(crate) async fn next(&self) -> Changed {
        loop {
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let (workers, anything) = std::mem::take(&mut *state);
                if anything {
                    return Changed::Anything;
                }
                if !workers.is_empty() {
                    return Changed::Workers(workers);
                }
            }
            self.wake.notified().await;
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Notices {
    /// Watches the folders, which must exist. Call it inside a Tokio runtime.
    pub(crate) fn open(layout: &Layout, is_free: IsFree) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let moves = WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
        let workers = inotify::add_watch(&inotify, layout.workers(), moves)?;
        let mut flat = [0; FLAT.len()];
        for (watch, name) in flat.iter_mut().zip(FLAT) {
            let flags = match name {
                // The kernel closes a dead process' files, so even a SIGKILL of a supervisor is heard of.
                "locks" => WatchFlags::CLOSE_WRITE,
                "stopping" => WatchFlags::CREATE,
                _ => WatchFlags::MOVED_TO,
            };
            *watch = inotify::add_watch(&inotify, layout.dir(name), flags | WatchFlags::ONLYDIR)?;
        }
        let shared = Arc::new(Shared {
            inotify: crate::ready::register(inotify)?,
            topics: Mutex::default(),
            workers,
            flat,
            is_free,
            closed: AtomicBool::new(false),
        });
        let reader = tokio::spawn(read(Reading(Arc::clone(&shared)))).abort_handle();
        Ok(Self { shared, reader })
    }

    /// Is notified when something changes of a worker, named `<id>.<generation>`.
    pub(crate) fn of_worker(&self, name: &str) -> Topic {
        let changed = Arc::new(Notify::new());
        let mut topics = self.shared.topics();
        topics.workers.entry(name.to_owned()).or_default().push(Arc::downgrade(&changed));
        Topic { shared: Arc::clone(&self.shared), name: name.to_owned(), changed: Arc::clone(&changed) }
    }

    /// Whether changes are heard of.
    pub(crate) fn check(&self) -> Result<()> {
        self.shared.check()
    }

    /// Is told of every worker that changes.
    pub(crate) fn of_all(&self) -> Arc<Dirty> {
        let dirty = Arc::new(Dirty::default());
        let mut topics = self.shared.topics();
        topics.all.retain(|other| other.strong_count() > 0);
        topics.all.push(Arc::downgrade(&dirty));
        dirty
    }

    /// Is notified when something is written into files of this folder.
    pub(crate) fn of_folder(&self, path: &Path) -> io::Result<Arc<Notify>> {
        let notify = Arc::new(Notify::new());
        // Under the lock, since the last to leave removes the watch, which the kernel has once per folder.
        let mut topics = self.shared.topics();
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::ONLYDIR;
        let watch = inotify::add_watch(self.shared.inotify.get_ref(), path, flags)?;
        let waiting = topics.folders.entry(watch).or_default();
        waiting.retain(|other| other.strong_count() > 0);
        waiting.push(Arc::downgrade(&notify));
        Ok(notify)
    }

    /// Says that a worker has changed when this process is gone, which no folder shows: its supervisor was lost.
    pub(crate) fn when_gone(&self, process: ProcessId, worker: &str) {
        let Some(pid) = Pid::from_raw(process.pid) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.shared.topics().lost.insert(process.pid) {
            return;
        }
        let (shared, worker) = (Arc::clone(&self.shared), worker.to_owned());
        runtime.spawn(async move {
            // A pidfd is readable when its process has ended. One that has ended before is not opened.
            if let Ok(fd) = pidfd_open(pid, PidfdFlags::NONBLOCK)
                && proc::is_alive(process)
                && let Ok(fd) = crate::ready::register(fd)
            {
                let _ = fd.readable().await;
            }
            let mut topics = shared.topics();
            topics.lost.remove(&process.pid);
            topics.tell(Some(&worker));
        });
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Topics {
    fn tell(&mut self, worker: Option<&str>) {
        self.all.retain(|dirty| dirty.upgrade().map(|dirty| dirty.mark(worker)).is_some());
        match worker {
            Some(name) => {
                if let Some(waiting) = self.workers.get_mut(name) {
                    wake(waiting);
                    if waiting.is_empty() {
                        self.workers.remove(name);
                    }
                }
            }
            None => {
                self.workers.retain(|_, waiting| wake(waiting));
                for waiting in self.folders.values_mut() {
                    wake(waiting);
                }
            }
        }
    }
}

/// Wakes all that still wait; whether there are any.
fn wake(waiting: &mut Vec<Weak<Notify>>) -> bool {
    waiting.retain(|notify| notify.upgrade().map(|notify| notify.notify_one()).is_some());
    !waiting.is_empty()
}

impl Shared {
    fn check(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the runtime on which this provider was connected is gone, and with it all news of workers",
            )
            .with_help("connect on the runtime that uses it"));
        }
        Ok(())
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(self: &Arc<Self>, watch: i32, flags: ReadFlags, name: &str) {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return self.topics().tell(None);
        }
        if flags.contains(ReadFlags::IGNORED) {
            self.topics().folders.remove(&watch);
            return;
        }
        if watch == self.workers {
            return self.topics().tell(Some(name));
        }
        if !self.flat.contains(&watch) {
            let mut topics = self.topics();
            if let Some(waiting) = topics.folders.get_mut(&watch)
                && !wake(waiting)
            {
                topics.folders.remove(&watch);
                let _ = inotify::remove_watch(self.inotify.get_ref(), watch);
            }
            return;
        }
        if name.starts_with('.') {
            return;
        }
        if watch == self.flat[0] && !(self.is_free)(name) {
            // The kernel tells of the closing before it lets go of the lock. Or it was only an attempt to take it.
            tokio::spawn(Arc::clone(self).look_again(name.to_owned()));
        }
        self.tell_run(name);
    }

    /// `<id>.<generation>.<creation>.<n>`: the worker is the first two.
    fn tell_run(&self, name: &str) {
        let end = name.match_indices('.').nth(1).map_or(name.len(), |(at, _)| at);
        self.topics().tell(Some(&name[..end]));
    }

    async fn look_again(self: Arc<Self>, run: String) {
        for power in 0..8 {
            tokio::time::sleep(Duration::from_millis(1 << power)).await;
            if (self.is_free)(&run) {
                return self.tell_run(&run);
            }
        }
    }
}

/// Tells all that wait when nobody reads any more.
struct Reading(Arc<Shared>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.topics().tell(None);
    }
}

async fn read(reading: Reading) {
    let shared = &reading.0;
    let mut buffer = vec![MaybeUninit::uninit(); 16 * 1024];
    loop {
        let Ok(mut ready) = shared.inotify.readable().await else { return };
        let mut reader = inotify::Reader::new(shared.inotify.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
                    shared.handle(event.wd(), event.events(), &name);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(errno) => {
                    tracing::error!(%errno, "the changes of workers cannot be read any more");
                    return;
                }
            }
        }
        ready.clear_ready();
    }
}
