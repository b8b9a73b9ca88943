//! What the files and the process table say about a worker.

use std::{net::IpAddr, sync::Arc};

use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp, WorkerPhase, WorkerRef, WorkerStatus,
    model::Labels,
    provider::{Listing, WorkerFilter},
    status::{Address, ExitStatus, FailureClass},
};

use crate::{
    bury::RunState,
    error, files,
    host::{Host, blocking, creation_in},
    layout::{Creation, parse_worker_name},
    wire::{End, Exit, Step, Stored},
};

/// What there is of a worker.
enum Seen {
    Status(Arc<WorkerStatus>),
    Absent,
    /// Its run has ended without a supervisor, and to clean up after it takes a while.
    Unburied,
}

impl Seen {
    fn status(self) -> Option<Arc<WorkerStatus>> {
        match self {
            Self::Status(status) => Some(status),
            Self::Absent | Self::Unburied => None,
        }
    }
}

impl Host {
    /// The worker's status; `None` when there is no such worker. It may block.
    pub(crate) fn status(&self, worker: &WorkerRef) -> Result<Option<Arc<WorkerStatus>>> {
        self.see(worker, true).map(Seen::status)
    }

    /// The same on the event loop, which it does not block.
    pub(crate) async fn status_soon(
        self: &Arc<Self>,
        worker: &WorkerRef,
    ) -> Result<Option<Arc<WorkerStatus>>> {
        match self.see(worker, false)? {
            Seen::Unburied => {
                let (host, worker) = (Arc::clone(self), worker.clone());
                blocking(move || host.status(&worker)).await
            }
            seen => Ok(seen.status()),
        }
    }

    fn see(&self, worker: &WorkerRef, bury: bool) -> Result<Seen> {
        // Before anything is read: what is read may be newer than the time, never older.
        let now = self.clock.now();
        match self.stored(worker) {
            Ok(Some(stored)) => self.status_of(&stored, now, bury),
            Ok(None) => Ok(Seen::Absent),
            Err(why) if why.kind() == ErrorKind::Corrupt => self.status_without(worker, why, now, bury),
            Err(error) => Err(error),
        }
    }

    fn status_of(&self, stored: &Stored, now: Timestamp, bury: bool) -> Result<Seen> {
        let mut status = WorkerStatus::new(stored.ownership.worker.clone(), WorkerPhase::Created, now);
        status.times.created = Some(stored.created);
        status.labels = stored.config.metadata.labels.clone();
        status.worker_type = stored.config.metadata.worker_type.clone();
        status.ownership = Some(stored.ownership.clone());
        self.complete(status, &stored.creation(), &|| addresses(stored), bury)
    }

    /// The status of a worker whose configuration cannot be read: what its folder's name and its runs tell. One such
    /// worker must hide no other.
    fn status_without(&self, worker: &WorkerRef, why: Error, now: Timestamp, bury: bool) -> Result<Seen> {
        let creation = creation_in(&self.layout.worker(worker), worker).ok_or(why.clone())?;
        tracing::warn!(%worker, error = %why, "a worker's configuration cannot be read");
        let mut status = WorkerStatus::new(worker.clone(), WorkerPhase::Created, now);
        status.reason = Some("its configuration cannot be read; delete it".into());
        self.complete(status, &creation, &Vec::new, bury)
    }

    /// Adds what the last run tells.
    fn complete(
        &self,
        mut status: WorkerStatus,
        creation: &Creation,
        addresses: &dyn Fn() -> Vec<Address>,
        bury: bool,
    ) -> Result<Seen> {
        status.native_id = creation.to_string();
        let last = self.last_run(creation)?;
        if last == 0 {
            // One that is deleted while we look shows no runs either.
            let exists = self.layout.creation(creation).exists();
            return Ok(if exists { Seen::Status(Arc::new(status)) } else { Seen::Absent });
        }
        let key = creation.run(last);
        status.run = Some(key.id());
        let asked = self.layout.stopping(&key).exists();
        let alive = if asked { WorkerPhase::Stopping } else { WorkerPhase::Running };
        let state = match self.look(&key)? {
            Some(state) => state,
            None if bury => self.run_state(&key)?,
            None => return Ok(Seen::Unburied),
        };
        match state {
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
                return self.complete(status, creation, addresses, bury);
            }
            RunState::Gone => return Ok(Seen::Absent),
        }
        Ok(Seen::Status(Arc::new(status)))
    }

    /// Every worker that the filter means. It may block.
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
                        all.extend(self.status_of(&stored, now, true)?.status());
                    }
                }
                // One that is deleted meanwhile is not there.
                Ok(None) => {}
                Err(why) if why.kind() == ErrorKind::Corrupt => {
                    if filter.matches(&worker.id, None, &Labels::default()) {
                        all.extend(self.status_without(&worker, why, now, true)?.status());
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
    if exit.outlived {
        let reason = status.reason.take().unwrap_or_default();
        status.reason = Some(format!("{reason}; some of its processes could not be killed, and go on"));
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
