use std::{collections::HashMap, sync::Arc, time::Duration};

use bollard::query_parameters::{
    EventsOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures::StreamExt as _;
use hodei_worker_core::{
    Error, ErrorKind, Result, Retry, Timestamp, WorkerRef, model::RunId, provider::StopOptions,
};
use http::Method;
use tokio::time::Instant;

use super::{Found, answered};
use crate::{
    error::{self, EngineError},
    memory::{Asked, Facts, Known, Remembered},
    options::signal_number,
    provider::Shared,
    status,
};

/// The engine's list of past events has an end that it knows; this is for one that does not.
const HISTORY: Duration = Duration::from_secs(10);

/// The engine kills at the deadline by itself; this much later, and the time for an answer, we do.
const MARGIN: Duration = Duration::from_secs(5);
/// Longer than anybody waits, and a time that clocks can hold.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// How often a container may be gone and another one stand in its place within one call.
const MOST_SUCCESSORS: usize = 3;

/// What is known of a worker that is to stop.
struct Stopping {
    id: Arc<str>,
    grace: Duration,
    native_restart: bool,
    /// The container as it was looked at; `None` if what is remembered is enough.
    found: Option<Found>,
}

/// What came of a request about a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Stopped,
    /// There is no such container: another one may stand in its place.
    Gone,
}

