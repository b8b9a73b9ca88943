use std::{
    fmt,
    future::Future,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Call, DeadlinePassed, LaneSettings, LimitSettings, Policy, names, rate::Rate};
use crate::{
    deadline,
    error::{Error, ErrorKind, Result, Retry},
    provider::Lane,
};

/// Bounds how many calls run at once, in each [`Lane`] by itself, and how many are made per second.
///
/// Who finds no permit waits, at most until the call's deadline; where too many wait already, the call is
/// [`Overloaded`](ErrorKind::Overloaded). In both cases nothing was sent. A permit is held during the attempt only: for
/// a stream until it is open.
#[derive(Debug)]
pub struct Limit {
    lanes: [Queue; 4],
    rate: Option<Rate>,
}

#[derive(Debug)]
struct Queue {
    name: &'static str,
    permits: Semaphore,
    waiting: AtomicUsize,
    places: usize,
}

impl Limit {
    /// With all permits free.
    pub fn new(settings: &LimitSettings) -> Self {
        let queue = |name, lane: &LaneSettings| Queue {
            name,
            permits: Semaphore::new(lane.at_once.clamp(1, Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            places: lane.queue,
        };
        Self {
            lanes: [
                queue("control", &settings.control),
                queue("reads", &settings.reads),
                queue("long", &settings.long),
                queue("streams", &settings.streams),
            ],
            rate: settings.rate.as_ref().map(Rate::new),
        }
    }

    /// How many calls of the lane wait for a permit.
    pub fn waiting(&self, lane: Lane) -> usize {
        self.queue(lane).waiting.load(Relaxed)
    }

    fn queue(&self, lane: Lane) -> &Queue {
        &self.lanes[match lane {
            Lane::Control => 0,
            Lane::Reads => 1,
            Lane::Long => 2,
            Lane::Streams => 3,
        }]
    }

    async fn admit(&self, call: &Call<'_>) -> Result<SemaphorePermit<'_>> {
        let lane = call.operation.lane();
        let queue = self.queue(lane);
        let permit = match queue.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => Box::pin(queue.wait(call)).await?,
        };
        // With the permit in hand, so that few wait for the rate at once and the rest keep their order.
        if let Some(rate) = &self.rate
            && Box::pin(deadline::bounded(rate.take(lane))).await.is_none()
        {
            names::count_rejection(call, "deadline");
            let message = "the deadline passed while the call waited for its turn under the rate limit";
            return Err(DeadlinePassed::unsent(message));
        }
        Ok(permit)
    }
}

impl Queue {
    async fn wait(&self, call: &Call<'_>) -> Result<SemaphorePermit<'_>> {
        let _place = Place::take(&self.waiting, self.places).ok_or_else(|| {
            names::count_rejection(call, "queue");
            let message = format!("{} calls of this kind wait for the provider already", self.places);
            Error::new(ErrorKind::Overloaded, message)
                .with_context("lane", self.name)
                .with_retry(Retry::Safe { after: None })
                .with_source(QueueFull)
        })?;
        match deadline::bounded(self.permits.acquire()).await {
            Some(Ok(permit)) => Ok(permit),
            Some(Err(_)) => Err(Error::new(ErrorKind::Cancelled, "the limit was closed")),
            None => {
                names::count_rejection(call, "deadline");
                let message = "the deadline passed while the call waited for a permit, and nothing was sent";
                Err(DeadlinePassed::unsent(message).with_context("lane", self.name))
            }
        }
    }
}

/// The source of an error of our own queue. Repeating the call at once would only fill it again, at the cost of repetitions
/// that others need.
#[derive(Debug)]
pub(super) struct QueueFull;

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue for the provider is full")
    }
}

impl std::error::Error for QueueFull {}

impl QueueFull {
    pub(super) fn caused(error: &Error) -> bool {
        std::error::Error::source(error).is_some_and(|source| source.is::<Self>())
    }
}

/// A place in a queue, given up when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, places: usize) -> Option<Self> {
        let one_more = |waiting| (waiting < places).then_some(waiting + 1);
        waiting.fetch_update(Relaxed, Relaxed, one_more).ok().map(|_| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Policy for Limit {
    async fn run<T, F, Fut>(&self, call: Call<'_>, attempt: F) -> Result<T>
    where
        T: Send,
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
    {
        let _permit = self.admit(&call).await?;
        attempt().await
    }
}
