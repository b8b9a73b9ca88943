//! What the files and the process table say about a worker.

use std::{io, net::IpAddr, sync::Arc};

use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp, WorkerPhase, WorkerRef, WorkerStatus,
    model::Labels,
    provider::{Listing, WorkerFilter},
    status::{Address, ExitStatus, FailureClass},
};
use rustix::process::Signal;

use crate::{
    error, files,
    host::{Host, creation_in},
    layout::{Creation, RunKey, parse_worker_name},
    lock, proc,
    supervise::{MARKER, clear, forget_earlier, groups, noted, wait_for},
    wire::{End, Exit, Started, Step, Stored},
};

/// Where a claimed run is.
#[derive(Debug)]
pub(crate) enum RunState {
    /// Its supervisor is starting it.
    Starting,
    Running(Started),
    /// It runs, and its supervisor is gone.
    Lost(Started),
    Over(Exit, Option<Started>),
    /// The worker has been deleted while we looked, or has been run twice since.
    Gone,
}

impl Host {
    /// Where a claimed run is. One whose supervisor was lost and that has ended is cleaned up here, as its supervisor
    /// would have done.
    pub(crate) fn run_state(&self, key: &RunKey) -> Result<RunState> {
        self.read_run(key)
            .map_err(|error| error::file("reading a run's state", &self.layout.exit(key), error))
    }

    fn read_run(&self, key: &RunKey) -> io::Result<RunState> {
        let layout = &self.layout;
        let over = || -> io::Result<Option<RunState>> {
            let Some(exit) = files::get(&layout.exit(key))? else { return Ok(None) };
            Ok(Some(RunState::Over(exit, files::get(&layout.started(key))?)))
        };
        if let Some(over) = over()? {
            return Ok(over);
        }
        if lock::is_held(&layout.lock(key))? {
            let started = files::get(&layout.started(key))?;
            return Ok(started.map_or(RunState::Starting, RunState::Running));
        }
        // The end is written before the lock is released.
        if let Some(over) = over()? {
            return Ok(over);
        }
        let started: Option<Started> = files::get(&layout.started(key))?;
        match started {
            Some(started) if started.boot == self.boot && proc::is_alive(started.process) => {
                Ok(RunState::Lost(started))
            }
            started => {
                let Some(claim) = files::read(&layout.claim(key))? else { return Ok(RunState::Gone) };
                self.contain(key, started.as_ref());
                let end = noted(&claim).map_or(End::Lost, End::Wait);
                let exit = Exit { time: self.clock.now(), end, out_of_memory: false };
                match files::put_new(&layout.exit(key), &exit) {
                    // It is known all the same, and written down by whoever looks when there is room.
                    Err(error) if error.kind() != io::ErrorKind::StorageFull => return Err(error),
                    _ => forget_earlier(layout, key),
                }
                Ok(over()?.unwrap_or(RunState::Over(exit, started)))
            }
        }
    }

    /// Kills what is left of a run without a supervisor: by its groups, and by the mark in the environment.
    pub(crate) fn contain(&self, key: &RunKey, started: Option<&Started>) {
        if started.is_some_and(|started| started.boot != self.boot) {
            return;
        }
        let plan = started.map(|started| started.groups.clone()).unwrap_or_else(|| self.limits.plan_of(key));
        let marker = key.marker(self.installation.as_str());
        // A process may fork while it is being killed, so until nothing is found; what cannot be killed ends the try.
        for _ in 0..20 {
            groups::kill(&plan);
            let mut left = groups::processes(&plan);
            left.extend(proc::marked(MARKER, &marker));
            left.extend(
                started
                    .map(|started| started.process.pid)
                    .filter(|_| started.is_some_and(|started| proc::is_alive(started.process))),
            );
            left.retain(|pid| proc::identify(*pid).is_some_and(proc::is_alive));
            if left.is_empty() {
                break;
            }
            for pid in &left {
                let below = proc::descendants(*pid);
                below.iter().chain([pid]).for_each(|pid| proc::signal(*pid, Signal::KILL));
            }
            left.into_iter().for_each(wait_for);
        }
        let _ = groups::remove(&plan);
        clear(&self.layout, key);
    }

    /// The worker's status; `None` when there is no such worker.
    pub(crate) fn status(&self, worker: &WorkerRef) -> Result<Option<Arc<WorkerStatus>>> {
        // Before anything is read: what is read may be newer than the time, never older.
        let now = self.clock.now();
        match self.stored(worker) {
            Ok(Some(stored)) => self.status_of(&stored, now),
            Ok(None) => Ok(None),
            Err(why) if why.kind() == ErrorKind::Corrupt => self.status_without(worker, why, now),
            Err(error) => Err(error),
        }
    }

    fn status_of(&self, stored: &Stored, now: Timestamp) -> Result<Option<Arc<WorkerStatus>>> {
        let mut status = WorkerStatus::new(stored.ownership.worker.clone(), WorkerPhase::Created, now);
        status.times.created = Some(stored.created);
        status.labels = stored.config.metadata.labels.clone();
        status.worker_type = stored.config.metadata.worker_type.clone();
        status.ownership = Some(stored.ownership.clone());
        self.complete(status, &stored.creation(), &|| addresses(stored))
    }

    /// The status of a worker whose configuration cannot be read: what its folder's name and its runs tell. One such
    /// worker must hide no other.
    fn status_without(
        &self,
        worker: &WorkerRef,
        why: Error,
        now: Timestamp,
    ) -> Result<Option<Arc<WorkerStatus>>> {
        let creation = creation_in(&self.layout.worker(worker), worker).ok_or(why.clone())?;
        tracing::warn!(%worker, error = %why, "a worker's configuration cannot be read");
        let mut status = WorkerStatus::new(worker.clone(), WorkerPhase::Created, now);
        status.reason = Some("its configuration cannot be read; delete it".into());
        self.complete(status, &creation, &Vec::new)
    }

