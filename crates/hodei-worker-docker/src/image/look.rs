//! Looking at an image that the engine has, for the platform that is asked for.

use std::sync::Arc;

use bollard::models::ImageInspect;
use hodei_worker_core::{Error, ErrorKind, Result, model::ContainerImage};
use serde_json::Value;
use tokio::time::Instant;

use super::{ask::in_path, platform::Platform};
use crate::{
    client::query,
    error::{EngineResult, status},
    provider::Shared,
};

/// An image for a platform.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) image: &'a ContainerImage,
    /// Default: the engine's.
    pub(crate) platform: Option<&'a str>,
}

impl Wanted<'_> {
    /// What tells its pulls and looks from those of others.
    pub(super) fn key(&self) -> String {
        match self.platform {
            Some(platform) => format!("{} {platform}", self.image),
            None => self.image.to_string(),
        }
    }

    /// The error that the image cannot be had for its platform.
    pub(crate) fn not_for(&self, platform: &str, why: &str) -> Error {
        Error::new(ErrorKind::NotFound, format!("there is no image for the platform `{platform}`: {why}"))
            .with_context("image", self.image)
            .with_context("platform", platform)
            .with_help("see the option `platform`, and for which platforms the registry has the image")
    }
}

impl Shared {
    /// The image, if the engine has it for that platform, as it was within the last second.
    pub(crate) async fn inspect_image(&self, wanted: Wanted<'_>) -> Result<Option<Arc<ImageInspect>>> {
        match self.images_seen.seen_or_turn(&wanted.key()).await {
            Ok(seen) => Ok(Some(seen)),
            Err(_turn) => self.look_anew(wanted).await,
        }
    }

    /// The image, if the engine has it for that platform, as it is now.
    pub(super) async fn look_anew(&self, wanted: Wanted<'_>) -> Result<Option<Arc<ImageInspect>>> {
        let begun = Instant::now();
        let seen = self.look_for_image(wanted).await?.map(Arc::new);
        match &seen {
            Some(seen) => self.images_seen.note(wanted.key(), begun, Arc::clone(seen)),
            None => self.images_seen.drop(&wanted.key()),
        }
        Ok(seen)
    }

    async fn look_for_image(&self, wanted: Wanted<'_>) -> Result<Option<ImageInspect>> {
        let found = |seen: EngineResult<ImageInspect>| match seen {
            Ok(seen) => Ok(Some(seen)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.engine.error(error)),
        };
        let seen = found(self.image_at(&in_path(wanted.image), "").await)?;
        let Some(platform) = wanted.platform.and_then(Platform::parse) else { return Ok(seen) };
        let Some(seen) = seen else { return Ok(None) };
        if platform.fits(&seen) {
            return Ok(Some(seen));
        }
        // An engine that keeps an image for several platforms shows its own unless it is asked for another.
        let Some(id) = seen.id.filter(|_| self.engine.speaks(1, 49)) else { return Ok(None) };
        let seen = found(self.image_at(&id, &query(&[("platform", &platform.json())])).await)?;
        // It may know of one for that platform without having it. The id of the whole is what containers are made of.
        let seen = seen.filter(|seen| platform.fits(seen));
        Ok(seen.map(|seen| ImageInspect { id: Some(id), ..seen }))
    }

    /// An image by its name or id.
    pub(crate) async fn image_at(&self, name: &str, query: &str) -> EngineResult<ImageInspect> {
        let mut seen: Value = self.engine.get(&format!("/images/{name}/json"), query).await?;
        // Of one that it does not have for its own platform an engine tells half.
        if seen["RootFS"]["Type"].is_null()
            && let Some(fields) = seen.as_object_mut()
        {
            fields.remove("RootFS");
        }
        Ok(serde_json::from_value(seen)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d6_a_pull_for_one_platform_is_none_for_another() {
        let image = "busybox:1".parse().unwrap();
        let key = |platform| Wanted { image: &image, platform }.key();
        assert_eq!(key(Some("linux/arm64")), key(Some("linux/arm64")));
        assert_ne!(key(Some("linux/arm64")), key(Some("linux/amd64")));
        assert_ne!(key(Some("linux/arm64")), key(None));
    }
}
