use std::sync::Arc;

use bollard::models::{ContainerCreateBody, ContainerCreateResponse, ContainerStateStatusEnum};
use bytes::Bytes;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerConfig, WorkerHandle, WorkerRef,
    credential::resolve,
    model::{ContainerImage, Ownership, SecretReference, SecretTarget},
    provider::{CreateOptions, CreateProgress},
};
use http::Method;
use secrecy::{SecretString, zeroize::Zeroize};
use serde::Serialize;
use tokio::sync::OwnedRwLockReadGuard;

use super::{
    Found, check,
    spec::{self, Parts},
    versions,
};
use crate::{
    DockerOptions, PullPolicy,
    backoff::Backoff,
    client::{self, query},
    error::{EngineError, status, words},
    image::Wanted,
    memory::{Facts, Known, Made},
    names,
    provider::Shared,
    secret::SecretFile,
    security::Hardened,
};

/// Attempts while a container of the same name is just being made or removed, before we give up: some seconds.
const ATTEMPTS: usize = 12;

/// All that describes the one container.
pub(super) struct CreationPlan<'a> {
    pub(super) worker: &'a WorkerRef,
    pub(super) config: &'a WorkerConfig,
    pub(super) ownership: &'a Ownership,
    pub(super) image: &'a ContainerImage,
    pub(super) typed: &'a DockerOptions,
    body: Bytes,
    options: &'a CreateOptions,
    files: &'a [SecretFile],
    made: Arc<Made>,
    pub(super) attempt: &'a str,
}

pub(super) fn image_missing(wanted: Wanted<'_>) -> Error {
    let error = Error::new(ErrorKind::NotFound, "the engine does not have the image")
        .with_context("image", wanted.image)
        .with_help("pull it, or allow that by the option `pull`");
    match wanted.platform {
        Some(platform) => error.with_context("platform", platform),
        None => error,
    }
}

fn another_configuration(container: &str) -> Error {
    Error::new(ErrorKind::Conflict, "this generation exists with another configuration")
        .with_context("container", container)
        .with_help("delete it, or create the next generation")
}

/// What is left of a refused creation is no reason to hide why it was refused.
fn tell_of(left: &Error) {
    tracing::warn!(error = %left, "something may be left of a creation that was refused");
}

/// A description as old engines understand it.
#[derive(Serialize)]
struct Older<'a> {
    #[serde(flatten)]
    description: &'a ContainerCreateBody,
    #[serde(rename = "MacAddress")]
    mac_address: &'a str,
}

