use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, stream::BoxStream};
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerProvider, WorkerProviderExt as _,
    model::ValidationRules,
    provider::{LogItem, LogOptions},
};

use super::{
    instance::{Instance, Present},
    translate::{self, Blueprint},
};
use crate::Project;

/// A project on a provider: a group of ordinary workers, one for each container that `docker compose` would make.
///
/// Everything that it needs to know between two calls stands in the workers' labels, so that any host can go on with a
/// project that another has brought up. One host at a time changes a project.
///
/// # Examples
/// ```no_run
/// use std::sync::Arc;
/// use hodei_worker_compose::{Composition, DownOptions, Project, ProjectOptions, UpOptions};
/// use hodei_worker_core::WorkerProvider;
/// # async fn example(provider: Arc<dyn WorkerProvider>) -> hodei_worker_core::Result<()> {
/// let project = Project::load(&ProjectOptions::from_environment().file("compose.yaml"))?;
/// let composition = Composition::new(project, provider).await?;
/// for instance in composition.up(&UpOptions::default()).await? {
///     println!("{} is {}", instance.name(), instance.status.phase);
/// }
/// composition.down(&DownOptions::default()).await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Composition {
    pub(super) project: Arc<Project>,
    pub(super) provider: Arc<dyn WorkerProvider>,
    pub(super) blueprints: Arc<BTreeMap<String, Blueprint>>,
    pub(super) rules: Arc<ValidationRules>,
}

impl Composition {
    /// Makes the project's services fit for this provider. The engine itself restarts workers, where it can.
    ///
    /// What only a newer engine knows than the one that is there is not told here but by [`Composition::up`], when the
    /// first worker is to be made that needs it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with everything that cannot be run there: field, file and line of each;
    /// [`ErrorKind::Unavailable`] when the provider's capabilities are not known and it does not answer.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// See [`Composition`].
    pub async fn new(project: Project, provider: Arc<dyn WorkerProvider>) -> Result<Self> {
        Self::with_rules(project, provider, &ValidationRules::default()).await
    }

    /// The same, with the host's own rules for configurations. With those that know the providers' options, what is wrong
    /// with one is told here, and not when half of the project is up.
    ///
    /// # Errors
    /// As [`Composition::new`].
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// See [`Composition`]; the crate `hodei-worker` has such rules: `hodei_worker::rules()`.
    pub async fn with_rules(
        project: Project,
        provider: Arc<dyn WorkerProvider>,
        rules: &ValidationRules,
    ) -> Result<Self> {
        let blueprints = translate::all_for(&project, &*provider, rules, false).await?;
        let (project, blueprints, rules) = (Arc::new(project), Arc::new(blueprints), Arc::new(rules.clone()));
        Ok(Self { project, provider, blueprints, rules })
    }

    /// The project.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// The workers that exist, by service and number.
    ///
    /// # Errors
    /// Any failure to see all of them.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(composition: hodei_worker_compose::Composition) -> hodei_worker_core::Result<()> {
    /// for instance in composition.instances().await? {
    ///     println!("{}: {}", instance.name(), instance.status.phase);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn instances(&self) -> Result<Vec<Instance>> {
        let present = Present::list(&*self.provider, &self.project.name).await?;
        Ok(present.newest().cloned().collect())
    }

    /// The output of these services' workers as it comes, interleaved; of all services where none is named. Workers that
    /// come up later are not among them.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a service that the project does not have; what the provider's logs have.
    ///
    /// # Cancel safety
    /// Reads only. Dropping the stream ends it.
    ///
    /// # Examples
    /// ```no_run
    /// # use hodei_worker_core::provider::LogOptions;
    /// # async fn example(composition: hodei_worker_compose::Composition) -> hodei_worker_core::Result<()> {
    /// use futures::StreamExt as _;
    /// let mut logs = composition.logs(&["web"], &LogOptions::following()).await?;
    /// while let Some((instance, item)) = logs.next().await {
    ///     if let Some(line) = item?.chunk() {
    ///         println!("{} | {}", instance.name(), line.text());
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn logs(
        &self,
        services: &[&str],
        options: &LogOptions,
    ) -> Result<BoxStream<'static, (Arc<Instance>, Result<LogItem>)>> {
        for service in services {
            self.blueprint(service)?;
        }
        let present = Present::list(&*self.provider, &self.project.name).await?;
        let wanted = present.newest().filter(|one| {
            if services.is_empty() {
                self.shows(&one.service)
            } else {
                services.contains(&one.service.as_str())
            }
        });
        let mut all = Vec::new();
        for instance in wanted {
            let instance = Arc::new(instance.clone());
            let lines = self.provider.worker_logs(instance.worker(), options).await?;
            all.push(lines.map(move |line| (Arc::clone(&instance), line)));
        }
        Ok(futures::stream::select_all(all).boxed())
    }

    /// Waits until none of the workers runs that exist now.
    ///
    /// # Errors
    /// What the provider's list and watch have.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(composition: hodei_worker_compose::Composition) -> hodei_worker_core::Result<()> {
    /// composition.up(&Default::default()).await?;
    /// composition.wait().await?; // they have done their work
    /// composition.down(&Default::default()).await
    /// # }
    /// ```
    pub async fn wait(&self) -> Result<()> {
        // What was made and never started has nothing to wait for.
        for instance in self.instances().await?.into_iter().filter(|one| one.status.run.is_some()) {
            self.provider.wait_for_exit(instance.worker()).await?;
        }
        Ok(())
    }

    /// Whether a service's output is shown where none is named.
    fn shows(&self, service: &str) -> bool {
        self.project.services.get(service).is_some_and(|service| service.attach != Some(false))
    }

    pub(super) fn blueprint(&self, service: &str) -> Result<&Blueprint> {
        self.blueprints.get(service).ok_or_else(|| {
            let error = Error::new(ErrorKind::NotFound, format!("the project has no service `{service}`"));
            let known = self.blueprints.keys().map(String::as_str).collect::<Vec<_>>();
            if self.project.disabled_services.contains_key(service) {
                return error.with_help("it is in profiles of which none is enabled");
            }
            error.with_help(format!("there are {}", known.join(", ")))
        })
    }
}
