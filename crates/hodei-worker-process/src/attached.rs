//! Workers as the host's own children, where there is no supervisor: a task of the host does what that would do, with
//! the same records, so that another provider of the installation sees no difference.

use std::{
    fs::File, io, os::fd::OwnedFd, os::unix::process::ExitStatusExt as _, process::Stdio, sync::Arc,
    time::Duration,
};

use hodei_worker_core::Result;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::unix::pipe,
    process::{Child, ChildStderr, ChildStdout},
    time::{Instant, sleep_until},
};

use crate::{
    error, files,
    host::Host,
    layout::RunKey,
    lock,
    logs::{Kind, Lines, LogWriter},
    proc,
    ready::rest,
    supervise::{self, groups, signals::unblocked, spawn},
    wire::{End, Failure, Launch, Reply, Request, Requests, Step},
};

impl Host {
    /// Starts a run as a child of this process, unless it has been started. It blocks, and needs the runtime.
    pub(crate) fn start_attached(self: &Arc<Self>, key: &RunKey, launch: Launch) -> Result<Reply> {
        let failed = |error| error::file("starting a worker", &self.layout.claim(key), error);
        // Another attempt runs it, or has run it.
        let Some(lock) = lock::take(&self.layout.lock(key)).map_err(failed)? else {
            return Ok(Reply::Taken);
        };
        let control = match self.claim(key).map_err(failed)? {
            Ok(control) => control,
            Err(reply) => return Ok(reply),
        };
        match self.spawn_attached(key, &launch) {
            Ok(child) => {
                let log = LogWriter::new(launch.logs.clone());
                let attached = Attached {
                    host: Arc::clone(self),
                    stop: Stop::default(),
                    requests: Requests::default(),
                    key: key.clone(),
                    launch,
                    log,
                    control,
                    _lock: lock,
                };
                tokio::spawn(attached.run_to_end(child));
                Ok(Reply::Started)
            }
            Err((failure, Ran::No)) if failure.is_capacity() => {
                self.contain(key, None);
                supervise::give_back(&self.layout, key).map_err(failed)?;
                Ok(Reply::Full(failure))
            }
            Err((failure, _)) => {
                self.contain(key, None);
                supervise::finish(&self.layout, key, End::Failed(failure.clone()), false).map_err(failed)?;
                Ok(Reply::Failed(failure))
            }
        }
    }

    /// Makes the run ours, and the FIFO through which it is asked to end; opened first, since a claim without a worker
    /// would be a run that was lost.
    fn claim(&self, key: &RunKey) -> io::Result<Result<pipe::Receiver, Reply>> {
        if !supervise::make_control(&self.layout, key)? {
            files::remove(&self.layout.lock(key))?;
            return Ok(Err(Reply::Gone));
        }
        let control = pipe::OpenOptions::new().read_write(true).open_receiver(self.layout.control(key))?;
        match supervise::claim(&self.layout, key) {
            Ok(()) => Ok(Ok(control)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                files::remove(&self.layout.control(key)).map(|()| Err(Reply::Taken))
            }
            Err(error) => Err(error),
        }
    }

    fn spawn_attached(&self, key: &RunKey, launch: &Launch) -> Result<Child, (Failure, Ran)> {
        let before = |failure| (failure, Ran::No);
        groups::prepare(&launch.groups).map_err(before)?;
        let mut command = tokio::process::Command::from(spawn::worker(launch));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = unblocked(|| command.spawn()).map_err(|error| before(spawn::refused(launch, &error)))?;
        let after = |failure| (failure, Ran::Yes);
        let pid = child.id().and_then(|pid| Pid::from_raw(pid as i32));
        if let Some(pid) = pid {
            groups::adopt(&launch.groups, pid.as_raw_nonzero().get() as u32).map_err(after)?;
            spawn::limit(launch.address_space, pid).map_err(after)?;
            match supervise::record(&self.layout, key, launch, pid.as_raw_nonzero().get()) {
                // One that is over already has no start time to be read; how it ended is recorded all the same.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let path = self.layout.started(key);
                    return Err(after(spawn::failure(Step::Limits, path.display(), &error)));
                }
                _ => {}
            }
        }
        Ok(child)
    }
}

/// Whether the command had begun when something failed.
#[derive(Clone, Copy)]
enum Ran {
    No,
    Yes,
}