impl Shared {
    /// One request where nothing stands in the way: the creation itself. What exists already is found by the conflict
    /// of names, a missing image by the engine's 404.
    pub(crate) async fn create(
        self: &Arc<Self>,
        worker: &WorkerRef,
        config: &WorkerConfig,
        options: &CreateOptions,
    ) -> Result<WorkerHandle> {
        let attempt = format!("{:016x}", fastrand::u64(..));
        let mut typed = config.options::<DockerOptions>()?.unwrap_or_default();
        check::configuration(config, &typed)?;
        if let Some(policy) = &self.settings.security {
            // Before anything is fetched.
            policy.apply(config, &mut typed.clone(), "")?;
        }
        versions::check(&typed, &self.engine)?;
        let mut ownership = Ownership::new(self.installation().clone(), worker.clone());
        ownership.intent.clone_from(&options.intent);
        ownership.fingerprint = Some(config.fingerprint());
        let variables = self.check_secrets(config).await?;
        let secrets = self.secrets.plan(worker, &config.secrets)?;
        let image =
            config.image.as_ref().ok_or_else(|| Error::config("image", "a container needs an image"))?;

        if typed.pull == PullPolicy::Always {
            // What is there is what is asked for, whether its registry answers or not.
            if let Some(found) = self.find(worker).await?
                && let Some(found) = self.adopt(&ownership, found).await?
            {
                self.join_networks(&found.id, &config.networks, &typed, &found.networks()).await?;
                return Ok(WorkerHandle::new(self.info.name.clone(), worker.clone(), &*found.id));
            }
            self.pull_always(Wanted { image, platform: typed.platform.as_deref() }, options).await?;
        }
        let seen = match self.look_at_image(config, &typed, image, options).await {
            Ok(seen) => seen,
            // What is there is what was asked for, whatever has become of its image.
            Err(error) => {
                return match self.find(worker).await {
                    Ok(Some(found)) if found.ownership.fingerprint == ownership.fingerprint => {
                        self.join_networks(&found.id, &config.networks, &typed, &found.networks()).await?;
                        Ok(WorkerHandle::new(self.info.name.clone(), worker.clone(), &*found.id))
                    }
                    _ => Err(error),
                };
            }
        };
        let hardened = match &self.settings.security {
            Some(policy) => {
                let user = seen.as_ref().and_then(|seen| seen.config.as_ref()?.user.as_deref());
                policy.apply(config, &mut typed, user.unwrap_or_default())?
            }
            None => Hardened::default(),
        };
        let shown = secrets.shown();
        // What was looked at is what runs: a name may be another image's in a moment.
        let judged = self.scans.wanted() || self.settings.security.is_some();
        let exactly = seen.as_ref().filter(|_| judged).and_then(|seen| seen.id.as_deref());
        let declared = self.declared_volumes(config, &typed, seen.as_deref());
        let parts = Parts {
            settings: &self.settings,
            options: &typed,
            hardened: &hardened,
            ownership: &ownership,
            files: &shown,
            variables,
            attempt: &attempt,
            networks: self.joined_at_creation(config),
            image: exactly,
            declared: &declared,
            makes_paths: self.engine.speaks(1, 42),
            start_interval: self.engine.speaks(1, 44),
        };
        let mut description = spec::body(config, parts)?;
        // In the description of an endpoint only since API 1.44.
        let mac_address = typed.networking.mac_address.as_deref().filter(|_| !self.engine.speaks(1, 44));
        let body = match mac_address {
            Some(mac_address) => client::body(&Older { description: &description, mac_address }),
            None => client::body(&description),
        };
        description.env.iter_mut().flatten().for_each(Zeroize::zeroize);
        let body = body.map_err(|error| {
            Error::config("options", "the configuration cannot be sent").with_source(error)
        })?;
        let plan = CreationPlan {
            worker,
            config,
            ownership: &ownership,
            image,
            typed: &typed,
            body,
            options,
            files: secrets.files(),
            made: Arc::new(spec::made(config, &self.settings, &typed, &hardened, &secrets, &declared)),
            attempt: &attempt,
        };
        let mut fresh = false;
        let created = async {
            self.prepare_storage(&plan, seen.as_deref()).await?;
            if !plan.files.is_empty() {
                // A deletion whose caller has gone may be under way, and takes the files with it.
                drop(self.memory.of(worker).turn().await);
            }
            // The engine binds only what exists; the contents come with each start.
            fresh = !plan.files.is_empty() && self.secrets.prepare(worker, plan.files).await?;
            Box::pin(self.create_or_adopt(&plan)).await
        };
        let created = created.await;
        match created {
            Ok(id) => Ok(WorkerHandle::new(self.info.name.clone(), worker.clone(), &*id)),
            Err(error) => self.not_created(&plan, error, fresh).await,
        }
    }

