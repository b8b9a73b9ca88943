//! Commands in a running worker: beside it, with its environment, folder, user and limits.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::Stdio,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerRef,
    provider::{ExecOptions, ExecSession, LogStream, Operation},
    status::ExitStatus,
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStderr, ChildStdout, Command},
    sync::watch,
    task::AbortHandle,
};

use crate::{
    bury::RunState,
    error, files,
    host::{Host, blocking},
    layout::RunKey,
    observe::decode,
    options::ProcessOptions,
    ready::rest,
    supervise::{MARKER, groups, signals::unblocked, spawn},
    user,
    wire::{Started, Step, Stored},
};

impl Host {
    /// The worker and its run, which must be going on. It may block.
    pub(crate) fn running(&self, worker: &WorkerRef) -> Result<(Stored, RunKey, Started)> {
        let stored = self.stored(worker)?.ok_or_else(|| Error::worker_not_found(worker))?;
        let creation = stored.creation();
        let last = self.last_run(&creation)?;
        if last > 0 {
            let key = creation.run(last);
            if let RunState::Running(started) | RunState::Lost(started) = self.run_state(&key)? {
                return Ok((stored, key, started));
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the worker does not run").with_help("start it first"))
    }

    pub(crate) async fn exec(
        self: &Arc<Self>,
        worker: &WorkerRef,
        options: &ExecOptions,
    ) -> Result<ExecSession> {
        let (host, asked) = (Arc::clone(self), worker.clone());
        let (stored, key, started) = blocking(move || host.running(&asked)).await?;
        if options.command.first().is_none_or(String::is_empty) {
            return Err(Error::config("command[0]", "the program's name is empty"));
        }
        let identity = user::identity(&stored.config.options::<ProcessOptions>()?.unwrap_or_default())?;
        // Not as the kernel shows it, which is what the worker has made of it.
        let secrets = self.resolve(&stored.config).await?;
        let mut environment =
            self.whole_environment(&stored, &identity, &secrets, started.secrets.as_deref());
        environment.extend(options.environment.iter().map(|(name, value)| (name.clone(), value.clone())));
        let mark = key.marker(self.installation.as_str());
        environment.push((MARKER.into(), mark));
        let path = self.layout.exec_mark(&key);
        files::touch(&path).map_err(|error| error::file("noting a command", &path, error))?;
        let folder = options.working_dir.as_deref().or(stored.config.working_dir.as_deref()).unwrap_or("/");
        // Of several of one name the last holds.
        let environment: BTreeMap<_, _> = environment.into_iter().collect();
        let variables = environment.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        let command =
            spawn::command(&options.command, variables, Path::new(folder), identity.uid, identity.gid);
        let mut command = Command::from(command);
        command.stdin(if options.stdin { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child =
            unblocked(|| command.spawn()).map_err(|error| refused(&options.command[0], folder, &error))?;
        if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
            // It may be over already.
            let _ = spawn::limit(self.limits.address_space(&stored.config.resources), pid);
        }
        // Into the worker's groups, where there are any: what it starts may lose the mark. One that is over already
        // cannot be moved, and need not be.
        if let Some(pid) = child.id() {
            let _ = groups::adopt(&started.groups, pid as i32);
        }
        let stdin = child.stdin.take();
        let output = (child.stdout.take(), child.stderr.take());
        let (told, ended) = watch::channel(None);
        let task = tokio::spawn(Arc::clone(self).attend(Grouped(child), key, told)).abort_handle();
        let session = Session { ended: ended.clone(), _task: AbortOnDrop(task) };
        let info = self.info.clone();
        let worker = worker.clone();
        let describe = move |error: Error| {
            error.with_operation(Operation::Exec).with_provider(&info).with_worker(&worker)
        };
        Ok(ExecSession::new(
            stdin.map(|stdin| Box::pin(stdin) as _),
            read_output(output.0, output.1, ended).boxed(),
            async move { session.exit().await.map_err(describe) },
        ))
    }

    /// Waits for a command, and ends it with its worker.
    async fn attend(
        self: Arc<Self>,
        mut child: Grouped,
        key: RunKey,
        told: watch::Sender<Option<io::Result<ExitStatus>>>,
    ) {
        let changes = self.notices.of_worker(&Self::topic(&key.creation.worker));
        let ended = loop {
            if matches!(self.settled_state(&key).await, Ok(RunState::Over(..) | RunState::Gone)) {
                child.kill();
            }
            tokio::select! {
                status = child.0.wait() => break status.map(|status| decode(status.into_raw())),
                Ok(()) = changes.changed() => {}
            }
        };
        told.send_replace(Some(ended));
    }
}

fn refused(command: &str, folder: &str, error: &io::Error) -> Error {
    let (step, what) =
        if Path::new(folder).is_dir() { (Step::Command, command) } else { (Step::WorkingDir, folder) };
    spawn::failure(step, what, error).to_error()
}

/// A child whose whole process group goes with it, unless it has ended by itself.
struct Grouped(Child);

impl Grouped {
    fn kill(&self) {
        // The number is the child's own as long as it has not been reaped.
        if let Some(pid) = self.0.id().and_then(|pid| Pid::from_raw(pid as i32)) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Grouped {
    fn drop(&mut self) {
        self.kill();
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Session {
    ended: watch::Receiver<Option<io::Result<ExitStatus>>>,
    _task: AbortOnDrop,
}

impl Session {
    async fn exit(mut self) -> Result<ExitStatus> {
        let cut_off = || Error::new(ErrorKind::Cancelled, "the command was ended with its host's runtime");
        let ended = self.ended.wait_for(Option::is_some).await.map_err(|_| cut_off())?;
        match &*ended {
            Some(Ok(exit)) => Ok(*exit),
            Some(Err(error)) => {
                Err(error::spawn("the command", io::Error::new(error.kind(), error.to_string())))
            }
            None => Err(cut_off()),
        }
    }
}

/// Both streams as they come, until the command has ended and what it wrote is read. What it left running does not
/// keep them open.
fn read_output(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    ended: watch::Receiver<Option<io::Result<ExitStatus>>>,
) -> impl futures::Stream<Item = Result<(LogStream, Bytes)>> + Send + 'static {
    let reading = Reading { stdout, stderr, ended, rest: VecDeque::new() };
    stream::try_unfold(reading, |mut reading| async move {
        let item = reading.next().await?;
        Ok(item.map(|item| (item, reading)))
    })
}

struct Reading {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    ended: watch::Receiver<Option<io::Result<ExitStatus>>>,
    /// What was in the pipes when the command ended.
    rest: VecDeque<(LogStream, Bytes)>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<(LogStream, Bytes)>> {
        while self.stdout.is_some() || self.stderr.is_some() {
            tokio::select! {
                read = next(&mut self.stdout), if self.stdout.is_some() => match read? {
                    Some(bytes) => return Ok(Some((LogStream::Stdout, bytes))),
                    None => self.stdout = None,
                },
                read = next(&mut self.stderr), if self.stderr.is_some() => match read? {
                    Some(bytes) => return Ok(Some((LogStream::Stderr, bytes))),
                    None => self.stderr = None,
                },
                _ = self.ended.wait_for(Option::is_some) => {
                    let stdout = self.stdout.take().map(|pipe| rest(pipe.into_owned_fd()));
                    let stderr = self.stderr.take().map(|pipe| rest(pipe.into_owned_fd()));
                    let both = [(LogStream::Stdout, stdout), (LogStream::Stderr, stderr)];
                    let full = both.into_iter().filter_map(|(stream, bytes)| Some((stream, Bytes::from(bytes?))));
                    self.rest.extend(full.filter(|(_, bytes)| !bytes.is_empty()));
                }
            }
        }
        Ok(self.rest.pop_front())
    }
}

async fn next(source: &mut Option<impl AsyncRead + Unpin>) -> Result<Option<Bytes>> {
    let Some(source) = source else { return std::future::pending().await };
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    match source.read_buf(&mut buffer).await {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(buffer.freeze())),
        Err(error) => {
            Err(Error::new(ErrorKind::Unavailable, "a command's output cannot be read").with_source(error))
        }
    }
}
