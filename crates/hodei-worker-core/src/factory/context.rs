use std::{fmt, sync::Arc, time::Duration};

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
    /// How long connecting may take, capabilities included. Default: 2 min.
    pub connect_timeout: Duration,
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
            connect_timeout: Duration::from_secs(120),
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
    /// With this time for connecting.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
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
    /// The last step, while the initialisation goes on.
    pub(super) fn last(&self) -> Option<InitProgress> {
        match &*self.0.as_ref()?.borrow() {
            ProviderState::Initializing(progress) => Some(progress.clone()),
            _ => None,
        }
    }
    /// Reports a step, such as `negotiating the API version`, and what is done of the whole, 0 to 100. What is reported
    /// after the end of the initialisation is not heard.
    pub fn report(&self, step: impl Into<String>, percent: u8) {
        if let Some(state) = &self.0 {
            let progress = InitProgress::new(step, percent);
            state.send_if_modified(|state| match state {
                ProviderState::Initializing(known) => {
                    *known = progress;
                    true
                }
                _ => false,
            });
        }
    }
}

impl fmt::Debug for InitReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InitReporter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn p2_progress_that_comes_late_hides_no_result() {
        let state = watch::Sender::new(ProviderState::Initializing(InitProgress::default()));
        let progress = InitReporter::new(state.clone());
        progress.report("connecting", 10);
        assert!(matches!(&*state.borrow(), ProviderState::Initializing(step) if step.percent == 10));
        state.send_replace(ProviderState::Failed(Error::new(ErrorKind::Unavailable, "no socket")));
        progress.report("still at it", 90);
        assert_eq!(state.borrow().as_str(), "failed");
    }
}
