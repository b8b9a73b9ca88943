use std::{sync::Arc, time::Duration};

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerSummary, RestartPolicyNameEnum};
use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp, WorkerRef, WorkerStatus,
    model::{NetworkAttachment, Ownership, labels},
    quantity::HumanDuration,
};
use http::Method;

use super::unmarked::Unmarked;
use crate::{
    client::{Answer, query},
    error,
    memory::Made,
    names,
    provider::Shared,
    status,
};

/// A container that is the worker's, checked by its labels.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) id: Arc<str>,
    pub(crate) ownership: Ownership,
    pub(crate) inspected: ContainerInspectResponse,
    /// The engine's clock when it was looked at, in whole seconds.
    pub(crate) date: Option<Timestamp>,
}

impl Found {
    pub(crate) fn state(&self) -> ContainerState {
        self.inspected.state.clone().unwrap_or_default()
    }
    pub(crate) fn is_alive(&self) -> bool {
        self.inspected.state.as_ref().is_some_and(status::is_alive)
    }

    /// The networks that it is to be on, where it is on several.
    pub(crate) fn wanted_networks(&self) -> Vec<NetworkAttachment> {
        let text = names::labels_of(&self.inspected).and_then(|all| all.get(names::NETWORKS));
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
    /// The networks that it is on.
    pub(crate) fn networks(&self) -> Vec<String> {
        let networks = self.inspected.network_settings.as_ref().and_then(|all| all.networks.as_ref());
        networks.map(|all| all.keys().cloned().collect()).unwrap_or_default()
    }

    /// What it was made with, read back from it.
    pub(crate) fn made(&self) -> Made {
        let labels = names::labels_of(&self.inspected);
        let label = |name: &str| labels.and_then(|all| all.get(name));
        let host = self.inspected.host_config.as_ref();
        let restart = host.and_then(|host| host.restart_policy.as_ref()?.name);
        let volumes = self.inspected.mounts.iter().flatten();
        let volumes = volumes.filter(|mount| mount.typ.as_deref() == Some("volume"));
        let external: Vec<String> =
            label(names::EXTERNAL).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Made {
            secrets: label(names::SECRETS)
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
            user: self.inspected.config.as_ref().and_then(|config| config.user.clone()),
            stop_grace: label(names::STOP_GRACE)
                .and_then(|text| text.parse::<HumanDuration>().ok())
                .map(Duration::from),
            volumes: volumes
                .filter_map(|mount| mount.name.clone())
                .filter(|name| !external.contains(name))
                .collect(),
            networks: self.networks().into_iter().filter(|name| !external.contains(name)).collect(),
            log_driver: host.and_then(|host| host.log_config.as_ref()?.typ.clone()).unwrap_or_default(),
            native_restart: !matches!(
                restart,
                None | Some(RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO)
            ),
        }
    }
}

impl Shared {
    /// A container by its id or name, if the engine has it, whosever it is.
    pub(crate) async fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>> {
        Ok(self.inspect_at(id).await?.map(|answer| answer.value))
    }

    pub(crate) async fn inspect_at(&self, id: &str) -> Result<Option<Answer<ContainerInspectResponse>>> {
        match self.engine.call(Method::GET, &format!("/containers/{id}/json"), "", None).await {
            Ok(inspected) => Ok(Some(inspected)),
            Err(error) if error::status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.engine.error(error)),
        }
    }

    async fn inspect_ours(&self, worker: &WorkerRef, id: &str) -> Result<Option<Found>> {
        let Some(answer) = self.inspect_at(id).await? else { return Ok(None) };
        let found = self.ours(worker, answer.value);
        Ok(found.map(|found| Found { date: answer.date, ..found }))
    }

    /// The container, if it is this worker's.
    pub(crate) fn ours(&self, worker: &WorkerRef, inspected: ContainerInspectResponse) -> Option<Found> {
        let ownership = names::ownership(self.installation(), names::labels_of(&inspected))?;
        let id = inspected.id.as_deref().map(Arc::from)?;
        (ownership.worker == *worker).then_some(Found { id, ownership, inspected, date: None })
    }

