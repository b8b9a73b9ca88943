//! Workers as the host's own children, where there is no supervisor: a task of the host does what that would do, with
//! the same records, so that another provider of the installation sees no difference.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hodei_worker_core::Result;
use rustix::{
    io::fcntl_dupfd_cloexec,
    process::{Pid, Signal},
};
use tokio::{
    io::AsyncReadExt as _,
    net::unix::pipe::{self, Receiver},
    time::{Instant, sleep_until},
};

use crate::{
    error, files,
    host::{Host, blocking},
    layout::RunKey,
    leader::Leader,
    lock,
    logs::{Kind, Lines, LogWriter},
    proc,
    ready::rest,
    supervise::{self, MARKER, groups, signals::unblocked, spawn},
    wire::{End, Exit, Failure, Launch, Reply, Request, Requests, Step},
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
        match self.spawn_attached(key, &launch, &lock) {
            Ok((leader, [stdout, stderr])) => {
                let attached = Attached {
                    host: Arc::clone(self),
                    stop: Stop::default(),
                    requests: Requests::default(),
                    key: key.clone(),
                    log: LogWriter::new(launch.logs.clone()),
                    stdout: Output::new(stdout, Kind::Stdout),
                    stderr: Output::new(stderr, Kind::Stderr),
                    launch,
                    leader,
                    control,
                    over: false,
                    lock: Some(lock),
                };
                self.attached.begin();
                tokio::spawn(attached.run_to_end());
                Ok(Reply::Started)
            }
            Err((failure, Ran::No)) if failure.is_capacity() => {
                self.contain(key, None, None);
                supervise::give_back(&self.layout, key).map_err(failed)?;
                Ok(Reply::Full(failure))
            }
            Err((failure, _)) => {
                self.contain(key, None, None);
                let exit = Exit::new(self.clock.now(), End::Failed(failure.clone()));
                supervise::finish(&self.layout, key, &exit).map_err(failed)?;
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

    fn spawn_attached(
        &self,
        key: &RunKey,
        launch: &Launch,
        lock: &File,
    ) -> Result<(Leader, Outputs), (Failure, Ran)> {
        let before = |failure| (failure, Ran::No);
        groups::prepare(&launch.groups).map_err(before)?;
        let what = launch.command.first().map_or("", String::as_str);
        let no_room = |error: io::Error| spawn::failure(Step::Command, what, &error);
        // Keeps room for the descriptor by which its end will be heard of.
        let room = fcntl_dupfd_cloexec(lock, 0).map_err(|errno| before(no_room(errno.into())))?;
        let mut command = spawn::worker(launch);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = unblocked(|| command.spawn()).map_err(|error| before(spawn::refused(launch, &error)))?;
        drop(room);
        let after = |failure| (failure, Ran::Yes);
        let mut leader = Leader::new(child);
        leader.watch().map_err(|error| after(no_room(error)))?;
        let (stdout, stderr) = (leader.child().stdout.take(), leader.child().stderr.take());
        let outputs = [stdout.map(OwnedFd::from), stderr.map(OwnedFd::from)];
        let [stdout, stderr] = outputs.map(|pipe| pipe.map(receiver).transpose());
        let outputs =
            [stdout.map_err(|error| after(no_room(error)))?, stderr.map_err(|error| after(no_room(error)))?];
        let pid = leader.pid();
        groups::adopt(&launch.groups, pid).map_err(after)?;
        if let Some(pid) = Pid::from_raw(pid) {
            spawn::limit(launch.address_space, pid).map_err(after)?;
        }
        supervise::record(&self.layout, key, launch, pid).map_err(|error| {
            after(spawn::failure(Step::Limits, self.layout.started(key).display(), &error))
        })?;
        Ok((leader, outputs))
    }
}

/// What a worker writes to its two streams.
type Outputs = [Option<Receiver>; 2];

/// A pipe on the event loop.
fn receiver(pipe: OwnedFd) -> io::Result<Receiver> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Receiver::from_owned_fd_unchecked(pipe)
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
    leader: Leader,
    stdout: Output,
    stderr: Output,
    log: LogWriter,
    control: Receiver,
    requests: Requests,
    stop: Stop,
    /// How it ended is written down.
    over: bool,
    lock: Option<File>,
}

#[derive(Default)]
struct Stop {
    asked: bool,
    deadline: Option<Instant>,
}

/// One stream, or what is left of it.
struct Output {
    source: Option<Receiver>,
    lines: Lines,
}

impl Output {
    fn new(source: Option<Receiver>, kind: Kind) -> Self {
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
    fn drain(&mut self, log: &mut LogWriter) {
        let rest = self.source.take().map(|pipe| rest(pipe.into_nonblocking_fd())).unwrap_or_default();
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
    async fn run_to_end(mut self) {
        let mut bytes = [0; 256];
        loop {
            let deadline = self.stop.deadline;
            let kill = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.leader.ended() => break,
                read = self.stdout.read() => self.stdout.log(read, &mut self.log),
                read = self.stderr.read() => self.stderr.log(read, &mut self.log),
                read = self.control.read(&mut bytes) => {
                    self.requests.push(&bytes[..read.unwrap_or(0)]);
                    while let Some(request) = self.requests.next() {
                        self.obey(request);
                    }
                }
                () = kill => {
                    self.stop.deadline = None;
                    self.leader.signal(Signal::KILL);
                }
            }
        }
        self.reap();
        let host = Arc::clone(&self.host);
        let gone = host.contain_with_others(&self.key, &self.launch.groups).await;
        // Dropped unfinished when the runtime ends: then it is cleaned up after like any other.
        let _ = blocking(move || {
            self.finish(gone);
            Ok(())
        })
        .await;
    }

    /// Notes how it ended and reaps it. Its group of processes goes first: where there is no control group, that holds
    /// what did not leave it.
    fn reap(&mut self) {
        let noted = self.leader.status();
        if let Some(raw) = noted {
            let _ = supervise::note(&self.host.layout, &self.key, raw);
        }
        if let Some(status) = self.leader.kill()
            && noted.is_none()
        {
            let _ = supervise::note(&self.host.layout, &self.key, status.into_raw());
        }
    }

    /// Writes down how it ended, and whether nothing is left of it.
    fn finish(&mut self, gone: bool) {
        let out_of_memory = groups::out_of_memory(&self.launch.groups);
        let _ = groups::remove(&self.launch.groups);
        self.stdout.drain(&mut self.log);
        self.stderr.drain(&mut self.log);
        self.log.end();
        let end = self.leader.kill().map_or(End::Lost, |status| End::Wait(status.into_raw()));
        let exit = Exit { out_of_memory, outlived: !gone, ..Exit::new(self.host.clock.now(), end) };
        match supervise::finish(&self.host.layout, &self.key, &exit) {
            Ok(()) => self.over = true,
            Err(error) => {
                tracing::error!(run = %self.key, %error, "how a worker ended could not be recorded");
            }
        }
    }

    fn obey(&mut self, request: Request) {
        match request {
            Request::Kill => self.leader.signal(Signal::KILL),
            Request::Stop(grace) => {
                let deadline = Instant::now() + grace.min(Duration::from_secs(1 << 30));
                let earlier = self.stop.deadline.unwrap_or(deadline);
                self.stop.deadline = Some(earlier.min(deadline));
                if !self.stop.asked
                    && let Some(signal) = Signal::from_named_raw(self.launch.stop_signal)
                {
                    self.leader.signal(signal);
                }
                self.stop.asked = true;
            }
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if !self.over {
            self.reap();
        }
        self.lock = None;
        self.host.cut_off((!self.over).then(|| self.key.clone()));
    }
}

/// The attached workers of a host that run, and those whose tasks were cut off.
#[derive(Debug, Default)]
pub(crate) struct Attachments(Mutex<(usize, Vec<RunKey>)>);

impl Attachments {
    fn begin(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 += 1;
    }

    /// One ends; with the last come all that were cut off.
    fn end(&self, cut_off: Option<RunKey>) -> Vec<RunKey> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.saturating_sub(1);
        state.1.extend(cut_off);
        if state.0 == 0 { std::mem::take(&mut state.1) } else { Vec::new() }
    }
}

impl Host {
    /// The task of a worker is gone. When a runtime ends, so are all: what they leave is looked for once.
    fn cut_off(&self, run: Option<RunKey>) {
        let all = self.attached.end(run);
        if all.is_empty() {
            return;
        }
        let marks = proc::marks(MARKER);
        for key in all {
            if let Err(error) = self.bury(&key, Some(&marks)) {
                tracing::error!(run = %key, %error, "what a worker left could not be cleaned up");
            }
        }
    }
}
