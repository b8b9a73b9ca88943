//! Commands in a running container.

use bollard::{
    container::LogOutput,
    exec::{StartExecOptions, StartExecResults},
    models::{ExecConfig, ExecInspectResponse, IdResponse},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use hodei_worker_core::{
    Error, ErrorKind, Result, Retry, WorkerRef,
    provider::{ExecOptions, ExecSession, LogStream},
    status::ExitStatus,
};
use http::Method;
use std::pin::Pin;
use tokio::{io::AsyncWriteExt as _, sync::watch};

use crate::{
    client::{self, SharedEngine},
    error::{EngineResult, status, words},
    provider::Shared,
};

/// Bytes of input that wait for the engine.
const INPUT: usize = 64 * 1024;

impl Shared {
    /// Three requests: create, start, and at the end the exit code; a fourth at the first output, since only then it
    /// shows whether there is such a command.
    pub(crate) async fn exec(&self, worker: &WorkerRef, options: &ExecOptions) -> Result<ExecSession> {
        let program = options.command.first().cloned().unwrap_or_default();
        if program.is_empty() {
            return Err(Error::config("command", "a program is required"));
        }
        let options = options.resolved(&*self.context.credentials).await?;
        let config = ExecConfig {
            attach_stdin: Some(options.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(options.command.clone()),
            env: Some(options.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            working_dir: options.working_dir.clone(),
            ..ExecConfig::default()
        };
        let created = self.create_exec(worker, &config).await?;
        let docker = self.engine.docker();
        let start = StartExecOptions { detach: false, tty: false, output_capacity: Some(INPUT) };
        let started = docker.start_exec(&created.id, Some(start)).await;
        let started = match started {
            Ok(started) => started,
            Err(error) if matches!(status(&error), Some(400 | 500)) => {
                let said = words(&error);
                return Err(match Exec::look(&self.engine, &created.id).await {
                    Ok(exec) if exec.never_began() => not_found(&program).with_context("engine", said),
                    _ => self.engine.error(error),
                });
            }
            Err(error) if status(&error) == Some(409) => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("the worker does not run: {}", words(&error)),
                ));
            }
            Err(error) => return Err(self.engine.error(error)),
        };
        let StartExecResults::Attached { output, input } = started else {
            return Err(Error::new(ErrorKind::Unexpected, "the engine ran the command without its output"));
        };
        let engine = SharedEngine::clone(&self.engine);
        let broken = SharedEngine::clone(&self.engine);
        // Both hold it: who listens to neither feeds a command no more.
        let (listened, listener) = watch::channel(());
        let output = Output {
            engine: broken,
            exec: created.id.clone(),
            program,
            inner: output,
            checked: false,
            _listener: listener.clone(),
        };
        let output = stream::unfold(output, |mut output| async move {
            let part = output.next().await?;
            Some((part, output))
        });
        let never_began = not_found(&options.command[0]);
        let exit = async move {
            let _listener = listener;
            let exec = Exec::look(&engine, &created.id).await?;
            match exec.code {
                _ if exec.never_began() => Err(never_began),
                Some(code) if !exec.running => Ok(ExitStatus::from_shell(code)),
                _ => Err(Error::new(
                    ErrorKind::Unavailable,
                    "the connection to the command broke; it still runs",
                )
                .with_retry(Retry::Never)),
            }
        };
        let stdin = options.stdin.then(|| pipe(input, listened));
        Ok(ExecSession::new(stdin, output.boxed(), exit))
    }

    async fn create_exec(&self, worker: &WorkerRef, config: &ExecConfig) -> Result<IdResponse> {
        let body = client::body(config)
            .map_err(|error| Error::config("command", "the command cannot be sent").with_source(error))?;
        let mut id = self.id_of(worker).await?;
        let mut again = true;
        loop {
            let path = format!("/containers/{id}/exec");
            return match self.engine.call(Method::POST, &path, "", Some(body.clone())).await {
                Ok(created) => Ok(created.value),
                Err(error) => Err(match status(&error) {
                    Some(404) => {
                        id = self.successor_of(worker, &id).await?;
                        if std::mem::replace(&mut again, false) {
                            continue;
                        }
                        Error::worker_not_found(worker)
                    }
                    Some(409) => {
                        Error::new(ErrorKind::Conflict, format!("the worker does not run: {}", words(&error)))
                    }
                    _ => self.engine.error(error),
                }),
            };
        }
    }
}

