//! Images: pulled when they are missing, with progress.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, Retry,
    model::ContainerImage,
    provider::{CreateOptions, CreateProgress},
};
use tokio::sync::OwnedMutexGuard;

use crate::{
    error::{EngineError, status, words},
    provider::Shared,
};

const NO_LOG_IN: &str = "log-ins to registries are not supported yet: pull the image on the engine's machine, or use a \
                         registry that lets it be read";

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
    /// Waits for the right to pull the image; `waits` is called if somebody else has it.
    pub(crate) async fn turn(&self, image: &ContainerImage, waits: impl FnOnce()) -> Turn<'_> {
        let image = image.to_string();
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

/// What failed is a registry, which says nothing about the engine: `Unavailable` would, and the calls about other
/// workers would be held back.
fn not_the_engine(message: String) -> Error {
    Error::new(ErrorKind::Dependency, message).with_retry(Retry::IfIdempotent)
}

impl Shared {
    /// Fetches an image although it may be there, or lets somebody else do it who asks at the same time.
    pub(crate) async fn pull_always(&self, image: &ContainerImage, options: &CreateOptions) -> Result<()> {
        let turn = self.pull_turn(image, options).await?;
        if turn.shared() {
            options.report(CreateProgress::Pulled { image: image.to_string() });
            return Ok(());
        }
        let done = self.pull(image, options).await;
        turn.done(&done);
        done
    }

    /// The right to fetch an image, unless somebody else has just failed to do so.
    pub(crate) async fn pull_turn(
        &self,
        image: &ContainerImage,
        options: &CreateOptions,
    ) -> Result<Turn<'_>> {
        let waits = || options.report(CreateProgress::Pulling { image: image.to_string() });
        let turn = self.pulls.turn(image, waits).await;
        match turn.failure.clone() {
            Some(failure) => Err(failure),
            None => Ok(turn),
        }
    }

    /// Fetches an image.
    pub(crate) async fn pull(&self, image: &ContainerImage, options: &CreateOptions) -> Result<()> {
        options.report(CreateProgress::Pulling { image: image.to_string() });
        let reference = image.digest().or(image.tag()).unwrap_or_default();
        let query =
            CreateImageOptionsBuilder::default().from_image(image.repository()).tag(reference).build();
        let docker = self.engine.patient();
        let mut pulling = docker.create_image(Some(query), None, None);
        while let Some(step) = pulling.next().await {
            let step = match step {
                Ok(step) => step,
                Err(error) => return Err(self.not_pulled(image, error).await),
            };
            if let (Some(id), Some(status)) = (step.id, step.status) {
                let detail = step.progress_detail;
                let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
                options.report(CreateProgress::Layer {
                    id,
                    status,
                    current: detail.as_ref().and_then(|detail| bytes(detail.current)),
                    total: detail.as_ref().and_then(|detail| bytes(detail.total)),
                });
            }
        }
        options.report(CreateProgress::Pulled { image: image.to_string() });
        Ok(())
    }

    /// Why a pull failed. The engine answers 404 to a missing image and to a denied one, and 500 to a registry that
    /// wants a log-in as well as to one that is not there; its look into the registry keeps the registry's own codes.
    async fn not_pulled(&self, image: &ContainerImage, error: EngineError) -> Error {
        let about = |error: Error| error.with_context("image", image);
        let said = match &error {
            // Sent after the image was found, in the middle of the progress, as text alone: a layer could not be
            // fetched or unpacked.
            EngineError::DockerStreamError { error } => {
                return about(not_the_engine(format!("the image cannot be fetched: {}", error.trim())));
            }
            EngineError::DockerResponseServerError { .. } => words(&error),
            _ => return about(self.engine.error(error)),
        };
        let looked = self.engine.get::<serde_json::Value>(&format!("/distribution/{image}/json"), "").await;
        let code = looked.err().as_ref().and_then(status);
        let own = status(&error);
        about(match (code, own) {
            (Some(401), _) => {
                Error::new(ErrorKind::Unauthenticated, format!("the registry wants a log-in: {said}"))
                    .with_help(NO_LOG_IN)
            }
            (Some(403), _) => {
                Error::new(ErrorKind::PermissionDenied, format!("the registry refuses the image: {said}"))
                    .with_help(NO_LOG_IN)
            }
            (Some(404), _) | (_, Some(404)) => {
                Error::new(ErrorKind::NotFound, format!("the image does not exist: {said}"))
                    .with_help("is its name right? A registry may also hide what it asks a log-in for")
            }
            (_, Some(400)) => Error::config("image", format!("the engine does not accept the name: {said}")),
            _ => not_the_engine(format!("the image's registry does not answer: {said}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn d6_those_who_waited_for_a_pull_share_its_failure() {
        let pulls = Pulls::default();
        let image: ContainerImage = "busybox:1".parse().unwrap();
        let first = pulls.turn(&image, || {}).await;
        let mut second = Box::pin(pulls.turn(&image, || {}));
        assert!(second.as_mut().now_or_never().is_none());
        first.done(&Err(Error::new(ErrorKind::NotFound, "no such image")));
        let mut third = Box::pin(pulls.turn(&image, || {}));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        let second = second.await;
        assert_eq!(second.failure.as_ref().map(Error::kind), Some(ErrorKind::NotFound));
        drop(second);
        let third = third.await;
        assert!(third.waited() && third.failure.as_ref().is_none(), "it came after the failure");
        drop(third);
        assert!(pulls.0.lock().unwrap().is_empty());
        assert!(!pulls.turn(&image, || {}).await.waited());
    }
}
