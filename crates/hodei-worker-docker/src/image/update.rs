//! Pinning an image to what its tag means now, and looking whether the tag means something else by now.

use hodei_worker_core::{Error, ErrorKind, Result, model::ContainerImage};
use serde::Deserialize;

use super::ask::in_path;
use crate::{DockerProvider, error::status, provider::Shared, registry::full_name};

/// How the image on the engine compares with its registry.
///
/// # Examples
/// ```no_run
/// use hodei_worker_docker::ImageUpdate;
/// # async fn example(provider: hodei_worker_docker::DockerProvider) -> Result<(), Box<dyn std::error::Error>> {
/// if let ImageUpdate::Available { digest } = provider.image_update(&"nginx:1.27".parse()?).await? {
///     println!("there is a newer nginx:1.27: {digest}");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageUpdate {
    /// The engine has what the registry has.
    Current,
    /// The registry has another image under that tag.
    Available {
        /// Its digest, `sha256:…`.
        digest: String,
    },
    /// The engine does not have the image, or has one of that name that is not from the registry.
    NotPulled,
}

#[derive(Deserialize)]
struct Here {
    #[serde(rename = "RepoDigests", default)]
    digests: Option<Vec<String>>,
}

impl DockerProvider {
    /// Pins an image to what its tag means now: asks its registry and returns `name:tag@sha256:…`. A worker with such an
    /// image runs exactly this one, on every engine, even when the tag moves on. An image that has a digest already is
    /// returned as it is. Nothing is fetched.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when the registry does not have it;
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) when it wants a log-in, or another one;
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) when it refuses this user the image;
    /// [`RateLimited`](ErrorKind::RateLimited) when it asks for a pause;
    /// [`Dependency`](ErrorKind::Dependency) when it does not answer, or a credential helper does not;
    /// [`Config`](ErrorKind::Config) when the settings name a log-in that there is not.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```no_run
    /// # use hodei_worker_core::WorkerConfig;
    /// # async fn example(provider: hodei_worker_docker::DockerProvider) -> Result<(), Box<dyn std::error::Error>> {
    /// let pinned = provider.resolve_image(&"nginx:1.27".parse()?).await?;
    /// let config = WorkerConfig::builder("web").image(pinned.to_string()).build()?;
    /// # Ok(()) }
    /// ```
    pub async fn resolve_image(&self, image: &ContainerImage) -> Result<ContainerImage> {
        let pinned = Box::pin(self.0.pinned(image)).await;
        pinned.map_err(|error| error.with_provider(&self.0.info))
    }

    /// Looks whether the registry has another image by now than the engine, without fetching it. Of an image with tag
    /// and digest this says whether the tag means another one than the digest; one with a digest alone is never
    /// outdated, and its registry is not asked.
    ///
    /// Fetch what is new by [`PullPolicy::Always`](crate::PullPolicy::Always), or by the digest.
    ///
    /// # Errors
    /// As [`resolve_image`](Self::resolve_image).
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```no_run
    /// use hodei_worker_docker::ImageUpdate;
    /// # async fn example(provider: hodei_worker_docker::DockerProvider) -> Result<(), Box<dyn std::error::Error>> {
    /// let image = "registry.example/team/app:stable".parse()?;
    /// if provider.image_update(&image).await? != ImageUpdate::Current {
    ///     println!("the workers of {image} can be replaced");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn image_update(&self, image: &ContainerImage) -> Result<ImageUpdate> {
        let compared = Box::pin(self.0.compare(image)).await;
        compared.map_err(|error| error.with_provider(&self.0.info))
    }
}

impl Shared {
    async fn pinned(&self, image: &ContainerImage) -> Result<ContainerImage> {
        if image.digest().is_some() {
            return Ok(image.clone());
        }
        let digest = self.digest_there(image, &self.access(image).await?).await?;
        format!("{image}@{digest}").parse().map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the registry's digest makes no sense")
                .with_context("image", image)
                .with_source(error)
        })
    }

    async fn compare(&self, image: &ContainerImage) -> Result<ImageUpdate> {
        let Some(here) = self.digests_here(image).await? else { return Ok(ImageUpdate::NotPulled) };
        let here = match (image.digest(), image.tag()) {
            // It is there, and it cannot change.
            (Some(_), None) => return Ok(ImageUpdate::Current),
            (Some(digest), Some(_)) => vec![digest.to_owned()],
            (None, _) => here,
        };
        if here.is_empty() {
            return Ok(ImageUpdate::NotPulled);
        }
        let tag = image.tag().unwrap_or_default();
        let tagged = format!("{}:{tag}", image.repository()).parse().map_err(|error| {
            Error::config("image", "the image has no usable tag")
                .with_context("image", image)
                .with_source(error)
        })?;
        let there = self.digest_there(&tagged, &self.access(image).await?).await?;
        Ok(if here.contains(&there) {
            ImageUpdate::Current
        } else {
            ImageUpdate::Available { digest: there }
        })
    }

    /// The digests by which the engine knows an image that it has from this repository; `None` if it has no such image.
    async fn digests_here(&self, image: &ContainerImage) -> Result<Option<Vec<String>>> {
        let here: Here = match self.engine.get(&format!("/images/{}/json", in_path(image)), "").await {
            Ok(here) => here,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(self.engine.error(error).with_context("image", image)),
        };
        let wanted = full_name(image.repository());
        let each = here.digests.unwrap_or_default().into_iter().filter_map(|name| {
            let (repository, digest) = name.split_once('@')?;
            (full_name(repository) == wanted).then(|| digest.to_owned())
        });
        Ok(Some(each.collect()))
    }
}
