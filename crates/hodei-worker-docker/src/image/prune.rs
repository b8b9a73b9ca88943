//! Removing images of ours that nobody uses.

use std::{sync::Arc, time::Duration};

use hodei_worker_core::{Result, Timestamp};
use http::Method;

use super::mark::{Listed, Owned, owned};
use crate::{
    DockerProvider,
    client::query,
    container::answered,
    error::{EngineError, EngineResult, status},
    provider::Shared,
};

/// Which images of ours are removed.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use hodei_worker_docker::PruneOptions;
/// let options = PruneOptions::older_than(Duration::from_secs(24 * 3600)).dry_run();
/// assert!(options.dry_run);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneOptions {
    /// Only those that were pulled at least so long ago. Leave some time: what was pulled for a worker is used only
    /// when the worker has been created. Default: 1 h.
    pub older_than: Duration,
    /// Tells what would be removed, and removes nothing. Default: false.
    pub dry_run: bool,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self { older_than: Duration::from_secs(3600), dry_run: false }
    }
}

impl PruneOptions {
    /// Those that were pulled at least so long ago.
    pub fn older_than(age: Duration) -> Self {
        Self { older_than: age, ..Self::default() }
    }
    /// Removes nothing.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }
}

/// An image that was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrunedImage {
    /// The engine's id.
    pub id: String,
    /// The names that it had; none if they went on to other images.
    pub names: Vec<String>,
    /// Bytes, shared layers included: what is free in the end may be less.
    pub size: u64,
    /// When it was pulled.
    pub pulled: Timestamp,
}

impl DockerProvider {
    /// Removes the images that this installation has pulled and that nobody uses: no container is made of them,
    /// running or not, whoever made it, and nobody has given them another name.
    ///
    /// What was on the engine before we pulled it is never ours, nor what took the place of such an image under its
    /// name. What has two names stays, since an engine removes it by force alone. That an image is ours is told by a second name, at
    /// `hodei-worker.invalid`, which the image gets when it is pulled; so other hosts of the installation know it, and
    /// this one after a restart. Whoever removes that name keeps the image. Somebody who pulls an image that we have
    /// already pulled leaves no trace: then it counts as ours all the same, until there is a container of it.
    ///
    /// # Errors
    /// As all requests to the engine. Those that were removed before stay removed.
    ///
    /// # Cancel safety
    /// When dropped, some may have been removed. An image that is just being removed is done with.
    ///
    /// # Examples
    /// ```no_run
    /// use hodei_worker_docker::PruneOptions;
    /// # async fn example(provider: hodei_worker_docker::DockerProvider) -> hodei_worker_core::Result<()> {
    /// for image in provider.prune_images(&PruneOptions::default()).await? {
    ///     println!("{} {:?}: {} bytes", image.id, image.names, image.size);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn prune_images(&self, options: &PruneOptions) -> Result<Vec<PrunedImage>> {
        let pruned = Box::pin(self.0.prune(options)).await;
        pruned.map_err(|error| error.with_provider(&self.0.info))
    }
}

impl Shared {
    async fn prune(self: &Arc<Self>, options: &PruneOptions) -> Result<Vec<PrunedImage>> {
        let now = self.context.clock.now();
        let images = self.list_images().await?;
        let used = self.images_in_use().await?;
        let mut pruned = Vec::new();
        for image in images.into_iter().filter(|image| !used.contains(&image.id)) {
            let Some(owned) = owned(self.installation(), &image) else { continue };
            let age = Duration::try_from(now.duration_since(owned.pulled)).unwrap_or_default();
            if age < options.older_than {
                continue;
            }
            let told = PrunedImage {
                id: image.id.clone(),
                names: image.shown_names(),
                size: u64::try_from(image.size).unwrap_or_default(),
                pulled: owned.pulled,
            };
            let gone = if options.dry_run { !owned.shared } else { self.remove_image(image, owned).await? };
            if gone {
                pruned.push(told);
            }
        }
        Ok(pruned)
    }

    /// Removes an image, unless somebody has begun to use it. Goes on when its caller is dropped: in between, nothing
    /// says that it is ours.
    async fn remove_image(self: &Arc<Self>, image: Listed, owned: Owned) -> Result<bool> {
        let (shared, id) = (Arc::clone(self), image.id.clone());
        let work = tokio::spawn(async move { shared.remove_owned(&image.id, &owned).await });
        answered(work).await.map_err(|error| error.with_context("image", id))
    }

    /// By its id, which no other image can take, and never by force: so an engine refuses what is used or has a name
    /// more, whatever has happened since we looked. Our own names must go before.
    async fn remove_owned(&self, id: &str, owned: &Owned) -> Result<bool> {
        self.images_seen.forget();
        let mut removed = Vec::new();
        for mark in &owned.marks {
            match self.untag(mark).await {
                Ok(()) => removed.push(mark.clone()),
                // Another host of ours is at it.
                Err(error) if status(&error) == Some(404) => {}
                Err(error) => return self.not_removed(id, &removed, error).await,
            }
        }
        if removed.is_empty() || owned.shared {
            return Ok(false);
        }
        match self.untag(id).await {
            Ok(()) => Ok(true),
            // Our name was its last.
            Err(error) if status(&error) == Some(404) => Ok(true),
            Err(error) => self.not_removed(id, &removed, error).await,
        }
    }

    /// It stays, and stays ours.
    async fn not_removed(&self, id: &str, marks: &[String], error: EngineError) -> Result<bool> {
        let marked = self.mark_again(id, marks).await;
        if let Err(error) = marked {
            tracing::warn!(%error, image = id, "an image of ours has lost its mark: it will not be pruned");
        }
        // Somebody has begun to use it.
        if status(&error) == Some(409) { Ok(false) } else { Err(self.engine.error(error)) }
    }

    /// Takes away a name, and the image with its last; or the image, by its id.
    async fn untag(&self, name: &str) -> EngineResult<()> {
        // Not what it was built on, which is not ours.
        let query = query(&[("noprune", "1")]);
        self.engine.command(Method::DELETE, &format!("/images/{name}"), &query).await
    }
}
