use std::sync::Arc;

use tokio::sync::watch;

use super::{ConnectContext, InitProgress, ProviderState, registry::Connect};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    provider::{Operation, ProviderInfo, WorkerProvider},
};

type Slot = Arc<std::sync::OnceLock<Arc<dyn WorkerProvider>>>;

/// A provider that is being built, or has been, or could not be.
#[derive(Debug, Clone)]
pub struct ProviderHandle {
    info: ProviderInfo,
    state: watch::Sender<ProviderState>,
    slot: Slot,
    retry: Arc<Attempt>,
}

struct Attempt {
    connect: Box<dyn Connect>,
    context: ConnectContext,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attempt")
    }
}

pub(super) fn spawn(
    info: ProviderInfo,
    state: watch::Sender<ProviderState>,
    connect: Box<dyn Connect>,
    context: ConnectContext,
) -> ProviderHandle {
    let handle =
        ProviderHandle { info, state, slot: Slot::default(), retry: Arc::new(Attempt { connect, context }) };
    handle.begin();
    handle
}

impl ProviderHandle {
    /// A handle on a provider that exists already; its capabilities say whether it is ready or degraded.
    ///
    /// # Errors
    /// As [`get_capabilities`](WorkerProvider::get_capabilities).
    pub async fn of(provider: Arc<dyn WorkerProvider>, context: ConnectContext) -> Result<Self> {
        let state = ProviderState::of(provider.get_capabilities().await?);
        let slot = Slot::default();
        let _ = slot.set(Arc::clone(&provider));
        let retry = Arc::new(Attempt { connect: Box::new(Given(Arc::clone(&provider))), context });
        Ok(Self { info: provider.info().clone(), state: watch::Sender::new(state), slot, retry })
    }

    /// Which provider it is or will be.
    pub fn info(&self) -> &ProviderInfo {
        &self.info
    }
    /// Whether it can be used at present.
    pub fn state(&self) -> ProviderState {
        self.state.borrow().clone()
    }
    /// A channel that tells of every change of state.
    pub fn subscribe(&self) -> watch::Receiver<ProviderState> {
        self.state.subscribe()
    }

    /// Waits until the provider is ready or degraded, and returns it. Does not poll. Bound it with a timeout.
    ///
    /// # Errors
    /// The error of the initialisation when it failed; [`ErrorKind::Unavailable`] when none was begun.
    ///
    /// # Cancel safety
    /// Waits only; the initialisation goes on.
    pub async fn ready(&self) -> Result<Arc<dyn WorkerProvider>> {
        let mut changes = self.state.subscribe();
        loop {
            let state = changes.borrow_and_update().clone();
            match state {
                ProviderState::Ready(_) | ProviderState::Degraded(_) => {
                    if let Some(provider) = self.slot.get() {
                        return Ok(Arc::clone(provider));
                    }
                }
                ProviderState::Failed(error) => return Err(error),
                ProviderState::Uninitialized => return Err(self.uninitialized()),
                ProviderState::Initializing(_) => {}
            }
            if changes.changed().await.is_err() {
                return Err(self.uninitialized());
            }
        }
    }

    /// The provider behind the gate of its state, as a provider: calls wait while it initialises, and fail with its
    /// error when it has failed.
    pub fn provider(&self) -> Arc<dyn WorkerProvider> {
        crate::policy::gate(self.clone())
    }

    /// Tries the initialisation again after it has failed. Does nothing otherwise.
    pub fn reconnect(&self) {
        let begins = self.state.send_if_modified(|state| {
            let failed = matches!(state, ProviderState::Failed(_));
            if failed {
                *state = ProviderState::Initializing(InitProgress::new("connecting again", 0));
            }
            failed
        });
        if begins {
            self.begin();
        }
    }

    /// Whether a call can go through at once.
    pub(crate) fn is_usable(&self) -> bool {
        matches!(*self.state.borrow(), ProviderState::Ready(_) | ProviderState::Degraded(_))
            && self.slot.get().is_some()
    }

    /// The provider, whatever its state, once it has been connected.
    pub(crate) fn connected(&self) -> Result<&dyn WorkerProvider> {
        self.slot.get().map(|provider| &**provider).ok_or_else(|| self.uninitialized())
    }

    /// A handle in any state, with the channel that changes it.
    #[cfg(test)]
    pub(crate) fn in_state(
        provider: Arc<dyn WorkerProvider>,
        context: ConnectContext,
        state: ProviderState,
    ) -> (Self, watch::Sender<ProviderState>) {
        let info = provider.info().clone();
        let state = watch::Sender::new(state);
        let slot = Slot::default();
        let _ = slot.set(Arc::clone(&provider));
        let retry = Arc::new(Attempt { connect: Box::new(Given(provider)), context });
        (Self { info, state: state.clone(), slot, retry }, state)
    }

    fn begin(&self) {
        let handle = self.clone();
        tokio::spawn(async move {
            let state = match handle.connect().await {
                Ok(capabilities) => ProviderState::of(capabilities),
                Err(error) => {
                    tracing::warn!(provider = %handle.info, error = %error, "the provider could not be initialised");
                    ProviderState::Failed(
                        error.with_operation(Operation::Connect).with_provider(&handle.info),
                    )
                }
            };
            handle.state.send_replace(state);
        });
    }

    async fn connect(&self) -> Result<Arc<crate::capability::ProviderCapabilities>> {
        let provider = self.retry.connect.connect(self.retry.context.clone()).await?;
        let capabilities = provider.get_capabilities().await?;
        let _ = self.slot.set(provider);
        Ok(capabilities)
    }

    fn uninitialized(&self) -> Error {
        Error::new(ErrorKind::Unavailable, "the provider has not been initialised")
            .with_retry(Retry::Safe { after: None })
            .with_provider(&self.info)
    }
}

struct Given(Arc<dyn WorkerProvider>);

#[async_trait::async_trait]
impl Connect for Given {
    async fn connect(&self, _: ConnectContext) -> Result<Arc<dyn WorkerProvider>> {
        Ok(Arc::clone(&self.0))
    }
}
