use std::sync::Arc;

use bollard::query_parameters::StartContainerOptions;
use hodei_worker_core::{Error, ErrorKind, Result, WorkerPhase, WorkerRef, provider::StartOptions};

use super::answered;
use crate::{
    DockerOptions,
    error::{self, EngineError, words},
    memory::{Facts, Known, Made},
    provider::Shared,
    secret::{Plan, remote},
    status,
};

impl Shared {
    /// A look at its last run, and the start. The look is spared while an open watch on a Unix socket shows that nobody
    /// has started what we created.
    ///
    /// The engine starts whatever does not run and calls that success, so that the order of look and start is kept by a
    /// lock here. Two hosts that start one worker at once are kept apart by the owner's lease, not by the engine.
    pub(crate) async fn start(self: &Arc<Self>, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        let new = self.seen_new(worker, options);
        let sure = new.is_none();
        match self.start_container(worker, options, new).await {
            // Another one may stand in its place, of which the watch has not told yet.
            Err(error) if !sure && error.kind() == ErrorKind::NotFound => {
                self.start_container(worker, options, None).await
            }
            other => other,
        }
    }

    async fn start_container(
        self: &Arc<Self>,
        worker: &WorkerRef,
        options: &StartOptions,
        new: Option<Arc<str>>,
    ) -> Result<()> {
        let remembered = self.memory.of(worker);
        let turn = remembered.turn().await;
        let looked = match new.filter(|id| self.seen_new(worker, options).as_ref() == Some(id)) {
            Some(id) => Some(id),
            None => self.look_before_start(worker, options).await?,
        };
        let Some(id) = looked else { return Ok(()) };
        let heard = self.hear_stops().await;
        let (shared, worker) = (Arc::clone(self), worker.clone());
        // Goes on when this call is dropped: a second start that came before the engine has dealt with the first would
        // run a short job twice.
        let request = tokio::spawn(async move {
            let _turn = turn;
            remembered.edit(|facts| {
                facts.state = Known::Nothing;
                facts.asked = None;
                facts.heard = heard;
            });
            let mut started =
                shared.engine.patient().start_container(&id, None::<StartContainerOptions>).await;
            // A name that several networks have.
            if started.as_ref().is_err_and(|error| error::status(error) == Some(400))
                && shared.make_networks_unique(&worker).await?
            {
                started = shared.engine.patient().start_container(&id, None::<StartContainerOptions>).await;
            }
            match started {
                Ok(()) => {
                    remembered.edit(|facts| facts.state = Known::StartedHere);
                    Ok(())
                }
                Err(error) => Err(shared.not_started(&worker, &id, error).await),
            }
        });
        answered(request).await
    }

    /// The container, if we made it and a watch shows that it has never run. Over TCP a watch can be blind without a
    /// sign, so that it shows nothing there.
    fn seen_new(&self, worker: &WorkerRef, options: &StartOptions) -> Option<Arc<str>> {
        if !self.engine.endpoint.is_local() {
            return None;
        }
        let Facts { id: Some(id), state: Known::NeverRun, made: Some(made), .. } =
            self.memory.known(worker)?
        else {
            return None;
        };
        let seen = self.hub.current(worker)?;
        let new = seen.phase == WorkerPhase::Created && seen.run.is_none() && seen.native_id == *id;
        (new && options.after.is_none() && made.secrets.is_empty()).then_some(id)
    }

    /// The container to start, or `None` if that run has begun already.
    async fn look_before_start(
        &self,
        worker: &WorkerRef,
        options: &StartOptions,
    ) -> Result<Option<Arc<str>>> {
        let found = self.find_or_fail(worker).await?;
        let state = found.state();
        let run = status::run_id(&state);
        if run != options.after {
            return match run {
                Some(_) => Ok(None),
                None => {
                    Err(Error::new(ErrorKind::Conflict, "it has never run, so no run can follow that one"))
                }
            };
        }
        if found.is_alive() {
            return Err(Error::new(ErrorKind::Conflict, "the run that this start is to follow is not over")
                .with_help("stop it first"));
        }
        let (wanted, joined) = (found.wanted_networks(), found.networks());
        if wanted.iter().any(|network| !joined.contains(&network.name)) {
            // Its creation was cut off.
            self.join_networks(&found.id, &wanted, &DockerOptions::default(), &joined).await?;
        }
        let made = found.made();
        if !made.secrets.is_empty() {
            let image = found.inspected.image.as_deref().unwrap_or_default();
            self.write_secrets(worker, &made, image).await?;
        }
        Ok(Some(found.id))
    }

    /// The secrets as they are now, for the run that begins.
    async fn write_secrets(&self, worker: &WorkerRef, made: &Made, image: &str) -> Result<()> {
        let credentials = &*self.context.credentials;
        match self.secrets.plan(worker, &made.secrets)? {
            Plan::Files(files) => self.secrets.write(worker, &files, made.user.as_deref(), credentials).await,
            Plan::Volumes(volumes) => {
                let filling = remote::filling(&volumes, made.user.as_deref(), credentials).await?;
                self.fill(worker, image, &filling).await
            }
        }
    }

    /// Why the engine did not start it: gone, or the engine's own record of the attempt, by its code.
    async fn not_started(&self, worker: &WorkerRef, id: &str, error: EngineError) -> Error {
        if error::status(&error).is_none() {
            return self.engine.error(error);
        }
        let inspected = match self.inspect(id).await {
            Ok(Some(inspected)) => inspected,
            Ok(None) => {
                self.memory.forget(worker);
                return Error::worker_not_found(worker);
            }
            Err(unreachable) => return unreachable,
        };
        // The engine sends no event of a start that fails before there is a process.
        self.look_again(id);
        if error::status(&error) == Some(404) {
            // The container is there, so it is something that it needs: a network that somebody has removed.
            self.networks_seen.forget();
            let message = format!("something that the worker needs is gone: {}", words(&error));
            return Error::new(ErrorKind::Dependency, message)
                .with_context("container", id)
                .with_help("create the worker's next generation: that makes what is missing");
        }
        let state = inspected.state.clone().unwrap_or_default();
        if !status::start_failed(&state) {
            return self.engine.error(error);
        }
        let command = inspected.path.unwrap_or_default();
        match state.exit_code {
            Some(code @ (126 | 127)) => {
                let why = if code == 127 { "does not exist" } else { "cannot be executed" };
                Error::config("command", format!("the command `{command}` {why} in the container"))
                    .with_context("engine", words(&error))
            }
            // A port that is taken, a device that is busy: the same start may work later. The run did not begin.
            _ => self.engine.error(error),
        }
    }
}
