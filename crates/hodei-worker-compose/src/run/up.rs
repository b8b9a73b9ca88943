use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::try_join_all;
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerPhase, WorkerRef, WorkerStatus,
    provider::{CreateOptions, DeleteOptions, StartOptions, StopOptions},
};
use tokio::sync::{Semaphore, watch};

use super::{
    composition::Composition,
    instance::{Instance, Present},
    translate::Blueprint,
    watching::Watching,
};
use crate::model::DependencyCondition;

/// How a project is brought up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UpOptions {
    /// Only these services, with those that they depend on. Default: all.
    pub services: Vec<String>,
    /// Whether it is done only when what has a health check is healthy. Default: true.
    pub wait: bool,
    /// The time for all of it. Default: none.
    pub timeout: Option<Duration>,
    /// Whether workers of services are removed that the project does not have any more. Default: false.
    pub remove_orphans: bool,
    /// Whether workers are made anew whose configuration has not changed. Default: false.
    pub force_recreate: bool,
    /// How many workers are made at once. Default: 16.
    pub parallelism: usize,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            wait: true,
            timeout: None,
            remove_orphans: false,
            force_recreate: false,
            parallelism: 16,
        }
    }
}

impl UpOptions {
    /// Only this service too, with those that it depends on.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.services.push(service.into());
        self
    }
}

/// How a project is taken down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownOptions {
    /// Whether its volumes go too. Default: false.
    pub volumes: bool,
    /// Time between the request to stop and the kill. Default: each service's own.
    pub grace: Option<Duration>,
    /// Whether workers of services go too that the project does not have any more. Default: false.
    pub remove_orphans: bool,
}

impl DownOptions {
    /// With its volumes.
    pub fn with_volumes() -> Self {
        Self { volumes: true, ..Self::default() }
    }
}

/// How far a service has come.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// Its workers, when all of them were started.
    started: Option<Arc<Vec<Started>>>,
}

/// A worker that was found running or was started.
#[derive(Debug, Clone)]
struct Started {
    worker: WorkerRef,
    native_id: String,
    /// As it was listed, if nothing was done to it.
    seen: Option<Arc<WorkerStatus>>,
}

/// One `up`.
struct Up<'a> {
    composition: &'a Composition,
    options: &'a UpOptions,
    present: Present,
    counts: BTreeMap<String, usize>,
    watching: Watching,
    room: Semaphore,
    progress: BTreeMap<String, watch::Sender<Progress>>,
}

impl Composition {
    /// Brings the project up: what depends on others after these, all else at once. What exists and has not changed is
    /// left alone, what has changed is replaced, and what stopped is started again. Calling it again after a failure, or
    /// after its host was killed, arrives at the same end.
    ///
    /// Volumes and networks are made as they are needed. A replaced worker keeps its volumes.
    ///
    /// # Errors
    /// [`ErrorKind::Dependency`] when a service that others wait for is unhealthy or ended;
    /// [`ErrorKind::NotFound`] for a service that the project does not have; [`ErrorKind::Timeout`] after the options'
    /// time; else what the provider's calls have. What was brought up until then stays.
    ///
    /// # Cancel safety
    /// When dropped, some workers may be up and others not. Call it again.
    ///
    /// # Examples
    /// See [`Composition`].
    pub async fn up(&self, options: &UpOptions) -> Result<Vec<Instance>> {
        let counts = self.chosen(&options.services)?;
        self.bring_up(options, counts).await
    }

