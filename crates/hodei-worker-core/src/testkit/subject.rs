use std::sync::Arc;

use async_trait::async_trait;

use super::Program;
use crate::{
    error::Result,
    factory::ConnectContext,
    model::{InstallationId, WorkerConfigBuilder, WorkerRef},
    provider::WorkerProvider,
};

/// A provider under test: what the behaviour suite has to know of it beside the port.
#[async_trait]
pub trait Subject: Send + Sync + 'static {
    /// Its name in reports, such as `docker`.
    fn name(&self) -> String;

    /// A new provider, as another host of that installation would build it. Each case has an installation of its own.
    ///
    /// # Errors
    /// Where the provider cannot be reached: that fails the case, it never skips it.
    async fn connect(&self, context: ConnectContext) -> Result<Arc<dyn WorkerProvider>>;

    /// The beginning of a worker's configuration: an image, where there must be one.
    fn prepare(&self, builder: WorkerConfigBuilder) -> WorkerConfigBuilder {
        builder
    }

    /// The command that does this. Default: a POSIX shell's.
    fn command(&self, program: &Program) -> Vec<String> {
        program.shell()
    }

    /// Where a secret file of that name is put, and how a program of the worker names it.
    fn secret_path(&self, name: &str) -> (String, String) {
        (format!("/run/secrets/{name}"), format!("/run/secrets/{name}"))
    }

    /// Whether a secret may be a plain environment variable here.
    fn secret_variables(&self) -> bool {
        true
    }

    /// Puts an object into the platform that looks like the worker but carries no label of ours. `None` where the
    /// platform has no objects that others could make.
    ///
    /// # Errors
    /// Where the platform cannot be reached.
    async fn plant_unowned(
        &self,
        installation: &InstallationId,
        worker: &WorkerRef,
    ) -> Result<Option<Box<dyn Planted>>> {
        let _ = (installation, worker);
        Ok(None)
    }

    /// What the platform still holds for that installation, seen past the provider. Called when all its workers
    /// are deleted; anything named fails the case.
    ///
    /// # Errors
    /// Where the platform cannot be reached.
    async fn leftovers(&self, installation: &InstallationId) -> Result<Vec<String>>;
}

/// An object that is not ours.
#[async_trait]
pub trait Planted: Send + Sync {
    /// Whether it is there, as it was.
    ///
    /// # Errors
    /// Where the platform cannot be reached.
    async fn is_untouched(&self) -> Result<bool>;
    /// Takes it away.
    ///
    /// # Errors
    /// Where the platform cannot be reached.
    async fn remove(&self) -> Result<()>;
}
