use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use async_trait::async_trait;
use bollard::models::ImageInspect;
use hodei_worker_core::{Error, ErrorKind, Result, model::ContainerImage};

/// So many images that were accepted are remembered.
const REMEMBERED: usize = 1024;

/// Judges images before workers are made of them. It is asked once for each image, by its contents.
///
/// # Examples
/// ```
/// use hodei_worker_core::Result;
/// use hodei_worker_docker::{ImageScanner, ScanVerdict, ScannedImage};
/// #[derive(Debug)]
/// struct Small;
/// #[async_trait::async_trait]
/// impl ImageScanner for Small {
///     async fn scan(&self, image: &ScannedImage) -> Result<ScanVerdict> {
///         if image.size > 1 << 30 {
///             return Ok(ScanVerdict::refused("it is larger than 1 GiB"));
///         }
///         Ok(ScanVerdict::Accepted)
///     }
/// }
/// ```
#[async_trait]
pub trait ImageScanner: fmt::Debug + Send + Sync + 'static {
    /// Judges an image that the engine has.
    ///
    /// # Errors
    /// Any: then the worker is not made, and the call may be repeated if the error says so.
    ///
    /// # Cancel safety
    /// It may be dropped at any await, and is asked again.
    async fn scan(&self, image: &ScannedImage) -> Result<ScanVerdict>;
}

/// An image that is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScannedImage {
    /// As the worker names it.
    pub reference: ContainerImage,
    /// The engine's id of its contents, `sha256:…`. A worker is made of exactly this.
    pub id: String,
    /// The registries' names of it, `name@sha256:…`.
    pub digests: Vec<String>,
    /// The system and processor that it is for, `linux/amd64`. An id may stand for an image of several.
    pub platform: String,
    /// Its size in bytes.
    pub size: u64,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScanVerdict {
    /// Workers may be made of it.
    Accepted,
    /// They may not.
    Refused {
        /// Why, in words for a person.
        reason: String,
    },
}

impl ScanVerdict {
    /// Refuses an image.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
}

/// The scanner of a provider, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Scans {
    scanner: OnceLock<Arc<dyn ImageScanner>>,
    accepted: Mutex<HashSet<String>>,
}

impl Scans {
    pub(crate) fn set(&self, scanner: Arc<dyn ImageScanner>) -> bool {
        self.scanner.set(scanner).is_ok()
    }
    pub(crate) fn wanted(&self) -> bool {
        self.scanner.get().is_some()
    }

    /// Fails where the image is not to be used.
    pub(crate) async fn judge(&self, reference: &ContainerImage, image: &ImageInspect) -> Result<()> {
        let Some(scanner) = self.scanner.get() else { return Ok(()) };
        let id = image.id.clone().unwrap_or_default();
        let parts = [&image.os, &image.architecture, &image.variant];
        let parts = parts.map(|part| part.as_deref().unwrap_or_default());
        let platform = parts.join("/").trim_end_matches('/').to_owned();
        let key = format!("{id} {platform}");
        if self.accepted.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            return Ok(());
        }
        let scanned = ScannedImage {
            reference: reference.clone(),
            id: id.clone(),
            platform,
            digests: image.repo_digests.clone().unwrap_or_default(),
            size: image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        };
        match scanner.scan(&scanned).await? {
            ScanVerdict::Accepted => {
                let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
                if accepted.len() >= REMEMBERED {
                    accepted.clear();
                }
                accepted.insert(key);
                Ok(())
            }
            ScanVerdict::Refused { reason } => Err(Error::new(
                ErrorKind::PermissionDenied,
                format!("the image scanner refuses it: {reason}"),
            )
            .with_context("image", reference)
            .with_context("id", id)),
        }
    }
}