impl Shared {
    /// One request for a worker that we started: the engine sends the signal that the image wants, kills when the grace
    /// is over, and answers when the worker has ended. It knows whole seconds only; with another grace a second request
    /// kills at the deadline.
    pub(crate) async fn stop(self: &Arc<Self>, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        let remembered = self.memory.of(worker);
        let mut deadline = None;
        for _ in 0..MOST_SUCCESSORS {
            let Some(stopping) = self.look_before_stop(worker, options).await? else { return Ok(()) };
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + stopping.grace);
            match self.stop_container(worker, &remembered, &stopping, deadline).await? {
                Ended::Stopped => return Ok(()),
                Ended::Gone => self.memory.forget(worker),
            }
        }
        Ok(())
    }

    async fn stop_container(
        self: &Arc<Self>,
        worker: &WorkerRef,
        remembered: &Arc<Remembered>,
        stopping: &Stopping,
        deadline: Instant,
    ) -> Result<Ended> {
        let id = &stopping.id;
        if stopping.grace.is_zero() {
            return match self.kill(stopping).await? {
                Ended::Stopped => self.wait_until_stopped(id).await,
                gone => Ok(gone),
            };
        }
        loop {
            let Some(turn) = remembered.try_stop_turn() else {
                // While our own request is on its way, others only wait. If it fails, it is theirs to make.
                tokio::select! {
                    ended = self.wait_until_stopped(id) => return ended,
                    () = remembered.no_stop_in_flight() => continue,
                    () = tokio::time::sleep_until(deadline) => {}
                }
                self.kill(stopping).await?;
                return self.wait_until_stopped(id).await;
            };
            let asked = self.is_asked(worker, remembered, stopping).await?;
            let by_engine = !asked && stopping.grace.subsec_nanos() == 0;
            let deadline = if by_engine { deadline + MARGIN + self.engine.timeout() } else { deadline };
            let end = async {
                if asked {
                    drop(turn);
                    return self.wait_until_stopped(id).await;
                }
                let (shared, id) = (Arc::clone(self), Arc::clone(id));
                let grace = by_engine.then_some(stopping.grace);
                // Until the engine has answered, it is not known whether it has sent the signal. Goes on when this call
                // is dropped, so that a call that repeats it knows that it was made.
                remembered.edit(|facts| facts.asked = Some(Asked::Maybe));
                let request = tokio::spawn(async move {
                    let _turn = turn;
                    shared.ask(&id, grace).await
                });
                answered(request).await
            };
            tokio::pin!(end);
            tokio::select! {
                ended = &mut end => return ended,
                () = tokio::time::sleep_until(deadline) => {}
            }
            self.kill(stopping).await?;
            return end.await;
        }
    }

    /// `None` if nothing of it runs.
    async fn look_before_stop(&self, worker: &WorkerRef, options: &StopOptions) -> Result<Option<Stopping>> {
        let facts = self.memory.known(worker).unwrap_or_default();
        let grace = |own: Option<Duration>| {
            options.grace.or(own).unwrap_or(self.settings.default_stop_grace.get()).min(FOREVER)
        };
        if let Facts { id: Some(id), state: Known::StartedHere, made: Some(made), asked: None, heard } = facts
            && !made.native_restart
        {
            let grace = grace(made.stop_grace);
            if grace.is_zero() || self.hears_stops(heard) {
                return Ok(Some(Stopping { id, grace, native_restart: false, found: None }));
            }
        }
        let runs = |found: &Found| found.is_alive() || found.state().restarting == Some(true);
        let remembered = self.memory.of(worker);
        // While nobody has the turn, no start is on its way.
        let turn = remembered.try_turn();
        let Some(mut found) = self.find(worker).await? else { return Ok(None) };
        if !runs(&found) && turn.is_none() {
            let _turn = self.turn_in_time(&remembered).await?;
            match self.find(worker).await? {
                Some(again) => found = again,
                None => return Ok(None),
            }
        }
        drop(turn);
        if !runs(&found) {
            return Ok(None);
        }
        let made = found.made();
        Ok(Some(Stopping {
            id: Arc::clone(&found.id),
            grace: grace(made.stop_grace),
            native_restart: made.native_restart,
            found: Some(found),
        }))
    }

    /// Whether the signal was sent already, so that all that is left is to wait. To be asked with the turn to stop it.
    async fn is_asked(
        &self,
        worker: &WorkerRef,
        remembered: &Remembered,
        stopping: &Stopping,
    ) -> Result<bool> {
        let facts = remembered.facts().clone();
        let looked;
        let found = match &stopping.found {
            Some(found) => found,
            None if facts.asked.is_none() && self.hears_stops(facts.heard) => return Ok(false),
            // A stop was heard of since.
            None => match self.find(worker).await? {
                Some(found) => {
                    looked = found;
                    &looked
                }
                None => return Ok(true),
            },
        };
        let state = found.state();
        let Some(run) = status::run_id(&state).filter(|_| state.restarting != Some(true)) else {
            return Ok(false);
        };
        if facts.asked == Some(Asked::Run(run.clone())) {
            return Ok(true);
        }
        let asked = self.was_asked(found, &run).await?;
        if asked {
            remembered.edit(|facts| facts.asked = Some(Asked::Run(run)));
        }
        Ok(asked)
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
        let until = engine_now(found.date, self.context.clock.now());
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
        // The engine keeps the answer open until its own clock says that time.
        tokio::time::timeout(HISTORY, reading).await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Unavailable,
                "the engine does not tell whether the worker was asked to stop already",
            )
            .with_retry(Retry::Safe { after: None }))
        })
    }

    /// Asks it to stop and waits for its end, however long. The engine kills it when the grace is over, if it is told.
    async fn ask(&self, id: &str, grace: Option<Duration>) -> Result<Ended> {
        let seconds = grace.map_or(-1, |grace| i32::try_from(grace.as_secs()).unwrap_or(i32::MAX));
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        self.stopped(self.engine.patient().stop_container(id, Some(options)).await)
    }

    async fn kill(&self, stopping: &Stopping) -> Result<Ended> {
        if stopping.native_restart {
            // A container that waits for its restart has no process to kill, but a restart to call off.
            let options = StopContainerOptionsBuilder::default().t(0).build();
            return self.stopped(self.engine.patient().stop_container(&stopping.id, Some(options)).await);
        }
        let path = format!("/containers/{}/kill", stopping.id);
        self.stopped(self.engine.command(Method::POST, &path, "?signal=SIGKILL").await)
    }

    fn stopped(&self, answer: Result<(), EngineError>) -> Result<Ended> {
        match answer {
            // 304 comes as success.
            Ok(()) => Ok(Ended::Stopped),
            Err(error) => match error::status(&error) {
                Some(404) => Ok(Ended::Gone),
                // It does not run.
                Some(409) => Ok(Ended::Stopped),
                _ => Err(self.engine.error(error)),
            },
        }
    }

    async fn wait_until_stopped(&self, id: &str) -> Result<Ended> {
        self.wait(id, "not-running").await
    }

    /// Waits until the engine is done with a removal, whether it came off or not, for as long as it has for an answer.
    pub(crate) async fn wait_until_removed(&self, id: &str) -> Result<()> {
        let waited = tokio::time::timeout(self.engine.timeout(), self.wait(id, "removed")).await;
        waited.map_or_else(
            |_| {
                Err(Error::new(ErrorKind::Timeout, "the container is being removed, and that takes long")
                    .with_retry(Retry::IfIdempotent))
            },
            |ended| ended.map(drop),
        )
    }

    async fn wait(&self, id: &str, condition: &str) -> Result<Ended> {
        let options = WaitContainerOptionsBuilder::default().condition(condition).build();
        let docker = self.engine.patient();
        let mut answer = Box::pin(docker.wait_container(id, Some(options)));
        match answer.next().await {
            // Every code but 0 is an error to bollard, but an end to us.
            Some(Ok(_) | Err(EngineError::DockerContainerWaitError { .. })) => Ok(Ended::Stopped),
            Some(Err(error)) if error::status(&error) == Some(404) => Ok(Ended::Gone),
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

/// The time by the engine's clock, of which its answer tells whole seconds: ours, where the two agree.
fn engine_now(date: Option<Timestamp>, ours: Timestamp) -> Timestamp {
    const ROUNDED: Duration = Duration::from_secs(1);
    const ON_ITS_WAY: Duration = Duration::from_secs(2);
    match date {
        Some(date) if ours < date || ours > date + ROUNDED + ON_ITS_WAY => date + ROUNDED,
        _ => ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_the_past_ends_now_by_the_engines_clock() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let date = Some(at("2026-01-02T03:04:05Z"));
        let ours = at("2026-01-02T03:04:05.7Z");
        assert_eq!((engine_now(date, ours), engine_now(None, ours)), (ours, ours));
        for wrong in ["2026-01-02T03:04:04.9Z", "2026-01-02T03:14:05Z", "2020-01-01T00:00:00Z"] {
            assert_eq!(engine_now(date, at(wrong)), at("2026-01-02T03:04:06Z"), "{wrong}");
        }
    }
}
