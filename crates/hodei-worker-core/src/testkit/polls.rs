use std::{future::Future, pin::pin, task::Poll};

/// Polls a future at most that many times, waiting for its wake-ups in between, and drops it. `None` if that was
/// not enough: so a call can be cut off at each of its awaits in turn.
///
/// # Cancel safety
/// As the future's.
pub async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
