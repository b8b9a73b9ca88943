use std::{collections::HashMap, sync::Arc, time::Duration};

use bollard::query_parameters::{
    EventsOptionsBuilder, KillContainerOptionsBuilder, StopContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, Retry, Timestamp, WorkerRef, model::RunId, provider::StopOptions,
};
use tokio::time::Instant;

use super::Found;
use crate::{
    error::{self, EngineError},
    memory::{Asked, Facts, Known, Remembered},
    options::signal_number,
    provider::Shared,
    status,
};

/// The engine's list of past events has an end that it knows; this is for one that does not.
const HISTORY: Duration = Duration::from_secs(2);

/// What is known of a worker that is to stop.
struct Stopping {
    id: Arc<str>,
    grace: Duration,
    /// Whether the request has been made already, so that all that is left is to wait.
    asked: bool,
    native_restart: bool,
}

impl Shared {
    /// One request for a worker that we started: the engine sends the signal that the image wants and answers when the
    /// worker has ended. A second one kills it at the deadline.
    pub(crate) async fn stop(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        let Some(stopping) = self.look_before_stop(worker, options).await? else { return Ok(()) };
        let remembered = self.memory.of(worker);
        if stopping.grace.is_zero() {
            self.kill(&stopping).await?;
            return self.wait_until_stopped(&stopping.id).await;
        }
        let deadline = Instant::now() + stopping.grace;
        // While our own request is on its way, others only wait.
        let in_flight = (!stopping.asked).then(|| remembered.stop_in_flight()).flatten();
        let end = async {
            match &in_flight {
                Some(_) => self.ask(&stopping.id).await,
                None => self.wait_until_stopped(&stopping.id).await,
            }
        };
        tokio::pin!(end);
        tokio::select! {
            ended = &mut end => return ended,
            () = tokio::time::sleep_until(deadline) => {}
        }
        self.kill(&stopping).await?;
        end.await
    }

    /// `None` if nothing of it runs.
    async fn look_before_stop(&self, worker: &WorkerRef, options: &StopOptions) -> Result<Option<Stopping>> {
        let facts = self.memory.known(worker).unwrap_or_default();
        let grace =
            |own: Option<Duration>| options.grace.or(own).unwrap_or(self.settings.default_stop_grace.get());
        if let Facts { id: Some(id), state: Known::StartedHere, made: Some(made), asked: None } = facts
            && !made.native_restart
        {
            self.memory.of(worker).edit(|facts| facts.asked = Some(Asked::Maybe));
            let grace = grace(made.stop_grace);
            return Ok(Some(Stopping { id, grace, asked: false, native_restart: false }));
        }
        let Some(found) = self.find(worker).await? else { return Ok(None) };
        let state = found.state();
        let restarting = state.restarting == Some(true);
        if !found.is_alive() && !restarting {
            return Ok(None);
        }
        let made = found.made();
        let run = status::run_id(&state);
        let remembered = self.memory.of(worker);
        let asked = match (&run, &self.memory.known(worker).and_then(|facts| facts.asked)) {
            (Some(run), Some(Asked::Run(asked))) if asked == run => true,
            (Some(run), _) if !restarting => {
                remembered.is_stop_in_flight() || self.was_asked(&found, run).await?
            }
            _ => false,
        };
        if let Some(run) = run.filter(|_| asked) {
            remembered.edit(|facts| facts.asked = Some(Asked::Run(run)));
        } else {
            remembered.edit(|facts| facts.asked = Some(Asked::Maybe));
        }
        let (id, native_restart) = (found.id, made.native_restart);
        Ok(Some(Stopping { id, grace: grace(made.stop_grace), asked, native_restart }))
    }

    /// Whether anybody has sent this run its stop signal: the engine remembers its last 256 events.
    async fn was_asked(&self, found: &Found, run: &RunId) -> Result<bool> {
        let wanted = found.inspected.config.as_ref().and_then(|config| config.stop_signal.as_deref());
        let wanted = wanted.and_then(signal_number).unwrap_or(15);
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("event", vec!["kill".to_owned()]),
            ("container", vec![found.id.to_string()]),
        ]);
        let until = self.context.clock.now();
        let since: Timestamp = run.as_str().parse().unwrap_or(Timestamp::UNIX_EPOCH);
        let options = EventsOptionsBuilder::default()
            .since(&epoch(since))
            .until(&epoch(until.max(since)))
            .filters(&filters)
            .build();
        let docker = self.engine.docker();
        let mut history = Box::pin(docker.events(Some(options)));
        let reading = async {
            while let Some(event) = history.next().await {
                let event = event.map_err(|error| self.engine.error(error))?;
                let signal = event.actor.and_then(|actor| actor.attributes?.get("signal").cloned());
                if signal.as_deref().and_then(signal_number) == Some(wanted) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        // An engine whose clock is behind ours keeps the answer open until its own time has come.
        tokio::time::timeout(HISTORY, reading).await.unwrap_or(Ok(false))
    }

    /// Asks it to stop and waits for its end, however long.
    async fn ask(&self, id: &str) -> Result<()> {
        let options = StopContainerOptionsBuilder::default().t(-1).build();
        self.stopped(self.engine.patient().stop_container(id, Some(options)).await)
    }

    async fn kill(&self, stopping: &Stopping) -> Result<()> {
        if stopping.native_restart {
            // A container that waits for its restart has no process to kill, but a restart to call off.
            let options = StopContainerOptionsBuilder::default().t(0).build();
            return self.stopped(self.engine.patient().stop_container(&stopping.id, Some(options)).await);
        }
        let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        self.stopped(self.engine.docker().kill_container(&stopping.id, Some(options)).await)
    }

    fn stopped(&self, answer: Result<(), EngineError>) -> Result<()> {
        match answer {
            // 304 comes as success; 404: it is gone, 409: it does not run.
            Err(error) if matches!(error::status(&error), Some(404 | 409)) => Ok(()),
            other => other.map_err(|error| self.engine.error(error)),
        }
    }

    pub(crate) async fn wait_until_stopped(&self, id: &str) -> Result<()> {
        self.wait(id, "not-running").await
    }

    pub(crate) async fn wait_until_removed(&self, id: &str) -> Result<()> {
        self.wait(id, "removed").await
    }

    async fn wait(&self, id: &str, condition: &str) -> Result<()> {
        let options = WaitContainerOptionsBuilder::default().condition(condition).build();
        let docker = self.engine.patient();
        let mut answer = Box::pin(docker.wait_container(id, Some(options)));
        match answer.next().await {
            // Every code but 0 is an error to bollard, but an end to us.
            Some(Ok(_) | Err(EngineError::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) if error::status(&error) == Some(404) => Ok(()),
            Some(Err(error)) => Err(self.engine.error(error)),
            None => Err(Error::new(ErrorKind::Unavailable, "the engine left before the worker's end")
                .with_retry(Retry::IfIdempotent)),
        }
    }
}

/// A time as the engine's queries take it.
fn epoch(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

impl Remembered {
    /// Marks that a request to stop is on its way, unless one is; until the guard is dropped.
    fn stop_in_flight(self: &Arc<Self>) -> Option<StopInFlight> {
        self.begin_stop().then(|| StopInFlight(Arc::clone(self)))
    }
}

struct StopInFlight(Arc<Remembered>);

impl Drop for StopInFlight {
    fn drop(&mut self) {
        self.0.end_stop();
    }
}