    /// Sets how many workers a service has, and brings it up with those that it depends on.
    ///
    /// # Errors
    /// As [`Composition::up`].
    ///
    /// # Cancel safety
    /// As [`Composition::up`].
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(composition: hodei_worker_compose::Composition) -> hodei_worker_core::Result<()> {
    /// let all = composition.scale("web", 3).await?;
    /// assert_eq!(all.iter().filter(|instance| instance.service == "web").count(), 3);
    /// # Ok(()) }
    /// ```
    pub async fn scale(&self, service: &str, count: usize) -> Result<Vec<Instance>> {
        let options = UpOptions::default().service(service);
        let mut counts = self.chosen(&options.services)?;
        // Those that it depends on are as many as they are.
        let present = Present::list(&*self.provider, &self.project.name).await?;
        for (name, number) in &mut counts {
            let now = present.of(name).count();
            if now > 0 {
                *number = now;
            }
        }
        counts.insert(service.to_owned(), count);
        self.bring_up(&options, counts).await
    }

    /// Stops and removes the project's workers, those first on which no other depends, and the networks that nobody
    /// uses any more.
    ///
    /// # Errors
    /// What the provider's calls have.
    ///
    /// # Cancel safety
    /// When dropped, some may be gone and others not. Call it again.
    ///
    /// # Examples
    /// See [`Composition`].
    pub async fn down(&self, options: &DownOptions) -> Result<()> {
        let present = Present::list(&*self.provider, &self.project.name).await?;
        let mut left: BTreeMap<String, Vec<Instance>> = BTreeMap::new();
        for instance in present.0.into_values().flatten() {
            if options.remove_orphans || self.project.services.contains_key(&instance.service) {
                left.entry(instance.service.clone()).or_default().push(instance);
            }
        }
        while !left.is_empty() {
            let needed: BTreeSet<&String> = left
                .keys()
                .filter_map(|name| self.project.services.get(name))
                .flat_map(|service| service.depends_on.keys())
                .collect();
            let mut free: Vec<String> = left.keys().filter(|name| !needed.contains(name)).cloned().collect();
            if free.is_empty() {
                // The reader refuses cycles; workers of an older file may have some.
                free = left.keys().cloned().collect();
            }
            let gone: Vec<Instance> = free.iter().filter_map(|name| left.remove(name)).flatten().collect();
            try_join_all(gone.iter().map(|instance| self.remove(instance, options.grace, !options.volumes)))
                .await?;
        }
        Ok(())
    }

    async fn remove(&self, instance: &Instance, grace: Option<Duration>, keep_volumes: bool) -> Result<()> {
        let stop = grace.map_or_else(StopOptions::default, StopOptions::within);
        if instance.status.phase.is_alive() {
            self.provider.stop_worker(instance.worker(), &stop).await?;
        }
        let mut delete = DeleteOptions::default();
        delete.keep_volumes = keep_volumes;
        self.provider.delete_worker(instance.worker(), &delete).await
    }

    /// The services that are meant with those that they depend on, and how many workers each has.
    fn chosen(&self, wanted: &[String]) -> Result<BTreeMap<String, usize>> {
        let mut open: Vec<&str> = wanted.iter().map(String::as_str).collect();
        if open.is_empty() {
            open = self.blueprints.keys().map(String::as_str).collect();
        }
        let mut counts = BTreeMap::new();
        while let Some(name) = open.pop() {
            let blueprint = self.blueprint(name)?;
            if counts.insert(name.to_owned(), blueprint.replicas).is_none()
                && let Some(service) = self.project.services.get(name)
            {
                open.extend(
                    service
                        .depends_on
                        .keys()
                        .map(String::as_str)
                        .filter(|name| self.blueprints.contains_key(*name)),
                );
            }
        }
        Ok(counts)
    }

    async fn bring_up(&self, options: &UpOptions, counts: BTreeMap<String, usize>) -> Result<Vec<Instance>> {
        let present = Present::list(&*self.provider, &self.project.name).await?;
        let up = Up {
            composition: self,
            options,
            present,
            watching: Watching::new(Arc::clone(&self.provider), &self.project.name),
            room: Semaphore::new(options.parallelism.max(1)),
            progress: counts.keys().map(|name| (name.clone(), watch::Sender::default())).collect(),
            counts,
        };
        match options.timeout {
            None => up.run().await,
            Some(limit) => tokio::time::timeout(limit, up.run()).await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Timeout, "the project did not come up in the time that it had"))
            }),
        }
    }
}