struct Attached {
    host: Arc<Host>,
    key: RunKey,
    launch: Launch,
    log: LogWriter,
    control: pipe::Receiver,
    requests: Requests,
    stop: Stop,
    _lock: File,
}

#[derive(Default)]
struct Stop {
    asked: bool,
    deadline: Option<Instant>,
}

/// One stream, or what is left of it.
struct Output<R> {
    source: Option<R>,
    lines: Lines,
}

impl<R: AsyncRead + Unpin> Output<R> {
    fn new(source: Option<R>, kind: Kind) -> Self {
        Self { source, lines: Lines::new(kind) }
    }

    /// Bytes that were read; never returns when there is nothing to come. Cancel-safe.
    async fn read(&mut self) -> usize {
        match &mut self.source {
            Some(source) => source.read(self.lines.space()).await.unwrap_or(0),
            None => std::future::pending().await,
        }
    }

    fn log(&mut self, read: usize, log: &mut LogWriter) {
        if read == 0 {
            self.source = None;
            self.lines.flush(log);
        } else {
            self.lines.filled(read, log);
        }
    }

    /// Logs what is in the pipe already.
    fn drain(&mut self, log: &mut LogWriter, into_owned: impl FnOnce(R) -> io::Result<OwnedFd>) {
        let rest = self.source.take().map(|pipe| rest(into_owned(pipe))).unwrap_or_default();
        let mut rest = rest.as_slice();
        while !rest.is_empty() {
            let space = self.lines.space();
            let (now, later) = rest.split_at(rest.len().min(space.len()));
            space[..now.len()].copy_from_slice(now);
            self.lines.filled(now.len(), log);
            rest = later;
        }
        self.lines.flush(log);
    }
}

impl Attached {
    async fn run_to_end(mut self, mut child: Child) {
        let pid = child.id().map(|pid| pid as i32).unwrap_or_default();
        let mut stdout = Output::new(child.stdout.take(), Kind::Stdout);
        let mut stderr = Output::new(child.stderr.take(), Kind::Stderr);
        let mut bytes = [0; 256];
        let status = loop {
            let deadline = self.stop.deadline;
            let kill = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                status = child.wait() => break status,
                read = stdout.read() => stdout.log(read, &mut self.log),
                read = stderr.read() => stderr.log(read, &mut self.log),
                read = self.control.read(&mut bytes) => {
                    self.requests.push(&bytes[..read.unwrap_or(0)]);
                    while let Some(request) = self.requests.next() {
                        self.obey(request, pid);
                    }
                }
                () = kill => {
                    self.stop.deadline = None;
                    proc::signal(pid, Signal::KILL);
                }
            }
        };
        if let Ok(status) = &status {
            let _ = supervise::note(&self.host.layout, &self.key, status.into_raw());
        }
        // Its group of processes first: where there is no control group, that holds what did not leave it.
        if let Some(group) = Pid::from_raw(pid) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let out_of_memory = groups::out_of_memory(&self.launch.groups);
        let (host, key) = (Arc::clone(&self.host), self.key.clone());
        let _ = crate::host::blocking(move || {
            host.contain(&key, None);
            Ok(())
        })
        .await;
        stdout.drain(&mut self.log, ChildStdout::into_owned_fd);
        stderr.drain(&mut self.log, ChildStderr::into_owned_fd);
        let end = status.map_or(End::Lost, |status| End::Wait(status.into_raw()));
        if let Err(error) = supervise::finish(&self.host.layout, &self.key, end, out_of_memory) {
            tracing::error!(run = %self.key, %error, "how a worker ended could not be recorded");
        }
    }

    fn obey(&mut self, request: Request, pid: i32) {
        match request {
            Request::Kill => proc::signal(pid, Signal::KILL),
            Request::Stop(grace) => {
                let deadline = Instant::now() + grace.min(Duration::from_secs(1 << 30));
                let earlier = self.stop.deadline.unwrap_or(deadline);
                self.stop.deadline = Some(earlier.min(deadline));
                if !self.stop.asked
                    && let Some(signal) = Signal::from_named_raw(self.launch.stop_signal)
                {
                    proc::signal(pid, signal);
                }
                self.stop.asked = true;
            }
        }
    }
}
