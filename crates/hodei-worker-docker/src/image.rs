//! Images: pulled when they are missing, with progress.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
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
pub(crate) struct Pulls(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

/// The right to pull an image.
pub(crate) struct Turn<'a> {
    pulls: &'a Pulls,
    image: String,
    guard: Option<OwnedMutexGuard<()>>,
    waited: bool,
}

impl Pulls {
    /// Waits for the right to pull the image.
    pub(crate) async fn turn(&self, image: &ContainerImage) -> Turn<'_> {
        let image = image.to_string();
        let lock = Arc::clone(
            self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(image.clone()).or_default(),
        );
        let (guard, waited) = match Arc::clone(&lock).try_lock_owned() {
            Ok(guard) => (guard, false),
            Err(_) => (lock.lock_owned().await, true),
        };
        Turn { pulls: self, image, guard: Some(guard), waited }
    }
}

impl Turn<'_> {
    /// Whether somebody else had the turn before, and may have pulled the image.
    pub(crate) fn waited(&self) -> bool {
        self.waited
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut all = self.pulls.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Two counts: the map's and nobody's who waits.
        if all.get(&self.image).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            all.remove(&self.image);
        }
    }
}

impl Shared {
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
                return about(
                    Error::new(
                        ErrorKind::Unavailable,
                        format!("the image cannot be fetched: {}", error.trim()),
                    )
                    .with_retry(Retry::IfIdempotent),
                );
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
            _ => Error::new(ErrorKind::Unavailable, format!("the image's registry does not answer: {said}"))
                .with_retry(Retry::IfIdempotent),
        })
    }
}