/// What a command writes.
struct Output {
    engine: SharedEngine,
    exec: String,
    program: String,
    inner: Pin<Box<dyn Stream<Item = EngineResult<LogOutput>> + Send>>,
    checked: bool,
    _listener: watch::Receiver<()>,
}

impl Output {
    async fn next(&mut self) -> Option<Result<(LogStream, Bytes)>> {
        loop {
            let (stream, bytes) = match self.inner.next().await? {
                Ok(LogOutput::StdOut { message }) => (LogStream::Stdout, message),
                Ok(LogOutput::StdErr { message }) => (LogStream::Stderr, message),
                Ok(LogOutput::StdIn { .. }) => continue,
                // What bollard makes of a frame that it cannot read: the rest has no boundaries any more.
                Ok(LogOutput::Console { .. }) => {
                    let what = "the engine's stream of the command's output makes no sense";
                    return Some(Err(Error::new(ErrorKind::Unexpected, what)));
                }
                Err(error) => return Some(Err(self.engine.error(error))),
            };
            // The engine has opened the connection before it starts the command, and puts the reason why it cannot
            // start it there, as if the command had said it.
            let first = !std::mem::replace(&mut self.checked, true);
            if first && stream == LogStream::Stdout {
                match Exec::look(&self.engine, &self.exec).await {
                    Ok(exec) if exec.never_began() => {
                        let said = String::from_utf8_lossy(&bytes).trim().to_owned();
                        return Some(Err(not_found(&self.program).with_context("engine", said)));
                    }
                    Ok(_) => {}
                    Err(error) => return Some(Err(error)),
                }
            }
            return Some(Ok((stream, bytes)));
        }
    }
}

/// What the engine says about a command.
struct Exec {
    running: bool,
    code: Option<i32>,
    pid: i64,
}

impl Exec {
    async fn look(engine: &SharedEngine, exec: &str) -> Result<Self> {
        let inspected = engine.get::<ExecInspectResponse>(&format!("/exec/{exec}/json"), "").await;
        let inspected = inspected.map_err(|error| engine.error(error))?;
        Ok(Self {
            running: inspected.running == Some(true),
            code: inspected.exit_code.and_then(|code| i32::try_from(code).ok()),
            pid: inspected.pid.unwrap_or_default(),
        })
    }
    /// Whether there never was a process: a program may well exit with 126 or 127 by itself.
    fn never_began(&self) -> bool {
        !self.running && self.pid == 0 && matches!(self.code, Some(126 | 127))
    }
}

/// An input whose end reaches the command when it is dropped: a dropped half of a connection alone would keep it open.
fn pipe<W: tokio::io::AsyncWrite + Send + Unpin + 'static>(
    mut input: W,
    listened: watch::Sender<()>,
) -> std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>> {
    let (ours, theirs) = tokio::io::duplex(INPUT);
    tokio::spawn(async move {
        let (mut reader, _writer) = tokio::io::split(theirs);
        let feeding = async {
            // Fails when the command ends before it has read everything, which is its right.
            if tokio::io::copy(&mut reader, &mut input).await.is_ok() {
                input.shutdown().await.ok();
            }
        };
        // A command that does not read would keep the connection for as long as it runs.
        tokio::select! {
            () = feeding => {}
            () = listened.closed() => {}
        }
    });
    Box::pin(ours)
}

fn not_found(program: &str) -> Error {
    Error::config(
        "command",
        format!("the command `{program}` does not exist in the container or cannot be executed"),
    )
}
