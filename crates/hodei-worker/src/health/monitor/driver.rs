//! The one task that makes tries, and tells what they found.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    sync::mpsc,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use super::{HealthReport, Shared, TryObserver, state::Key};
use crate::health::{finding::Finding, probe::Prober};

/// A try: what it found, and when it began.
type Tried = (Finding, Instant);

pub(super) async fn drive(
    shared: Arc<Shared>,
    prober: Prober,
    at_once: usize,
    reports: mpsc::Sender<HealthReport>,
    observer: TryObserver,
) {
    let prober = Arc::new(prober);
    let mut tries: JoinSet<Tried> = JoinSet::new();
    let mut keys: HashMap<Id, (Key, Instant)> = HashMap::new();
    loop {
        let (next, has_reports) = {
            let mut state = shared.state();
            let next = state.advance(Instant::now());
            while tries.len() < at_once
                && let Some((key, attempt)) = state.next_try()
            {
                let (prober, observer, began) = (Arc::clone(&prober), Arc::clone(&observer), Instant::now());
                let trying = tries.spawn(async move {
                    let finding = prober.find_out(&attempt).await;
                    observer(&attempt.tried(&finding, began.elapsed()));
                    (finding, began)
                });
                keys.insert(trying.id(), (key.clone(), began));
                state.begun(&key, trying);
            }
            (next, state.has_reports())
        };
        tokio::select! {
            () = shared.wake.notified() => {}
            Some(tried) = tries.join_next_with_id() => finish(&shared, &mut keys, tried),
            permit = reports.reserve(), if has_reports => {
                // Nobody wants to know any more.
                let Ok(permit) = permit else { return };
                if let Some(report) = shared.state().take_report() {
                    permit.send(report);
                }
            }
            () = wait(next) => {}
        }
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn finish(shared: &Shared, keys: &mut HashMap<Id, (Key, Instant)>, tried: Result<(Id, Tried), JoinError>) {
    let (id, found) = match tried {
        Ok((id, tried)) => (id, Some(tried)),
        // Cut off, or a provider that panicked.
        Err(error) => {
            let id = error.id();
            let panicked = Finding::unknown("the try panicked");
            (id, keys.get(&id).filter(|_| error.is_panic()).map(|(_, began)| (panicked, *began)))
        }
    };
    let (Some((key, _)), Some((finding, began))) = (keys.remove(&id), found) else { return };
    shared.state().finished(&key, began, finding, Instant::now());
}
