//! What has to be there before a container is made: its image, looked at where that is needed, and its volumes.

use bollard::models::ImageInspect;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerConfig,
    model::{ContainerImage, MountSource},
    provider::CreateOptions,
};
use sha2::{Digest as _, Sha256};

use super::create::CreationPlan;
use crate::{
    DockerOptions, PullPolicy,
    error::status,
    helper::{Entry, Filling},
    provider::Shared,
};

impl Shared {
    /// How many of its networks the engine takes at the creation. Old ones take one.
    pub(super) fn joined_at_creation(&self, config: &WorkerConfig) -> usize {
        if self.engine.speaks(1, 44) { config.networks.len() } else { config.networks.len().min(1) }
    }

    /// Looks at the image where something depends on it, fetches it if it is missing, and has it judged.
    pub(super) async fn look_at_image(
        &self,
        config: &WorkerConfig,
        typed: &DockerOptions,
        image: &ContainerImage,
        options: &CreateOptions,
    ) -> Result<Option<ImageInspect>> {
        let policy = self.settings.security.as_ref();
        let user_matters = policy.is_some_and(|policy| !policy.allow_root) && typed.user.is_none();
        let helped = config.mounts.iter().any(|mount| match &mount.source {
            MountSource::Volume { name } => {
                typed.storage.volumes.get(name).is_some_and(|volume| volume.owner.is_some())
            }
            _ => false,
        });
        if !user_matters && !helped && !typed.storage.name_image_volumes && !self.scans.wanted() {
            return Ok(None);
        }
        let seen = match self.inspect_image(image).await? {
            Some(seen) => seen,
            None if typed.pull == PullPolicy::Never => return Err(super::create::image_missing(image)),
            None => {
                let turn = self.pull_turn(image, options).await?;
                if !turn.waited() || self.inspect_image(image).await?.is_none() {
                    let done = self.pull(image, options).await;
                    turn.done(&done);
                    done?;
                }
                self.inspect_image(image).await?.ok_or_else(|| {
                    Error::new(ErrorKind::Conflict, "the image was removed while a worker was made of it")
                        .with_context("image", image)
                })?
            }
        };
        self.scans.judge(image, &seen).await?;
        Ok(Some(seen))
    }

    /// Volumes with names of the worker's for those that the image declares, with their targets.
    pub(super) fn declared_volumes(
        &self,
        config: &WorkerConfig,
        typed: &DockerOptions,
        image: Option<&ImageInspect>,
    ) -> Vec<(String, String)> {
        if !typed.storage.name_image_volumes {
            return Vec::new();
        }
        let declared = image.and_then(|image| image.config.as_ref()?.volumes.clone()).unwrap_or_default();
        let mounted = |target: &String| {
            config
                .mounts
                .iter()
                .any(|mount| mount.target.trim_end_matches('/') == target.trim_end_matches('/'))
        };
        let mut all: Vec<_> = declared.into_iter().filter(|target| !mounted(target)).collect();
        all.sort();
        let name = |target: &String| {
            let digest: String =
                Sha256::digest(target).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            format!("hodei-image.{}.{}.{digest}", self.installation(), config.worker_id)
        };
        all.into_iter().map(|target| (name(&target), target)).collect()
    }

    pub(crate) async fn inspect_image(&self, image: &ContainerImage) -> Result<Option<ImageInspect>> {
        match self.engine.get::<ImageInspect>(&format!("/images/{image}/json"), "").await {
            Ok(seen) => Ok(Some(seen)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.engine.error(error)),
        }
    }

    /// Sees to it that volumes exist which must, and that those of ours belong to whom they should.
    pub(super) async fn prepare_storage(
        &self,
        plan: &CreationPlan<'_>,
        image: Option<&ImageInspect>,
    ) -> Result<()> {
        let mut owned = Vec::new();
        for (n, mount) in plan.config.mounts.iter().enumerate() {
            let MountSource::Volume { name } = &mount.source else { continue };
            let Some(definition) = plan.typed.storage.volumes.get(name) else { continue };
            if definition.external {
                if !self.has_volume(name).await? {
                    let field = format!("mounts[{n}].source.volume.name");
                    return Err(Error::config(field, format!("there is no volume `{name}`"))
                        .with_help("it is said to exist: make it, or leave out `external`"));
                }
            } else if let Some(owner) = definition.owner
                && self.is_to_be_given(name, definition, plan.ownership, plan.attempt).await?
            {
                let entries = vec![Entry::top(owner.user, owner.group, owner.mode)];
                owned.push(Filling { volume: name.clone(), entries });
            }
        }
        match image.and_then(|image| image.id.as_deref()) {
            Some(image) if !owned.is_empty() => self.fill(plan.worker, image, &owned).await,
            _ => Ok(()),
        }
    }
}
