use std::{fmt, sync::Arc};

use tokio::sync::watch;

use super::{InitProgress, ProviderState};
use crate::{
    clock::{self, Clock},
    credential::{CredentialProvider, MemoryCredentialProvider},
    model::{InstallationId, LogId, ProviderName},
    provider::ProviderInfo,
};

/// What a provider gets from its host when it is built.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectContext {
    /// The host's name for this provider.
    pub name: ProviderName,
    /// The installation whose workers it runs. It touches no other's.
    pub installation: InstallationId,
    /// The event log in which intents are recorded, if there is one.
    pub log: Option<LogId>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Where secret references are resolved.
    pub credentials: Arc<dyn CredentialProvider>,
    /// Told how far the initialisation has come.
    pub progress: InitReporter,
}

impl ConnectContext {
    /// A context with the machine's clock and an empty credential store.
    pub fn new(name: ProviderName, installation: InstallationId) -> Self {
        Self {
            name,
            installation,
            log: None,
            clock: clock::system(),
            credentials: Arc::new(MemoryCredentialProvider::new()),
            progress: InitReporter::default(),
        }
    }
    /// With this store for secrets.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Arc<dyn CredentialProvider>) -> Self {
        self.credentials = credentials;
        self
    }
    /// With this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
    /// Which provider it will be.
    pub fn info(&self, provider_type: &str) -> ProviderInfo {
        ProviderInfo::new(provider_type, self.name.clone())
    }
}

/// Where a provider reports how far its initialisation has come.
#[derive(Clone, Default)]
pub struct InitReporter(Option<watch::Sender<ProviderState>>);

impl InitReporter {
    pub(super) fn new(state: watch::Sender<ProviderState>) -> Self {
        Self(Some(state))
    }
    /// Reports a step, such as `negotiating the API version`, and what is done of the whole, 0 to 100.
    pub fn report(&self, step: impl Into<String>, percent: u8) {
        if let Some(state) = &self.0 {
            state.send_replace(ProviderState::Initializing(InitProgress::new(step, percent)));
        }
    }
}

impl fmt::Debug for InitReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InitReporter")
    }
}
