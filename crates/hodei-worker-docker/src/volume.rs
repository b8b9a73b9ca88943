//! Named volumes: those that are ours go with the last worker that uses them, others' never.

use bollard::models::{Volume, VolumeListResponse};
use hodei_worker_core::Result;
use http::Method;

use crate::{
    client::query,
    error::{EngineResult, status},
    names,
    provider::Shared,
};

impl Shared {
    /// The names of this installation's volumes with these labels.
    pub(crate) async fn own_volumes<'a>(
        &self,
        wanted: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<String>> {
        let filters = serde_json::json!({"label": names::label_filter(self.installation(), wanted)});
        let query = query(&[("filters", &filters.to_string())]);
        let listed: EngineResult<VolumeListResponse> = self.engine.get("/volumes", &query).await;
        let volumes = listed.map_err(|error| self.engine.error(error))?.volumes.unwrap_or_default();
        Ok(volumes.into_iter().map(|volume| volume.name).collect())
    }

    /// Removes a volume if it is ours and nobody uses it.
    pub(crate) async fn remove_volume(&self, name: &str) -> Result<()> {
        self.remove_volume_if(name, |_| true).await
    }

    /// Removes a volume that this attempt has made: any other was kept on purpose.
    pub(crate) async fn remove_new_volume(&self, name: &str, attempt: &str) -> Result<()> {
        self.remove_volume_if(name, |volume| {
            volume.labels.get(names::ATTEMPT).is_some_and(|made| made == attempt)
        })
        .await
    }

    async fn remove_volume_if(&self, name: &str, is_it: impl FnOnce(&Volume) -> bool) -> Result<()> {
        let path = format!("/volumes/{name}");
        let volume: Volume = match self.engine.get(&path, "").await {
            Ok(volume) => volume,
            Err(error) if status(&error) == Some(404) => return Ok(()),
            Err(error) => return Err(self.engine.error(error)),
        };
        match names::ownership(self.installation(), Some(&volume.labels)) {
            Some(_) if is_it(&volume) => {}
            _ => return Ok(()),
        }
        match self.engine.command(Method::DELETE, &path, "").await {
            // 409: another container uses it.
            Err(error) if !matches!(status(&error), Some(404 | 409)) => Err(self.engine.error(error)),
            _ => Ok(()),
        }
    }
}
