//! What a registry says about an image, asked through the engine, which knows how to reach it.

use hodei_worker_core::{Error, ErrorKind, Result, Retry, factory::Environment, model::ContainerImage};
use http::{HeaderValue, Method};
use serde::Deserialize;

use super::platform::Platform;
use crate::{
    client,
    error::{EngineError, EngineResult, status, words},
    provider::Shared,
    registry::{Access, Registry},
};

/// What failed is a registry, which says nothing about the engine: `Unavailable` would, and the calls about other
/// workers would be held back.
pub(super) fn not_the_engine(message: String) -> Error {
    Error::new(ErrorKind::Dependency, message).with_retry(Retry::IfIdempotent)
}

/// What a registry has under a name.
#[derive(Deserialize)]
struct There {
    #[serde(rename = "Descriptor")]
    descriptor: Descriptor,
    #[serde(rename = "Platforms", default)]
    platforms: Option<Vec<PlatformThere>>,
}

/// A platform that a registry has an image for.
#[derive(Deserialize)]
struct PlatformThere {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

impl Shared {
    /// The log-in for an image's registry, as it is now.
    pub(super) async fn access(&self, image: &ContainerImage) -> Result<Access> {
        let (environment, registry) = (Environment::current(), Registry::of(image));
        let found = Access::find(&self.settings, &*self.context.credentials, &environment, registry);
        found.await.map_err(|error| error.with_context("image", image))
    }

    /// The digest that the registry has for an image.
    pub(super) async fn digest_there(&self, image: &ContainerImage, access: &Access) -> Result<String> {
        match self.look(image, access).await {
            Ok(digest) => Ok(digest),
            Err(error @ EngineError::DockerResponseServerError { .. }) => {
                let said = words(&error);
                Err(self.registry_error(image, access, Some(&error), None, &said).await)
            }
            Err(error) => Err(self.engine.error(error).with_context("image", image)),
        }
    }

    /// The same, and the engine's own error. No layer is fetched.
    pub(super) async fn look(&self, image: &ContainerImage, access: &Access) -> EngineResult<String> {
        self.look_with(image, access.header()).await
    }

    async fn look_with(&self, image: &ContainerImage, log_in: Option<&HeaderValue>) -> EngineResult<String> {
        Ok(self.there(image, log_in).await?.descriptor.digest)
    }

    /// Whether a registry has the image for a platform, as far as it says for which it has it.
    pub(super) async fn is_for(&self, image: &ContainerImage, access: &Access, platform: &str) -> bool {
        let Some(platform) = Platform::parse(platform) else { return true };
        let there = self.there(image, access.header()).await.ok().and_then(|there| there.platforms);
        let there = there.unwrap_or_default();
        there.is_empty() || there.iter().any(|one| platform.runs(&one.os, &one.architecture, &one.variant))
    }

    async fn there(&self, image: &ContainerImage, log_in: Option<&HeaderValue>) -> EngineResult<There> {
        let path = format!("/distribution/{}/json", in_path(image));
        let answer = async {
            let answer = self.engine.ask_registry(Method::GET, &path, "", log_in).await?;
            client::whole(answer).await
        };
        Ok(serde_json::from_slice(&self.engine.in_time(answer).await?)?)
    }

    /// The error for what a registry has refused: `looked` is the engine's look into the registry, if that failed, and
    /// `own` its answer to the request itself, if there was one.
    pub(super) async fn registry_error(
        &self,
        image: &ContainerImage,
        access: &Access,
        looked: Option<&EngineError>,
        own: Option<&EngineError>,
        said: &str,
    ) -> Error {
        let mut code = looked.and_then(status);
        let own = own.and_then(status);
        // Engines answer 500 where a registry wants a log-in and they have none; to a wrong one they answer 401.
        if code.is_some_and(|code| code >= 500)
            && let Some(stranger) = access.stranger()
        {
            let answer = self.look_with(image, Some(&stranger)).await;
            code = answer.err().as_ref().and_then(status).filter(|code| matches!(code, 401 | 403)).or(code);
        }
        let new = |kind, message: String| Error::new(kind, message);
        let error = match (code, own) {
            (Some(401), _) if access.header().is_some() => access
                .refused(new(ErrorKind::Unauthenticated, format!("the registry does not accept the log-in: {said}"))),
            (Some(401), _) => {
                access.refused(new(ErrorKind::Unauthenticated, format!("the registry wants a log-in: {said}")))
            }
            (Some(403), _) => access
                .refused(new(ErrorKind::PermissionDenied, format!("the registry refuses the image: {said}"))),
            (Some(404), _) | (_, Some(404)) => {
                new(ErrorKind::NotFound, format!("the image does not exist: {said}"))
                    .with_help("is its name right? A registry may also hide what it asks a log-in for")
            }
            (Some(429), _) | (_, Some(429)) => {
                new(ErrorKind::RateLimited, format!("the registry asks for a pause: {said}"))
                    .with_retry(Retry::Safe { after: None })
                    .with_help("many registries allow more to those who log in: see the setting `registries`")
            }
            (_, Some(400)) | (Some(400), None) => {
                Error::config("image", format!("the engine does not accept the name: {said}"))
            }
            (None, Some(_)) if looked.is_none() => {
                not_the_engine(format!("the image cannot be fetched, though its registry has it: {said}"))
            }
            _ => not_the_engine(format!("the image's registry does not answer: {said}")).with_help(
                "can the engine's machine reach the registry? A registry without TLS must stand among the engine's \
                 `insecure-registries`, unless it is on the engine's own machine",
            ),
        };
        error.with_context("image", image)
    }
}

/// An image's name as a part of a path.
pub(super) fn in_path(image: impl ToString) -> String {
    // The brackets of an IPv6 address cannot stand in one.
    image.to_string().replace('[', "%5B").replace(']', "%5D")
}
