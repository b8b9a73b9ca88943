use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{BreakerSettings, Call, DeadlinePassed, Policy, names};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    provider::{Operation, ProviderInfo, WorkerFilter},
};

/// How long who comes during a probe is told to wait: about as long as one takes.
const PROBE: Duration = Duration::from_secs(1);

/// Stops asking a provider that is down, so that its callers know at once and it can come back in peace.
///
/// It opens after a number of failures in a row. Only [`Unavailable`](ErrorKind::Unavailable) and
/// [`Timeout`](ErrorKind::Timeout) count, and not those of our own making (a full queue, a caller in a hurry) or of a
/// worker's (a stop that takes too long). While it is open, calls are `Unavailable` at once, with the time of reopening. Then it is half-open and lets a few reads
/// through as probes: one answer closes it, one failure opens it for twice as long. A call that changes something is
/// never a probe; where one comes first, the breaker reads that worker's status to find out.
///
/// Clones are views of the same breaker.
#[derive(Clone)]
pub struct Breaker(Arc<Inner>);

struct Inner {
    settings: BreakerSettings,
    provider: ProviderInfo,
    /// Closed and without a failure: the way of nearly all calls, without the lock.
    healthy: AtomicBool,
    /// Counts the changes of state: what a call begun before the last one brings is of no interest any more.
    epoch: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, times: u32 },
    HalfOpen { probing: u32, times: u32 },
}

/// Whether calls go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// All go through.
    Closed,
    /// A few reads go through, to find out.
    HalfOpen,
    /// None goes through.
    Open,
}

/// What a call may do.
enum Admission<'a> {
    Call { epoch: u64 },
    Probe(Probe<'a>),
}

/// A place among the probes, given back when dropped.
struct Probe<'a> {
    inner: &'a Inner,
    epoch: u64,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        if let State::HalfOpen { probing, .. } = &mut *state
            && self.inner.epoch.load(SeqCst) == self.epoch
        {
            *probing = probing.saturating_sub(1);
        }
    }
}

impl Breaker {
    /// Closed, for this provider.
    pub fn new(settings: &BreakerSettings, provider: &ProviderInfo) -> Self {
        Self(Arc::new(Inner {
            settings: settings.clone(),
            provider: provider.clone(),
            healthy: AtomicBool::new(true),
            epoch: AtomicU64::new(0),
            state: Mutex::new(State::Closed { failures: 0 }),
        }))
    }

