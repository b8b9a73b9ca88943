//! The port for secrets, with a store in memory. Durable stores are in `hodei-credentials`.

mod material;
mod memory;
mod port;

pub use material::{Credential, CredentialMetadata, CredentialVersion, KeyError, SecretKey, SecretMaterial};
pub use memory::MemoryCredentialProvider;
pub use port::{
    CredentialProvider, DeleteCredentialOptions, Expect, RetrieveOptions, RotateOptions, StoreOptions,
};

use crate::{
    error::{Error, ErrorKind, Result},
    model::SecretReference,
};

/// Reads what a worker's reference names.
///
/// # Errors
/// [`ErrorKind::Config`] when the name is no key, or there is no such secret or version: then the worker's configuration
/// names what is not there. Else as [`retrieve_credential`](CredentialProvider::retrieve_credential).
///
/// # Cancel safety
/// Reads only.
///
/// # Examples
/// ```
/// # use hodei_worker_core::{Result, credential::{self, MemoryCredentialProvider}, model::SecretReference};
/// # async fn example() -> Result<()> {
/// let store = MemoryCredentialProvider::new().with("db/password", "hunter2")?;
/// let reference = SecretReference::variable("db/password", "PGPASSWORD");
/// let password = credential::resolve(&store, &reference).await?.material;
/// # Ok(()) }
/// ```
pub async fn resolve(provider: &dyn CredentialProvider, reference: &SecretReference) -> Result<Credential> {
    let key = SecretKey::new(&reference.name).map_err(|error| {
        Error::config("secrets", error.to_string()).with_context("secret", &reference.name)
    })?;
    let version = reference.version.as_deref().map(CredentialVersion::new);
    let found = provider.retrieve_credential(&key, &RetrieveOptions { version }).await;
    found.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::Config, "a secret that the worker needs does not exist")
            .with_context("secret", &reference.name)
            .with_source(error),
        _ => error,
    })
}
