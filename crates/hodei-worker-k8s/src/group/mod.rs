//! Groups that the cluster keeps at their size: a Deployment, whose pods are the members.

mod autoscaler;
mod deployment;
mod events;
mod members;

use std::sync::Arc;

use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerConfig, WorkerId, WorkerRef,
    capability::needed_by,
    credential::resolve,
    model::{GroupRef, Ownership, labels},
    provider::ScaleOptions,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::response::reason,
};
use serde_json::json;

pub use autoscaler::AutoscalerStatus;
pub(crate) use autoscaler::GROUP as AUTOSCALING;
pub use events::ScalingEvent;

use crate::{KubernetesOptions, names, provider::Shared, secret::owner};

/// Attempts against a cluster that changes the group's status while it is resized.
const ATTEMPTS: usize = 10;

/// What became of an attempt.
enum Scaled {
    Now(Box<Deployment>),
    /// There is none, and none was wanted.
    Nothing,
    /// Somebody else was faster.
    Changed,
}

impl Shared {
    /// The group's Deployment, if there is one and it is ours.
    async fn find_group(&self, group: &GroupRef) -> Result<Option<Deployment>> {
        let name = names::group(&self.view.installation, group);
        match self.cluster.call(self.cluster.api::<Deployment>().get(&name)).await {
            Ok(found) if self.has_made(&found) => Ok(Some(found)),
            Ok(_) => {
                let message = "a Deployment of the group's name exists that is not this installation's; it is left alone";
                Err(Error::new(ErrorKind::Conflict, message).with_context("deployment", name))
            }
            Err(failed) if failed.is_not_found() => Ok(None),
            Err(failed) => Err(self.cluster.error(failed)),
        }
    }

    fn has_made(&self, found: &Deployment) -> bool {
        let installation = found.metadata.labels.as_ref().and_then(|all| all.get(labels::INSTALLATION));
        installation.is_some_and(|theirs| theirs == self.view.installation.as_str())
    }

    /// Sets its size, and waits until the cluster has made that of its members.
    pub(crate) async fn scale(
        self: &Arc<Self>,
        group: &GroupRef,
        target: usize,
        options: &ScaleOptions,
    ) -> Result<Vec<WorkerId>> {
        let size = i32::try_from(target).map_err(|_| {
            Error::config("target", format!("a group of {target} workers is more than a cluster can count"))
        })?;
        for _ in 0..ATTEMPTS {
            match Box::pin(self.try_scale(group, size, options)).await? {
                Scaled::Changed => {}
                // Members of one that was may end yet.
                Scaled::Nothing => return self.until_there_is_none(group).await,
                Scaled::Now(made) => return self.until_group_has(group, target, &made).await,
            }
        }
        Err(Error::new(ErrorKind::Conflict, format!("others resize the group `{group}` all the time")))
    }

    async fn try_scale(&self, group: &GroupRef, size: i32, options: &ScaleOptions) -> Result<Scaled> {
        let found = self.find_group(group).await?;
        let has = found.as_ref().map_or(0, size_of);
        // One that has the size already was given it by an attempt of this call that was cut off, for all that is known.
        if let Some(expected) =
            options.expected.filter(|expected| has != size && i32::try_from(*expected) != Ok(has))
        {
            let message = format!("the group has another size than expected: {has} in place of {expected}");
            return Err(Error::new(ErrorKind::Conflict, message).with_context("size", has));
        }
        let found = match (found, &options.template) {
            (None, _) if size == 0 => return Ok(Scaled::Nothing),
            (None, None) => {
                return Err(Error::new(ErrorKind::NotFound, format!("there is no group `{group}`"))
                    .with_help("give a template, of which it is made"));
            }
            (None, Some(template)) => match self.make_group(group, template).await? {
                Some(made) => made,
                None => return Ok(Scaled::Changed),
            },
            (Some(found), template) => {
                self.is_scaled_by_hand(group).await?;
                if deployment::is_pending(&found) && size > 0 {
                    let Some(template) = template else {
                        let message = "its making was cut off before all was there that stands around it";
                        return Err(Error::new(ErrorKind::Conflict, message)
                            .with_help("give the template once more, or set it to 0"));
                    };
                    if !deployment::is_of(&found, template) {
                        let message = "its making was cut off, and it is of another template";
                        return Err(Error::new(ErrorKind::Conflict, message)
                            .with_help("set it to 0 first, or give the template that it is of"));
                    }
                    self.give_group_objects(group, template, &found).await?;
                }
                found
            }
        };
        let is_done = match size {
            0 => self.remove_group(&found).await,
            _ => self.resize(&found, size).await,
        };
        Ok(if is_done? { Scaled::Now(Box::new(found)) } else { Scaled::Changed })
    }