    /// Adds what the last run tells.
    fn complete(
        &self,
        mut status: WorkerStatus,
        creation: &Creation,
        addresses: &dyn Fn() -> Vec<Address>,
    ) -> Result<Option<Arc<WorkerStatus>>> {
        status.native_id = creation.to_string();
        let last = self.last_run(creation)?;
        if last == 0 {
            // One that is deleted while we look shows no runs either.
            let exists = self.layout.creation(creation).exists();
            return Ok(exists.then(|| Arc::new(status)));
        }
        let key = creation.run(last);
        status.run = Some(key.id());
        let asked = self.layout.stopping(&key).exists();
        let alive = if asked { WorkerPhase::Stopping } else { WorkerPhase::Running };
        match self.run_state(&key)? {
            RunState::Starting => status.phase = WorkerPhase::Starting,
            RunState::Running(started) => {
                status.phase = alive;
                status.times.started = Some(started.time);
                status.addresses = addresses();
            }
            RunState::Lost(started) => {
                self.notices.when_gone(started.process, &Self::topic(&creation.worker));
                status.phase = alive;
                status.times.started = Some(started.time);
                status.addresses = addresses();
                status.reason =
                    Some("its supervisor was lost: how it ends will not be known, nor what it writes".into());
            }
            RunState::Over(exit, started) => {
                status.phase = WorkerPhase::Exited;
                status.times.started = started.map(|started| started.time);
                ended(&mut status, &exit);
            }
            // Deleted, or so long past while we looked that its records were removed.
            RunState::Gone if self.layout.creation(creation).exists() => {
                return self.complete(status, creation, addresses);
            }
            RunState::Gone => return Ok(None),
        }
        Ok(Some(Arc::new(status)))
    }

    /// Every worker that the filter means.
    pub(crate) fn list(&self, filter: &WorkerFilter) -> Result<Listing> {
        let now = self.clock.now();
        let folder = self.layout.workers();
        let names = files::names(&folder).map_err(|error| error::file("listing workers", &folder, error))?;
        let mut all = Vec::new();
        for worker in names.iter().filter_map(|name| parse_worker_name(name)) {
            if filter.id.as_ref().is_some_and(|id| *id != worker.id) {
                continue;
            }
            match self.stored(&worker) {
                Ok(Some(stored)) => {
                    let metadata = &stored.config.metadata;
                    if filter.matches(&worker.id, metadata.worker_type.as_ref(), &metadata.labels) {
                        all.extend(self.status_of(&stored, now)?);
                    }
                }
                // One that is deleted meanwhile is not there.
                Ok(None) => {}
                Err(why) if why.kind() == ErrorKind::Corrupt => {
                    if filter.matches(&worker.id, None, &Labels::default()) {
                        all.extend(self.status_without(&worker, why, now)?);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Listing::new(all, now))
    }
}

fn ended(status: &mut WorkerStatus, exit: &Exit) {
    status.times.finished = Some(exit.time);
    status.out_of_memory = exit.out_of_memory;
    match &exit.end {
        End::Wait(raw) => {
            let end = decode(*raw);
            status.exit = Some(end);
            status.reason = Some(format!("it ended with {end}"));
            status.failure = match end {
                ExitStatus::Code(0) => None,
                ExitStatus::Signal(9) if exit.out_of_memory => {
                    status.reason = Some("the kernel killed it for want of memory".into());
                    Some(FailureClass::OutOfMemory)
                }
                ExitStatus::Signal(_) => Some(FailureClass::Killed),
                _ => Some(FailureClass::Application),
            };
        }
        End::Failed(failure) => {
            status.reason = Some(failure.describe());
            status.failure = Some(match failure.step {
                _ if failure.is_capacity() => FailureClass::Capacity,
                Step::Command => FailureClass::CommandNotFound,
                Step::WorkingDir | Step::Limits => FailureClass::Configuration,
            });
        }
        End::Lost => {
            status.reason = Some("it is gone, and so is its supervisor: nobody knows how it ended".into());
            status.failure = Some(FailureClass::Vanished);
        }
    }
}

/// The exit that a raw status of `wait(2)` means.
pub(crate) fn decode(raw: i32) -> ExitStatus {
    use std::os::unix::process::ExitStatusExt as _;
    let status = std::process::ExitStatus::from_raw(raw);
    match status.signal() {
        Some(signal) => ExitStatus::Signal(signal),
        None => ExitStatus::Code(status.code().unwrap_or(raw)),
    }
}

/// A process listens by itself: its ports are where it says.
fn addresses(stored: &Stored) -> Vec<Address> {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let address = |port: &hodei_worker_core::model::Port| {
        Address::new(port.port, port.protocol, port.host_address.unwrap_or(loopback), port.port)
    };
    stored.config.ports.iter().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_raw_statuses_tell_codes_from_signals() {
        for (raw, exit) in [
            (0, ExitStatus::Code(0)),
            (35072, ExitStatus::Code(137)),
            (9, ExitStatus::Signal(9)),
            (36608, ExitStatus::Code(143)),
            (15, ExitStatus::Signal(15)),
            (128 + 11, ExitStatus::Signal(11)),
        ] {
            assert_eq!(decode(raw), exit, "{raw}");
        }
    }
}
