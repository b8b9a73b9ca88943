use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::{
    fault::Fault,
    logs,
    object::Object,
    platform::{FakePlatform, Key},
    play::{self, Io},
    port::Nobody,
};
use crate::{
    capability::{self, Capability, ProviderCapabilities},
    credential,
    error::{Error, ErrorKind, Result},
    factory::ConnectContext,
    model::{
        GroupRef, MountSource, Ownership, SecretTarget, WorkerConfig, WorkerHandle, WorkerId, WorkerRef,
    },
    provider::{
        AutoscaleOptions, BoxStream, CreateOptions, DeleteOptions, ExecOptions, ExecSession, Listing,
        LogItem, LogOptions, LogStream, Operation, ProviderInfo, ScaleOptions, StartOptions, StatsOptions,
        StopOptions, WatchOptions, WorkerConnection, WorkerFilter, WorkerProvider, WorkerStats,
    },
    status::{ExitStatus, FailureClass, WorkerObservation, WorkerStatus},
    watch::WatchHub,
};

/// A host's view of a [`FakePlatform`].
#[derive(Debug)]
pub struct FakeProvider {
    info: ProviderInfo,
    platform: FakePlatform,
    context: ConnectContext,
    capabilities: Arc<ProviderCapabilities>,
    hub: WatchHub,
}

const DEFAULT_GRACE: Duration = Duration::from_secs(4);

impl FakeProvider {
    /// A provider on this platform, for the context's installation.
    pub fn new(platform: FakePlatform, context: ConnectContext) -> Self {
        let mut capabilities = ProviderCapabilities::new("1 (in memory)");
        for capability in Capability::ALL {
            capabilities = capabilities.with(*capability);
        }
        Self {
            info: context.info("fake"),
            platform,
            context,
            capabilities: Arc::new(capabilities),
            hub: WatchHub::default(),
        }
    }

    /// The provider without these capabilities.
    #[must_use]
    pub fn without(mut self, missing: &[Capability]) -> Self {
        let mut capabilities = (*self.capabilities).clone();
        for capability in missing {
            capabilities = capabilities.without(*capability, "left out for a test");
        }
        self.capabilities = Arc::new(capabilities);
        self
    }

    /// The provider, degraded for that reason.
    #[must_use]
    pub fn degraded(mut self, reason: Option<String>) -> Self {
        let mut capabilities = (*self.capabilities).clone();
        capabilities.degraded = reason;
        self.capabilities = Arc::new(capabilities);
        self
    }

    /// The platform that it stands on.
    pub fn platform(&self) -> &FakePlatform {
        &self.platform
    }

    fn key(&self, worker: &WorkerRef) -> Key {
        (self.context.installation.clone(), worker.clone())
    }

