//! The streams of a worker's own program.

use std::sync::Arc;

use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerObservation, WorkerPhase, WorkerRef,
    model::RunId,
    provider::{ExecSession, Operation, WorkerFilter},
    status::ExitStatus,
};
use k8s_openapi::api::core::v1::Pod;

use crate::{
    KubernetesProvider,
    exec::{Stdin, parameters, streams},
    names::CONTAINER,
    provider::Shared,
    status::run,
};

impl KubernetesProvider {
    /// Attaches to the streams of the program that a running worker is: what it writes from now on, and its standard
    /// input where it has [one](crate::KubernetesOptions::stdin). What it wrote before is read by
    /// [`worker_logs`](hodei_worker_core::WorkerProvider::worker_logs). Needs
    /// [`ClusterFeature::Attach`](crate::ClusterFeature::Attach).
    ///
    /// Dropping the session ends the attachment, never the worker. Dropping its input alone gives the worker no end of
    /// file: the node keeps the input open for the next one who attaches. [`exit`](ExecSession::exit) is how the worker's
    /// run ended.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such worker; [`Conflict`](ErrorKind::Conflict) when it does
    /// not run; what any request to the API server has. The exit of a worker that was deleted meanwhile is
    /// [`NotFound`](ErrorKind::NotFound).
    ///
    /// # Cancel safety
    /// Changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # use hodei_worker_core::{Result, WorkerRef};
    /// # async fn example(provider: hodei_worker_k8s::KubernetesProvider, worker: &WorkerRef) -> Result<()> {
    /// use futures::StreamExt as _;
    /// let mut session = provider.attach(worker).await?;
    /// while let Some(part) = session.output.next().await {
    ///     let (stream, bytes) = part?;
    ///     println!("{}: {}", stream.as_str(), String::from_utf8_lossy(&bytes));
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn attach(&self, worker: &WorkerRef) -> Result<ExecSession> {
        let session = Box::pin(self.shared().attach(worker)).await;
        session.map_err(|error| self.shared().about(Operation::Attach, Some(worker), error))
    }
}

impl Shared {
    async fn attach(self: &Arc<Self>, worker: &WorkerRef) -> Result<ExecSession> {
        let pod = self.find_running(worker).await?;
        let (pods, name) = (self.cluster.pods(), pod.metadata.name.as_deref().unwrap_or_default());
        let begun = self.cluster.call(pods.attach(name, &parameters(has_stdin(&pod)))).await;
        let mut process = begun.map_err(|failed| self.gone_or(worker, failed))?;
        let stdin: Option<Stdin> = process.stdin().map(|stdin| Box::pin(stdin) as _);
        let (output, ended) = streams(process);
        let (shared, worker, run) = (Arc::clone(self), worker.clone(), run(&pod));
        let exit = async move {
            match ended.await {
                Some(status) if status.status.as_deref() == Some("Success") => {
                    let exit = shared.exit_of_run(&worker, &run).await;
                    exit.map_err(|error| shared.about(Operation::Attach, Some(&worker), error))
                }
                Some(status) => {
                    let message = status.message.unwrap_or_default();
                    let message = format!("the node has ended the attachment: {}", message.trim());
                    Err(Error::new(ErrorKind::Unavailable, message))
                }
                None => {
                    Err(Error::new(ErrorKind::Unavailable, "the connection broke before the worker's end"))
                }
            }
        };
        Ok(ExecSession::new(stdin, output, exit))
    }

    /// Waits until the run has ended.
    async fn exit_of_run(self: &Arc<Self>, worker: &WorkerRef, run: &RunId) -> Result<ExitStatus> {
        let gone = || Error::new(ErrorKind::NotFound, "the run is gone, and how it ended with it");
        let mut changes = self.watch(&WorkerFilter::id(worker.id.clone()));
        while let Some(change) = changes.next().await {
            match change? {
                WorkerObservation::Listed(status) | WorkerObservation::Applied(status)
                    if status.worker == *worker =>
                {
                    if status.run.as_ref() != Some(run) {
                        return Err(gone());
                    }
                    if status.phase == WorkerPhase::Exited {
                        return status.exit.ok_or_else(gone);
                    }
                }
                WorkerObservation::Gone(gone_one) if gone_one.worker == *worker => return Err(gone()),
                WorkerObservation::Synced if self.hub.current(worker).is_none() => return Err(gone()),
                _ => {}
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the watch ended while the worker's end was waited for"))
    }
}

/// Whether the worker was made with a standard input.
fn has_stdin(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.filter(|one| one.name == CONTAINER).any(|one| one.stdin == Some(true))
}
