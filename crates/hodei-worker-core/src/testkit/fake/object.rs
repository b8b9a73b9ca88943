use std::{collections::BTreeMap, sync::Arc};

use tokio::{sync::mpsc, task::AbortHandle};

use super::play::{Volumes, World};
use crate::{
    clock::Timestamp,
    credential::SecretMaterial,
    model::{Ownership, RunId, WorkerConfig, WorkerRef},
    provider::LogChunk,
    status::{Address, ExitStatus, FailureClass, PhaseTimes, WorkerPhase, WorkerStatus},
};

/// A worker on the fake platform.
pub(super) struct Object {
    pub(super) config: WorkerConfig,
    pub(super) ownership: Ownership,
    pub(super) native_id: String,
    pub(super) created: Timestamp,
    /// It stays when it has ended by itself.
    pub(super) stays_ended: bool,
    /// It stays when it was stopped.
    pub(super) stays_stopped: bool,
    pub(super) run: Option<Run>,
    pub(super) log: Vec<LogChunk>,
}

/// One start of it.
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) started: Timestamp,
    pub(super) end: Option<End>,
    pub(super) stopping: bool,
    pub(super) term: mpsc::UnboundedSender<()>,
    pub(super) task: Option<AbortHandle>,
    pub(super) world: World,
}

#[derive(Clone)]
pub(super) struct End {
    pub(super) at: Timestamp,
    pub(super) exit: Option<ExitStatus>,
    pub(super) failure: Option<FailureClass>,
}

impl Object {
    pub(super) fn is_running(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.end.is_none())
    }

    pub(super) fn world(
        &self,
        files: BTreeMap<String, SecretMaterial>,
        variables: Vec<(String, SecretMaterial)>,
        volumes: Volumes,
    ) -> World {
        let mut environment = self.config.environment.clone();
        for (name, value) in variables {
            environment.insert(name, value.expose_str().unwrap_or_default().to_owned());
        }
        World {
            environment,
            arguments: self.config.args.clone(),
            working_dir: self.config.working_dir.clone().unwrap_or_else(|| "/".to_owned()),
            files,
            mounts: self.config.mounts.clone(),
            memory_limit: self.config.resources.memory_limit,
            pids_limit: self.config.resources.pids_limit,
            volumes,
        }
    }

    pub(super) fn status(&self, worker: &WorkerRef, now: Timestamp) -> Arc<WorkerStatus> {
        let mut status = WorkerStatus::new(worker.clone(), WorkerPhase::Created, now);
        status.native_id.clone_from(&self.native_id);
        status.image_id = self.config.image.as_ref().map(ToString::to_string);
        status.labels.clone_from(&self.config.metadata.labels);
        status.worker_type.clone_from(&self.config.metadata.worker_type);
        status.ownership = Some(self.ownership.clone());
        status.times = PhaseTimes { created: Some(self.created), ..PhaseTimes::default() };
        if let Some(run) = &self.run {
            status.run = Some(run.id.clone());
            status.times.started = Some(run.started);
            status.phase = match (&run.end, run.stopping) {
                (Some(_), _) => WorkerPhase::Exited,
                (None, true) => WorkerPhase::Stopping,
                (None, false) => WorkerPhase::Running,
            };
            if let Some(end) = &run.end {
                status.times.finished = Some(end.at);
                (status.exit, status.failure) = (end.exit, end.failure);
                status.out_of_memory = end.failure == Some(FailureClass::OutOfMemory);
            } else {
                let loopback = std::net::Ipv4Addr::LOCALHOST;
                let address = |port: &crate::model::Port| {
                    Address::new(port.port, port.protocol, loopback, port.host_port.unwrap_or(port.port))
                };
                status.addresses = self.config.ports.iter().map(address).collect();
                status.own_addresses = vec![loopback.into()];
            }
        }
        Arc::new(status)
    }
}
