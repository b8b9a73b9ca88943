//! What was looked at a moment ago: fifty workers that are made at once do not look fifty times.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

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
}

impl<V> Default for Lately<V> {
    fn default() -> Self {
        Self(Mutex::new(Looks { all: HashMap::new(), since: None }))
    }
}

impl<V: Clone> Lately<V> {
    /// What was seen of it within the last second.
    pub(crate) fn seen(&self, what: &str) -> Option<V> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.all.get(what).filter(|(at, _)| at.elapsed() < LASTS).map(|(_, value)| value.clone())
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
mod tests {
    use super::*;

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
