//! The port for secrets, with a store in memory. Durable stores are in `hodei-credentials`.

mod capability;
mod changes;
mod content;
mod layers;
mod ledger;
mod material;
mod memory;
mod port;
mod version;

pub use capability::{CredentialCapabilities, CredentialCapability};
pub use changes::Changes;
pub use content::{CredentialContent, CredentialKind};
pub use layers::CredentialStack;
pub use ledger::{NewVersion, VersionLedger};
pub use material::{KeyError, SecretKey, SecretMaterial};
pub use memory::MemoryCredentialProvider;
pub use port::{
    CredentialProvider, DeleteCredentialOptions, Expect, MoveStageOptions, RenewOptions, RetrieveOptions,
    RotateOptions, StoreOptions, Which,
};
pub use version::{
    Credential, CredentialChange, CredentialLease, CredentialMetadata, CredentialStage, CredentialVersion,
    VersionMetadata,
};

use crate::{
    clock::Timestamp,
    error::{Error, ErrorKind, Result},
    model::SecretReference,
    settings::Problems,
};

/// Refuses a content that is not in the form of its kind.
///
/// # Errors
/// [`ErrorKind::Config`] with the part at fault.
pub fn check_content(content: &CredentialContent) -> Result<()> {
    let mut problems = Problems::new();
    content.validate(&mut problems);
    problems.into_result()
}

/// What a store says that has no such version.
pub fn not_found(which: &Which) -> Error {
    match which {
        Which::Stage(CredentialStage::Current) => {
            Error::new(ErrorKind::NotFound, "there is no such credential")
        }
        Which::Stage(stage) => {
            Error::new(ErrorKind::NotFound, format!("the credential has no {stage} version, or is not there"))
        }
        Which::Version(version) => {
            Error::new(ErrorKind::NotFound, "there is no such version of the credential")
                .with_context("version", version)
        }
    }
}

/// What a store says whose token belongs to another content.
pub fn token_is_taken() -> Error {
    Error::new(ErrorKind::Conflict, "the token was used for another content")
        .with_help("a token names one version for ever: take a new one")
}

/// What a worker's reference names, as it is now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ResolvedSecret {
    /// The secret.
    pub material: SecretMaterial,
    /// The version of the credential that it is of.
    pub version: CredentialVersion,
    /// The time from which it is no longer good, where there is one.
    pub expires: Option<Timestamp>,
    /// How long it is lent, where its store made it for this worker.
    pub lease: Option<CredentialLease>,
}

/// Reads what a worker's reference names.
///
/// # Errors
/// [`ErrorKind::Config`] when the name is no key, or there is no such secret, version or part: then the worker's configuration
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
pub async fn resolve(
    provider: &dyn CredentialProvider,
    reference: &SecretReference,
) -> Result<ResolvedSecret> {
    let key = SecretKey::new(&reference.name).map_err(|error| {
        Error::config("secrets", error.to_string()).with_context("secret", &reference.name)
    })?;
    let options = match &reference.version {
        Some(version) => RetrieveOptions::version(CredentialVersion::new(version)),
        None => RetrieveOptions::default(),
    };
    let found = provider.retrieve_credential(&key, &options).await;
    let found = found.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::Config, "a secret that the worker needs does not exist")
            .with_context("secret", &reference.name)
            .with_source(error),
        _ => error,
    })?;
    let material = match &reference.part {
        None => found.secret().clone(),
        Some(part) => found.content.part(part).cloned().ok_or_else(|| {
            let message = format!(
                "a secret that the worker needs has no part `{part}`: it is a {}",
                found.content.kind()
            );
            Error::config("secrets", message).with_context("secret", &reference.name)
        })?,
    };
    let Credential { version, expires, lease, .. } = found;
    Ok(ResolvedSecret { material, version, expires, lease })
}
