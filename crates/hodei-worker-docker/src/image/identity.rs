//! Which image a name means on the engine.

use hodei_worker_core::{Result, WorkerConfig, provider::CreateOptions};

use crate::{DockerOptions, PullPolicy, provider::Shared};

impl Shared {
    /// The id of the image of which a worker would be made now; `None` if it is not there. One request, and a pull where
    /// one belongs to each creation.
    pub(crate) async fn image_id(&self, config: &WorkerConfig) -> Result<Option<String>> {
        let Some(image) = &config.image else { return Ok(None) };
        let typed = config.options::<DockerOptions>()?.unwrap_or_default();
        if typed.pull == PullPolicy::Always {
            if let Some(policy) = &self.settings.security {
                // Before anything is fetched.
                policy.apply(config, &mut typed.clone(), "")?;
            }
            self.pull_always(image, &CreateOptions::default()).await?;
        }
        Ok(self.inspect_image(image).await?.and_then(|seen| seen.id))
    }
}