    /// Plays the script's fault around the work, which is done at most once.
    async fn call<T>(&self, operation: Operation, work: impl Future<Output = Result<T>>) -> Result<T> {
        let fault = self.platform.script().begin(operation);
        // Several awaits, so that a call can be dropped between them.
        tokio::task::yield_now().await;
        match fault {
            Some(Fault::Fail(error)) => return Err(error),
            Some(Fault::Delay(by)) => tokio::time::sleep(by).await,
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::LoseAnswer(error)) => return work.await.and(Err(error)),
            None => {}
        }
        let result = work.await;
        tokio::task::yield_now().await;
        result
    }

    fn need(&self, capability: Capability, operation: Operation) -> Result<()> {
        if self.capabilities.supports(capability) { Ok(()) } else { Err(Error::unsupported(operation)) }
    }

    /// Looks at a worker that must exist.
    fn with<T>(&self, worker: &WorkerRef, look: impl FnOnce(&mut Object) -> Result<T>) -> Result<T> {
        let mut state = self.platform.state();
        match state.objects.get_mut(&self.key(worker)) {
            Some(object) => look(object),
            None => Err(Error::worker_not_found(worker)),
        }
    }

    fn check(&self, config: &WorkerConfig) -> Result<()> {
        self.capabilities.require(capability::needed_by(config))?;
        for (n, mount) in config.mounts.iter().enumerate() {
            if let MountSource::Bind { path } = &mount.source
                && !std::path::Path::new(path).exists()
            {
                return Err(Error::config(
                    format!("mounts[{n}].source.bind.path"),
                    format!("`{path}` does not exist"),
                ));
            }
        }
        if let Some(image) = &config.image
            && image.repository().contains("no/such")
        {
            return Err(
                Error::new(ErrorKind::NotFound, "there is no such image").with_context("image", image)
            );
        }
        Ok(())
    }

    fn create(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        let worker = WorkerRef { id: config.worker_id.clone(), generation: options.generation };
        let key = self.key(&worker);
        let fingerprint = Some(config.fingerprint());
        let mut state = self.platform.state();
        if state.foreign.contains(&key) {
            return Err(Error::new(ErrorKind::Conflict, "its name is taken by something that is not ours"));
        }
        if let Some(object) = state.objects.get(&key) {
            return match object.ownership.fingerprint == fingerprint {
                true => Ok(WorkerHandle::new(self.info.name.clone(), worker, object.native_id.clone())),
                false => Err(Error::new(ErrorKind::Conflict, "it exists with another configuration")),
            };
        }
        self.check(config)?;
        state.next += 1;
        let native_id = format!("fake-{}", state.next);
        let mut ownership = Ownership::new(self.context.installation.clone(), worker.clone());
        (ownership.intent, ownership.fingerprint) = (options.intent.clone(), fingerprint);
        let created = self.context.clock.now();
        let (config, log) = (config.clone(), Vec::new());
        let object = Object {
            config,
            ownership,
            native_id: native_id.clone(),
            created,
            stays_ended: self.capabilities.supports(Capability::KeepsEnded),
            stays_stopped: self.capabilities.supports(Capability::KeepsStopped),
            run: None,
            log,
        };
        state.objects.insert(key, object);
        drop(state);
        self.platform.changed();
        Ok(WorkerHandle::new(self.info.name.clone(), worker, native_id))
    }

    async fn start(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        let config = self.with(worker, |object| Ok(object.config.clone()))?;
        let (mut files, mut variables) = (BTreeMap::new(), Vec::new());
        for secret in &config.secrets {
            let material = credential::resolve(&*self.context.credentials, secret).await?.material;
            match &secret.target {
                SecretTarget::File { path } => drop(files.insert(path.clone(), material)),
                SecretTarget::Variable { name } => variables.push((name.clone(), material)),
            }
        }
        let now = self.context.clock.now();
        let volumes = Arc::clone(&self.platform.state().volumes);
        let world = self.with(worker, |object| {
            let last = object.run.as_ref().map(|run| &run.id);
            if last != options.after.as_ref() {
                return Ok(None);
            }
            if object.is_running() {
                return Err(Error::new(ErrorKind::Conflict, "that run has not ended; stop it first"));
            }
            if last.is_some() && !self.capabilities.supports(Capability::RestartInPlace) {
                let error = Error::unsupported(Operation::Start);
                return Err(error.with_help("create its next generation"));
            }
            Ok(Some(object.world(files, variables, volumes)))
        })?;
        let Some(world) = world else { return Ok(()) };
        let key = self.key(worker);
        self.platform.begin(&key, world, now);
        if play::program(&config.command).is_none() {
            let run = self.with(worker, |object| Ok(object.run.as_ref().map(|run| run.id.clone())))?;
            if let Some(run) = run {
                self.platform.end(&key, &run, (None, Some(FailureClass::CommandNotFound)));
            }
            let command = config.command.first().cloned().unwrap_or_default();
            return Err(
                Error::new(ErrorKind::Config, "there is no such command").with_context("command", command)
            );
        }
        Ok(())
    }

    async fn stop(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        let asked = self.with(worker, |object| {
            let grace =
                options.grace.or(object.config.stop_grace.map(|grace| grace.get())).unwrap_or(DEFAULT_GRACE);
            let Some(run) = object.run.as_mut().filter(|run| run.end.is_none()) else { return Ok(None) };
            if !std::mem::replace(&mut run.stopping, true) && !grace.is_zero() {
                let _ = run.term.send(());
            }
            Ok(Some((run.id.clone(), grace)))
        });
        let (run, grace) = match asked {
            Ok(Some(asked)) => asked,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        self.platform.changed();
        let mut changes = self.platform.changes();
        let key = self.key(worker);
        let over = async {
            loop {
                changes.borrow_and_update();
                let running = self.with(worker, |object| {
                    Ok(object.run.as_ref().is_some_and(|last| last.id == run && last.end.is_none()))
                });
                if !running.unwrap_or(false) || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(grace, over).await.is_err() {
            self.platform.end(&key, &run, (Some(ExitStatus::Signal(9)), Some(FailureClass::Killed)));
        }
        Ok(())
    }

    fn remove(&self, worker: &WorkerRef, options: &DeleteOptions) {
        let mut state = self.platform.state();
        let Some(object) = state.objects.remove(&self.key(worker)) else { return };
        if let Some(task) = object.run.and_then(|run| run.task) {
            task.abort();
        }
        for mount in &object.config.mounts {
            let MountSource::Volume { name } = &mount.source else { continue };
            let same = |other: &crate::model::Mount| other.source == mount.source;
            let used = state.objects.values().any(|other| other.config.mounts.iter().any(same));
            if !used && !options.keep_volumes {
                let mut volumes = state.volumes.lock().unwrap_or_else(PoisonError::into_inner);
                volumes.retain(|(volume, _), _| volume != name);
            }
        }
    }

    fn statuses(&self) -> Vec<Arc<WorkerStatus>> {
        statuses(&self.platform, &self.context)
    }
}

fn statuses(platform: &FakePlatform, context: &ConnectContext) -> Vec<Arc<WorkerStatus>> {
    let state = platform.state();
    let now = context.clock.now();
    let ours = state.objects.iter().filter(|((installation, _), _)| *installation == context.installation);
    ours.map(|((_, worker), object)| object.status(worker, now)).collect()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl WorkerProvider for FakeProvider {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        self.call(Operation::Capabilities, async { Ok(Arc::clone(&self.capabilities)) }).await
    }

    async fn create_worker(&self, config: &WorkerConfig, options: &CreateOptions) -> Result<WorkerHandle> {
        self.call(Operation::Create, async {
            let handle = self.create(config, options)?;
            if !self.capabilities.supports(Capability::DeferredStart)
                && let Err(error) = self.start(&handle.worker, &StartOptions::default()).await
            {
                self.remove(&handle.worker, &DeleteOptions::default());
                self.platform.changed();
                return Err(error);
            }
            Ok(handle)
        })
        .await
    }

    async fn start_worker(&self, worker: &WorkerRef, options: &StartOptions) -> Result<()> {
        self.call(Operation::Start, self.start(worker, options)).await
    }

    async fn stop_worker(&self, worker: &WorkerRef, options: &StopOptions) -> Result<()> {
        self.call(Operation::Stop, self.stop(worker, options)).await
    }

    async fn delete_worker(&self, worker: &WorkerRef, options: &DeleteOptions) -> Result<()> {
        self.call(Operation::Delete, async {
            self.remove(worker, options);
            self.platform.changed();
            Ok(())
        })
        .await
    }

    async fn get_worker_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        self.call(Operation::Status, async {
            let (reading, now) = (self.hub.reading(), self.context.clock.now());
            let look = |object: &mut Object| Ok(object.status(worker, now));
            let found = self.with(worker, look).map(|status| self.hub.saw(&reading, status));
            Ok(found.unwrap_or_else(|_| WorkerStatus::absent(worker, now)))
        })
        .await
    }

    async fn list_workers(&self, filter: &WorkerFilter) -> Result<Listing> {
        self.call(Operation::List, async {
            let reading = self.hub.reading();
            let meant = self.statuses().into_iter().filter(|status| filter.matches_status(status));
            let seen = meant.map(|status| self.hub.saw(&reading, status));
            Ok(Listing::new(seen.collect(), self.context.clock.now()))
        })
        .await
    }

    async fn scale_workers(
        &self,
        group: &GroupRef,
        target: usize,
        options: &ScaleOptions,
    ) -> Result<Vec<WorkerId>> {
        self.need(Capability::NativeGroups, Operation::Scale)?;
        let filter = WorkerFilter::worker_type(group.clone());
        let members = self.list_workers(&filter).await?.workers;
        if options.expected.is_some_and(|expected| expected != members.len()) {
            let error = Error::new(ErrorKind::Conflict, "the group has another size than expected");
            return Err(error.with_context("size", members.len()));
        }
        let template = match (&options.template, members.first()) {
            (Some(template), _) => Some(template.to_spec()),
            (None, Some(member)) => Some(self.with(&member.worker, |object| Ok(object.config.to_spec()))?),
            (None, None) if target > 0 => {
                return Err(Error::new(ErrorKind::NotFound, "there is no such group"));
            }
            (None, None) => None,
        };
        for member in members.iter().skip(target) {
            self.delete_worker(&member.worker, &DeleteOptions::default()).await?;
        }
        for n in members.len()..target {
            let Some(mut spec) = template.clone() else { break };
            spec.worker_id = WorkerId::new(format!("{group}-{n}"))?;
            self.create(&WorkerConfig::new(spec)?, &CreateOptions::default())?;
        }
        let members = self.list_workers(&filter).await?.workers;
        Ok(members.iter().map(|status| status.worker.id.clone()).collect())
    }

    async fn autoscale(&self, group: &GroupRef, options: &AutoscaleOptions) -> Result<()> {
        self.need(Capability::AutoScaling, Operation::Autoscale)?;
        let least = options.scaling.as_ref().map_or(0, |scaling| scaling.min as usize);
        let size = self.list_workers(&WorkerFilter::worker_type(group.clone())).await?.workers.len();
        if size < least {
            self.scale_workers(group, least, &ScaleOptions::default()).await?;
        }
        Ok(())
    }

    async fn watch_workers(
        &self,
        options: &WatchOptions,
    ) -> Result<BoxStream<'static, Result<WorkerObservation>>> {
        self.need(Capability::Watch, Operation::Watch)?;
        let (platform, context) = (self.platform.clone(), self.context.clone());
        let driver = |feed: crate::watch::WatchFeed| async move {
            let mut changes = platform.changes();
            loop {
                changes.borrow_and_update();
                feed.reconcile(statuses(&platform, &context), context.clock.now());
                if changes.changed().await.is_err() {
                    return Error::new(ErrorKind::Unavailable, "the platform is gone");
                }
            }
        };
        self.call(Operation::Watch, async { Ok(self.hub.subscribe(options.filter.clone(), driver)) }).await
    }

    async fn worker_logs(
        &self,
        worker: &WorkerRef,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem>>> {
        self.need(Capability::Logs, Operation::Logs)?;
        self.call(Operation::Logs, async {
            let native_id = self.with(worker, |object| Ok(object.native_id.clone()))?;
            if options.after.is_some() {
                self.need(Capability::LogPositions, Operation::Logs)?;
            }
            logs::open(self.platform.clone(), self.key(worker), native_id, options.clone())
        })
        .await
    }

    async fn exec_in_worker(&self, worker: &WorkerRef, options: &ExecOptions) -> Result<ExecSession> {
        self.need(Capability::Exec, Operation::Exec)?;
        self.call(Operation::Exec, async {
            let options = options.resolved(&*self.context.credentials).await?;
            let world = self.with(worker, |object| {
                let running = object.run.as_ref().filter(|run| run.end.is_none());
                let not_running = || Error::new(ErrorKind::Conflict, "the worker does not run");
                running.map(|run| run.world.clone()).ok_or_else(not_running)
            });
            let mut world = world?;
            world.environment.extend(options.environment.iter().cloned());
            if let Some(folder) = &options.working_dir {
                world.working_dir.clone_from(folder);
            }
            let Some(program) = play::program(&options.command) else {
                return Err(Error::new(ErrorKind::Config, "there is no such command"));
            };
            let (input, stdin) = tokio::io::duplex(64 * 1024);
            let (send, receive) = mpsc::unbounded_channel();
            let playing = tokio::spawn(async move {
                let write = |stream: LogStream, bytes: Bytes| drop(send.send(Ok((stream, bytes))));
                let (_signals, term) = mpsc::unbounded_channel();
                play::play(&program, &world, Io { write: &write, term, stdin: Some(Box::new(stdin)) }).await.0
            });
            let output = futures::stream::unfold(receive, |mut receive| async {
                Some((receive.recv().await?, receive))
            });
            let input = options.stdin.then(|| Box::pin(input) as _);
            Ok(ExecSession::new(input, output.boxed(), async move {
                let ended = playing.await.ok().flatten();
                ended.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the command's end is not known"))
            }))
        })
        .await
    }

    async fn connect_worker_port(&self, worker: &WorkerRef, _: u16) -> Result<Box<dyn WorkerConnection>> {
        self.need(Capability::PortForward, Operation::ConnectPort)?;
        self.call(Operation::ConnectPort, async {
            self.with(worker, |object| {
                let runs = object.run.as_ref().is_some_and(|run| run.end.is_none());
                let not_running = || Error::new(ErrorKind::Conflict, "the worker does not run");
                runs.then_some(()).ok_or_else(not_running)
            })?;
            Ok(Box::new(tokio::io::join(Nobody, tokio::io::sink())) as _)
        })
        .await
    }

    async fn get_image_id(&self, config: &WorkerConfig) -> Result<Option<String>> {
        self.need(Capability::ImageIds, Operation::Image)?;
        // Here a name never means anything else.
        self.call(Operation::Image, async { Ok(config.image.as_ref().map(ToString::to_string)) }).await
    }

    async fn worker_stats(&self, worker: &WorkerRef, _: &StatsOptions) -> Result<WorkerStats> {
        self.need(Capability::Monitoring, Operation::Stats)?;
        self.call(Operation::Stats, async {
            let now = self.context.clock.now();
            self.with(worker, |object| {
                let cores = object.config.resources.cpu_limit.map_or(1000, |cpu| cpu.millis());
                let Some(run) = object.run.as_ref().filter(|run| run.end.is_none()) else {
                    return Err(Error::new(ErrorKind::Conflict, "the worker does not run"));
                };
                let burning = play::program(&object.config.command) == Some(crate::testkit::Program::Burn);
                let elapsed = Duration::try_from(now.duration_since(run.started)).unwrap_or_default();
                let share = if burning { cores as f64 / 1000.0 } else { 0.0 };
                let mut stats = WorkerStats::new(now);
                stats.cpu_time = Some(elapsed.mul_f64(share));
                (stats.memory, stats.pids) = (Some(1 << 20), Some(1));
                Ok(stats)
            })
        })
        .await
    }
}