    /// Whether calls go through at present.
    pub fn state(&self) -> BreakerState {
        match &*self.0.lock() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until, .. } if Instant::now() < *until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self) -> Result<Admission<'_>> {
        let epoch = self.epoch.load(SeqCst);
        if self.healthy.load(SeqCst) {
            return Ok(Admission::Call { epoch });
        }
        let mut state = self.lock();
        if let State::Open { until, times } = *state {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Err(self.refused(left));
            }
            self.change(&mut state, State::HalfOpen { probing: 0, times });
        }
        let epoch = self.epoch.load(SeqCst);
        match &mut *state {
            State::HalfOpen { probing, .. } if *probing < self.settings.probes.max(1) => {
                *probing += 1;
                Ok(Admission::Probe(Probe { inner: self, epoch }))
            }
            State::HalfOpen { .. } => Err(self.refused(PROBE)),
            State::Closed { .. } | State::Open { .. } => Ok(Admission::Call { epoch }),
        }
    }

    fn refused(&self, after: Duration) -> Error {
        let message = "the provider has failed repeatedly and is left alone for a while; nothing was sent";
        Error::new(ErrorKind::Unavailable, message).with_retry(Retry::Safe { after: Some(after) })
    }

    fn change(&self, state: &mut State, to: State) {
        *state = to;
        self.epoch.fetch_add(1, SeqCst);
        let (shown, healthy) = match state {
            State::Closed { failures } => (BreakerState::Closed, *failures == 0),
            State::HalfOpen { .. } => (BreakerState::HalfOpen, false),
            State::Open { .. } => (BreakerState::Open, false),
        };
        self.healthy.store(healthy, SeqCst);
        names::show_breaker(&self.provider, shown);
        tracing::info!(provider = %self.provider.name, state = ?shown, "the provider's breaker changed");
    }

    fn open(&self, state: &mut State, times: u32) {
        let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
        let open = self.settings.open.saturating_mul(factor).min(self.settings.open_most.get());
        self.change(
            state,
            State::Open { until: crate::deadline::after(open), times: times.saturating_add(1) },
        );
    }

    /// Takes in how a call of that time ended.
    fn learn(&self, epoch: u64, verdict: Verdict) {
        let settled = verdict == Verdict::Answered && self.healthy.load(SeqCst);
        if settled || verdict == Verdict::Nothing || self.settings.failures == 0 {
            return;
        }
        let mut state = self.lock();
        if self.epoch.load(SeqCst) != epoch {
            return;
        }
        match (&mut *state, verdict) {
            (State::Closed { failures }, Verdict::Answered) => {
                *failures = 0;
                self.healthy.store(true, SeqCst);
            }
            (State::Closed { failures }, _) => {
                *failures += 1;
                self.healthy.store(false, SeqCst);
                if *failures >= self.settings.failures {
                    self.open(&mut state, 0);
                }
            }
            (State::HalfOpen { .. }, Verdict::Answered) => {
                self.change(&mut state, State::Closed { failures: 0 });
            }
            (State::HalfOpen { times, .. }, _) => {
                let times = *times;
                self.open(&mut state, times);
            }
            (State::Open { .. }, _) => {}
        }
    }

    /// Asks the provider something that costs little and changes nothing, in a call's place.
    async fn probe(&self, call: &Call<'_>, probe: Probe<'_>) -> Result<()> {
        let Some(provider) = call.below else { return Ok(()) };
        let answer = match call.worker {
            Some(worker) => provider.get_worker_status(worker).await.map(|_| ()),
            None => provider.list_workers(&WorkerFilter::all()).await.map(|_| ()),
        };
        let verdict = Verdict::of(Operation::Status, &answer);
        self.learn(probe.epoch, verdict);
        match answer {
            Err(error) if verdict != Verdict::Answered => {
                Err(self.refused(self.settings.open.get()).with_source(error))
            }
            _ => Ok(()),
        }
    }
}

/// What a call's end says about the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Answered,
    Failed,
    Nothing,
}

impl Verdict {
    fn of<T>(operation: Operation, result: &Result<T>) -> Self {
        match result {
            // Capabilities may come out of the provider's memory.
            Ok(_) if operation == Operation::Capabilities => Self::Nothing,
            Ok(_) => Self::Answered,
            Err(error) if DeadlinePassed::caused(error) => Self::Nothing,
            Err(error) => match error.kind() {
                // A worker may need longer for its end than was thought.
                ErrorKind::Timeout
                    if matches!(operation, Operation::Stop | Operation::Kill | Operation::Delete) =>
                {
                    Self::Nothing
                }
                ErrorKind::Unavailable | ErrorKind::Timeout => Self::Failed,
                // These may have been said without asking.
                ErrorKind::Overloaded | ErrorKind::Cancelled | ErrorKind::Config | ErrorKind::Unsupported => {
                    Self::Nothing
                }
                _ => Self::Answered,
            },
        }
    }
}

impl Policy for Breaker {
    async fn run<T, F, Fut>(&self, call: Call<'_>, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        let inner = &*self.0;
        let (epoch, _probe) = match inner.admit()? {
            Admission::Call { epoch } => (epoch, None),
            Admission::Probe(probe)
                if call.operation.is_read() && call.operation != Operation::Capabilities =>
            {
                (probe.epoch, Some(probe))
            }
            Admission::Probe(probe) => {
                Box::pin(inner.probe(&call, probe)).await?;
                (inner.epoch.load(SeqCst), None)
            }
        };
        let result = attempt().await;
        inner.learn(epoch, Verdict::of(call.operation, &result));
        result
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Breaker").field(&self.state()).finish()
    }
}
