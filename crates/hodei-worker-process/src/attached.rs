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
    wire::{End, Failure, Launch, Request, Requests},
};

impl Host {
    /// Starts a run as a child of this process, unless it has been started; what came of it is in the records.
    pub(crate) async fn start_attached(self: &Arc<Self>, key: RunKey, launch: Launch) -> Result<()> {
        let failed = |error| error::file("starting a worker", &self.layout.claim(&key), error);
        let lock = lock::take(&self.layout.lock(&key)).map_err(failed)?;
        let claimed = match &lock {
            Some(_) => self.claim(&key).map_err(failed)?,
            None => false,
        };
        let (Some(lock), true) = (lock, claimed) else {
            // Another attempt runs it, or has run it.
            if let Some(secrets) = &launch.secrets {
                let _ = files::remove_tree(secrets);
            }
            return Ok(());
        };
        let control = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(self.layout.control(&key))
            .map_err(failed)?;
        match self.spawn_attached(&key, &launch) {
            Ok(child) => {
                let log = LogWriter::new(launch.logs.clone());
                let attached = Attached {
                    host: Arc::clone(self),
                    stop: Stop::default(),
                    requests: Requests::default(),
                    key,
                    launch,
                    log,
                    control,
                    _lock: lock,
                };
                tokio::spawn(attached.run_to_end(child));
            }
            Err(failure) => {
                self.contain(&key, None);
                supervise::finish(&self.layout, &key, End::Failed(failure), false).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn claim(&self, key: &RunKey) -> io::Result<bool> {
        if !supervise::make_control(&self.layout, key)? {
            return Ok(false);
        }
        match files::create_exclusive(&self.layout.claim(key)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                files::remove(&self.layout.control(key)).map(|()| false)
            }
            Err(error) => Err(error),
        }
    }

    fn spawn_attached(&self, key: &RunKey, launch: &Launch) -> Result<Child, Failure> {
        groups::prepare(&launch.groups)?;
        let mut command = tokio::process::Command::from(spawn::worker(launch));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = unblocked(|| command.spawn()).map_err(|error| spawn::refused(launch, &error))?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid as i32));
        if let Some(pid) = pid {
            groups::adopt(&launch.groups, pid.as_raw_nonzero().get() as u32)?;
            spawn::limit(launch.address_space, pid)?;
            // One that is over already has no start time to be read; how it ended is recorded all the same.
            let _ = supervise::record(&self.layout, key, launch, pid.as_raw_nonzero().get());
        }
        Ok(child)
    }
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
