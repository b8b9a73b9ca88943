use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerPhase, WorkerRef, WorkerStatus,
    model::RunId,
    provider::{CreateOptions, StartOptions, StopOptions},
};
use tokio::sync::{Semaphore, watch};

use super::{
    composition::Composition,
    instance::{Instance, Present},
    options::UpOptions,
    refuse::Refusals,
    translate::Blueprint,
    watching::{Need, Watching},
};
use crate::model::DependencyCondition;

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
    /// The run that it had before it was started again.
    before: Option<RunId>,
    /// Whether it was made anew.
    renewed: bool,
}

impl Started {
    fn kept(one: &Instance) -> Self {
        Self {
            worker: one.worker().clone(),
            native_id: one.status.native_id.clone(),
            seen: Some(Arc::clone(&one.status)),
            before: None,
            renewed: false,
        }
    }
    fn again(one: &Instance) -> Self {
        Self { seen: None, before: one.status.run.clone(), ..Self::kept(one) }
    }
}

/// One `up`.
struct Up<'a> {
    composition: &'a Composition,
    options: &'a UpOptions,
    present: Present,
    /// The images that the names of services mean now whose workers may be of older ones.
    images: BTreeMap<String, String>,
    counts: BTreeMap<String, usize>,
    watching: Watching,
    room: Semaphore,
    progress: BTreeMap<String, watch::Sender<Progress>>,
}

impl Composition {
    /// Brings the project up: what depends on others after these, all else at once. What exists and has not changed is
    /// left alone; what has changed is replaced, as is what runs another image than its name means by now; and what
    /// stopped is started again. Calling it again after a failure, or
    /// after its host was killed, arrives at the same end.
    ///
    /// Volumes and networks are made as they are needed. A replaced worker keeps its volumes. Of what was left alone the
    /// status is given that it had at the begin.
    ///
    /// # Errors
    /// [`ErrorKind::Dependency`] when a service that others wait for is unhealthy or ended;
    /// [`ErrorKind::NotFound`] for a service that the project does not have; [`ErrorKind::Timeout`] after the options'
    /// time; [`ErrorKind::Unsupported`] for a field that the engine is too old for, when the first worker is to be made
    /// that needs it; else what the provider's calls have. What was brought up until then stays.
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
    /// [`ErrorKind::Config`], before anything is made, when its ports are published from a range that has fewer; else as
    /// [`Composition::up`].
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

    /// Refuses more workers than a service has ports for.
    fn check_counts(&self, counts: &BTreeMap<String, usize>) -> Result<()> {
        let mut refusals = Refusals::new(&self.project);
        for (name, count) in counts {
            if let Some(range) = &self.blueprint(name)?.range {
                range.check(name, *count, &mut refusals);
            }
        }
        refusals.into_result()
    }

    async fn bring_up(&self, options: &UpOptions, counts: BTreeMap<String, usize>) -> Result<Vec<Instance>> {
        self.check_counts(&counts)?;
        let work = async {
            let present = Present::list(&*self.provider, &self.project.name).await?;
            let images = match options.force_recreate {
                true => BTreeMap::new(),
                false => self.images(&present, &counts).await?,
            };
            let up = Up {
                composition: self,
                options,
                present,
                images,
                watching: Watching::new(Arc::clone(&self.provider), &self.project.name),
                room: Semaphore::new(options.parallelism.max(1)),
                progress: counts.keys().map(|name| (name.clone(), watch::Sender::default())).collect(),
                counts,
            };
            up.run().await
        };
        match options.timeout {
            None => work.await,
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Timeout, "the project did not come up in the time that it had"))
            }),
        }
    }
}

