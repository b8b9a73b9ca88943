use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hodei_worker_core::credential::SecretKey;

/// Writes that are remembered.
const MOST: usize = 1024;

/// The versions that we have written lately: a standby that lags behind them is not believed.
#[derive(Default)]
pub(super) struct WrittenLately(Mutex<State>);

#[derive(Default)]
struct State {
    versions: HashMap<SecretKey, u64>,
    order: VecDeque<SecretKey>,
}

impl WrittenLately {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// We have written that version.
    pub(super) fn note(&self, key: &SecretKey, number: u64) {
        let mut state = self.state();
        match state.versions.get_mut(key) {
            Some(known) => *known = number.max(*known),
            None => {
                state.versions.insert(key.clone(), number);
                state.order.push_back(key.clone());
                if state.order.len() > MOST
                    && let Some(oldest) = state.order.pop_front()
                {
                    state.versions.remove(&oldest);
                }
            }
        }
    }
    /// The secret is gone, and its numbers with it.
    pub(super) fn forget(&self, key: &SecretKey) {
        let mut state = self.state();
        if state.versions.remove(key).is_some() {
            state.order.retain(|known| known != key);
        }
    }
    /// Whether we know of a later version.
    pub(super) fn knows_later(&self, key: &SecretKey, number: u64) -> bool {
        self.state().versions.get(key).is_some_and(|known| *known > number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_only_the_latest_writes_are_remembered() {
        let written = WrittenLately::default();
        let key = |n: usize| SecretKey::new(format!("k{n}")).unwrap();
        for n in 0..=MOST {
            written.note(&key(n), 2);
        }
        assert!(!written.knows_later(&key(0), 1) && written.knows_later(&key(MOST), 1));
        assert!(!written.knows_later(&key(MOST), 2));
        written.forget(&key(MOST));
        assert!(!written.knows_later(&key(MOST), 0));
    }
}
