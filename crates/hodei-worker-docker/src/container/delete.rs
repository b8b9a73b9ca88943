use std::sync::Arc;

use bollard::query_parameters::RemoveContainerOptionsBuilder;
use hodei_worker_core::{Result, WorkerRef, model::labels, provider::DeleteOptions};

use crate::{error::status, memory::Facts, provider::Shared};

impl Shared {
    /// One request for a worker that is remembered; the engine kills it if it runs, and removes what is its alone.
    pub(crate) async fn delete(&self, worker: &WorkerRef, options: &DeleteOptions) -> Result<()> {
        let known = match self.memory.known(worker) {
            Some(Facts { id: Some(id), made: Some(made), .. }) => Some((id, made)),
            _ => self.find(worker).await?.map(|found| (Arc::clone(&found.id), Arc::new(found.made()))),
        };
        match &known {
            Some((id, made)) => {
                self.remove(id).await?;
                if !options.keep_volumes {
                    for volume in &made.volumes {
                        self.remove_volume(volume).await?;
                    }
                }
            }
            // An earlier attempt may have got no further than the container.
            None if !options.keep_volumes => {
                let generation = worker.generation.to_string();
                let wanted =
                    [(labels::WORKER, worker.id.as_str()), (labels::GENERATION, generation.as_str())];
                for volume in self.own_volumes(wanted).await? {
                    self.remove_volume(&volume).await?;
                }
            }
            None => {}
        }
        self.secrets.remove(worker).await?;
        self.memory.forget(worker);
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.engine.patient().remove_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) => match status(&error) {
                Some(404) => Ok(()),
                // Somebody else is at it.
                Some(409) => self.wait_until_removed(id).await,
                _ => Err(self.engine.error(error)),
            },
        }
    }
}
