use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;

use super::{Program, Subject, eventually};
use crate::{
    capability::{Capability, ProviderCapabilities},
    clock::Timestamp,
    credential::MemoryCredentialProvider,
    error::{Error, ErrorKind, Result},
    factory::ConnectContext,
    model::{InstallationId, ProviderName, RunId, WorkerConfig, WorkerConfigBuilder, WorkerRef},
    provider::{
        CreateOptions, DeleteOptions, LogItem, LogOptions, StartOptions, WorkerFilter, WorkerProvider,
        WorkerProviderExt as _,
    },
    status::{WorkerPhase, WorkerStatus},
};

/// What a case ends with.
pub type CaseResult<T = ()> = std::result::Result<T, CaseFailure>;

/// Why a case failed, or does not apply.
#[derive(Debug)]
pub struct CaseFailure {
    reason: String,
    pub(super) inapplicable: bool,
}

impl CaseFailure {
    /// Failed for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), inapplicable: false }
    }
    /// Neither passed nor failed: the provider has nothing of the kind, for this reason.
    pub fn inapplicable(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), inapplicable: true }
    }
}

impl fmt::Display for CaseFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<Error> for CaseFailure {
    fn from(error: Error) -> Self {
        Self::new(format!("{error:?}"))
    }
}

impl From<String> for CaseFailure {
    fn from(reason: String) -> Self {
        Self::new(reason)
    }
}

impl From<crate::model::IdError> for CaseFailure {
    fn from(error: crate::model::IdError) -> Self {
        Self::new(error.to_string())
    }
}

/// How long a case waits for something that should be there soon.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What a case works with: a provider in an installation of its own.
#[derive(Clone)]
pub struct CaseContext {
    subject: Arc<dyn Subject>,
    context: ConnectContext,
    secrets: Arc<MemoryCredentialProvider>,
    provider: Arc<dyn WorkerProvider>,
    capabilities: Arc<ProviderCapabilities>,
}

impl fmt::Debug for CaseContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaseContext")
            .field("installation", &self.context.installation)
            .finish_non_exhaustive()
    }
}

fn fresh_installation() -> CaseResult<InstallationId> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(InstallationId::new(format!("t{:x}-{number}-{:06x}", std::process::id(), fastrand::u32(..) >> 8))?)
}

impl CaseContext {
    pub(super) async fn new(subject: Arc<dyn Subject>) -> CaseResult<Self> {
        let secrets = Arc::new(MemoryCredentialProvider::new());
        let context = ConnectContext::new(ProviderName::new("suite")?, fresh_installation()?)
            .with_credentials(Arc::clone(&secrets) as _);
        let provider = subject.connect(context.clone()).await?;
        let capabilities = provider.get_capabilities().await?;
        Ok(Self { subject, context, secrets, provider, capabilities })
    }

