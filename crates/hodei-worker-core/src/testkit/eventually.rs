use std::{future::Future, time::Duration};

/// Tries until there is a result, at growing intervals, and returns what the last try said when time is over. For
/// real parts that tell nobody when they are done; where there is an event, wait for that.
///
/// # Errors
/// The last try's, when `deadline` has passed.
///
/// # Cancel safety
/// As the tries.
pub async fn eventually<T, E, F, Fut>(deadline: Duration, mut probe: F) -> Result<T, E>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let end = tokio::time::Instant::now() + deadline;
    let mut pause = Duration::from_millis(5);
    loop {
        match probe().await {
            Ok(found) => return Ok(found),
            Err(error) if tokio::time::Instant::now() >= end => return Err(error),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
