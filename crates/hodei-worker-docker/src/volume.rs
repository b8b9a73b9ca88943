//! Named volumes: those that are ours go with the last worker that uses them, others' never.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use bollard::models::{Volume, VolumeCreateRequest, VolumeListResponse};
use hodei_worker_core::{Error, ErrorKind, Result, model::Ownership};
use http::Method;

use crate::{
    Owner, VolumeOptions,
    client::{self, Answer, query},
    error::{EngineResult, status},
    names,
    network::is_same_driver,
    provider::Shared,
};

/// How a volume is made that is to be somebody's.
pub(crate) struct Making<'a> {
    pub(crate) definition: &'a VolumeOptions,
    pub(crate) owner: Owner,
    pub(crate) ownership: &'a Ownership,
    pub(crate) attempt: &'a str,
}

/// To whom a volume is to be given, and the attempt that made it.
pub(crate) struct Given {
    pub(crate) owner: Owner,
    pub(crate) making: String,
}

/// The volumes of which it is known that they were given, by the attempts that made them.
#[derive(Debug, Default)]
pub(crate) struct GivenVolumes(Mutex<HashSet<String>>);

impl GivenVolumes {
    /// So many are remembered. Of any other one it is found out again.
    const REMEMBERED: usize = 4096;

    fn knows(&self, making: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(making)
    }
    pub(crate) fn note(&self, making: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= Self::REMEMBERED {
            all.clear();
        }
        all.insert(making);
    }
}

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

    /// A volume by its name, whosever it is.
    pub(crate) async fn volume(&self, name: &str) -> Result<Option<Volume>> {
        match self.engine.get::<Volume>(&format!("/volumes/{}", client::segment(name)), "").await {
            Ok(found) => Ok(Some(found)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.engine.error(error)),
        }
    }

    /// Refuses a volume that exists and is not what its definition says: an engine would take it without a word.
    pub(crate) async fn check_volume(&self, n: usize, name: &str, definition: &VolumeOptions) -> Result<()> {
        if definition.driver.is_none() && definition.driver_options.is_empty() {
            return Ok(());
        }
        let Some(found) = self.volume(name).await? else { return Ok(()) };
        let differences = differences(&found, definition);
        if differences.is_empty() {
            return Ok(());
        }
        let message = format!("the volume `{name}` exists and is made otherwise: {}", differences.join(", "));
        Err(Error::new(ErrorKind::Conflict, message).with_context("field", format!("mounts[{n}]")).with_help(
            "give it another name, or remove it if nobody needs what is in it; to use it as it is, say nothing of its \
             driver",
        ))
    }

    /// Makes a volume that does not exist yet, and says to whom it is to be given, if to anybody.
    ///
    /// One that exists is given if it was made for that and never was, since its maker died in between: then it is as
    /// the engine makes volumes, root's and empty. Whose any other one is, others have decided.
    pub(crate) async fn to_be_given(
        &self,
        name: &str,
        wanted: Making<'_>,
        image: &str,
    ) -> Result<Option<Given>> {
        let Making { definition, owner, ownership, attempt } = wanted;
        let mut labels = definition.labels.clone();
        labels.extend(ownership.to_labels());
        labels.insert(names::ATTEMPT.to_owned(), attempt.to_owned());
        labels.insert(names::OWNER.to_owned(), owner.to_label());
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
        let Some(making) = made.labels.get(names::ATTEMPT) else { return Ok(None) };
        if making == attempt {
            return Ok(Some(Given { owner, making: making.clone() }));
        }
        let ours = names::ownership(self.installation(), Some(&made.labels)).is_some();
        let intended = made.labels.get(names::OWNER).and_then(|text| Owner::from_label(text));
        let Some(owner) = intended.filter(|_| ours && !self.given.knows(making)) else { return Ok(None) };
        if self.is_untouched(&ownership.worker, image, name).await? {
            return Ok(Some(Given { owner, making: making.clone() }));
        }
        self.given.note(making.clone());
        Ok(None)
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

/// How a volume differs from its definition, in words for a person. Of a volume an engine adds no options by itself, so
/// that all count where any are named.
fn differences(found: &Volume, definition: &VolumeOptions) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(wanted) = &definition.driver
        && !is_same_driver(&found.driver, wanted)
    {
        all.push(format!("its driver is `{}`, not `{wanted}`", found.driver));
    }
    if definition.driver_options.is_empty() {
        return all;
    }
    for (name, wanted) in &definition.driver_options {
        match found.options.get(name) {
            Some(there) if there == wanted => {}
            // Some hold passwords.
            Some(_) => all.push(format!("its driver option `{name}` has another value")),
            None => all.push(format!("it does not have the driver option `{name}`")),
        }
    }
    let mut more: Vec<_> =
        found.options.keys().filter(|name| !definition.driver_options.contains_key(*name)).collect();
    more.sort();
    all.extend(more.into_iter().map(|name| format!("it has the driver option `{name}`")));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d3_a_volume_is_compared_in_what_its_definition_names() {
        let value = serde_json::json!({
            "Name": "data", "Driver": "local", "Mountpoint": "/x", "Scope": "local", "Labels": null,
            "Options": {"type": "tmpfs", "o": "size=1m"},
        });
        let found: Volume = serde_json::from_value(value).unwrap();
        let told = |driver: Option<&str>, options: &[(&str, &str)]| {
            let driver_options =
                options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let driver = driver.map(str::to_owned);
            differences(&found, &VolumeOptions { driver, driver_options, ..VolumeOptions::default() })
        };
        assert_eq!(told(None, &[]), [""; 0]);
        assert_eq!(told(Some("local"), &[("o", "size=1m"), ("type", "tmpfs")]), [""; 0]);
        assert_eq!(told(Some("nfs"), &[]), ["its driver is `local`, not `nfs`"]);
        assert_eq!(
            told(None, &[("o", "size=2m"), ("device", "tmpfs")]),
            [
                "it does not have the driver option `device`",
                "its driver option `o` has another value",
                "it has the driver option `type`",
            ]
        );
    }
}
