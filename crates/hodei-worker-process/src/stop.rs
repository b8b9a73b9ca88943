//! Stopping and deleting.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use hodei_worker_core::{Error, ErrorKind, Result, WorkerRef, provider::StopOptions};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::time::timeout;

use crate::{
    bury::RunState,
    create::is_abandoned,
    error, files,
    host::{Host, blocking, claims, creation_in, last_claim},
    layout::{Creation, FLAT, Layout, RunKey, parse_worker_name, worker_name},
    lock,
    logs::sweep_lost,
    options::{ProcessOptions, signal_number},
    supervise::{forget, groups},
    wire::{Request, Started, Stored},
};

impl Host {
    pub(crate) async fn stop(self: &Arc<Self>, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        let Some(stored) = self.stored(worker)? else { return Ok(()) };
        let grace = options
            .grace
            .unwrap_or_else(|| stored.config.stop_grace.unwrap_or(self.settings.stop_grace).get());
        let creation = stored.creation();
        match self.last_run(&creation)? {
            0 => Ok(()),
            last => {
                self.end(Some(&stored), &creation.run(last), grace, &self.layout.control(&creation.run(last)))
                    .await
            }
        }
    }

    /// Asks a run to end and waits until it has.
    async fn end(
        self: &Arc<Self>,
        stored: Option<&Stored>,
        key: &RunKey,
        grace: Duration,
        fifo: &Path,
    ) -> Result<()> {
        let changes = self.notices.of_worker(&Self::topic(&key.creation.worker));
        let (mut asked, mut first) = (false, false);
        loop {
            match self.settled_state(key).await? {
                RunState::Over(..) => return Ok(()),
                RunState::Gone => {
                    // Noted for nobody.
                    if first {
                        let _ = files::remove(&self.layout.stopping(key));
                    }
                    return Ok(());
                }
                RunState::Running(_) | RunState::Starting if !asked => {
                    first |= self.mark_stopping(key)?;
                    asked = ask(fifo, grace)?;
                }
                RunState::Running(_) | RunState::Starting => {}
                RunState::Lost(started) => {
                    first |= self.mark_stopping(key)?;
                    // Once per run: to many programs a second signal means to give up at once.
                    let signal = std::mem::take(&mut first) && !asked;
                    self.end_lost(stored, key, &started, grace, signal).await?;
                    continue;
                }
            }
            // Also when it could not be asked: then the supervisor is about to be gone, and its lock says so.
            changes.changed().await?;
        }
    }

