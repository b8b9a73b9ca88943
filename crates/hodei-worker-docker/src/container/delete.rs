use std::sync::Arc;

use bollard::query_parameters::RemoveContainerOptionsBuilder;
use hodei_worker_core::{Error, ErrorKind, Result, Retry, WorkerRef, model::labels, provider::DeleteOptions};

use crate::{error::status, memory::Facts, provider::Shared};

impl Shared {
    /// One request for a worker that is remembered; the engine kills it if it runs, and removes what is its alone.
    pub(crate) async fn delete(&self, worker: &WorkerRef, options: &DeleteOptions) -> Result<()> {
        let remembered = self.memory.of(worker);
        // Whoever has it waits for an answer of the engine, a start perhaps for long.
        let turn = tokio::time::timeout(self.engine.timeout(), remembered.turn()).await;
        let turn = turn.map_err(|_| {
            Error::new(ErrorKind::Timeout, "an earlier request about the worker is not answered yet")
                .with_retry(Retry::IfIdempotent)
        })?;
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
        if !options.keep_volumes {
            let volumes = match made {
                Some(made) => made.volumes.clone(),
                // An earlier attempt may have got no further than the container.
                None => {
                    let generation = worker.generation.to_string();
                    let wanted =
                        [(labels::WORKER, worker.id.as_str()), (labels::GENERATION, generation.as_str())];
                    self.own_volumes(wanted).await?
                }
            };
            for volume in volumes {
                self.remove_volume(&volume).await?;
            }
        }
        self.secrets.remove(worker).await?;
        remembered.know(Facts::default());
        drop((turn, remembered));
        self.memory.forget(worker);
        Ok(())
    }

    /// Whether there was something to remove.
    async fn remove(&self, id: &str) -> Result<bool> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.engine.patient().remove_container(id, Some(options)).await {
            Ok(()) => Ok(true),
            Err(error) => match status(&error) {
                Some(404) => Ok(false),
                // Somebody else is at it.
                Some(409) => self.wait_until_removed(id).await.map(|()| true),
                _ => Err(self.engine.error(error)),
            },
        }
    }
}
