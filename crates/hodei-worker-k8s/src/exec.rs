//! Commands in a worker.

use std::{collections::BTreeMap, fmt::Write as _, pin::Pin};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerRef,
    provider::{BoxStream, ExecOptions, ExecSession, LogStream},
    status::ExitStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

use crate::{client::Failed, names::CONTAINER, provider::Shared};

pub(crate) type Stdin = Pin<Box<dyn AsyncWrite + Send>>;
pub(crate) type Output = BoxStream<'static, Result<(LogStream, Bytes)>>;

/// Reads its surroundings from its input, byte by byte so that it takes nothing else, and becomes the command. What is in
/// the command line of an `exec` stands in the cluster's audit log: secrets go this way.
const PRELUDE: &str = r#"eval "$(dd bs=1 count="$0" 2>/dev/null)" && exec "$@""#;

impl Shared {
    pub(crate) async fn exec(&self, worker: &WorkerRef, options: &ExecOptions) -> Result<ExecSession> {
        let pod = self.find_running(worker).await?;
        let options = options.resolved(&*self.context.credentials).await?;
        let prelude = prelude(&options);
        let command = match prelude.len() {
            0 => options.command.clone(),
            count => {
                let shell = ["sh", "-c", PRELUDE].map(str::to_owned).into_iter();
                shell.chain([count.to_string()]).chain(options.command.iter().cloned()).collect()
            }
        };
        let parameters = parameters(options.stdin || !prelude.is_empty());
        let (pods, name) = (self.cluster.pods(), pod.metadata.name.as_deref().unwrap_or_default());
        let begun = self.cluster.call(pods.exec(name, command, &parameters)).await;
        let mut process = begun.map_err(|failed| self.gone_or(worker, failed))?;
        let mut stdin: Option<Stdin> = process.stdin().map(|stdin| Box::pin(stdin) as _);
        if let (Some(stdin), false) = (&mut stdin, prelude.is_empty()) {
            stdin.write_all(prelude.as_bytes()).await.map_err(|error| {
                Error::new(ErrorKind::Unavailable, "the connection broke before the command began")
                    .with_source(error)
            })?;
        }
        let stdin = match options.stdin {
            true => stdin,
            false => {
                if let Some(mut stdin) = stdin {
                    // An error means that it has ended already.
                    drop(stdin.shutdown().await);
                }
                None
            }
        };
        let (output, ended) = streams(process);
        Ok(ExecSession::new(stdin, output, async move { exit_of(ended.await) }))
    }

    /// The error of a stream that could not be opened in a pod that was there.
    pub(crate) fn gone_or(&self, worker: &WorkerRef, failed: Failed) -> Error {
        if failed.is_not_found() { Error::worker_not_found(worker) } else { self.cluster.error(failed) }
    }
}

/// The streams that are asked for.
pub(crate) fn parameters(stdin: bool) -> AttachParams {
    AttachParams {
        container: Some(CONTAINER.to_owned()),
        stdin,
        stdout: true,
        stderr: true,
        tty: false,
        max_stdin_buf_size: Some(64 * 1024),
        max_stdout_buf_size: Some(64 * 1024),
        max_stderr_buf_size: Some(64 * 1024),
    }
}

/// What a process writes, and what the kubelet says when its streams have ended; `None` where the connection broke.
pub(crate) fn streams(mut process: AttachedProcess) -> (Output, impl Future<Output = Option<Status>> + Send) {
    let output =
        stream::select(part(process.stdout(), LogStream::Stdout), part(process.stderr(), LogStream::Stderr));
    let ended = process.take_status();
    let status = async move {
        let status = match ended {
            Some(ended) => ended.await,
            None => None,
        };
        drop(process.join().await);
        status
    };
    (output.boxed(), status)
}

fn part(
    read: Option<impl AsyncRead + Send + 'static>,
    from: LogStream,
) -> impl futures::Stream<Item = Result<(LogStream, Bytes)>> + Send {
    let all = stream::iter(read).flat_map(|read| ReaderStream::with_capacity(read, 64 * 1024));
    all.map(move |bytes| match bytes {
        Ok(bytes) => Ok((from, bytes)),
        Err(error) => Err(Error::new(ErrorKind::Unavailable, "the connection broke while the command ran")
            .with_source(error)),
    })
}

/// How the command ended, as the kubelet tells it.
fn exit_of(status: Option<Status>) -> Result<ExitStatus> {
    let Some(status) = status else {
        return Err(Error::new(
            ErrorKind::Unavailable,
            "the connection broke before the command's end was told",
        ));
    };
    if status.status.as_deref() == Some("Success") {
        return Ok(ExitStatus::Code(0));
    }
    let mut causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let code = causes.find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = code.and_then(|cause| cause.message.as_ref()?.parse().ok());
    match code {
        Some(code) => Ok(ExitStatus::from_shell(code)),
        None => Err(Error::new(
            ErrorKind::Config,
            format!("the command cannot be executed: {}", status.message.unwrap_or_default().trim()),
        )),
    }
}

/// A shell's words for folder and environment; empty where the worker's own will do.
fn prelude(options: &ExecOptions) -> String {
    let mut text = String::new();
    if let Some(folder) = &options.working_dir {
        let _ = write!(text, "cd -- {}", quoted(folder));
    }
    // The last of one name counts.
    let all: BTreeMap<_, _> = options.environment.iter().map(|(name, value)| (name, value)).collect();
    for (name, value) in all {
        let and = if text.is_empty() { "" } else { " && " };
        let _ = write!(text, "{and}export {name}={}", quoted(value));
    }
    text
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn k2_a_commands_surroundings_are_a_shells_words() {
        let plain = ExecOptions::new(["true"]);
        assert_eq!(prelude(&plain), "");
        let asked = plain.env("B", "it's").env("A", "1").env("A", "two\nlines").working_dir("/a b");
        assert_eq!(prelude(&asked), "cd -- '/a b' && export A='two\nlines' && export B='it'\\''s'");
    }

    #[test]
    fn k2_a_commands_end_is_told_by_its_code() {
        let ended = |value| exit_of(Some(serde_json::from_value(value).unwrap()));
        let failed = |reason: &str, message: &str| {
            let causes = json!([{"reason": reason, "message": message}]);
            json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "no", "details": {"causes": causes}})
        };
        assert_eq!(ended(failed("ExitCode", "3")).unwrap(), ExitStatus::Code(3));
        assert_eq!(ended(failed("Other", "")).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(ended(json!({"status": "Success"})).unwrap(), ExitStatus::Code(0));
        assert_eq!(exit_of(None).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
