//! Other systems than Linux: the provider cannot be had there, and says so when it is asked for.

use std::sync::Arc;

use async_trait::async_trait;
use hodei_worker_core::{
    ConnectContext, Error, ErrorKind, ProviderCapabilities, ProviderInfo, Result, WorkerConfig, WorkerHandle,
    WorkerProvider, WorkerRef, WorkerStatus,
    provider::{CreateOptions, DeleteOptions, Listing, StartOptions, StopOptions, WorkerFilter},
};

use crate::settings::ProcessSettings;

/// Runs workers as processes of this machine. Exists on Linux only: here there is no value of this type.
#[derive(Debug, Clone)]
pub enum ProcessProvider {}

impl ProcessProvider {
    /// Answers that this system is not supported.
    ///
    /// # Errors
    /// Always [`Unsupported`](ErrorKind::Unsupported).
    ///
    /// # Cancel safety
    /// Does nothing.
    pub async fn connect(_: ProcessSettings, _: ConnectContext) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "local processes are workers on Linux only")
            .with_help("use another provider on this system"))
    }
}

#[async_trait]
impl WorkerProvider for ProcessProvider {
    fn info(&self) -> &ProviderInfo {
        match *self {}
    }
    async fn get_capabilities(&self) -> Result<Arc<ProviderCapabilities>> {
        match *self {}
    }
    async fn create_worker(&self, _: &WorkerConfig, _: &CreateOptions) -> Result<WorkerHandle> {
        match *self {}
    }
    async fn start_worker(&self, _: &WorkerRef, _: &StartOptions) -> Result<()> {
        match *self {}
    }
    async fn stop_worker(&self, _: &WorkerRef, _: &StopOptions) -> Result<()> {
        match *self {}
    }
    async fn delete_worker(&self, _: &WorkerRef, _: &DeleteOptions) -> Result<()> {
        match *self {}
    }
    async fn get_worker_status(&self, _: &WorkerRef) -> Result<Arc<WorkerStatus>> {
        match *self {}
    }
    async fn list_workers(&self, _: &WorkerFilter) -> Result<Listing> {
        match *self {}
    }
}
