//! What all operations of a provider share.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hodei_worker_core::{
    Clock, CredentialProvider, ErrorKind, ProviderCapabilities, ProviderInfo, Result, WorkerRef,
    model::InstallationId, watch::WatchHub,
};
use tokio::sync::Semaphore;

use crate::{
    attached::Attachments,
    error, files,
    fork_server::ForkServer,
    layout::{Creation, Layout, worker_name},
    limits::Limits,
    notices::Notices,
    scan::Scans,
    settings::ProcessSettings,
    wire::Stored,
};

/// How workers are run.
#[derive(Debug, Clone)]
pub(crate) enum Launcher {
    /// By a supervisor each, this program.
    Supervised(PathBuf),
    /// As the host's own children; why.
    Attached(String),
}

/// One installation on this machine, as one provider sees it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) info: ProviderInfo,
    pub(crate) installation: InstallationId,
    pub(crate) settings: ProcessSettings,
    pub(crate) layout: Layout,
    /// The log folder of the workers whose state is here.
    pub(crate) logs: PathBuf,
    pub(crate) boot: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) credentials: Arc<dyn CredentialProvider>,
    pub(crate) capabilities: Arc<ProviderCapabilities>,
    pub(crate) limits: Limits,
    pub(crate) launcher: Launcher,
    pub(crate) notices: Notices,
    pub(crate) hub: WatchHub,
    pub(crate) fork_server: ForkServer,
    pub(crate) scans: Scans,
    pub(crate) attached: Attachments,
    /// How many supervisors are being started at once: a few are quicker than one, many are not.
    pub(crate) starting: Arc<Semaphore>,
}

impl Host {
    /// The worker as it was created; `None` when there is none.
    pub(crate) fn stored(&self, worker: &WorkerRef) -> Result<Option<Stored>> {
        let path = self.layout.worker(worker).join("config.json");
        files::get(&path).map_err(|error| error::file("reading a worker's configuration", &path, error))
    }

    /// The number of the last run that was claimed; 0 when it has never run.
    pub(crate) fn last_run(&self, creation: &Creation) -> Result<u64> {
        last_claim(&self.layout.creation(creation))
    }

    /// Where a creation's output goes.
    pub(crate) fn log_folder(&self, creation: &Creation) -> PathBuf {
        self.logs.join(creation.to_string())
    }

    /// The folder's name by which changes of a worker are told.
    pub(crate) fn topic(worker: &WorkerRef) -> String {
        worker_name(worker)
    }
}

/// The creation that a worker's folder holds, by the names in it alone: for one whose configuration cannot be read.
pub(crate) fn creation_in(folder: &Path, worker: &WorkerRef) -> Option<Creation> {
    let is_folder = |name: &String| folder.join(name).is_dir();
    let nonce = files::names(folder).ok()?.into_iter().find(is_folder)?;
    Some(Creation { worker: worker.clone(), nonce })
}

/// The highest run whose claim lies in this folder.
pub(crate) fn last_claim(folder: &Path) -> Result<u64> {
    Ok(claims(folder)?.into_iter().max().unwrap_or(0))
}

/// The runs whose claims lie in this folder.
pub(crate) fn claims(folder: &Path) -> Result<Vec<u64>> {
    let names =
        files::names(folder).map_err(|error| error::file("reading a worker's runs", folder, error))?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".claim")?.parse().ok()).collect())
}

impl Stored {
    pub(crate) fn creation(&self) -> Creation {
        Creation { worker: self.ownership.worker.clone(), nonce: self.nonce.clone() }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.limits.remove_empty();
    }
}

/// Runs blocking work that is not cut off when the caller stops waiting.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(hodei_worker_core::Error::new(ErrorKind::Unexpected, "a task of the provider was cut off")
                .with_source(error))
        }
    }
}