    /// Leaves nothing of a creation that was refused, and everything of a worker that is there.
    async fn not_created(&self, plan: &CreationPlan<'_>, error: Error, fresh: bool) -> Result<WorkerHandle> {
        let CreationPlan { worker, config, ownership, attempt, .. } = plan;
        // After an error that may pass it is not known, and the next attempt will see.
        if !error.is_retryable() {
            // An engine may look at the image before it looks at the name.
            match self.find(worker).await {
                // A conflict is about it, or about what it needs.
                Ok(Some(_)) if error.kind() == ErrorKind::Conflict => return Err(error),
                Ok(Some(found)) if found.ownership.fingerprint == ownership.fingerprint => {
                    return Ok(WorkerHandle::new(self.info.name.clone(), (*worker).clone(), &*found.id));
                }
                Ok(Some(found)) => return Err(another_configuration(&found.id).with_source(error)),
                // Files that were there before may be another attempt's, which is under way.
                Ok(None) if !fresh => {}
                Ok(None) => {
                    self.secrets.remove(worker).await.unwrap_or_else(|left| tell_of(&left));
                }
                Err(_) => return Err(error),
            }
        }
        // The engine has answered, so that it makes nothing any more.
        use ErrorKind::{Cancelled, Timeout, Unavailable};
        if !matches!(error.kind(), Cancelled | Timeout | Unavailable) {
            // Those of the configuration, of its secrets and of its image.
            for name in &plan.made.volumes {
                self.remove_new_volume(name, attempt).await.unwrap_or_else(|left| tell_of(&left));
            }
            for network in &config.networks {
                self.remove_new_network(&network.name, attempt).await.unwrap_or_else(|left| tell_of(&left));
            }
        }
        if self.memory.known(worker).is_some_and(|facts| facts.id.is_none()) {
            self.memory.forget(worker);
        }
        Err(error)
    }

    /// The container's id.
    async fn create_or_adopt(self: &Arc<Self>, plan: &CreationPlan<'_>) -> Result<Arc<str>> {
        let CreationPlan { worker, config, ownership, image, typed, options, files, made, attempt, .. } =
            plan;
        let wanted = Wanted { image, platform: typed.platform.as_deref() };
        let name = names::container(self.installation(), worker);
        let (mut pulled, mut waited) = (false, false);
        let mut backoff = Backoff::default();
        for _ in 0..ATTEMPTS {
            let joining = match config.networks.is_empty() {
                true => None,
                false => Some(Arc::new(Arc::clone(&self.joining).read_owned().await)),
            };
            self.ensure_networks(config, typed, ownership, attempt).await?;
            let posted = self.post_in_turn(worker, &name, plan, joining.clone()).await?;
            let error = match posted {
                Ok(id) => {
                    let taken = config.networks.iter().take(self.joined_at_creation(config));
                    let taken: Vec<_> = taken.map(|network| network.name.clone()).collect();
                    let joined = self.join_networks(&id, &config.networks, typed, &taken).await;
                    if let Err(error) = joined {
                        // Half of it is not what was asked for.
                        self.remove(&id).await.map(drop).unwrap_or_else(|left| tell_of(&left));
                        self.memory.forget(worker);
                        return Err(error);
                    }
                    return Ok(id);
                }
                Err(error) => error,
            };
            drop(joining);
            match status(&error) {
                Some(404) if typed.pull == PullPolicy::Never => {
                    return Err(image_missing(wanted));
                }
                Some(404) if !pulled => {
                    let turn = self.pull_turn(wanted, options).await?;
                    // Whoever had the turn before has pulled it, most probably.
                    if turn.waited() && !waited {
                        waited = true;
                        options.report(CreateProgress::Pulled { image: image.to_string() });
                    } else {
                        let done = self.pull(wanted, options).await;
                        turn.done(&done);
                        done?;
                        pulled = true;
                    }
                    if !files.is_empty() {
                        // It may have taken long.
                        self.secrets.prepare(worker, files).await?;
                    }
                }
                Some(404) if let Some(platform) = wanted.platform => {
                    return Err(wanted.not_for(platform, &words(&error)));
                }
                Some(409) => {
                    if let Some(found) = self.settle_conflict(worker, ownership, &name).await? {
                        // An earlier attempt may have got no further than the container.
                        self.join_networks(&found.id, &config.networks, typed, &found.networks()).await?;
                        self.memory.of(worker).found(&found.id, Arc::clone(made));
                        return Ok(found.id);
                    }
                    // The engine reserves a name before it shows the container.
                    tokio::time::sleep(backoff.next()).await;
                }
                Some(400) => return Err(self.refused(config, error)),
                _ => return Err(self.engine.error(error)),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "a container of that name comes and goes")
            .with_context("name", name))
    }

