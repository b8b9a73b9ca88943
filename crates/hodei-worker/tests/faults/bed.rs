//! A platform, a store, and managers that come and go.

use std::sync::Arc;

use hodei_worker::{
    Clock, ConnectContext, Error, ErrorKind, Retry, SystemClock, Timestamp, WorkerConfig, WorkerManager,
    WorkerProvider, WorkerState,
    lifecycle::{RecoverySettings, Worker},
    manager::ManagerSettings,
    model::{InstallationId, RestartPolicy, WorkerConfigBuilder},
    quantity::HumanDuration,
    store::Store,
    testkit::{FakePlatform, FakeProvider, Program},
};

use crate::weak::WeakStore;

/// The clock of paused time.
#[derive(Debug)]
pub(crate) struct PausedClock(tokio::time::Instant, Timestamp);

impl PausedClock {
    fn new() -> Self {
        // The fake says when runs began by the system's clock.
        Self(tokio::time::Instant::now(), SystemClock.now())
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        self.1 + self.0.elapsed()
    }
}

pub(crate) struct Bed {
    pub(crate) platform: FakePlatform,
    pub(crate) store: Arc<WeakStore>,
    pub(crate) installation: InstallationId,
    clock: Arc<PausedClock>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self {
            platform: FakePlatform::new(),
            store: Arc::new(WeakStore::new()),
            installation: "faults".parse().unwrap(),
            clock: Arc::new(PausedClock::new()),
        }
    }

    pub(crate) fn provider(&self, name: &str) -> Arc<FakeProvider> {
        let context = ConnectContext::new(name.parse().unwrap(), self.installation.clone());
        Arc::new(FakeProvider::new(self.platform.clone(), context))
    }

    pub(crate) fn settings() -> ManagerSettings {
        let mut settings = ManagerSettings::default();
        settings.sweep_after = HumanDuration::secs(1);
        settings
    }

    pub(crate) async fn manager(&self) -> WorkerManager {
        self.manager_with(self.provider("fake"), Self::settings()).await
    }

    /// As [`manager`](Self::manager), where it may be refused.
    pub(crate) async fn open(&self) -> hodei_worker::Result<WorkerManager> {
        let store: Arc<dyn Store> = Arc::clone(&self.store) as Arc<dyn Store>;
        WorkerManager::builder(store).provider(self.provider("fake")).open().await
    }

    pub(crate) async fn manager_with(
        &self,
        provider: Arc<dyn WorkerProvider>,
        settings: ManagerSettings,
    ) -> WorkerManager {
        let clock = Arc::clone(&self.clock);
        let store: Arc<dyn Store> = Arc::clone(&self.store) as Arc<dyn Store>;
        let builder = WorkerManager::builder(store).provider(provider).settings(settings);
        builder.clock(clock).open().await.unwrap()
    }
}

pub(crate) fn program(id: &str, program: &Program) -> WorkerConfigBuilder {
    WorkerConfig::builder(id).command(["fake".to_owned(), serde_json::to_string(program).unwrap()])
}

/// A worker that runs until it is stopped, and is brought back when it fails.
pub(crate) fn sleeper(id: &str) -> WorkerConfig {
    let mut recovery = RecoverySettings::default();
    recovery.backoff = HumanDuration::millis(10);
    program(id, &Program::ObeyTerm(0))
        .restart_policy(RestartPolicy::Always)
        .recovery(recovery)
        .build()
        .unwrap()
}

pub(crate) fn runs(worker: &Worker) -> bool {
    worker.state == Some(WorkerState::Running) && worker.alive
}

/// The answer was lost on its way.
pub(crate) fn lost() -> Error {
    Error::new(ErrorKind::Timeout, "no answer came").with_retry(Retry::IfIdempotent)
}

/// It is away.
pub(crate) fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "nobody is there").with_retry(Retry::Safe { after: None })
}