    /// Whether we are the first to want it.
    fn mark_stopping(&self, key: &RunKey) -> Result<bool> {
        let path = self.layout.stopping(key);
        match files::create_exclusive(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error::file("noting that a worker is to stop", &path, error)),
        }
    }

    /// Does for a worker without a supervisor what that would have done.
    async fn end_lost(
        self: &Arc<Self>,
        stored: Option<&Stored>,
        key: &RunKey,
        started: &Started,
        grace: Duration,
        signal: bool,
    ) -> Result<()> {
        if !grace.is_zero()
            && let Some(fd) = open_process(started)?
        {
            let options = match stored {
                Some(stored) => stored.config.options::<ProcessOptions>()?.unwrap_or_default(),
                None => ProcessOptions::default(),
            };
            let number = options.stop_signal.as_deref().and_then(signal_number).unwrap_or(15);
            if let Some(signal) = Signal::from_named_raw(number).filter(|_| signal) {
                let _ = pidfd_send_signal(&fd, signal);
            }
            let fd = crate::ready::register(fd)
                .map_err(|error| error::file("waiting for a process", &self.layout.started(key), error))?;
            // A pidfd is readable when its process has ended.
            let _ = timeout(grace, fd.readable()).await;
        }
        let (host, key, started) = (Arc::clone(self), key.clone(), started.clone());
        blocking(move || {
            host.contain(&key, Some(&started), None);
            Ok(())
        })
        .await
    }

    pub(crate) async fn delete(self: &Arc<Self>, worker: &WorkerRef) -> Result<()> {
        let creation = match self.stored(worker) {
            Ok(stored) => stored.map(|stored| stored.creation()),
            // It can be removed all the same.
            Err(error) => Some(creation_in(&self.layout.worker(worker), worker).ok_or(error)?),
        };
        if let Some(creation) = creation {
            // Killed while it can still be found by its name, so that a host that dies now leaves nothing hidden.
            self.end_all(&creation, &self.layout.creation(&creation)).await?;
            // Somebody else may have been quicker, and what is there now be a later creation of that name. One that
            // comes in the instant before the rename is deleted a little late, and ended below.
            if self.layout.creation(&creation).exists() {
                let trash = self.layout.dir("trash").join(creation.to_string());
                let from = self.layout.worker(worker);
                match fs::rename(&from, &trash) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error::file("removing a worker", &from, error)),
                }
            }
        }
        // What lies there may also be an earlier deletion that was cut off.
        let prefix = format!("{}.", worker_name(worker));
        for name in self.trash()?.into_iter().filter(|name| name.starts_with(&prefix)) {
            self.discard(&name).await?;
        }
        self.limits.remove_empty();
        Ok(())
    }

    fn trash(&self) -> Result<Vec<String>> {
        let folder = self.layout.dir("trash");
        files::names(&folder).map_err(|error| error::file("reading what was deleted", &folder, error))
    }

    /// Kills every run of a creation, whose claims lie in `folder`.
    async fn end_all(self: &Arc<Self>, creation: &Creation, folder: &Path) -> Result<()> {
        let last = last_claim(folder)?;
        if last == 0 {
            return Ok(());
        }
        let key = creation.run(last);
        self.end(None, &key, Duration::ZERO, &folder.join(format!("{last}.control"))).await
    }

    /// Finishes a deletion: ends what was claimed at the last moment, and removes what is left, the claims last.
    pub(crate) async fn discard(self: &Arc<Self>, name: &str) -> Result<()> {
        let trash = self.layout.dir("trash").join(name);
        if let Some(named) = parse_creation(name) {
            // Not always the one by which the folder is called.
            let inside = creation_in(&trash, &named.worker).filter(|inside| *inside != named);
            for creation in inside.into_iter().chain([named]) {
                let folder = trash.join(&creation.nonce);
                self.end_all(&creation, &folder).await?;
                let host = Arc::clone(self);
                blocking(move || host.remove_records(&creation, &folder)).await?;
            }
        }
        blocking(move || {
            files::remove_tree(&trash).map_err(|error| error::file("removing a worker", &trash, error))
        })
        .await
    }

    fn remove_records(&self, creation: &Creation, folder: &Path) -> Result<()> {
        let logs = self.log_folder(creation);
        files::remove_tree(&logs).map_err(|error| error::file("removing a worker's logs", &logs, error))?;
        let runs = claims(folder)?;
        // One more: an attempt may have been given up before its claim.
        let next = runs.iter().max().unwrap_or(&0) + 1;
        for run in runs.into_iter().chain([next]) {
            let key = creation.run(run);
            let _ = groups::remove(&self.limits.plan_of(&key));
            for name in FLAT {
                let path = self.layout.dir(name).join(key.to_string());
                files::remove(&path)
                    .map_err(|error| error::file("removing a worker's records", &path, error))?;
            }
        }
        Ok(())
    }

    /// What earlier hosts left behind: deletions that were cut off, halves of creations, records and logs of workers
    /// that do not exist.
    pub(crate) async fn sweep(self: &Arc<Self>) -> Result<()> {
        for name in self.trash()? {
            if let Err(error) = self.discard(&name).await {
                // Nobody's work depends on it.
                tracing::warn!(name, %error, "what an earlier host has deleted could not be removed");
            }
        }
        let host = Arc::clone(self);
        blocking(move || host.sweep_records()).await
    }

    /// Secret files whose host died before their run began, and runs long past of which not all was removed.
    fn sweep_runs(&self) {
        for worker in files::names(&self.layout.workers()).unwrap_or_default() {
            let Some(worker) = parse_worker_name(&worker) else { continue };
            let Some(creation) = creation_in(&self.layout.worker(&worker), &worker) else { continue };
            let folder = self.layout.creation(&creation);
            for name in files::names(&folder).unwrap_or_default() {
                let run = name.split_once(".secrets.").and_then(|(run, _)| run.parse().ok());
                let Some(key) = run.map(|run| creation.run(run)) else { continue };
                if is_abandoned(&name)
                    && !lock::is_held(&self.layout.lock(&key)).unwrap_or(true)
                    && !self.layout.claim(&key).exists()
                {
                    let _ = files::remove_tree(&folder.join(name));
                }
            }
            let runs = claims(&folder).unwrap_or_default();
            let last = runs.iter().max().copied().unwrap_or(0);
            for run in runs.into_iter().filter(|run| run + 1 < last) {
                forget(&self.layout, &creation.run(run));
            }
        }
    }

    fn sweep_records(&self) -> Result<()> {
        let new = self.layout.dir("new");
        for name in files::names(&new).map_err(|error| error::file("sweeping", &new, error))? {
            if is_abandoned(&name) {
                let _ = files::remove_tree(&new.join(name));
            }
        }
        for name in FLAT {
            let folder = self.layout.dir(name);
            let names = files::names(&folder).map_err(|error| error::file("sweeping", &folder, error))?;
            for half in files::temporary(&folder).unwrap_or_default() {
                if !half.1.parse::<RunKey>().is_ok_and(|key| exists(&self.layout, &key.creation)) {
                    let _ = files::remove(&half.0);
                }
            }
            for key in names.iter().filter_map(|name| name.parse::<RunKey>().ok()) {
                if !exists(&self.layout, &key.creation)
                    && !lock::is_held(&self.layout.lock(&key)).unwrap_or(true)
                {
                    let _ = files::remove(&folder.join(key.to_string()));
                }
            }
        }
        self.sweep_runs();
        for name in files::names(&self.logs).unwrap_or_default() {
            let Some(creation) = parse_creation(&name) else { continue };
            if !exists(&self.layout, &creation) {
                let _ = files::remove_tree(&self.logs.join(name));
            }
        }
        sweep_lost(&self.logs, self.settings.logs.keep_lost.get(), self.clock.now());
        Ok(())
    }
}

