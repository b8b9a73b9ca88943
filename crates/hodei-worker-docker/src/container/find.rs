use std::{sync::Arc, time::Duration};

use bollard::{
    models::{ContainerInspectResponse, ContainerState, RestartPolicyNameEnum},
    query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder},
};
use hodei_worker_core::{
    Error, ErrorKind, Result, WorkerRef, WorkerStatus,
    model::{Ownership, labels},
    quantity::HumanDuration,
};
use std::collections::HashMap;

use crate::{error, memory::Made, names, provider::Shared, status};

/// A container that is the worker's, checked by its labels.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) id: Arc<str>,
    pub(crate) ownership: Ownership,
    pub(crate) inspected: ContainerInspectResponse,
}

impl Found {
    pub(crate) fn state(&self) -> ContainerState {
        self.inspected.state.clone().unwrap_or_default()
    }
    pub(crate) fn is_alive(&self) -> bool {
        self.inspected.state.as_ref().is_some_and(status::is_alive)
    }

    /// What it was made with, read back from it.
    pub(crate) fn made(&self) -> Made {
        let labels = names::labels_of(&self.inspected);
        let label = |name: &str| labels.and_then(|all| all.get(name));
        let host = self.inspected.host_config.as_ref();
        let restart = host.and_then(|host| host.restart_policy.as_ref()?.name);
        let volumes = self.inspected.mounts.iter().flatten();
        let volumes = volumes.filter(|mount| mount.typ.as_deref() == Some("volume"));
        Made {
            secrets: label(names::SECRETS)
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
            user: self.inspected.config.as_ref().and_then(|config| config.user.clone()),
            stop_grace: label(names::STOP_GRACE)
                .and_then(|text| text.parse::<HumanDuration>().ok())
                .map(Duration::from),
            volumes: volumes.filter_map(|mount| mount.name.clone()).collect(),
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
        match self.engine.docker().inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(inspected) => Ok(Some(inspected)),
            Err(error) if error::status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.engine.error(error)),
        }
    }

    /// The container, if it is this worker's.
    pub(crate) fn ours(&self, worker: &WorkerRef, inspected: ContainerInspectResponse) -> Option<Found> {
        let ownership = names::ownership(self.installation(), names::labels_of(&inspected))?;
        let id = inspected.id.as_deref().map(Arc::from)?;
        (ownership.worker == *worker).then_some(Found { id, ownership, inspected })
    }

    /// The worker's container, and takes note of it. By id if that is remembered, else by name, else by labels, since
    /// anybody may rename a container.
    pub(crate) async fn find(&self, worker: &WorkerRef) -> Result<Option<Found>> {
        let known = self.memory.known(worker).and_then(|facts| facts.id);
        if let Some(id) = known
            && let Some(found) = self.inspect(&id).await?.and_then(|inspected| self.ours(worker, inspected))
        {
            self.memory.of(worker).found(&found.id, Arc::new(found.made()));
            return Ok(Some(found));
        }
        let name = names::container(self.installation(), worker);
        let named = self.inspect(&name).await?.and_then(|inspected| self.ours(worker, inspected));
        let found = match named {
            Some(found) => Some(found),
            None => self.find_by_labels(worker).await?,
        };
        match &found {
            Some(found) => self.memory.of(worker).found(&found.id, Arc::new(found.made())),
            None => self.memory.forget(worker),
        }
        Ok(found)
    }

    async fn find_by_labels(&self, worker: &WorkerRef) -> Result<Option<Found>> {
        let generation = worker.generation.to_string();
        let wanted = [(labels::WORKER, worker.id.as_str()), (labels::GENERATION, generation.as_str())];
        let filters = HashMap::from([("label", names::label_filter(self.installation(), wanted))]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = self.engine.docker().list_containers(Some(options)).await;
        for summary in listed.map_err(|error| self.engine.error(error))? {
            let Some(id) = summary.id else { continue };
            if let Some(inspected) = self.inspect(&id).await?
                && let Some(found) = self.ours(worker, inspected)
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
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

    pub(crate) async fn read_status(&self, worker: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        let found = self.find(worker).await?;
        let now = self.context.clock.now();
        let Some(found) = found else { return Ok(WorkerStatus::absent(worker, now)) };
        let status = self.view.status(&found.inspected, now);
        status.map(Arc::new).ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "the engine's answer makes no sense").with_worker(worker)
        })
    }
}
