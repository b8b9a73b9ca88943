use std::{fmt, future::Future, pin::Pin};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::io::AsyncWrite;

use super::{LogStream, port::BoxStream};
use crate::{error::Result, status::ExitStatus};

/// A command to run in a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecOptions {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment variables in addition to the worker's.
    pub environment: Vec<(String, String)>,
    /// Absolute path of the folder to run in. Default: the worker's.
    pub working_dir: Option<String>,
    /// Whether something will be written to its standard input. Default: false, and it reads an end of file.
    pub stdin: bool,
}

impl ExecOptions {
    /// This program with these arguments.
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            working_dir: None,
            stdin: false,
        }
    }
    /// With a standard input to write to.
    #[must_use]
    pub fn with_stdin(mut self) -> Self {
        self.stdin = true;
        self
    }
    /// With another variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
    /// In this folder.
    #[must_use]
    pub fn working_dir(mut self, path: impl Into<String>) -> Self {
        self.working_dir = Some(path.into());
        self
    }
}

type ExitFuture = Pin<Box<dyn Future<Output = Result<ExitStatus>> + Send>>;

/// A command that runs in a worker. Dropping it ends the command where the provider can.
#[non_exhaustive]
pub struct ExecSession {
    /// Its standard input, if it was asked for. Drop it to give the command its end of file.
    pub stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// What it writes, until it ends.
    pub output: BoxStream<'static, Result<(LogStream, Bytes)>>,
    exit: ExitFuture,
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExecOutput {
    /// How it ended; `None` if the provider could not say.
    pub exit: Option<ExitStatus>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl ExecSession {
    /// A session of these parts, for providers. `exit` is awaited after `output` has ended.
    pub fn new(
        stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
        output: BoxStream<'static, Result<(LogStream, Bytes)>>,
        exit: impl Future<Output = Result<ExitStatus>> + Send + 'static,
    ) -> Self {
        Self { stdin, output, exit: Box::pin(exit) }
    }

    /// Waits for the end, dropping the input and what has not been read of the output.
    ///
    /// # Errors
    /// What the provider reports when the connection to the command breaks.
    pub async fn exit(mut self) -> Result<ExitStatus> {
        self.stdin = None;
        while let Some(part) = self.output.next().await {
            part?;
        }
        self.exit.await
    }

    /// Reads all of its output and waits for its end, dropping the input.
    ///
    /// # Errors
    /// What the provider reports when the connection to the command breaks.
    pub async fn collect(mut self) -> Result<ExecOutput> {
        self.stdin = None;
        let mut all = ExecOutput::default();
        while let Some(part) = self.output.next().await {
            let (stream, bytes) = part?;
            match stream {
                LogStream::Stdout => all.stdout.extend_from_slice(&bytes),
                LogStream::Stderr => all.stderr.extend_from_slice(&bytes),
            }
        }
        all.exit = Some(self.exit.await?);
        Ok(all)
    }
}

impl fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecSession").field("stdin", &self.stdin.is_some()).finish_non_exhaustive()
    }
}