impl Up<'_> {
    async fn run(&self) -> Result<Vec<Instance>> {
        if self.options.remove_orphans {
            let known = &self.composition.project.services;
            let orphans = self.present.0.values().flatten().filter(|one| !known.contains_key(&one.service));
            try_join_all(orphans.map(|one| self.composition.remove(one, None, true))).await?;
        }
        let changed = try_join_all(self.counts.keys().map(|name| self.service(name))).await?;
        if changed.into_iter().any(|changed| changed) {
            return self.composition.instances().await;
        }
        Ok(self.present.newest().cloned().collect())
    }

    /// Brings one service up. Says whether anything was done.
    async fn service(&self, name: &str) -> Result<bool> {
        let renewed = self.await_dependencies(name).await?;
        let count = self.counts.get(name).copied().unwrap_or_default();
        let surplus: Vec<&Instance> = self
            .present
            .0
            .iter()
            .filter(|((service, number), _)| service == name && *number > count)
            .flat_map(|(_, generations)| generations)
            .collect();
        try_join_all(surplus.iter().map(|one| self.composition.remove(one, None, true))).await?;
        let all = try_join_all((1..=count).map(|number| self.instance(name, number, renewed))).await?;
        let changed = !surplus.is_empty() || all.iter().any(|one| one.seen.is_none());
        let all = Arc::new(all);
        if let Some(progress) = self.progress.get(name) {
            progress.send_modify(|progress| progress.started = Some(Arc::clone(&all)));
        }
        if self.options.wait && self.composition.blueprint(name)?.has_check {
            self.until(name, &all, DependencyCondition::ServiceHealthy).await?;
        }
        Ok(changed)
    }

    /// Waits for what the service needs. Says whether one of those was made anew whose restart restarts this one.
    async fn await_dependencies(&self, name: &str) -> Result<bool> {
        let Some(service) = self.composition.project.services.get(name) else { return Ok(false) };
        let waits = service.depends_on.iter().map(|(other, dependency)| async move {
            let Some(progress) = self.progress.get(other) else { return Ok(false) };
            let mut progress = progress.subscribe();
            let started = progress.wait_for(|progress| progress.started.is_some()).await;
            let started = started.map(|progress| progress.started.clone()).ok().flatten().unwrap_or_default();
            match self.until(other, &started, dependency.condition).await {
                Err(error) if !dependency.required && error.kind() == ErrorKind::Dependency => {
                    tracing::warn!(service = name, %error, "a service that is not required is not as it should be");
                }
                other => other?,
            }
            Ok::<_, Error>(dependency.restart && started.iter().any(|one| one.seen.is_none()))
        });
        Ok(try_join_all(waits).await?.into_iter().any(|renewed| renewed))
    }

    async fn until(&self, service: &str, all: &[Started], condition: DependencyCondition) -> Result<()> {
        let each =
            all.iter().map(|one| self.watching.until(service, &one.worker, one.seen.as_ref(), condition));
        try_join_all(each).await.map(drop)
    }

    /// Brings one worker up.
    async fn instance(&self, service: &str, number: usize, renewed: bool) -> Result<Started> {
        let blueprint = self.composition.blueprint(service)?;
        let generations = self.present.get(service, number);
        let (newest, older) = match generations.split_first() {
            Some((newest, older)) => (Some(newest), older),
            None => (None, &[][..]),
        };
        for one in older {
            // Of a replacement that was cut off.
            self.composition.remove(one, None, true).await?;
        }
        // Who shares another's namespaces goes with that one.
        let stale = self.options.force_recreate || self.shares_what_is_new(blueprint);
        let same = newest.filter(|one| one.hash() == blueprint.hash && !stale);
        if let Some(one) = same {
            if one.status.phase == WorkerPhase::Running && !renewed {
                let (worker, native_id) = (one.worker().clone(), one.status.native_id.clone());
                return Ok(Started { worker, native_id, seen: Some(Arc::clone(&one.status)) });
            }
            if let Some(started) = self.start_again(one, renewed).await? {
                return Ok(started);
            }
        }
        let _room = self.room.acquire().await;
        let mut options = CreateOptions::default();
        if let Some(one) = newest {
            self.composition.remove(one, None, true).await?;
            options.generation = one.status.worker.generation.next();
        }
        let shared = self.shared(service);
        let config = blueprint.config(&self.composition.project.name, service, number, &shared)?;
        let provider = &self.composition.provider;
        let handle = provider.create_worker(&config, &options).await?;
        provider.start_worker(&handle.worker, &StartOptions::default()).await?;
        Ok(Started { worker: handle.worker, native_id: handle.native_id, seen: None })
    }

    /// Starts a worker that does not run, or runs it anew; `None` where it has to be made anew for that.
    async fn start_again(&self, one: &Instance, renewed: bool) -> Result<Option<Started>> {
        let status = &one.status;
        let provider = &self.composition.provider;
        if status.phase.is_alive() && status.phase != WorkerPhase::Running && !renewed {
            // It is on its way.
            let (worker, native_id) = (one.worker().clone(), status.native_id.clone());
            return Ok(Some(Started { worker, native_id, seen: None }));
        }
        let in_place =
            provider.get_capabilities().await?.supports(hodei_worker_core::Capability::RestartInPlace);
        if !matches!(status.phase, WorkerPhase::Created | WorkerPhase::Exited | WorkerPhase::Running)
            || (status.run.is_some() && !in_place)
        {
            return Ok(None);
        }
        let _room = self.room.acquire().await;
        if status.phase == WorkerPhase::Running {
            provider.stop_worker(one.worker(), &StopOptions::default()).await?;
        }
        provider.start_worker(one.worker(), &StartOptions::after(status.run.clone())).await?;
        let (worker, native_id) = (one.worker().clone(), status.native_id.clone());
        Ok(Some(Started { worker, native_id, seen: None }))
    }

    fn shares_what_is_new(&self, blueprint: &Blueprint) -> bool {
        blueprint.shares.iter().any(|(other, _)| {
            let started = self.progress.get(other).and_then(|progress| progress.borrow().started.clone());
            started.is_some_and(|all| all.first().is_some_and(|one| one.seen.is_none()))
        })
    }

    /// The containers whose namespaces the service's workers share: the first of each service.
    fn shared(&self, service: &str) -> BTreeMap<String, String> {
        let Ok(blueprint) = self.composition.blueprint(service) else { return BTreeMap::new() };
        let others = blueprint.shares.iter().filter_map(|(other, _)| {
            let started = self.progress.get(other)?.borrow().started.clone()?;
            Some((other.clone(), started.first()?.native_id.clone()))
        });
        others.collect()
    }
}
