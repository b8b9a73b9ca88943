//! Which image a name means on the engine.

use hodei_worker_core::{Result, WorkerConfig, provider::CreateOptions};

use super::look::Wanted;
use crate::{DockerOptions, PullPolicy, provider::Shared};

impl Shared {
    /// The id of the image of which a worker would be made now; `None` if it is not there. One request, and a pull where
    /// one belongs to each creation.
    pub(crate) async fn image_id(&self, config: &WorkerConfig) -> Result<Option<String>> {
        let Some(image) = &config.image else { return Ok(None) };
        let typed = config.options::<DockerOptions>()?.unwrap_or_default();
        let wanted = Wanted { image, platform: typed.platform.as_deref() };
        if typed.pull == PullPolicy::Always {
            if let Some(policy) = &self.settings.security {
                // Before anything is fetched.
                policy.apply(config, &mut typed.clone(), "")?;
            }
            self.pull_always(wanted, &CreateOptions::default()).await?;
        }
        // A worker that is made next is of this one.
        Ok(self.look_anew(wanted).await?.and_then(|seen| seen.id.clone()))
    }
}
