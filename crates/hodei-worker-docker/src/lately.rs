//! What was looked at a moment ago: fifty workers that are made at once do not look fifty times.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::OwnedMutexGuard, time::Instant};

/// For so long what was seen is taken for what is. Somebody who changes it in this time might as well have changed it
/// between the look and what followed it.
const LASTS: Duration = Duration::from_secs(1);

/// The last look at each of some things.
#[derive(Debug)]
pub(crate) struct Lately<V>(Mutex<Looks<V>>);

#[derive(Debug)]
struct Looks<V> {
    all: HashMap<String, (Instant, V)>,
    /// What was looked at before does not count.
    since: Option<Instant>,
    /// Who looks now.
    turns: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

impl<V> Default for Lately<V> {
    fn default() -> Self {
        Self(Mutex::new(Looks { all: HashMap::new(), since: None, turns: HashMap::new() }))
    }
}

impl<V: Clone> Lately<V> {
    /// What was seen of it within the last second.
    pub(crate) fn seen(&self, what: &str) -> Option<V> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.all.get(what).filter(|(at, _)| at.elapsed() < LASTS).map(|(_, value)| value.clone())
    }

    /// The same, or the turn to look at it: of many who want to know at once, one looks. A look that takes long holds
    /// nobody up for more than a second.
    pub(crate) async fn seen_or_turn(&self, what: &str) -> Result<V, Option<OwnedMutexGuard<()>>> {
        if let Some(seen) = self.seen(what) {
            return Ok(seen);
        }
        let turn = {
            let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            looks.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(looks.turns.entry(what.to_owned()).or_default())
        };
        let turn = tokio::time::timeout(LASTS, turn.lock_owned()).await.ok();
        self.seen(what).ok_or(turn)
    }

    /// Takes note of a look that began at `at`.
    pub(crate) fn note(&self, what: String, at: Instant, value: V) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.all.retain(|_, (at, _)| at.elapsed() < LASTS);
        let is_late = looks.all.get(&what).is_some_and(|(newer, _)| *newer > at);
        if !is_late && looks.since.is_none_or(|since| since < at) {
            looks.all.insert(what, (at, value));
        }
    }

    /// It was looked at and was not there.
    pub(crate) fn drop(&self, what: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.remove(what);
    }

    /// Something has changed: everything is to be looked at anew, and looks that are under way do not count.
    pub(crate) fn forget(&self) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.all.clear();
        looks.since = Some(Instant::now());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // These are tests.
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_many_who_ask_at_once_one_looks() {
        let lately = Arc::new(Lately::default());
        let first = lately.seen_or_turn("a").await.unwrap_err();
        assert!(first.is_some());
        let second = tokio::spawn({
            let lately = Arc::clone(&lately);
            async move { lately.seen_or_turn("a").await.ok() }
        });
        tokio::task::yield_now().await;
        lately.note("a".to_owned(), Instant::now(), 1);
        drop(first);
        assert_eq!(second.await.unwrap(), Some(1));
        // One that looks for long holds nobody up.
        lately.forget();
        let slow = lately.seen_or_turn("a").await.unwrap_err();
        let begun = Instant::now();
        assert!(lately.seen_or_turn("a").await.unwrap_err().is_none());
        assert_eq!(begun.elapsed(), LASTS);
        drop(slow);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_lasts_a_second_from_its_begin() {
        let lately = Lately::default();
        let begun = Instant::now();
        tokio::time::advance(LASTS / 2).await;
        lately.note("a".to_owned(), begun, 1);
        assert_eq!((lately.seen("a"), lately.seen("b")), (Some(1), None));
        tokio::time::advance(LASTS / 2).await;
        assert_eq!(lately.seen("a"), None);
        let begun = Instant::now();
        tokio::time::advance(LASTS / 4).await;
        lately.note("a".to_owned(), Instant::now(), 3);
        lately.note("a".to_owned(), begun, 2);
        assert_eq!(lately.seen("a"), Some(3), "an answer that is late is no news");
        lately.drop("a");
        assert_eq!(lately.seen("a"), None);
        lately.forget();
        assert_eq!(lately.seen("a"), None);
        lately.note("a".to_owned(), begun, 2);
        assert_eq!(lately.seen("a"), None, "it was looked at before");
    }
}
