use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::AbortHandle, time::Instant};

use super::{ConnectContext, Detection, InitProgress, ProviderState, registry::Connect};
use crate::{
    capability::ProviderCapabilities,
    error::{Error, ErrorKind, Result, Retry},
    provider::{Operation, ProviderInfo, WorkerProvider},
};

type Slot = Arc<std::sync::OnceLock<Arc<dyn WorkerProvider>>>;

/// A provider that is being built, or has been, or could not be. An initialisation that goes on is given up when the
/// last clone of its handle is dropped.
#[derive(Debug, Clone)]
pub struct ProviderHandle {
    info: ProviderInfo,
    state: watch::Sender<ProviderState>,
    slot: Slot,
    retry: Arc<Attempt>,
    task: Arc<Task>,
    detection: Option<Arc<Detection>>,
}

/// The initialisation that goes on, if any. Held by handles alone, so that it ends with the last of them.
#[derive(Debug, Default)]
struct Task(Mutex<Option<AbortHandle>>);

impl Task {
    fn replace(&self, task: Option<AbortHandle>) -> Option<AbortHandle> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), task)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = self.replace(None) {
            task.abort();
        }
    }
}

struct Attempt {
    connect: Box<dyn Connect>,
    context: ConnectContext,
    failures: Mutex<Failures>,
}

/// What is known of the tries that failed in a row.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    last: Option<Instant>,
}

/// The pause after the first try that failed; it doubles with each one, up to the other.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Failures {
    /// How much of the pause before the next try is left.
    fn pause_left(&self) -> Option<Duration> {
        let doubled = 1_u32.checked_shl(self.count.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
        Some(pause.saturating_sub(self.last?.elapsed()))
    }
}

impl Attempt {
    fn new(connect: Box<dyn Connect>, context: ConnectContext) -> Arc<Self> {
        Arc::new(Self { connect, context, failures: Mutex::default() })
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, slot: &Slot) -> Result<Arc<ProviderCapabilities>> {
        let provider = self.connect.connect(self.context.clone()).await?;
        let capabilities = provider.get_capabilities().await?;
        let _ = slot.set(provider);
        Ok(capabilities)
    }

    fn too_slow(&self, limit: Duration) -> Error {
        let message = format!("it was not done within {limit:?}");
        let error = Error::new(ErrorKind::Timeout, message).with_retry(Retry::Safe { after: None });
        match self.context.progress.last() {
            Some(progress) => error.with_context("last step", progress.step),
            None => error,
        }
    }
}

/// Sets the state when an initialisation ends, in whatever way.
struct Outcome {
    info: ProviderInfo,
    state: watch::Sender<ProviderState>,
    attempt: Arc<Attempt>,
    found: Option<Result<Arc<ProviderCapabilities>>>,
}

impl Outcome {
    fn is(mut self, found: Result<Arc<ProviderCapabilities>>) {
        self.found = Some(found);
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let found = self.found.take().unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::Unexpected,
                if std::thread::panicking() {
                    "the initialisation panicked"
                } else {
                    "the initialisation was given up: nobody held the provider any more, or its runtime was shut down"
                },
            ))
        });
        let mut failures = self.attempt.failures();
        *failures = match &found {
            Ok(_) => Failures::default(),
            Err(_) => Failures { count: failures.count.saturating_add(1), last: Some(Instant::now()) },
        };
        drop(failures);
        self.state.send_replace(match found {
            Ok(capabilities) => ProviderState::of(capabilities),
            Err(error) => {
                tracing::warn!(provider = %self.info, %error, "the provider could not be initialised");
                ProviderState::Failed(error.with_operation(Operation::Connect).with_provider(&self.info))
            }
        });
    }
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
    detection: Option<Detection>,
) -> ProviderHandle {
    let retry = Attempt::new(connect, context);
    let handle = ProviderHandle {
        info,
        state,
        slot: Slot::default(),
        retry,
        task: Arc::default(),
        detection: detection.map(Arc::new),
    };
    handle.begin();
    handle
}

impl ProviderHandle {
    /// A handle on a provider that exists already; its capabilities say whether it is ready or degraded.
    ///
    /// # Errors
    /// As [`get_capabilities`](WorkerProvider::get_capabilities).
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn of(provider: Arc<dyn WorkerProvider>, context: ConnectContext) -> Result<Self> {
        let state = ProviderState::of(provider.get_capabilities().await?);
        let slot = Slot::default();
        let _ = slot.set(Arc::clone(&provider));
        let retry = Attempt::new(Box::new(Given(Arc::clone(&provider))), context);
        let info = provider.info().clone();
        Ok(Self {
            info,
            state: watch::Sender::new(state),
            slot,
            retry,
            task: Arc::default(),
            detection: None,
        })
    }

    /// Which provider it is or will be.
    pub fn info(&self) -> &ProviderInfo {
        &self.info
    }
    /// Why it was chosen and among which, if it was detected rather than configured.
    pub fn detection(&self) -> Option<&Detection> {
        self.detection.as_deref()
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
    /// error when it has failed. By an error that may pass it has not failed for good: the first call after a pause (1 s
    /// at first, twice as long after each failure, 1 min at most) tries again, and calls wait for that as for the first.
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

    /// Tries again where the last try failed by something that may pass and the pause after it is over. While it is not,
    /// the error, with what is left of the pause.
    pub(crate) fn revive(&self) -> Result<()> {
        let ProviderState::Failed(error) = self.state() else { return Ok(()) };
        let left = self.retry.failures().pause_left();
        match left {
            Some(left) if error.is_retryable() && !left.is_zero() => {
                return Err(error.with_retry(Retry::Safe { after: Some(left) }));
            }
            Some(_) if error.is_retryable() => {}
            _ => return Err(error),
        }
        self.reconnect();
        Ok(())
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
        let retry = Attempt::new(Box::new(Given(provider)), context);
        (Self { info, state: state.clone(), slot, retry, task: Arc::default(), detection: None }, state)
    }

    fn begin(&self) {
        let (attempt, slot) = (Arc::clone(&self.retry), Arc::clone(&self.slot));
        let state = self.state.clone();
        let outcome = Outcome { info: self.info.clone(), state, attempt: Arc::clone(&attempt), found: None };
        let task = tokio::spawn(async move {
            let limit = attempt.context.connect_timeout;
            let connecting = tokio::time::timeout(limit, attempt.run(&slot));
            outcome.is(match connecting.await {
                Ok(found) => found,
                Err(_) => Err(attempt.too_slow(limit)),
            });
        });
        self.task.replace(Some(task.abort_handle()));
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
