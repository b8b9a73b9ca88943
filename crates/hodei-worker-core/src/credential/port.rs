use std::fmt;

use async_trait::async_trait;

use super::{Credential, CredentialMetadata, CredentialVersion, SecretKey, SecretMaterial};
use crate::{
    error::{Error, Result},
    provider::Operation,
};

/// What a caller believes to be stored when it stores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// It does not care.
    #[default]
    Any,
    /// There is no such credential.
    Absent,
    /// This version is the newest.
    Version(CredentialVersion),
}

/// How a credential is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// What must be there. If it is not, the call is a `Conflict` and nothing is stored.
    pub expected: Expect,
}

impl StoreOptions {
    /// Stores only on top of this version.
    pub fn expecting(version: CredentialVersion) -> Self {
        Self { expected: Expect::Version(version) }
    }
    /// Stores only what is not there yet.
    pub fn new_only() -> Self {
        Self { expected: Expect::Absent }
    }
}

/// Which version of a credential is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrieveOptions {
    /// That version. Default: the newest.
    pub version: Option<CredentialVersion>,
}

impl RetrieveOptions {
    /// Reads this version.
    pub fn version(version: CredentialVersion) -> Self {
        Self { version: Some(version) }
    }
}

/// How a credential is rotated by its store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotateOptions {}

/// How a credential is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteCredentialOptions {}

/// Where secrets are kept.
#[async_trait]
pub trait CredentialProvider: fmt::Debug + Send + Sync + 'static {
    /// Stores a new version of a credential and returns it.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) when another version than the expected one is the newest.
    ///
    /// # Cancel safety
    /// When dropped, the version may be stored or not.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, key: &SecretKey) -> Result<()> {
    /// let version = store.store_credential(key, "s3cret".into(), &StoreOptions::default()).await?;
    /// store.store_credential(key, "n3w".into(), &StoreOptions::expecting(version)).await?;
    /// # Ok(()) }
    /// ```
    async fn store_credential(
        &self,
        key: &SecretKey,
        material: SecretMaterial,
        options: &StoreOptions,
    ) -> Result<CredentialVersion>;

    /// Reads a credential.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such key or version.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, key: &SecretKey) -> Result<()> {
    /// let credential = store.retrieve_credential(key, &RetrieveOptions::default()).await?;
    /// println!("version {}, {} bytes", credential.version, credential.material.expose().len());
    /// # Ok(()) }
    /// ```
    async fn retrieve_credential(&self, key: &SecretKey, options: &RetrieveOptions) -> Result<Credential>;

    /// Has the store itself make a new version, where it can.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where it cannot.
    ///
    /// # Cancel safety
    /// When dropped, the rotation may have begun.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, key: &SecretKey) -> Result<()> {
    /// let version = store.rotate_credential(key, &RotateOptions::default()).await?;
    /// # Ok(()) }
    /// ```
    async fn rotate_credential(&self, key: &SecretKey, options: &RotateOptions) -> Result<CredentialVersion> {
        let _ = (key, options);
        Err(Error::unsupported(Operation::RotateCredential))
    }

    /// Deletes a credential with all its versions. A missing one is deleted.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the store cannot be reached.
    ///
    /// # Cancel safety
    /// When dropped, it may be deleted or not. Repeat it.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider, key: &SecretKey) -> Result<()> {
    /// store.delete_credential(key, &DeleteCredentialOptions::default()).await
    /// # }
    /// ```
    async fn delete_credential(&self, key: &SecretKey, options: &DeleteCredentialOptions) -> Result<()>;

    /// Lists the credentials whose keys begin with `prefix`, in order.
    ///
    /// # Errors
    /// Any failure to see all of them.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Examples
    /// ```
    /// # use hodei_worker_core::{Result, credential::*};
    /// # async fn example(store: &dyn CredentialProvider) -> Result<()> {
    /// for credential in store.list_credentials("prod/").await? {
    ///     println!("{} {}", credential.key, credential.version);
    /// }
    /// # Ok(()) }
    /// ```
    async fn list_credentials(&self, prefix: &str) -> Result<Vec<CredentialMetadata>>;
}
