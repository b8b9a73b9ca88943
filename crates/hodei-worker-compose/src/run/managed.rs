//! A project whose workers somebody else brings up: a manager.

use std::collections::{BTreeMap, BTreeSet};

use hodei_worker_core::{Result, WorkerConfig, WorkerProvider, model::ValidationRules};

use super::{composition::Composition, translate};
use crate::Project;

impl Composition {
    /// The configurations of all services' workers, for a manager: see [`Project::worker_configs`].
    ///
    /// # Errors
    /// As [`Project::worker_configs`].
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(composition: hodei_worker_compose::Composition) -> hodei_worker_core::Result<()> {
    /// for config in composition.worker_configs().await? {
    ///     println!("{}", config.worker_id);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn worker_configs(&self) -> Result<Vec<WorkerConfig>> {
        self.project.worker_configs(&*self.provider, &self.rules).await
    }
}

impl Project {
    /// The configurations of all enabled services' workers on this provider, each after those that it depends on, for a
    /// manager that creates and cares for them instead of [`Composition::up`]: it heals them, starts them again after a
    /// pause that grows, and remembers them.
    ///
    /// Of the project this holds there:
    /// - Volumes, networks, secrets and configs are made with the workers, as by `up`; the provider that the manager has
    ///   needs the project's [`ProjectCredentials`](crate::ProjectCredentials).
    /// - `restart` is the manager's: the engine restarts nothing. Without it a worker that ended stays so.
    /// - The workers have the same ids and labels as those of `up`, so that [`Composition::instances`],
    ///   [`Composition::logs`] and [`Composition::wait`] find them, and Docker's own tools do.
    ///
    /// This does not:
    /// - **Conditions of `depends_on`** are not waited for, and `restart: true` there restarts nothing: the order is all
    ///   that is left of it. A host that needs more waits by the manager before it hands over the next.
    /// - **Namespaces of another service** (`network_mode: service:…`, `pid`, `ipc`) are refused.
    /// - **A changed file or image** changes nothing by itself: remove the worker, and create it of its new configuration.
    /// - [`Composition::up`], [`Composition::scale`] and [`Composition::down`] must not be called on the same workers:
    ///   two would decide about them. The manager removes them, the last first.
    ///
    /// # Errors
    /// As [`Composition::with_rules`].
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_compose::{Project, ProjectOptions};
    /// # use hodei_worker_core::{Result, WorkerConfig, WorkerProvider, model::ValidationRules};
    /// // With the crate `hodei-worker`, `create` is `WorkerManager::create_worker`, and the rules are `hodei_worker::rules()`.
    /// async fn hand_over(
    ///     provider: &dyn WorkerProvider,
    ///     create: impl AsyncFn(&WorkerConfig) -> Result<()>,
    /// ) -> Result<()> {
    ///     let project = Project::load(&ProjectOptions::from_environment())?;
    ///     for config in project.worker_configs(provider, &ValidationRules::default()).await? {
    ///         create(&config).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn worker_configs(
        &self,
        provider: &dyn WorkerProvider,
        rules: &ValidationRules,
    ) -> Result<Vec<WorkerConfig>> {
        let blueprints = translate::all_for(self, provider, rules, true).await?;
        let mut all = Vec::new();
        for name in self.in_order() {
            let Some(blueprint) = blueprints.get(name) else { continue };
            for number in 1..=blueprint.replicas {
                all.push(blueprint.config(&self.name, name, number, &BTreeMap::new())?);
            }
        }
        Ok(all)
    }

    /// The enabled services, each after those that it depends on.
    fn in_order(&self) -> Vec<&str> {
        let mut left: BTreeSet<&str> = self.services.keys().map(String::as_str).collect();
        let mut all = Vec::new();
        while !left.is_empty() {
            let waits = |name: &&str| {
                let service = self.services.get(*name);
                service.is_some_and(|one| one.depends_on.keys().any(|other| left.contains(other.as_str())))
            };
            let mut free: Vec<&str> = left.iter().copied().filter(|name| !waits(name)).collect();
            if free.is_empty() {
                // The reader refuses cycles.
                free = left.iter().copied().collect();
            }
            left.retain(|name| !free.contains(name));
            all.extend(free);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProjectOptions;

    #[test]
    fn d10_services_follow_those_that_they_depend_on() {
        let text = "
services:
  a: {image: i, depends_on: [z, m]}
  m: {image: i, depends_on: [z]}
  z: {image: i}
  b: {image: i}
  never: {image: i, profiles: [other]}
";
        let project = Project::parse(text, &ProjectOptions::new().project_name("p")).unwrap();
        assert_eq!(project.in_order(), ["b", "z", "m", "a"]);
    }
}
