use std::{borrow::Cow, fmt, future::Future, pin::Pin};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::io::AsyncWrite;

use super::{LogStream, port::BoxStream};
use crate::{
    credential::{self, CredentialProvider},
    error::{Error, ErrorKind, Result},
    model::{SecretReference, SecretTarget},
    quantity::ByteSize,
    status::ExitStatus,
};

/// Output that [`ExecSession::collect`] keeps at most: 64 MiB.
pub(super) const MOST: ByteSize = ByteSize::mib(64);

/// A command to run in a worker. Its `Debug` shows the names of variables, not their values.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecOptions {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment variables in addition to the worker's. The last of a name counts.
    pub environment: Vec<(String, String)>,
    /// Secrets that it gets as variables, resolved when it begins; a file is refused.
    pub secrets: Vec<SecretReference>,
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
            secrets: Vec::new(),
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
    /// With a secret, as a variable.
    #[must_use]
    pub fn secret(mut self, secret: SecretReference) -> Self {
        self.secrets.push(secret);
        self
    }
    /// In this folder.
    #[must_use]
    pub fn working_dir(mut self, path: impl Into<String>) -> Self {
        self.working_dir = Some(path.into());
        self
    }
}

impl ExecOptions {
    /// The command with its secrets in its environment, for providers.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where a secret does not exist, is no text, or is wanted as a file; else what the
    /// store says.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn resolved(&self, credentials: &dyn CredentialProvider) -> Result<Cow<'_, Self>> {
        if self.secrets.is_empty() {
            return Ok(Cow::Borrowed(self));
        }
        let mut resolved = Self { secrets: Vec::new(), ..self.clone() };
        for (n, secret) in self.secrets.iter().enumerate() {
            let wrong = |message| {
                Error::config(format!("secrets[{n}]"), message).with_context("secret", &secret.name)
            };
            let SecretTarget::Variable { name } = &secret.target else {
                return Err(wrong("a command gets secrets as variables only"));
            };
            let material = credential::resolve(credentials, secret).await?.material;
            let value = material.expose_str().ok_or_else(|| wrong("a variable's value must be UTF-8"))?;
            resolved.environment.push((name.clone(), value.to_owned()));
        }
        Ok(Cow::Owned(resolved))
    }
}

impl fmt::Debug for ExecOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, environment, secrets, working_dir, stdin } = self;
        let names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ExecOptions")
            .field("command", command)
            .field("environment", &names)
            .field("secrets", secrets)
            .field("working_dir", working_dir)
            .field("stdin", stdin)
            .finish()
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
    ///
    /// # Cancel safety
    /// When dropped, the command is ended where the provider can.
    pub async fn exit(mut self) -> Result<ExitStatus> {
        self.stdin = None;
        while let Some(part) = self.output.next().await {
            part?;
        }
        self.exit.await
    }

    /// Reads all of its output and waits for its end, dropping the input. Keeps 64 MiB at most.
    ///
    /// # Errors
    /// As [`collect_up_to`](Self::collect_up_to).
    ///
    /// # Cancel safety
    /// When dropped, the command is ended where the provider can.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, WorkerProvider, WorkerRef, provider::ExecOptions};
    /// # async fn example(provider: &dyn WorkerProvider, worker: &WorkerRef) -> Result<()> {
    /// let session = provider.exec_in_worker(worker, &ExecOptions::new(["id", "-u"])).await?;
    /// println!("{}", String::from_utf8_lossy(&session.collect().await?.stdout));
    /// # Ok(()) }
    /// ```
    pub async fn collect(self) -> Result<ExecOutput> {
        self.collect_up_to(MOST).await
    }

    /// As [`collect`](Self::collect), with another limit for both streams together.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where there is more output than that: read `output` piece by piece then. Else what
    /// the provider reports when the connection to the command breaks.
    ///
    /// # Cancel safety
    /// When dropped, the command is ended where the provider can.
    pub async fn collect_up_to(mut self, most: ByteSize) -> Result<ExecOutput> {
        self.stdin = None;
        let mut all = ExecOutput::default();
        let mut left = most.bytes();
        while let Some(part) = self.output.next().await {
            let (stream, bytes) = part?;
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| too_much(most))?;
            match stream {
                LogStream::Stdout => all.stdout.extend_from_slice(&bytes),
                LogStream::Stderr => all.stderr.extend_from_slice(&bytes),
            }
        }
        all.exit = Some(self.exit.await?);
        Ok(all)
    }
}

/// The error of a collection that would not end, or not fit.
pub(super) fn too_much(most: ByteSize) -> Error {
    Error::new(ErrorKind::Config, format!("there is more output than {most}, which is all that is collected"))
        .with_help("read the stream piece by piece")
}

impl fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecSession").field("stdin", &self.stdin.is_some()).finish_non_exhaustive()
    }
}
