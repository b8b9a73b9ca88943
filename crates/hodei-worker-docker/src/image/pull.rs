//! Fetching an image, with progress.

use hodei_worker_core::{
    Error, Result,
    provider::{CreateOptions, CreateProgress},
};
use http::Method;

use super::{
    ask::not_the_engine,
    look::Wanted,
    progress::{Lines, Step},
    turns::Turn,
};
use crate::{
    client::query,
    error::{EngineError, EngineResult, words},
    provider::Shared,
    registry::Access,
};

impl Shared {
    /// Fetches an image although it may be there, or lets somebody else do it who asks at the same time.
    pub(crate) async fn pull_always(&self, wanted: Wanted<'_>, options: &CreateOptions) -> Result<()> {
        let turn = self.pull_turn(wanted, options).await?;
        if turn.shared() {
            options.report(CreateProgress::Pulled { image: wanted.image.to_string() });
            return Ok(());
        }
        let done = self.pull(wanted, options).await;
        turn.done(&done);
        done
    }

    /// The right to fetch an image, unless somebody else has just failed to do so.
    pub(crate) async fn pull_turn(&self, wanted: Wanted<'_>, options: &CreateOptions) -> Result<Turn<'_>> {
        let waits = || options.report(CreateProgress::Pulling { image: wanted.image.to_string() });
        let turn = self.pulls.turn(wanted.key(), waits).await;
        match turn.failure().cloned() {
            Some(failure) => Err(failure),
            None => Ok(turn),
        }
    }

    /// Fetches an image, by its digest if it has one: then the engine checks that it gets nothing else.
    pub(crate) async fn pull(&self, wanted: Wanted<'_>, options: &CreateOptions) -> Result<()> {
        let image = wanted.image;
        options.report(CreateProgress::Pulling { image: image.to_string() });
        let access = self.access(image).await?;
        let before = self.images_before().await;
        let fetched = self.fetch(wanted, &access, options).await;
        self.images_seen.forget();
        if let Err(error) = fetched {
            return Err(self.not_pulled(wanted, &access, error).await);
        }
        drop(access);
        if let Some(before) = before {
            self.mark(image, &before).await;
        }
        options.report(CreateProgress::Pulled { image: image.to_string() });
        Ok(())
    }

    async fn fetch(
        &self,
        Wanted { image, platform }: Wanted<'_>,
        access: &Access,
        options: &CreateOptions,
    ) -> EngineResult<()> {
        let reference = image.digest().or(image.tag()).unwrap_or_default();
        let mut pairs = vec![("fromImage", image.repository()), ("tag", reference)];
        pairs.extend(platform.map(|platform| ("platform", platform)));
        let query = query(&pairs);
        // An engine may not answer before it has spoken to the registry; whoever waits sets the deadline.
        let answer =
            self.engine.ask_registry(Method::POST, "/images/create", &query, access.header()).await?;
        let mut lines = Lines::new(answer.into_body());
        while let Some(step) = lines.next().await? {
            match step {
                Step::Layer { id, status, current, total } => {
                    options.report(CreateProgress::Layer { id, status, current, total });
                }
                Step::Failed(error) => return Err(EngineError::DockerStreamError { error }),
                Step::Other => {}
            }
        }
        Ok(())
    }

    /// Why a pull failed. The engine answers 404 to a missing image and to a denied one, and 500 to a registry that
    /// wants a log-in as well as to one that is not there; its look into the registry keeps the registry's own codes.
    async fn not_pulled(&self, wanted: Wanted<'_>, access: &Access, error: EngineError) -> Error {
        let image = wanted.image;
        let said = match &error {
            // Sent after the image was found, in the middle of the progress, as text alone: a layer could not be
            // fetched or unpacked.
            EngineError::DockerStreamError { error } => {
                if let Some(platform) = wanted.platform
                    && !self.is_for(image, access, platform).await
                {
                    return wanted.not_for(platform, error.trim());
                }
                let message = format!("the image cannot be fetched: {}", error.trim());
                return not_the_engine(message).with_context("image", image);
            }
            EngineError::DockerResponseServerError { .. } => words(&error),
            _ => return self.engine.error(error).with_context("image", image),
        };
        let looked = self.look(image, access).await;
        self.registry_error(image, access, looked.as_ref().err(), Some(&error), &said).await
    }
}
