use std::sync::Arc;

use bollard::query_parameters::RemoveContainerOptionsBuilder;
use hodei_worker_core::{Error, ErrorKind, Result, Retry, WorkerRef, model::labels, provider::DeleteOptions};

use crate::{backoff::Backoff, error::status, memory::Facts, names, provider::Shared};

/// Attempts to remove a container that somebody else is removing, before we give up.
const ATTEMPTS: usize = 4;

impl Shared {
    /// One request for a worker that is remembered; the engine kills it if it runs, and removes what is its alone.
    ///
    /// Goes on when its caller is dropped: who hears from the watch that the container is gone may not wait for the rest
    /// of it, and would never ask again.
    pub(crate) async fn delete(self: &Arc<Self>, worker: &WorkerRef, options: &DeleteOptions) -> Result<()> {
        let (shared, worker, options) = (Arc::clone(self), worker.clone(), options.clone());
        super::answered(tokio::spawn(async move { shared.delete_all(&worker, &options).await })).await
    }

    async fn delete_all(&self, worker: &WorkerRef, options: &DeleteOptions) -> Result<()> {
        let remembered = self.memory.of(worker);
        let turn = self.turn_in_time(&remembered).await?;
        let Facts { id, made, .. } = remembered.facts().clone();
        let removed = match &id {
            Some(id) => self.remove(id).await?,
            None => false,
        };
        let made = if removed {
            made
        } else {
            // Not remembered, or another one has taken its place.
            remembered.know(Facts::default());
            match self.find(worker).await? {
                Some(found) => {
                    self.remove(&found.id).await?;
                    Some(Arc::new(found.made()))
                }
                None => made,
            }
        };
        let (volumes, networks) = match made {
            Some(made) => (made.volumes.clone(), made.networks.clone()),
            // An earlier attempt may have got no further than the container. What another worker has made is not found
            // so: it goes with that one, or with the next that uses it.
            None => {
                let generation = worker.generation.to_string();
                let wanted =
                    [(labels::WORKER, worker.id.as_str()), (labels::GENERATION, generation.as_str())];
                (self.own_volumes(wanted).await?, self.own_networks(wanted).await?)
            }
        };
        // Those of secrets are never kept.
        let secrets = names::secret_volumes(self.installation(), worker);
        self.remove_helpers_of(worker, &volumes).await?;
        for volume in volumes.iter().filter(|name| !options.keep_volumes || name.starts_with(&secrets)) {
            self.remove_volume(volume).await?;
        }
        self.secrets.remove(worker).await?;
        remembered.know(Facts::default());
        drop((turn, remembered));
        // Without the turn: whoever makes a container on a network has that, and waits for a turn.
        for network in networks {
            self.remove_network(&network).await?;
        }
        self.memory.forget(worker);
        Ok(())
    }

    /// Whether there was something to remove.
    pub(super) async fn remove(&self, id: &str) -> Result<bool> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let mut busy = None;
        let mut backoff = Backoff::default();
        for _ in 0..ATTEMPTS {
            match self.engine.patient().remove_container(id, Some(options.clone())).await {
                Ok(()) => return Ok(true),
                Err(error) => match status(&error) {
                    Some(404) => return Ok(busy.is_some()),
                    // Somebody else is at it. Whether it came off, the answer to who waits does not tell.
                    Some(409) => busy = Some(error),
                    _ => return Err(self.engine.error(error)),
                },
            }
            self.wait_until_removed(id).await?;
            tokio::time::sleep(backoff.next()).await;
        }
        let error = Error::new(
            ErrorKind::Unexpected,
            "the engine is removing the container and does not get it done",
        );
        let error = error.with_retry(Retry::IfIdempotent);
        Err(match busy {
            Some(busy) => error.with_source(busy),
            None => error,
        })
    }
}
