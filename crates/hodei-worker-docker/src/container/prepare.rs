//! What has to be there before a container is made: its image, looked at where that is needed, and its volumes.

use std::sync::Arc;

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
    helper::{Entry, Filling},
    image::Wanted,
    provider::Shared,
    volume::Making,
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
    ) -> Result<Option<Arc<ImageInspect>>> {
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
        let wanted = Wanted { image, platform: typed.platform.as_deref() };
        // An engine of these versions may have it and show the one for its own platform alone. Where nothing depends on what
        // it is, the engine decides.
        let unseen = wanted.platform.is_some() && !self.engine.speaks(1, 49);
        let left_to_the_engine = unseen && policy.is_none() && !helped && !self.scans.wanted();
        let seen = match self.inspect_image(wanted).await? {
            Some(seen) => seen,
            None if typed.pull == PullPolicy::Never && left_to_the_engine => return Ok(None),
            None if typed.pull == PullPolicy::Never => return Err(super::create::image_missing(wanted)),
            None => {
                let turn = self.pull_turn(wanted, options).await?;
                if !turn.waited() || self.inspect_image(wanted).await?.is_none() {
                    let done = self.pull(wanted, options).await;
                    turn.done(&done);
                    done?;
                }
                let seen = self.inspect_image(wanted).await?;
                if seen.is_none() && left_to_the_engine {
                    return Ok(None);
                }
                seen.ok_or_else(|| match wanted.platform {
                    Some(platform) => wanted.not_for(platform, "what was fetched is for another one"),
                    None => {
                        Error::new(ErrorKind::Conflict, "the image was removed while a worker was made of it")
                            .with_context("image", image)
                    }
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

    /// Sees to it that volumes exist which must, and that those of ours belong to whom they should.
    pub(super) async fn prepare_storage(
        &self,
        plan: &CreationPlan<'_>,
        image: Option<&ImageInspect>,
    ) -> Result<()> {
        let image = image.and_then(|image| image.id.as_deref());
        // One at a time: who finds a volume that another is about to give to its owner would give it once more.
        let mut giving = None;
        let (mut owned, mut makings) = (Vec::new(), Vec::new());
        for (n, mount) in plan.config.mounts.iter().enumerate() {
            let MountSource::Volume { name } = &mount.source else { continue };
            let Some(definition) = plan.typed.storage.volumes.get(name) else { continue };
            if definition.external {
                if self.volume(name).await?.is_none() {
                    let field = format!("mounts[{n}].source.volume.name");
                    return Err(Error::config(field, format!("there is no volume `{name}`"))
                        .with_help("it is said to exist: make it, or leave out `external`"));
                }
                continue;
            }
            self.check_volume(n, name, definition).await?;
            let (Some(owner), Some(image)) = (definition.owner, image) else { continue };
            if giving.is_none() {
                giving = Some(self.giving.lock().await);
            }
            let making = Making { definition, owner, ownership: plan.ownership, attempt: plan.attempt };
            if let Some(given) = self.to_be_given(name, making, image).await? {
                let owner = given.owner;
                let entries = vec![Entry::top(owner.user, owner.group, owner.mode)];
                owned.push(Filling { volume: name.clone(), entries });
                makings.push(given.making);
            }
        }
        let Some(image) = image.filter(|_| !owned.is_empty()) else { return Ok(()) };
        self.fill(plan.worker, image, &owned).await?;
        makings.into_iter().for_each(|making| self.given.note(making));
        drop(giving);
        Ok(())
    }
}
