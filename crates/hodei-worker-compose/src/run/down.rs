use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::try_join_all;
use hodei_worker_core::{
    ErrorKind, Result, WorkerRef,
    provider::{CreateOptions, DeleteOptions, StopOptions},
};

use super::{
    composition::Composition,
    instance::{Instance, Present},
    options::DownOptions,
    translate,
};

impl Composition {
    /// Stops and removes the project's workers, those first on which no other depends, and the networks that nobody
    /// uses any more.
    ///
    /// With volumes also those go that an earlier call has left, but for those that only images declare: they go with
    /// the workers that mount them. What a plain `down` has left of these stays until an `up` and a `down` with volumes.
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
            if options.remove_orphans || self.knows(&instance.service) {
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
        if options.volumes { self.remove_volumes().await } else { Ok(()) }
    }

    /// Whether the project has the service, enabled or not.
    pub(super) fn knows(&self, service: &str) -> bool {
        self.project.services.contains_key(service) || self.project.disabled_services.contains_key(service)
    }

    /// Removes the project's volumes that workers have left which are gone: by a worker that mounts all of them, never
    /// runs, and takes along what is its own.
    async fn remove_volumes(&self) -> Result<()> {
        let Some(config) = translate::volumes_alone(&self.project, &self.blueprints)? else { return Ok(()) };
        // One that a call left which was cut off, of an older file perhaps.
        let left = WorkerRef::first(config.worker_id.clone());
        self.provider.delete_worker(&left, &DeleteOptions::default()).await?;
        match self.provider.create_worker(&config, &CreateOptions::default()).await {
            Ok(handle) => self.provider.delete_worker(&handle.worker, &DeleteOptions::default()).await,
            // No image to make it of, so no worker of it was here.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => {
                tracing::warn!(%error, "volumes of the project may be left");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn remove(
        &self,
        instance: &Instance,
        grace: Option<Duration>,
        keep_volumes: bool,
    ) -> Result<()> {
        let stop = grace.map_or_else(StopOptions::default, StopOptions::within);
        if instance.status.phase.is_alive() {
            self.provider.stop_worker(instance.worker(), &stop).await?;
        }
        let mut delete = DeleteOptions::default();
        delete.keep_volumes = keep_volumes;
        self.provider.delete_worker(instance.worker(), &delete).await
    }
}