    /// `None`: somebody else has made it meanwhile.
    async fn make_group(&self, group: &GroupRef, template: &WorkerConfig) -> Result<Option<Deployment>> {
        self.capabilities.require(needed_by(template))?;
        let typed = template.options::<KubernetesOptions>()?.unwrap_or_default();
        deployment::check(&self.view.installation, group, template, &typed)?;
        for secret in &template.secrets {
            // Fails before anything exists.
            drop(resolve(&*self.context.credentials, secret).await?);
        }
        let object =
            deployment::deployment(&self.view.installation, group, template, &typed, &self.settings)?;
        let parameters =
            PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
        let made = self.cluster.call(self.cluster.api::<Deployment>().create(&parameters, &object)).await;
        let made = match made {
            Ok(made) => made,
            Err(failed) if failed.status().is_some_and(|status| status.reason == reason::ALREADY_EXISTS) => {
                return Ok(None);
            }
            Err(failed) => return Err(self.not_created(failed, "apps", "deployments").await),
        };
        match self.give_group_objects(group, template, &made).await {
            Ok(()) => Ok(Some(made)),
            Err(error) => {
                // What was made is found again by the next attempt, unless that would fail as well.
                if !error.is_retryable() {
                    self.remove_unfinished(group, &made).await.ok();
                }
                Err(error)
            }
        }
    }

    /// What stands around it, before it has members.
    async fn give_group_objects(
        &self,
        group: &GroupRef,
        template: &WorkerConfig,
        made: &Deployment,
    ) -> Result<()> {
        let typed = template.options::<KubernetesOptions>()?.unwrap_or_default();
        let owner = owner(made);
        let as_worker = WorkerRef::first(group.as_str().parse::<WorkerId>()?);
        let ownership = Ownership::new(self.view.installation.clone(), as_worker);
        let name = made.metadata.name.as_deref().unwrap_or_default();
        if !template.secrets.is_empty() {
            self.write_secrets(made, &template.secrets).await?;
        }
        let selected = deployment::selected(&self.view.installation, group);
        self.give_traffic_rules(name, selected.clone(), &owner, &typed, &ownership).await?;
        self.give_disruption_budget(name, selected, &owner, &typed, &ownership).await?;
        self.give_config_maps(&owner, &typed, &ownership).await?;
        self.give_services(&owner, template, &typed, &ownership).await
    }

    /// Whether it was done: not where it has changed since it was looked at.
    async fn resize(&self, found: &Deployment, size: i32) -> Result<bool> {
        let patch = json!({
            "metadata": {
                "uid": found.metadata.uid,
                "resourceVersion": found.metadata.resource_version,
                "annotations": {names::PENDING: null},
            },
            "spec": {"replicas": size},
        });
        let parameters =
            PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
        let name = found.metadata.name.as_deref().unwrap_or_default();
        let patched = self.cluster.api::<Deployment>();
        let patched = self.cluster.call(patched.patch(name, &parameters, &Patch::Merge(patch))).await;
        match patched {
            Ok(_) => Ok(true),
            Err(failed) if failed.status().is_some_and(|status| matches!(status.code, 404 | 409)) => {
                Ok(false)
            }
            Err(failed) => Err(self.cluster.error(failed).with_context("deployment", name)),
        }
    }

    /// Removes what was just made, unless another host has gone on with it.
    async fn remove_unfinished(&self, group: &GroupRef, made: &Deployment) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let found = self.find_group(group).await?;
            let is_unfinished = |found: &Deployment| {
                found.metadata.uid == made.metadata.uid
                    && deployment::is_pending(found)
                    && size_of(found) == 0
            };
            match found.filter(is_unfinished) {
                Some(found) if !self.remove_group(&found).await? => {}
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Whether it was done: not where it has changed since it was looked at.
    async fn remove_group(&self, found: &Deployment) -> Result<bool> {
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: found.metadata.uid.clone(),
                resource_version: found.metadata.resource_version.clone(),
            }),
            ..DeleteParams::default()
        };
        let name = found.metadata.name.as_deref().unwrap_or_default();
        match self.cluster.call(self.cluster.api::<Deployment>().delete(name, &parameters)).await {
            Ok(_) => Ok(true),
            Err(failed) if failed.is_not_found() => Ok(true),
            Err(failed) if failed.status().is_some_and(|status| status.code == 409) => Ok(false),
            Err(failed) => Err(self.cluster.error(failed).with_context("deployment", name)),
        }
    }
}

fn size_of(group: &Deployment) -> i32 {
    group.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}