impl Up<'_> {
    async fn run(&self) -> Result<Vec<Instance>> {
        let all = self.present.0.values().flatten();
        let orphans = all.filter(|one| self.options.remove_orphans && !self.composition.knows(&one.service));
        let removed = try_join_all(orphans.map(|one| self.composition.remove(one, None, true))).await?;
        let changed = try_join_all(self.counts.keys().map(|name| self.service(name))).await?;
        let instances = match !removed.is_empty() || changed.into_iter().any(|changed| changed) {
            true => self.instances().await?,
            false => self.present.newest().cloned().collect(),
        };
        if self.options.wait && self.until_ready(&instances).await? {
            return self.composition.instances().await;
        }
        Ok(instances)
    }

    /// The workers that there are now. What something was done to is looked at one by one: a list of all workers costs an
    /// engine more than that.
    async fn instances(&self) -> Result<Vec<Instance>> {
        let is_wanted = |one: &Instance| match self.counts.contains_key(&one.service) {
            true => self.numbers(&one.service).contains(&one.number),
            false => !self.options.remove_orphans || self.composition.knows(&one.service),
        };
        let started = self.progress.values().filter_map(|progress| progress.borrow().started.clone());
        let changed: BTreeMap<_, _> = started
            .flat_map(|all| all.iter().filter(|one| one.seen.is_none()).cloned().collect::<Vec<_>>())
            .map(|one| (one.worker.id.clone(), one.worker))
            .collect();
        let kept =
            self.present.newest().filter(|one| is_wanted(one) && !changed.contains_key(&one.worker().id));
        let mut all: BTreeMap<_, _> = kept.map(|one| (one.key(), one.clone())).collect();
        let provider = &self.composition.provider;
        let seen: Vec<_> = stream::iter(changed.into_values())
            .map(|worker| async move { provider.get_worker_status(&worker).await })
            .buffer_unordered(self.options.parallelism.max(1))
            .try_collect()
            .await?;
        all.extend(seen.into_iter().filter_map(Instance::of).map(|one| (one.key(), one)));
        Ok(all.into_values().collect())
    }

    /// Brings one service up. Says whether anything was done.
    async fn service(&self, name: &str) -> Result<bool> {
        let renewed = self.await_dependencies(name).await?;
        let numbers = self.numbers(name);
        let surplus: Vec<&Instance> = self
            .present
            .0
            .iter()
            .filter(|((service, number), _)| service == name && !numbers.contains(number))
            .flat_map(|(_, generations)| generations)
            .collect();
        try_join_all(surplus.iter().map(|one| self.composition.remove(one, None, true))).await?;
        let all = try_join_all(numbers.iter().map(|number| self.instance(name, *number, renewed))).await?;
        let changed = !surplus.is_empty() || all.iter().any(|one| one.seen.is_none());
        let all = Arc::new(all);
        if let Some(progress) = self.progress.get(name) {
            progress.send_modify(|progress| progress.started = Some(Arc::clone(&all)));
        }
        Ok(changed)
    }

    /// Which numbers the service's workers have: those that there are, as far as they are wanted, and the lowest that are
    /// free.
    fn numbers(&self, service: &str) -> BTreeSet<usize> {
        let count = self.counts.get(service).copied().unwrap_or_default();
        let mut numbers: BTreeSet<usize> =
            self.present.of(service).map(|one| one.number).take(count).collect();
        let mut next = 1;
        while numbers.len() < count {
            numbers.insert(next);
            next += 1;
        }
        numbers
    }

    /// Waits until all are healthy whose health is found out, by the file's check or by their image's: what was just
    /// listed shows that. Those that have done their work by now are not waited for. Says whether any was waited for.
    async fn until_ready(&self, listed: &[Instance]) -> Result<bool> {
        let mut waits = Vec::new();
        for (name, progress) in &self.progress {
            let file_has_one = self.composition.blueprint(name)?.has_check;
            let checked = |one: &&Started| match &one.seen {
                Some(status) => status.health.is_some(),
                None if file_has_one => true,
                None => listed.iter().any(|listed| {
                    let status = &listed.status;
                    status.worker == one.worker
                        && status.phase == WorkerPhase::Running
                        && status.health.is_some()
                }),
            };
            let started = progress.borrow().started.clone().unwrap_or_default();
            let checked: Vec<_> = started.iter().filter(checked).cloned().collect();
            if !checked.is_empty() {
                let need = Need::Ready { job: self.is_job(name) };
                waits.push(async move { self.until(name, &checked, need).await });
            }
        }
        let waited = !waits.is_empty();
        try_join_all(waits).await?;
        Ok(waited)
    }

    /// Whether it is the work of the service's workers to end: another one waits for that.
    fn is_job(&self, service: &str) -> bool {
        let all = self.composition.project.services.values();
        all.filter_map(|other| other.depends_on.get(service))
            .any(|dependency| dependency.condition == DependencyCondition::ServiceCompletedSuccessfully)
    }

    /// Waits for what the service needs. Says whether one of those was made anew whose restart restarts this one.
    async fn await_dependencies(&self, name: &str) -> Result<bool> {
        let Some(service) = self.composition.project.services.get(name) else { return Ok(false) };
        let waits = service.depends_on.iter().map(|(other, dependency)| async move {
            let Some(progress) = self.progress.get(other) else { return Ok(false) };
            let mut progress = progress.subscribe();
            let started = progress.wait_for(|progress| progress.started.is_some()).await;
            let started = started.map(|progress| progress.started.clone()).ok().flatten().unwrap_or_default();
            match self.until(other, &started, Need::Dependency(dependency.condition)).await {
                Err(error) if !dependency.required && error.kind() == ErrorKind::Dependency => {
                    tracing::warn!(service = name, %error, "a service that is not required is not as it should be");
                }
                other => other?,
            }
            Ok::<_, Error>(dependency.restart && started.iter().any(|one| one.renewed))
        });
        Ok(try_join_all(waits).await?.into_iter().any(|renewed| renewed))
    }

    async fn until(&self, service: &str, all: &[Started], need: Need) -> Result<()> {
        let each = all.iter().map(|one| {
            self.watching.until(service, &one.worker, one.seen.as_ref(), one.before.as_ref(), need)
        });
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
        let shared = self.shared(service)?;
        let stale = self.options.force_recreate
            || newest.is_some_and(|one| one.shares() != Blueprint::shares_text(&shared))
            || newest.is_some_and(|one| self.has_older_image(one));
        let same = newest.filter(|one| one.hash() == blueprint.hash && !stale);
        if let Some(one) = same {
            if one.status.phase == WorkerPhase::Running && !renewed {
                return Ok(Started::kept(one));
            }
            if let Some(started) = self.start_again(one, renewed).await? {
                return Ok(started);
            }
        }
        let _room = self.room.acquire().await;
        let mut options = CreateOptions::default();
        if let Some(one) = newest {
            options.generation = one.status.worker.generation.next();
        }
        let config = blueprint.config(&self.composition.project.name, service, number, &shared)?;
        let provider = &self.composition.provider;
        // Before the old one goes: an image that is not there is no reason to have nothing.
        let handle = provider.create_worker(&config, &options).await?;
        if let Some(one) = newest {
            self.composition.remove(one, None, true).await?;
        }
        provider.start_worker(&handle.worker, &StartOptions::default()).await?;
        let (worker, native_id) = (handle.worker, handle.native_id);
        Ok(Started { worker, native_id, seen: None, before: None, renewed: true })
    }

    /// Whether the name of its image means another one by now.
    fn has_older_image(&self, one: &Instance) -> bool {
        let now = self.images.get(&one.service);
        now.is_some_and(|now| one.status.image_id.as_ref().is_some_and(|own| own != now))
    }

    /// Starts a worker that does not run, or runs it anew; `None` where it has to be made anew for that.
    async fn start_again(&self, one: &Instance, renewed: bool) -> Result<Option<Started>> {
        let status = &one.status;
        let provider = &self.composition.provider;
        match status.phase {
            WorkerPhase::Starting if !renewed => return Ok(Some(Started::again(one))),
            WorkerPhase::Paused => {
                let error = Error::new(ErrorKind::Conflict, format!("`{}` is paused", one.name()));
                return Err(error
                    .with_worker(one.worker())
                    .with_help("unpause it, or take the project down"));
            }
            WorkerPhase::Created
            | WorkerPhase::Exited
            | WorkerPhase::Running
            | WorkerPhase::Starting
            | WorkerPhase::Stopping => {}
            _ => return Ok(None),
        }
        let capabilities = provider.get_capabilities().await?;
        if status.run.is_some() && !capabilities.supports(hodei_worker_core::Capability::RestartInPlace) {
            return Ok(None);
        }
        let _room = self.room.acquire().await;
        if status.phase.is_alive() {
            provider.stop_worker(one.worker(), &StopOptions::default()).await?;
        }
        match provider.start_worker(one.worker(), &StartOptions::after(status.run.clone())).await {
            // Something that it needs is gone, or it is itself: one that is made anew finds it again.
            Err(error) if matches!(error.kind(), ErrorKind::Dependency | ErrorKind::NotFound) => Ok(None),
            other => other.map(|()| Some(Started::again(one))),
        }
    }

    /// The containers whose namespaces the service's workers share: the first of each service.
    fn shared(&self, service: &str) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for (other, _) in &self.composition.blueprint(service)?.shares {
            let started = self.progress.get(other).and_then(|progress| progress.borrow().started.clone());
            let first = started.and_then(|started| started.first().map(|one| one.native_id.clone()));
            let id = first.ok_or_else(|| {
                let message =
                    format!("`{service}` shares the namespaces of `{other}`, of which there is no worker");
                Error::new(ErrorKind::Dependency, message).with_context("service", service)
            })?;
            all.insert(other.clone(), id);
        }
        Ok(all)
    }
}