/// The creation that a folder is called by.
fn parse_creation(name: &str) -> Option<Creation> {
    let (worker, nonce) = name.rsplit_once('.')?;
    Some(Creation { worker: parse_worker_name(worker)?, nonce: nonce.to_owned() })
}

fn exists(layout: &Layout, creation: &Creation) -> bool {
    layout.creation(creation).exists() || layout.dir("trash").join(creation.to_string()).exists()
}

/// Tells a supervisor. `false` when it is not there to listen.
fn ask(fifo: &Path, grace: Duration) -> Result<bool> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let opened = OpenOptions::new().write(true).custom_flags(nonblocking).open(fifo);
    let mut fifo_file = match opened {
        Ok(file) => file,
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) =>
        {
            return Ok(false);
        }
        Err(error) => return Err(error::file("telling a supervisor to stop", fifo, error)),
    };
    let request = if grace.is_zero() { Request::Kill } else { Request::Stop(grace) };
    match fifo_file.write_all(request.to_string().as_bytes()) {
        Ok(()) => Ok(true),
        // Full of requests that it has not read: it has been asked.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => {
            Err(Error::new(ErrorKind::Unavailable, "a supervisor cannot be told to stop").with_source(error))
        }
    }
}

/// The process, unless it has ended.
fn open_process(started: &Started) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(started.process.pid) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        // Opened first, compared then: the number may have been given to another meanwhile.
        Ok(fd) => Ok(crate::proc::is_alive(started.process).then_some(fd)),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(Error::new(ErrorKind::Unavailable, "the worker's process cannot be watched")
            .with_source(io::Error::from(errno))),
    }
}
