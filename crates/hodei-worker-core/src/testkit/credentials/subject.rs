use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    credential::{CredentialContent, CredentialProvider, MemoryCredentialProvider},
    error::Result,
};

/// A store under test: what the behaviour suite has to know of it beside the port.
#[async_trait]
pub trait CredentialSubject: Send + Sync + 'static {
    /// Its name in reports, such as `vault`.
    fn name(&self) -> String;

    /// The store, as a host connects to it. Each case has keys of its own, and may run beside others.
    ///
    /// # Errors
    /// Where it cannot be reached: that fails the case, it never skips it.
    async fn connect(&self) -> Result<Arc<dyn CredentialProvider>>;

    /// The same store as another host has it at the same time. `None` where a store is for one host.
    ///
    /// # Errors
    /// Where it cannot be reached.
    async fn connect_again(&self) -> Result<Option<Arc<dyn CredentialProvider>>> {
        self.connect().await.map(Some)
    }

    /// A content of which `text` is the secret, of a kind that the store keeps. Default: opaque.
    fn content(&self, text: &str) -> CredentialContent {
        CredentialContent::opaque(text)
    }

    /// What keys begin with, where not every key will do. Default: nothing.
    fn prefix(&self) -> String {
        String::new()
    }
}

/// The store in memory.
#[derive(Debug, Clone, Copy)]
pub struct MemorySubject;

#[async_trait]
impl CredentialSubject for MemorySubject {
    fn name(&self) -> String {
        "memory".to_owned()
    }
    async fn connect(&self) -> Result<Arc<dyn CredentialProvider>> {
        Ok(Arc::new(MemoryCredentialProvider::new()))
    }
    async fn connect_again(&self) -> Result<Option<Arc<dyn CredentialProvider>>> {
        Ok(None)
    }
}