    /// The worker's container, and takes note of it. By id if that is remembered, else by name, else by labels, since
    /// anybody may rename a container.
    pub(crate) async fn find(&self, worker: &WorkerRef) -> Result<Option<Found>> {
        let known = self.memory.known(worker).and_then(|facts| facts.id);
        if let Some(id) = known
            && let Some(found) = self.inspect_ours(worker, &id).await?
        {
            self.memory.of(worker).found(&found.id, Arc::new(found.made()));
            return Ok(Some(found));
        }
        let name = names::container(self.installation(), worker);
        let named = self.inspect_ours(worker, &name).await?;
        let found = match named {
            Some(found) => Some(found),
            None => Box::pin(self.find_by_labels(worker)).await?,
        };
        match &found {
            Some(found) => self.memory.of(worker).found(&found.id, Arc::new(found.made())),
            None => self.memory.forget(worker),
        }
        Ok(found)
    }

    /// All containers of this installation with these labels, whether they run or not.
    pub(crate) async fn list_containers<'a>(
        &self,
        wanted: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<ContainerSummary>> {
        let labels = names::label_filter(self.installation(), wanted);
        self.list_filtered(serde_json::json!({"label": labels})).await
    }

    /// All containers that an engine's filter lets through, whosever they are.
    pub(crate) async fn list_filtered(&self, filters: serde_json::Value) -> Result<Vec<ContainerSummary>> {
        let query = query(&[("all", "true"), ("filters", &filters.to_string())]);
        let listed = self.engine.get("/containers/json", &query).await;
        listed.map_err(|error| self.engine.error(error))
    }

    async fn find_by_labels(&self, worker: &WorkerRef) -> Result<Option<Found>> {
        let generation = worker.generation.to_string();
        let wanted = [(labels::WORKER, worker.id.as_str()), (labels::GENERATION, generation.as_str())];
        for summary in self.list_containers(wanted).await? {
            let Some(id) = summary.id else { continue };
            if let Some(found) = self.inspect_ours(worker, &id).await?
                && !Box::pin(self.is_copy(worker, &found.inspected)).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Whether a container that carries a worker's labels has them from its image: `docker commit` copies them, and what
    /// somebody runs from that is not ours. Asked of those alone that have neither the worker's name nor an id that is
    /// remembered.
    pub(crate) async fn is_copy(
        &self,
        worker: &WorkerRef,
        inspected: &ContainerInspectResponse,
    ) -> Result<bool> {
        let name = inspected.name.as_deref().unwrap_or_default().trim_start_matches('/');
        let known = self.memory.known(worker).and_then(|facts| facts.id);
        if name == names::container(self.installation(), worker)
            || (known.is_some() && known.as_deref() == inspected.id.as_deref())
        {
            return Ok(false);
        }
        let Some(image) = &inspected.image else { return Ok(true) };
        match self.image_at(image, "").await {
            Ok(image) => {
                let labels = image.config.as_ref().and_then(|config| config.labels.as_ref());
                let made = names::ownership(self.installation(), labels);
                Ok(made.is_some_and(|ownership| ownership.worker == *worker))
            }
            // It cannot be told any more: left alone.
            Err(error) if error::status(&error) == Some(404) => Ok(true),
            Err(error) => Err(self.engine.error(error)),
        }
    }

    /// The worker's container, or the error that there is none.
    pub(crate) async fn find_or_fail(&self, worker: &WorkerRef) -> Result<Found> {
        self.find(worker).await?.ok_or_else(|| Error::worker_not_found(worker))
    }

    /// The id of the worker's container, without a request if it is remembered.
    pub(crate) async fn id_of(&self, worker: &WorkerRef) -> Result<Arc<str>> {
        if let Some(id) = self.memory.known(worker).and_then(|facts| facts.id) {
            return Ok(id);
        }
        Ok(self.find_or_fail(worker).await?.id)
    }

    /// The id of the container that stands in the place of one that is not there any more.
    pub(crate) async fn successor_of(&self, worker: &WorkerRef, gone: &str) -> Result<Arc<str>> {
        self.memory.forget(worker);
        let found = self.find_or_fail(worker).await?;
        if *found.id == *gone {
            return Err(Error::worker_not_found(worker));
        }
        Ok(found.id)
    }

    pub(crate) async fn read_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        let mut unmarked = Unmarked::default();
        let (reading, found) = loop {
            let reading = self.hub.reading();
            match self.find(worker).await? {
                Some(found) if unmarked.look_again(&found.inspected, found.date).await => {}
                found => break (reading, found),
            }
        };
        let now = self.context.clock.now();
        let Some(found) = found else { return Ok(WorkerStatus::absent(worker, now)) };
        let status = self.view.status(&found.inspected, now);
        status.map(|status| self.hub.saw(&reading, status)).ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "the engine's answer makes no sense").with_worker(worker)
        })
    }
}
