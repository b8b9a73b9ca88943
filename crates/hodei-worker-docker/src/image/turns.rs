//! Who pulls an image, where many want it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hodei_worker_core::{Error, Result};
use tokio::sync::OwnedMutexGuard;

/// One pull of an image at a time: a hundred workers of a new image make one.
#[derive(Debug, Default)]
pub(crate) struct Pulls(Mutex<HashMap<String, Arc<Pull>>>);

/// The pulls of one image, while anybody wants it.
#[derive(Debug, Default)]
struct Pull {
    turn: Arc<tokio::sync::Mutex<()>>,
    last: Mutex<Last>,
}

/// How the last pull went.
#[derive(Debug, Default, Clone)]
struct Last {
    number: u64,
    failure: Option<Error>,
}

impl Pull {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to pull an image.
pub(crate) struct Turn<'a> {
    pulls: &'a Pulls,
    image: String,
    pull: Option<Arc<Pull>>,
    guard: Option<OwnedMutexGuard<()>>,
    waited: bool,
    shared: bool,
    failure: Option<Error>,
}

impl Pulls {
    /// Waits for the right to pull the image, which has this key; `waits` is called if somebody else has it.
    pub(crate) async fn turn(&self, image: String, waits: impl FnOnce()) -> Turn<'_> {
        let pull = Arc::clone(
            self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(image.clone()).or_default(),
        );
        let before = pull.last().number;
        let (guard, waited) = match Arc::clone(&pull.turn).try_lock_owned() {
            Ok(guard) => (guard, false),
            Err(_) => {
                waits();
                (Arc::clone(&pull.turn).lock_owned().await, true)
            }
        };
        let last = pull.last().clone();
        // The first to end may have begun before we asked, the second has not.
        let shared = last.failure.is_none() && last.number > before + 1;
        let failure = last.failure.filter(|_| last.number > before);
        Turn { pulls: self, image, pull: Some(pull), guard: Some(guard), waited, shared, failure }
    }
}

impl Turn<'_> {
    /// Whether somebody else had the turn before, and may have pulled the image.
    pub(crate) fn waited(&self) -> bool {
        self.waited
    }
    /// Whether somebody else has pulled the image since we asked.
    pub(crate) fn shared(&self) -> bool {
        self.shared
    }
    /// How the pull of somebody else failed, that we have waited for.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }
    /// Tells those who wait how the pull went.
    pub(crate) fn done(&self, outcome: &Result<()>) {
        if let Some(pull) = &self.pull {
            let mut last = pull.last();
            *last = Last { number: last.number + 1, failure: outcome.as_ref().err().cloned() };
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        self.pull = None;
        let mut all = self.pulls.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One count: the map's, and nobody's who waits.
        if all.get(&self.image).is_some_and(|pull| Arc::strong_count(pull) == 1) {
            all.remove(&self.image);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use hodei_worker_core::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn d6_those_who_waited_for_a_pull_share_its_failure() {
        let pulls = Pulls::default();
        let image = || "busybox:1".to_owned();
        let first = pulls.turn(image(), || {}).await;
        let mut second = Box::pin(pulls.turn(image(), || {}));
        assert!(second.as_mut().now_or_never().is_none());
        first.done(&Err(Error::new(ErrorKind::NotFound, "no such image")));
        let mut third = Box::pin(pulls.turn(image(), || {}));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        let second = second.await;
        assert_eq!(second.failure.as_ref().map(Error::kind), Some(ErrorKind::NotFound));
        drop(second);
        let third = third.await;
        assert!(third.waited() && third.failure.as_ref().is_none(), "it came after the failure");
        drop(third);
        assert!(pulls.0.lock().unwrap().is_empty());
        assert!(!pulls.turn(image(), || {}).await.waited());
    }
}