    /// Goes on when its caller is dropped, so that a deletion that follows finds what it makes.
    async fn post_in_turn(
        self: &Arc<Self>,
        worker: &WorkerRef,
        name: &str,
        plan: &CreationPlan<'_>,
        joining: Option<Arc<OwnedRwLockReadGuard<()>>>,
    ) -> Result<Result<Arc<str>, EngineError>> {
        let remembered = self.memory.of(worker);
        let turn = remembered.turn().await;
        let (shared, body) = (Arc::clone(self), plan.body.clone());
        let mut pairs = vec![("name", name)];
        pairs.extend(plan.typed.platform.as_deref().map(|platform| ("platform", platform)));
        let query = query(&pairs);
        let made = Some(Arc::clone(&plan.made));
        let request = tokio::spawn(async move {
            let _held = (turn, joining);
            let posted = shared.post(&query, body).await;
            if let Ok(id) = &posted {
                let id = Some(Arc::clone(id));
                // In the turn: a start that comes next knows better.
                remembered.know(Facts { id, state: Known::NeverRun, made, ..Facts::default() });
            }
            Ok(posted)
        });
        super::answered(request).await
    }

    /// Not by bollard, which logs the body, secret variables included.
    async fn post(&self, query: &str, body: Bytes) -> Result<Arc<str>, EngineError> {
        let answer = self.engine.call(Method::POST, "/containers/create", query, Some(body)).await?;
        let created: ContainerCreateResponse = answer.value;
        for warning in &created.warnings {
            tracing::warn!(container = created.id, warning, "the engine warns about a creation");
        }
        Ok(created.id.into())
    }

    /// Somebody has the name. The same worker with the same configuration is the one that was asked for; `None` means
    /// that the name has become free.
    async fn settle_conflict(
        &self,
        worker: &WorkerRef,
        ownership: &Ownership,
        name: &str,
    ) -> Result<Option<Found>> {
        let Some(inspected) = self.inspect(name).await? else { return Ok(None) };
        let id = inspected.id.clone().unwrap_or_default();
        let Some(found) = self.ours(worker, inspected) else {
            return Err(Error::new(
                ErrorKind::Conflict,
                "a container of the worker's name exists that is not this installation's; it is left alone",
            )
            .with_context("container", id)
            .with_context("name", name));
        };
        self.adopt(ownership, found).await
    }

    /// The worker's container, if it is as it was asked for. `None` means that it was just being removed.
    async fn adopt(&self, ownership: &Ownership, found: Found) -> Result<Option<Found>> {
        if found.state().status == Some(ContainerStateStatusEnum::REMOVING) {
            self.wait_until_removed(&found.id).await?;
            return Ok(None);
        }
        if found.ownership.fingerprint != ownership.fingerprint {
            return Err(another_configuration(&found.id));
        }
        Ok(Some(found))
    }

    /// The engine has read the configuration and does not like it. Nothing was made.
    fn refused(&self, config: &WorkerConfig, error: EngineError) -> Error {
        if self.engine.endpoint.is_local()
            && let Err(missing) = check::bind_sources(config)
        {
            return missing;
        }
        Error::new(ErrorKind::Config, format!("the engine refuses the configuration: {}", words(&error)))
            .with_context("status", 400)
    }

    /// Fails before anything exists if a secret cannot be had; returns those that go into the environment.
    async fn check_secrets(&self, config: &WorkerConfig) -> Result<Vec<(String, SecretString)>> {
        let mut variables = Vec::new();
        for (n, secret) in config.secrets.iter().enumerate() {
            let field = format!("secrets[{n}].target");
            match &secret.target {
                SecretTarget::Variable { name } => {
                    variables.push((name.clone(), self.resolve_text(secret, &field).await?));
                }
                _ => drop(resolve(&*self.context.credentials, secret).await?),
            }
        }
        Ok(variables)
    }

    async fn resolve_text(&self, secret: &SecretReference, field: &str) -> Result<SecretString> {
        let found = resolve(&*self.context.credentials, secret).await?;
        let text = found.material.expose_str().filter(|text| !text.contains('\0'));
        text.map(SecretString::from)
            .ok_or_else(|| Error::config(field.to_owned(), "the secret is no text, as a variable must be"))
    }
}
