//! The port for secrets, with a store in memory. Durable stores are in `hodei-credentials`.

mod material;
mod memory;
mod port;

pub use material::{Credential, CredentialMetadata, CredentialVersion, KeyError, SecretKey, SecretMaterial};
pub use memory::MemoryCredentialProvider;
pub use port::{CredentialProvider, DeleteCredentialOptions, RetrieveOptions, RotateOptions, StoreOptions};

use crate::{error::Result, model::SecretReference};

/// Reads what a worker's reference names.
///
/// # Errors
/// [`Config`](crate::ErrorKind::Config) when the name is no key; else as
/// [`retrieve_credential`](CredentialProvider::retrieve_credential).
pub async fn resolve(provider: &dyn CredentialProvider, reference: &SecretReference) -> Result<Credential> {
    let key = SecretKey::new(&reference.name).map_err(|error| {
        crate::Error::config("secrets", error.to_string()).with_context("secret", &reference.name)
    })?;
    let version = reference.version.as_deref().map(CredentialVersion::new);
    provider.retrieve_credential(&key, &RetrieveOptions { version }).await
}
