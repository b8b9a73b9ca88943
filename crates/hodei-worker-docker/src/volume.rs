//! Named volumes: those that are ours go with the last worker that uses them, others' never.

use bollard::models::{Volume, VolumeCreateRequest, VolumeListResponse};
use hodei_worker_core::{Result, model::Ownership};
use http::Method;

use crate::{
    VolumeOptions,
    client::{self, Answer, query},
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

    /// Whether the engine has a volume of that name, whosever it is.
    pub(crate) async fn has_volume(&self, name: &str) -> Result<bool> {
        match self.engine.get::<Volume>(&format!("/volumes/{}", client::segment(name)), "").await {
            Ok(_) => Ok(true),
            Err(error) if status(&error) == Some(404) => Ok(false),
            Err(error) => Err(self.engine.error(error)),
        }
    }

    /// Makes a volume that does not exist yet, and says whether it did not: then its owner is set.
    pub(crate) async fn is_to_be_given(
        &self,
        name: &str,
        definition: &VolumeOptions,
        ownership: &Ownership,
        attempt: &str,
    ) -> Result<bool> {
        let mut labels = definition.labels.clone();
        labels.extend(ownership.to_labels());
        labels.insert(names::ATTEMPT.to_owned(), attempt.to_owned());
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            driver: definition.driver.clone(),
            driver_opts: Some(definition.driver_options.clone().into_iter().collect()),
            labels: Some(labels.into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        let body = client::body(&request).map_err(|error| self.engine.error(error.into()))?;
        let made: EngineResult<Answer<Volume>> =
            self.engine.call(Method::POST, "/volumes/create", "", Some(body)).await;
        let made = made.map_err(|error| self.engine.error(error))?.value;
        // Only the one that was made just now: whose another is, others have decided.
        Ok(made.labels.get(names::ATTEMPT).is_some_and(|made| made == attempt))
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