    /// The provider under test.
    pub fn provider(&self) -> &dyn WorkerProvider {
        &*self.provider
    }
    /// The provider under test, to hand to tasks.
    pub fn shared_provider(&self) -> Arc<dyn WorkerProvider> {
        Arc::clone(&self.provider)
    }
    /// What it can do.
    pub fn capabilities(&self) -> &ProviderCapabilities {
        &self.capabilities
    }
    /// Whether it has this capability.
    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities.supports(capability)
    }
    /// The subject.
    pub fn subject(&self) -> &dyn Subject {
        &*self.subject
    }
    /// Where the case's secrets are.
    pub fn secrets(&self) -> &MemoryCredentialProvider {
        &self.secrets
    }
    /// The case's installation.
    pub fn installation(&self) -> &InstallationId {
        &self.context.installation
    }

    /// The time by the clock that the provider was given.
    pub(super) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// The provider as another host of the same installation has it.
    pub(super) async fn another_host(&self) -> CaseResult<Arc<dyn WorkerProvider>> {
        Ok(self.subject.connect(self.context.clone()).await?)
    }
    /// The same subject in another installation.
    pub(super) async fn another_installation(&self) -> CaseResult<Self> {
        Self::new(Arc::clone(&self.subject)).await
    }

    /// The beginning of a configuration of a worker that does this.
    pub(super) fn builder(&self, id: &str, program: &Program) -> WorkerConfigBuilder {
        self.subject.prepare(WorkerConfig::builder(id)).command(self.subject.command(program))
    }
    /// Creates a worker that does this.
    pub(super) async fn create(&self, id: &str, program: &Program) -> Result<WorkerRef> {
        self.create_as(self.builder(id, program)).await
    }
    /// Creates a worker of this configuration.
    pub(super) async fn create_as(&self, builder: WorkerConfigBuilder) -> Result<WorkerRef> {
        Ok(self.provider.create_worker(&builder.build()?, &CreateOptions::default()).await?.worker)
    }
    /// Starts a worker for the first time.
    pub(super) async fn start(&self, worker: &WorkerRef) -> Result<()> {
        self.provider.start_worker(worker, &StartOptions::default()).await
    }
    /// Creates and starts a worker that does this.
    pub(super) async fn run(&self, id: &str, program: &Program) -> Result<WorkerRef> {
        self.run_as(self.builder(id, program)).await
    }
    /// Creates and starts a worker of this configuration.
    pub(super) async fn run_as(&self, builder: WorkerConfigBuilder) -> Result<WorkerRef> {
        let worker = self.create_as(builder).await?;
        self.start(&worker).await?;
        Ok(worker)
    }
    /// Creates and starts a worker, and waits until it says that it is ready.
    pub(super) async fn run_ready(&self, id: &str, program: &Program) -> CaseResult<WorkerRef> {
        let worker = self.run(id, program).await?;
        self.says(&worker, "ready").await?;
        Ok(worker)
    }

    /// Waits until the worker's own status satisfies the condition.
    pub(super) async fn until(
        &self,
        worker: &WorkerRef,
        what: &str,
        condition: impl Fn(&WorkerStatus) -> bool,
    ) -> CaseResult<Arc<WorkerStatus>> {
        eventually(PATIENCE, async || {
            let status = self.provider.get_worker_status(worker).await?;
            if condition(&status) {
                Ok(status)
            } else {
                Err(CaseFailure::new(format!("not {what}, but {status:?}")))
            }
        })
        .await
    }
    /// Waits until its run has ended.
    pub(super) async fn ended(&self, worker: &WorkerRef) -> CaseResult<Arc<WorkerStatus>> {
        self.until(worker, "exited", |status| status.phase == WorkerPhase::Exited).await
    }
    /// Waits until its run has ended, and it may be forgotten.
    pub(super) async fn over(&self, worker: &WorkerRef) -> CaseResult<Arc<WorkerStatus>> {
        let forgotten = !self.has(Capability::KeepsEnded) || !self.has(Capability::KeepsStopped);
        let over = |status: &WorkerStatus| match status.phase {
            WorkerPhase::Absent => forgotten,
            phase => phase == WorkerPhase::Exited,
        };
        self.until(worker, "over", over).await
    }
    /// Waits until another run than this one has ended.
    pub(super) async fn ended_after(
        &self,
        worker: &WorkerRef,
        run: Option<&RunId>,
    ) -> CaseResult<Arc<WorkerStatus>> {
        let over = |status: &WorkerStatus| status.phase == WorkerPhase::Exited && status.run.as_ref() != run;
        self.until(worker, "exited in a later run", over).await
    }
    /// Waits until the worker has written this line.
    pub(super) async fn says(&self, worker: &WorkerRef, line: &str) -> CaseResult {
        let mut logs = self.provider.worker_logs(worker, &LogOptions::following()).await?;
        let reading = async {
            while let Some(item) = logs.next().await {
                if let LogItem::Chunk(chunk) = item?
                    && chunk.text() == line
                {
                    return Ok(());
                }
            }
            Err(CaseFailure::new(format!("the log ended before `{line}`")))
        };
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(result) => result,
            Err(_) => Err(CaseFailure::new(format!("`{line}` was not written within {PATIENCE:?}"))),
        }
    }
    /// All that the worker has written by now.
    pub(super) async fn logs(&self, worker: &WorkerRef) -> CaseResult<Vec<u8>> {
        Ok(self.provider.collect_logs(worker, &LogOptions::all()).await?)
    }
    /// All that the worker has written by now, as text.
    pub(super) async fn text(&self, worker: &WorkerRef) -> CaseResult<String> {
        Ok(String::from_utf8_lossy(&self.logs(worker).await?).into_owned())
    }
    /// How often the worker has written this line.
    pub(super) async fn count(&self, worker: &WorkerRef, line: &str) -> CaseResult<usize> {
        Ok(self.text(worker).await?.lines().filter(|written| *written == line).count())
    }
    /// The workers of the installation, as the provider lists them.
    pub(super) async fn listed(&self) -> CaseResult<Vec<WorkerRef>> {
        let listing = self.provider.list_workers(&WorkerFilter::all()).await?;
        Ok(listing.workers.iter().map(|status| status.worker.clone()).collect())
    }

    /// Waits until these are all the workers that the provider lists: a listing may lag behind.
    pub(super) async fn lists(&self, expected: &[WorkerRef]) -> CaseResult {
        eventually(PATIENCE, async || {
            let listed = self.listed().await?;
            if listed == expected {
                Ok(())
            } else {
                Err(CaseFailure::new(format!("listed are {listed:?}, not {expected:?}")))
            }
        })
        .await
    }

    /// Deletes all workers as another host would, and looks for what is left.
    pub(super) async fn clean_up(&self) -> CaseResult {
        let provider = self.another_host().await?;
        let listing = provider.list_workers(&WorkerFilter::all()).await?;
        for status in listing.workers {
            provider.delete_worker(&status.worker, &DeleteOptions::default()).await?;
        }
        eventually(PATIENCE, async || {
            let left = self.subject.leftovers(&self.context.installation).await?;
            if left.is_empty() { Ok(()) } else { Err(CaseFailure::new(format!("left behind: {left:?}"))) }
        })
        .await
    }
}

/// Fails unless the result is an error of this kind.
pub(super) fn fails_with<T: fmt::Debug>(kind: ErrorKind, result: Result<T>) -> CaseResult<Error> {
    match result {
        Err(error) if error.kind() == kind => Ok(error),
        other => Err(CaseFailure::new(format!("expected an error of the kind `{kind}`, got {other:?}"))),
    }
}

macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::testkit::CaseFailure::new(format!($($message)+)));
        }
    };
}
macro_rules! check_eq {
    ($left:expr, $right:expr) => {
        match (&$left, &$right) {
            (left, right) if left == right => {}
            (left, right) => {
                return Err($crate::testkit::CaseFailure::new(format!(
                    "`{}` is {left:?}, not {right:?}",
                    stringify!($left)
                )));
            }
        }
    };
}
pub(super) use {check, check_eq};
