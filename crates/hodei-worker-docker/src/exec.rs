//! Commands in a running container.

use bollard::{
    container::LogOutput,
    exec::{StartExecOptions, StartExecResults},
    models::ExecConfig,
};
use futures::{StreamExt as _, TryStreamExt as _};
use hodei_worker_core::{
    Error, ErrorKind, Result, Retry, WorkerRef,
    provider::{ExecOptions, ExecSession, LogStream},
    status::ExitStatus,
};
use tokio::io::AsyncWriteExt as _;

use crate::{
    client::SharedEngine,
    error::{status, words},
    provider::Shared,
};

/// Bytes of input that wait for the engine.
const INPUT: usize = 64 * 1024;

impl Shared {
    /// Three requests: create, start, and at the end the exit code.
    pub(crate) async fn exec(&self, worker: &WorkerRef, options: &ExecOptions) -> Result<ExecSession> {
        let program = options.command.first().cloned().unwrap_or_default();
        if program.is_empty() {
            return Err(Error::config("command", "a program is required"));
        }
        let id = self.id_of(worker).await?;
        let docker = self.engine.docker();
        let config = ExecConfig {
            attach_stdin: Some(options.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(options.command.clone()),
            env: Some(options.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            working_dir: options.working_dir.clone(),
            ..ExecConfig::default()
        };
        let created = docker.create_exec(&id, config).await.map_err(|error| match status(&error) {
            Some(404) => {
                self.memory.forget(worker);
                Error::worker_not_found(worker)
            }
            Some(409) => {
                Error::new(ErrorKind::Conflict, format!("the worker does not run: {}", words(&error)))
            }
            _ => self.engine.error(error),
        })?;
        let start = StartExecOptions { detach: false, tty: false, output_capacity: Some(INPUT) };
        let started = docker.start_exec(&created.id, Some(start)).await;
        let started = match started {
            Ok(started) => started,
            Err(error) if matches!(status(&error), Some(400 | 500)) => {
                let said = words(&error);
                return Err(match exit_code(&self.engine, &created.id).await {
                    Ok(Some(126 | 127)) => not_found(&program).with_context("engine", said),
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
        let output = output.map_err(move |error| broken.error(error)).try_filter_map(|part| async move {
            Ok(match part {
                LogOutput::StdOut { message } => Some((LogStream::Stdout, message)),
                LogOutput::StdErr { message } => Some((LogStream::Stderr, message)),
                LogOutput::StdIn { .. } | LogOutput::Console { .. } => None,
            })
        });
        let exit = async move {
            match exit_code(&engine, &created.id).await? {
                Some(code) => Ok(ExitStatus::from_shell(code)),
                None => Err(Error::new(
                    ErrorKind::Unavailable,
                    "the connection to the command broke; it still runs",
                )
                .with_retry(Retry::Never)),
            }
        };
        let stdin = options.stdin.then(|| pipe(input));
        Ok(ExecSession::new(stdin, output.boxed(), exit))
    }
}

/// An input whose end reaches the command when it is dropped: a dropped half of a connection alone would keep it open.
fn pipe<W: tokio::io::AsyncWrite + Send + Unpin + 'static>(
    mut input: W,
) -> std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>> {
    let (ours, theirs) = tokio::io::duplex(INPUT);
    tokio::spawn(async move {
        let (mut reader, _writer) = tokio::io::split(theirs);
        // Fails when the command ends before it has read everything, which is its right.
        if tokio::io::copy(&mut reader, &mut input).await.is_ok() {
            input.shutdown().await.ok();
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

/// `None` while it runs.
async fn exit_code(engine: &SharedEngine, exec: &str) -> Result<Option<i32>> {
    let inspected = engine.docker().inspect_exec(exec).await.map_err(|error| engine.error(error))?;
    if inspected.running == Some(true) {
        return Ok(None);
    }
    Ok(inspected.exit_code.and_then(|code| i32::try_from(code).ok()))
}
